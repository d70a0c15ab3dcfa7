//! Calibration traces: what every stage said about every request, what its answer would have lost, what it costs.

mod added;
mod answering;
mod builder;
mod censored;
pub(crate) mod checks;
mod completed;
mod content;
mod cost;
mod digest;
mod labelled;
mod latency;
mod matching;
mod nearest;
mod pattern;
mod priced;
mod relative;
mod sample;
mod table;
mod tail;
mod thin;
mod thinness;
mod total;
mod units;
mod weights;

pub use added::{Added, Columns, Costs};
pub use builder::{Builder, Source, group_of_text};
pub use content::{Completed, Kind, Trace};
pub use cost::{Charge, Cost};
pub use matching::in_order;
pub use sample::{Place, Rows};
pub use table::Table;
pub use tail::Tail;
pub use thin::Thin;
pub use total::{Sum, Total, Totals, WORDS};
pub(crate) use units::by_unit;
pub(crate) use weights::normalised_weights;
