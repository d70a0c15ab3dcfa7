//! Policies with recall for early-exit networks and model cascades.
#![forbid(unsafe_code)]

pub mod error;
pub mod model;
pub mod plan;
pub mod solve;
pub mod transition;
