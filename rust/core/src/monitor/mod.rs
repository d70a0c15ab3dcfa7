//! Whether the requests that a policy serves still look like those of a reference trace: an alarm that is valid whenever
//! one looks.
//!
//! The values of a watched quantity are put into cells that hold known shares of the reference (`cuts`). Under
//! exchangeability the cells of the stream are drawn from a Pólya urn; bets against it (`bets`) make a capital that is a
//! test martingale (`capital`). What is watched is in `watched`, how it is read from a request in `request`; [`Drift`] holds it all together.

mod bets;
mod capital;
mod cuts;
mod drift;
mod report;
mod request;
mod stored;
mod watched;

pub use drift::{Drift, FEWEST};
pub use report::{Alarm, Component, Direction};
pub use request::Said;
pub use watched::Watched;
