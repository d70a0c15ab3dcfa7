//! The best policy within a budget on the mean cost or the mean loss.

use super::learner::{Draft, Learner};
use super::options::Recall;
use crate::error::{Error, Result, number, significant};
use crate::evaluate::{Objective, Outcome};
use crate::policy::{Policy, mixture};

/// Which mean a budget limits; the other one is to be small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limited {
    /// The mean cost.
    Cost,
    /// The mean loss.
    Loss,
}

impl Limited {
    /// Of a mean loss and a mean cost, the one that is limited and the other.
    fn and_free(self, loss: f64, cost: f64) -> (f64, f64) {
        match self {
            Self::Cost => (cost, loss),
            Self::Loss => (loss, cost),
        }
    }
}

/// A limit on a mean per request, in the unit of the trace.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// What is limited.
    pub limited: Limited,
    /// The largest mean that is allowed.
    pub most: f64,
}

impl Budget {
    fn name(self) -> &'static str {
        match self.limited {
            Limited::Cost => "max_cost",
            Limited::Loss => "max_loss",
        }
    }
}

/// The best policy within a budget, by the larger of the means on the trace and on rows held back.
///
/// Searches the trade-off by bisection; where the best policy leaves a part of the budget, a coin mixes in one that is
/// beyond it.
///
/// # Errors
/// [`Error::Invalid`] for a budget that is not finite, is negative, or cannot be met.
pub fn within(learner: &Learner, budget: Budget, recall: Recall, seed: u64) -> Result<Policy> {
    let Budget { most, .. } = budget;
    if !(most.is_finite() && most >= 0.0) {
        let message = format!("`{}` must be finite and at least 0, got {}", budget.name(), number(most));
        return Err(Error::invalid(message));
    }
    let search = Search { learner, budget, recall, seed };
    let points = search.points()?;
    let before = |a: &&Point, b: &&Point| a.free.total_cmp(&b.free).then(a.limited.total_cmp(&b.limited));
    let Some(best) = points.iter().filter(|point| point.limited <= most).min_by(before) else {
        let least = points.iter().map(|point| point.limited).fold(f64::INFINITY, f64::min);
        let (name, least) = (budget.name(), significant(least, 6));
        let message =
            format!("`{name}` of {} cannot be met on this trace: the least reachable is {least}", number(most));
        return Err(Error::invalid(message));
    };
    let pairs = points.iter().flat_map(|within| points.iter().map(move |beyond| (within, beyond)));
    let mixed = pairs.filter_map(|(within, beyond)| Mixed::new(within, beyond, most));
    let coin = match mixed.min_by(|a, b| a.free.total_cmp(&b.free)) {
        Some(mixed) if mixed.free < best.free && best.limited < most * (1.0 - learner.tuning().budget_unused) => {
            search.tossed(&mixed)?
        }
        _ => None,
    };
    match coin {
        Some(coin) => Ok(coin),
        None => learner.finished(best.draft.clone()),
    }
}

/// Logarithms of the odds λ / (1 − λ) between which trade-offs on a trace are searched.
pub fn log_odds_range(learner: &Learner) -> (f64, f64) {
    let mut means = learner.trace().mean_loss();
    means.retain(|mean| mean.is_finite());
    let mean = means.iter().sum::<f64>() / means.len() as f64;
    let mean = if mean > 0.0 { mean } else { 1.0 };
    ((learner.tuning().least_odds / mean).ln(), (learner.tuning().greatest_odds / mean).ln())
}

/// λ of the logarithm of its odds.
pub fn tradeoff_at(log_odds: f64) -> f64 {
    1.0 / (1.0 + (-log_odds).exp())
}

/// The draft of a policy, the mean that is limited, and the mean that is to be small; each is the larger of that on the
/// trace and that on rows held back.
struct Point {
    tradeoff: f64,
    draft: Draft,
    limited: f64,
    free: f64,
}

/// A coin between a point within the budget and one beyond it.
struct Mixed<'a> {
    within: &'a Point,
    beyond: &'a Point,
    /// Of the requests that are decided as beyond the budget.
    share: f64,
    free: f64,
}

impl<'a> Mixed<'a> {
    /// The mixture that uses the budget up; `None` where there is none or it gains nothing.
    ///
    /// The larger of two means is convex in the share, so that what is within the budget here is so in each of them. The
    /// coin is tossed on the first signal, so the first stage must be the same. Where what requests cost is part of
    /// decisions, these change with the trade-off range by range, and little is left to a coin.
    fn new(within: &'a Point, beyond: &'a Point, most: f64) -> Option<Self> {
        let gains = within.limited <= most && beyond.limited > most && beyond.free < within.free;
        if within.draft.policy.knows_cost()
            || !gains
            || within.draft.policy.start().next() != beyond.draft.policy.start().next()
        {
            return None;
        }
        let share = (most - within.limited) / (beyond.limited - within.limited);
        Some(Self { within, beyond, share, free: within.free + share * (beyond.free - within.free) })
    }
}

struct Search<'a> {
    learner: &'a Learner,
    budget: Budget,
    recall: Recall,
    seed: u64,
}

impl Search<'_> {
    fn goal(&self) -> String {
        format!("{}={:?}", self.budget.name(), self.budget.most)
    }

    /// Policies along the frontier, most of them near the budget.
    fn points(&self) -> Result<Vec<Point>> {
        let mut points = vec![self.point(0.0)?, self.point(1.0)?];
        let (mut low, mut high) = log_odds_range(self.learner);
        for _ in 0..self.learner.tuning().budget_steps {
            let middle = 0.5 * (low + high);
            let point = self.point(tradeoff_at(middle))?;
            // More weight on the loss costs more and loses less.
            if (point.limited <= self.budget.most) == (self.budget.limited == Limited::Cost) {
                low = middle;
            } else {
                high = middle;
            }
            points.push(point);
        }
        Ok(points)
    }

    fn point(&self, tradeoff: f64) -> Result<Point> {
        let trace = self.learner.trace();
        let known = self.learner.provenance(tradeoff, &self.goal());
        let (draft, held) = self.learner.judged_draft(tradeoff, self.recall, known)?;
        let found = Outcome::of_policy(&draft.policy, trace)?;
        let (mut loss, mut cost) = (trace.mean(found.loss()), trace.mean(found.cost()));
        if let Some(held) = held {
            (loss, cost) = (loss.max(held.loss), cost.max(held.cost));
        }
        let (limited, free) = self.budget.limited.and_free(loss, cost);
        Ok(Point { tradeoff, draft, limited, free })
    }

    /// The mixture with the largest share that the trace's own tosses keep within the budget, if any does.
    fn tossed(&self, mixed: &Mixed) -> Result<Option<Policy>> {
        let trace = self.learner.trace();
        let mut kept = None;
        let (mut low, mut share, mut high) = (0.0, mixed.share, mixed.share);
        for _ in 0..self.learner.tuning().share_steps {
            let coin = self.coin(mixed, [&mixed.within.draft.policy, &mixed.beyond.draft.policy], share, 0.0)?;
            let found = Outcome::of_policy(&coin, trace)?;
            let (limited, _) = self.budget.limited.and_free(trace.mean(found.loss()), trace.mean(found.cost()));
            if limited <= self.budget.most {
                (kept, low) = (Some((share, found)), share);
            } else {
                high = share;
            }
            if low == high {
                break;
            }
            share = 0.5 * (low + high);
        }
        let Some((share, found)) = kept else { return Ok(None) };
        let objective = Objective::new(trace, mixed.within.tradeoff)?;
        let value = found.mean_objective(objective, trace.weight());
        let finished = |point: &Point| self.learner.finished(point.draft.clone());
        let (within, beyond) = (finished(mixed.within)?, finished(mixed.beyond)?);
        self.coin(mixed, [&within, &beyond], share, value).map(Some)
    }

    /// The mixture of two policies, which are those of `mixed` or their drafts.
    fn coin(&self, mixed: &Mixed, policies: [&Policy; 2], share: f64, value: f64) -> Result<Policy> {
        let (within, beyond) = (mixed.within, mixed.beyond);
        let mut known = self.learner.provenance(within.tradeoff, &self.goal());
        let further = [
            ("mixed_tradeoff", format!("{:?}", beyond.tradeoff)),
            ("mixed_share", format!("{share:?}")),
            ("seed", self.seed.to_string()),
        ];
        known.extend(further.map(|(name, value)| (name.into(), value)));
        mixture(policies[0], policies[1], 1.0 - share, self.seed, value, known)
    }
}
