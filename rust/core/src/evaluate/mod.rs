//! Judging decisions on a trace: losses and costs of every request, their means, and how far off these may be.

mod betting;
mod careful;
mod estimate;
mod objective;
mod outcome;
mod planned;
mod terms;

pub use betting::BoundedMean;
pub use estimate::Estimate;
pub use objective::Objective;
pub use outcome::Outcome;
pub use planned::PlannedMean;
pub use terms::Terms;
