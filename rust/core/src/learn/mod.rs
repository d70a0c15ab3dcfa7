//! From calibration traces to policies.

mod asked;
mod budget;
mod calibrate;
mod calibrated;
mod cells;
mod clock;
mod cut;
mod deadlines;
#[cfg(test)]
mod dense;
mod detours;
mod evidence;
mod folds;
mod heuristics;
mod induction;
mod kept;
mod known;
mod learner;
mod lifted;
mod logistic;
mod markov;
mod nodes;
mod options;
mod order;
mod pairs;
mod parts;
mod patterned;
mod provenance;
mod ranges;
mod reach;
mod readings;
mod recalibrated;
mod repriced;
mod sample;
mod scale;
mod select;
mod situations;
mod subset;
mod tilts;
mod tuning;
mod weigher;
mod whole;

pub use budget::{Budget, Limited, log_odds_range, tradeoff_at, within};
pub use kept::Kept;
pub use learner::{Draft, Learner, Provenance};
pub use options::{Approach, FitOptions, Goal, Heuristic, Method, Recall, Shape};
pub use provenance::provenance;
pub use reach::Decided;
pub use recalibrated::recalibrated;
pub use select::Means;
pub use tuning::Tuning;

use crate::error::Result;
use crate::policy::Policy;
use crate::trace::Trace;

/// Learns the best policy for a goal from `trace`. O(n k) for each set of stages that a request can have consulted.
///
/// # Errors
/// [`crate::Error::Invalid`] for a goal out of range, a budget that cannot be met, or options that do not fit the trace.
pub fn fit(trace: &Trace, goal: Goal, options: &FitOptions) -> Result<Policy> {
    let learner = Learner::new(trace.clone(), &options.approach, options.tuning.clone())?;
    learner.reach(goal, options.recall, options.seed).map(|(policy, _)| policy)
}
