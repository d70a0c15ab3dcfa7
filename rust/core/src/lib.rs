//! Policies with recall for early-exit networks and model cascades.
//!
//! Data flows one way: a calibration trace is [`learn`]ed from, or an exact [`Model`] is [`solve()`]d; either gives an
//! immutable [`Policy`], which decides one request ([`Run`]), many in step ([`Batch`]) or a whole trace ([`Endings, Replay`]).
#![forbid(unsafe_code)]

pub mod decide;
mod digits;
pub mod error;
pub mod evaluate;
pub mod files;
pub mod learn;
mod mean;
pub mod model;
pub mod monitor;
pub mod operate;
mod parallel;
pub mod plan;
pub mod policy;
mod price;
mod random;
pub mod records;
pub mod rules;
pub mod signals;
pub mod solve;
pub mod trace;

pub use decide::{Barred, Batch, Circumstances, Endings, Given, Replay, Run, State};
pub use error::{Error, Result};
pub use evaluate::{BoundedMean, Estimate, Objective, Outcome, PlannedMean, Terms};
pub use model::{Csr, Graph, Jumps, Latency, Model, Transition};
pub use parallel::{interruptible, prepare};
pub use policy::{
    Candidate, Facts, Family, MAX_BYTES, MAX_STAGES, MOST_MEMBERS, Member, Oddity, Policy, SCHEMA, Usual, compile,
    mixture, verify,
};
pub use price::Price;
pub use solve::{Solution, SolveOptions, solve};
pub use trace::{Charge, Cost, Kind, Table, Trace};
