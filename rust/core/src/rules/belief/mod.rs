//! Posterior belief with recall (theory, section 4): calibrate, weigh all answers against each other, compare the best
//! with the index.

mod calibration;
mod complete;
mod curve;
mod describe;
mod detour;
mod disputes;
mod entry;
mod hand;
mod node;
mod nothing;
mod pairs;
mod reading;
mod rule;
mod tilt;
mod time;
mod weigh;
mod without;

pub use calibration::{Calibration, Classes, LOGIT_LIMIT};
pub use curve::{Curve, KNOTS, Levels};
pub use node::{Evidence, Line, Node};
pub use nothing::Nothing;
pub use pairs::{PARTS, Pair};
pub use reading::{Reading, SLOTS};
pub use rule::BeliefRule;
pub use tilt::Tilt;
pub use time::{MAX_BLOCKS, Time};
pub use weigh::Beliefs;
pub use without::{Detour, Without};
