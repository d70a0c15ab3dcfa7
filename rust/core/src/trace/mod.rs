//! Calibration traces: what every stage said about every request, what its answer would have lost, what it costs.

mod answering;
mod builder;
pub(crate) mod checks;
mod content;
mod cost;
mod digest;
mod latency;
mod matching;
mod sample;
mod table;
mod tail;
mod total;
mod units;
mod weights;

pub use builder::{Added, Builder, Columns, Source, group_of_text};
pub use content::{Kind, Trace};
pub use cost::{Charge, Cost};
pub use matching::in_order;
pub use sample::{Place, Rows};
pub use table::Table;
pub use tail::Tail;
pub use total::{Total, Totals, WORDS};
pub(crate) use units::by_unit;
pub(crate) use weights::normalised_weights;
