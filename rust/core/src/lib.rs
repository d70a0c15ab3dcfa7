//! Policies with recall for early-exit networks and model cascades.
//!
//! Data flows one way: a calibration trace is [`learn`]ed from, or an exact [`Model`] is [`solve`]d; either gives an
//! immutable [`Policy`], which decides one request ([`Run`]), many in step ([`Batch`]) or a whole trace ([`Replay`]).
#![forbid(unsafe_code)]

mod batch;
mod codec;
mod compile;
mod describe;
pub mod error;
mod hash;
pub mod learn;
mod mix;
pub mod model;
pub mod plan;
mod policy;
mod price;
mod replay;
pub mod rules;
mod run;
pub mod solve;
pub mod transition;

pub use batch::Batch;
pub use codec::SCHEMA;
pub use compile::{compile, verify};
pub use error::{Error, Result};
pub use mix::mix;
pub use model::{Graph, Model};
pub use policy::{Candidate, Facts, MAX_STAGES, Policy};
pub use price::Price;
pub use replay::Replay;
pub use run::{AnyState, Run};
pub use solve::{Solution, SolveOptions, solve};
pub use transition::{Csr, Transition};
