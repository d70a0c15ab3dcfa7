//! Records of served requests: what writes them, and what reads them.

mod reader;
mod steps;
mod writer;

pub use reader::{RecordReader, RecordTruth};
pub use writer::{RecordWriter, drawn, drawn_of_batch};
