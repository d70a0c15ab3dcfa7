//! What keeps a policy in service within its budget.
#![deny(clippy::indexing_slicing)]

mod governor;
mod ladder;
mod law;

pub use governor::{Budget, End, Governed, Governor};
pub use ladder::{Ladder, Rung};
