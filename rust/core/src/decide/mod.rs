//! Deciding: one request, many in step, a whole recorded trace. The same rule underneath.
#![deny(clippy::indexing_slicing)]

mod barred;
mod batch;
mod circumstances;
mod failure;
mod hand;
mod known;
mod replay;
mod run;
mod step;
mod ways;

pub use barred::Barred;
pub use batch::{Batch, MAX_REQUESTS};
pub use circumstances::Circumstances;
pub use replay::{Endings, Replay};
pub use run::{Run, State};

pub use crate::rules::Given;
