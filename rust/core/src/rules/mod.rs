//! The online half of the engine: what happens when a stage reports.
#![deny(clippy::indexing_slicing)]

mod any;
mod belief;
mod chain;
mod checks;
mod component;
mod dag;
mod describe;
mod given;
mod hand;
mod mixture;
mod observation;
mod observations;
mod patience;
pub mod prediction;
mod priced;
mod progress;
mod reach;
mod reader;
mod rule;
mod threshold;
mod tree;
mod walk;

pub use any::{AnyMemory, AnyRule};
pub use belief::{
    BeliefRule, Beliefs, Calibration, Classes, Curve, Detour, Evidence, KNOTS, LOGIT_LIMIT, Levels, Line, MAX_BLOCKS,
    Node, Nothing, PARTS, Pair, Reading, Readings, SLOTS, Tilt, Time, Without,
};
pub use chain::ChainRule;
pub use component::Component;
pub use dag::DagRule;
pub(crate) use describe::{number, numbers};
pub use given::Given;
pub use mixture::MixtureRule;
pub use observation::{Observation, UNTOLD};
pub(crate) use observations::Kept;
pub use observations::{Observations, Predictions, Signals};
pub use patience::PatienceRule;
pub use prediction::NO_PREDICTION;
pub use priced::{MOST_RANGES, PricedRule};
pub use progress::Progress;
pub use reader::StateReader;
pub use rule::{Entry, Rule, Visitor};
pub use threshold::ThresholdRule;
pub use tree::TreeRule;
pub use walk::Walk;
