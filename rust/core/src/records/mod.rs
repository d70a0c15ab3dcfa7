//! Records of served requests in files: written in blocks by many processes, read in bounded memory.
//!
//! A *file* is a sequence of blocks and belongs to one writer. A *block* holds records of one policy, column by column,
//! with a checksum (`frame`). What is damaged is passed over, and what was not written to its end is left out (`scan`).

mod about;
mod cells;
mod checksum;
mod columns;
mod drawn;
mod frame;
#[cfg(test)]
mod made;
mod reader;
mod scan;
mod segments;
mod writer;

pub use about::About;
pub use columns::{ANSWERED, BARRED, CAPPED, Columns, EXPLORED, Ending, FAILED, FOR_RECORD, LATE, Row, Step};
pub use drawn::{is_explored, priority};
pub use frame::{MOST_ROWS, VERSION, encode};
pub use reader::{Counts, Damage, Gathered, Reader, Truth, Wanted};
pub use scan::{Found, Scan};
pub use segments::{SUFFIX, Segments};
pub use writer::{Appender, Pending, Pushed, now};
