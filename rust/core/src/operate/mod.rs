//! What an operator sees of a policy in service: counts of what became of requests, and a second policy beside it.
#![deny(clippy::indexing_slicing)]

mod counters;
mod ended;
mod histogram;
mod shadow;
mod sum;

pub use counters::{Counted, Counters};
pub use ended::{Became, Ended, Outcome, Ran, Report, Reported};
pub use histogram::{Distribution, Histogram};
pub use shadow::{Followed, Tallies, follow};
