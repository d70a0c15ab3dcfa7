//! What an operator sees of a policy in service: counts of what became of requests, and a second policy beside it.

mod counters;
mod grouped;
mod request;
mod shadow;

pub use counters::{Counted, Counters};
pub use shadow::Shadow;
