//! Calibration traces: what every stage said about every request, what its answer would have lost, what it costs.

mod checks;
mod content;
mod cost;
mod digest;
mod matching;
mod table;
mod tail;
mod units;
mod weights;

pub use content::{Kind, Trace};
pub use cost::{Charge, Cost};
pub use matching::in_order;
pub use table::Table;
pub use tail::Tail;
pub(crate) use units::by_unit;
pub(crate) use weights::normalised_weights;
