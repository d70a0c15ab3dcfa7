//! What an operator needs around a policy in service: counts of what became of requests, a second policy beside it, and
//! what keeps it within a budget.

mod counters;
mod governor;
mod grouped;
mod request;
mod shadow;

pub use counters::{Counted, Counters};
pub use governor::Governor;
pub use request::ended;
pub use shadow::Shadow;
