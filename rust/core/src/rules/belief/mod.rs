//! Posterior belief with recall (theory, section 4): calibrate, weigh all answers against each other, compare the best
//! with the index.

mod calibration;
mod cells;
mod complete;
mod curve;
mod describe;
mod detour;
mod disputes;
mod entry;
mod hand;
mod hot;
mod layout;
mod memory;
mod node;
mod nothing;
mod pairs;
mod patterns;
mod reading;
mod report;
mod rule;
mod tilt;
mod time;
mod weigh;
mod without;

pub use calibration::{Calibration, Classes, LOGIT_LIMIT};
pub use curve::{Curve, KNOTS, Levels};
pub(super) use memory::BeliefMemory;
pub use node::{Evidence, Line, Node};
pub use nothing::Nothing;
pub use pairs::{PARTS, Pair};
pub use reading::{Reading, Readings, SLOTS};
pub use rule::BeliefRule;
pub use tilt::Tilt;
pub use time::{MAX_BLOCKS, Time};
pub use weigh::Beliefs;
pub use without::{Detour, Without};
