//! What an operator sees of a policy in service: counts of what became of requests, a second policy beside it,
//! and a governor that moves it.

mod counters;
mod governor;
mod grouped;
mod request;
mod shadow;

pub use counters::{Counted, Counters};
pub use governor::Governor;
pub use shadow::Shadow;
