//! From raw signals to logits of the expected loss, one stage at a time (theory, section 4).

mod classes;
mod curve;
mod knots;
mod rows;
mod stage;

pub use classes::frequent;
pub use stage::{Column, calibration};
