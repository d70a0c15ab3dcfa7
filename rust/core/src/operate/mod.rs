//! What an operator needs around a policy in service: counts of what became of requests, a second policy beside it, and
//! what keeps it within a budget.
#![deny(clippy::indexing_slicing)]

mod counters;
mod ended;
mod governor;
mod histogram;
mod ladder;
mod law;
mod shadow;
mod sum;

pub use counters::{Counted, Counters};
pub use ended::{Became, Ended, Outcome, Ran, Report, Reported};
pub use governor::{Budget, End, Governed, Governor};
pub use histogram::{Distribution, Histogram};
pub use ladder::{Ladder, Rung};
pub use shadow::{Followed, Tallies, follow};
