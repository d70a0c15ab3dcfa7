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
}

/// Two neighbours on a ladder, and how far a cost is between them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Between {
    /// The cheaper one.
    pub below: Rung,
    /// The dearer one.
    pub above: Rung,
    /// How far between them, 0 at the cheaper one, 1 at the dearer one.
    pub share: f64,
    /// How far up the ladder, 0 at its foot, 1 a rung.
    pub level: f64,
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
        if hull.len() < 2 {
            let cost = hull.first().map_or(0.0, |(rung, _)| rung.cost);
            return Err(Error::invalid(format!(
                "`family` must have two policies of which one costs more and loses less than the other, got none beside \
                 the one that costs {}",
                number(cost)
            )));
        }
        Ok(Self { rungs: hull.into_iter().map(|(rung, _)| rung).collect() })
    }

    /// The rungs, from the cheapest to the dearest.
    pub fn rungs(&self) -> &[Rung] {
        &self.rungs
    }

    /// Mean costs of the cheapest and the dearest policy.
    pub fn ends(&self) -> (f64, f64) {
        let cost = |rung: Option<&Rung>| rung.map_or(0.0, |rung| rung.cost);
        (cost(self.rungs.first()), cost(self.rungs.last()))
    }

    /// Where a mean cost lies; beyond an end, at it. O(m).
    pub fn at(&self, cost: f64) -> Option<Between> {
        let last = self.rungs.len().checked_sub(2)?;
        let is_beyond = |rung: &Rung| rung.cost <= cost;
        let lower = self.rungs.iter().skip(1).take(last).take_while(|rung| is_beyond(rung)).count();
        let (below, above) = (*self.rungs.get(lower)?, *self.rungs.get(lower + 1)?);
        let share = ((cost - below.cost) / (above.cost - below.cost)).clamp(0.0, 1.0);
        Some(Between { below, above, share, level: lower as f64 + share })
    }
}
