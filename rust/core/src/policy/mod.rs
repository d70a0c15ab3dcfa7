//! The compiled policy, how it is made from a solved model or from two policies, and how it is stored.
#![deny(clippy::indexing_slicing)]

mod codec;
mod compiled;
mod describe;
mod exact;
mod facts;
mod family;
mod family_codec;
mod frame;
mod mixture;
mod usual;
mod wire;

pub use codec::SCHEMA;
pub use compiled::{MAX_STAGES, Policy};
pub(crate) use exact::rule_of;
pub use exact::{compile, verify};
pub use facts::{Candidate, Facts};
pub use family::{Family, MOST_MEMBERS, Member};
pub use frame::MAX_BYTES;
pub use mixture::mixture;
pub use usual::{Oddity, Usual};
