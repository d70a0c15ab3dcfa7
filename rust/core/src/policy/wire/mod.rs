//! Policies as they are stored. Apart from the runtime types, so that those may change without touching a file.
//!
//! Names and meanings here are a promise within one schema ([`super::SCHEMA`]); what is new is a new field that may be
//! absent. Everything that follows from other fields (children of a tree, slopes of a curve, prices of situations,
//! thresholds on the raw signal) is not stored. The only way back is [`TryFrom`], which ends in the one check of
//! [`super::Policy::new`].

mod belief;
mod decisions;
mod exact;
mod facts;
mod family;
mod heuristics;
mod misfit;
mod policy;

pub use family::Family;
pub use policy::Policy;
