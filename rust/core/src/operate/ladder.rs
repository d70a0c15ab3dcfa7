//! The policies that a governor moves along: the lower convex hull of what a family costs and loses.

use crate::error::{Error, Result, number};
use crate::policy::Family;

/// One policy that is worth serving at some budget.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rung {
    /// Its number in the family.
    pub member: usize,
    /// Its mean cost, in the unit of the trace.
    pub cost: f64,
    /// The λ that it was fitted for.
    pub tradeoff: f64,
}

/// At least two policies that get dearer and better. A policy that costs and loses more than a mixture of two others on
/// average is left out: the mixture serves as well.
#[derive(Clone, Debug, PartialEq)]
pub struct Ladder {
    rungs: Vec<Rung>,
    /// Mean costs of the first and the last.
    ends: (f64, f64),
}

/// Two neighbours on a ladder, and how far a cost is between them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Between {
    /// Number of the cheaper one on the ladder.
    pub lower: usize,
    /// The cheaper one.
    pub below: Rung,
    /// The dearer one.
    pub above: Rung,
    /// How far between them, 0 at the cheaper one, 1 at the dearer one.
    pub share: f64,
}

impl Ladder {
    /// Of a family. O(m).
    ///
    /// # Errors
    /// [`Error::Invalid`] where all of its policies are as cheap as one that loses no more than they do.
    pub fn of(family: &Family) -> Result<Self> {
        let mut points: Vec<(Rung, f64)> = Vec::new();
        for (member, known) in family.members().iter().enumerate() {
            points.push((Rung { member, cost: known.cost, tradeoff: known.tradeoff }, known.loss));
        }
        points.sort_by(|(a, loss), (b, other)| a.cost.total_cmp(&b.cost).then(loss.total_cmp(other)));
        let mut hull: Vec<(Rung, f64)> = Vec::new();
        for (rung, loss) in points {
            // Nothing that costs more may lose as much.
            if hull.last().is_some_and(|(_, least)| loss >= *least) {
                continue;
            }
            while let [.., (first, from), (middle, at)] = hull.as_slice() {
                // The middle one is kept where it lies below the line from the first to the new one.
                if (at - from) * (rung.cost - first.cost) < (loss - from) * (middle.cost - first.cost) {
                    break;
                }
                hull.pop();
            }
            hull.push((rung, loss));
        }
        let rungs: Vec<Rung> = hull.into_iter().map(|(rung, _)| rung).collect();
        match rungs.as_slice() {
            [first, .., last] => Ok(Self { ends: (first.cost, last.cost), rungs }),
            alone => Err(Error::invalid(format!(
                "`family` must have two policies of which one costs more and loses less than the other, got none beside \
                 the one that costs {}",
                number(alone.first().map_or(0.0, |rung| rung.cost))
            ))),
        }
    }

    /// The rungs, from the cheapest to the dearest.
    pub fn rungs(&self) -> &[Rung] {
        &self.rungs
    }

    /// Mean costs of the cheapest and the dearest policy.
    #[inline]
    pub fn ends(&self) -> (f64, f64) {
        self.ends
    }

    /// The cost in the middle between the ends.
    #[inline]
    pub fn middle(&self) -> f64 {
        0.5 * (self.ends.0 + self.ends.1)
    }

    /// Where a mean cost lies; beyond an end, at it. O(m).
    #[inline]
    pub fn at(&self, cost: f64) -> Option<Between> {
        let pairs = self.rungs.iter().zip(self.rungs.iter().skip(1)).enumerate();
        let mut found = None;
        for (lower, (below, above)) in pairs {
            found = Some((lower, *below, *above));
            if cost < above.cost {
                break;
            }
        }
        let (lower, below, above) = found?;
        let share = ((cost - below.cost) / (above.cost - below.cost)).clamp(0.0, 1.0);
        Some(Between { lower, below, above, share })
    }
}
