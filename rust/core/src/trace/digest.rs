//! A fingerprint of everything in a trace.

use sha2::{Digest, Sha256};

use super::content::Trace;
use super::cost::Cost;
use super::table::Table;
use crate::digits::hexadecimal;
use crate::parallel;

/// Numbers turned into bytes at a time.
const PIECE: usize = 4096;

impl Trace {
    /// Hexadecimal SHA-256 of everything in the trace; O(n k) the first time.
    pub fn digest(&self) -> &str {
        self.digest.get_or_init(|| Box::new(of_trace(self)))
    }

    /// Hexadecimal SHA-256 of the weights as given, if any were. O(n).
    pub fn weight_digest(&self) -> Option<String> {
        self.given_weight().map(|weight| {
            let mut content = Content(Sha256::new());
            content.numbers(weight, f64::to_le_bytes);
            hexadecimal(&content.0.finalize())
        })
    }
}

/// Hexadecimal SHA-256 of kind, names, signals, losses, costs, latencies, propensities, predictions, weights and groups. O(n k).
fn of_trace(trace: &Trace) -> String {
    let mut content = Content(Sha256::new());
    content.text("kind", trace.kind().name());
    for stage in trace.names() {
        content.text("stage", stage);
    }
    if let Some(teacher) = trace.teacher() {
        content.text("teacher", teacher);
    }
    content.table("signal", trace.signals(), f64::to_le_bytes);
    content.table("loss", trace.losses(), f64::to_le_bytes);
    match trace.cost() {
        Cost::Alike(cost) => content.list("cost", cost, f64::to_le_bytes),
        Cost::Rows(cost) => content.table("cost", cost, f64::to_le_bytes),
    }
    if let Some(latency) = trace.latencies() {
        content.table("latency", latency, f64::to_le_bytes);
    }
    if let Some(propensity) = trace.propensity() {
        content.table("propensity", propensity, f64::to_le_bytes);
    }
    if let Some(prediction) = trace.predictions() {
        content.table("prediction", prediction, i64::to_le_bytes);
    }
    if let Some(weight) = trace.given_weight() {
        content.list("weight", weight, f64::to_le_bytes);
    }
    if let Some(group) = trace.group() {
        content.list("group", group, i64::to_le_bytes);
    }
    hexadecimal(&content.0.finalize())
}

/// Fields, each behind its name and its size, so that no two contents give the same bytes.
struct Content(Sha256);

impl Content {
    fn text(&mut self, name: &str, text: &str) {
        self.0.update(format!("{name} {} ", text.len()));
        self.0.update(text);
    }

    fn table<T: Copy + Default + Send + Sync>(&mut self, name: &str, table: &Table<T>, bytes: fn(T) -> [u8; 8]) {
        self.0.update(format!("{name} {} {} ", table.rows(), table.columns()));
        self.numbers(table.cells(), bytes);
    }

    fn list<T: Copy>(&mut self, name: &str, list: &[T], bytes: fn(T) -> [u8; 8]) {
        self.0.update(format!("{name} {} ", list.len()));
        self.numbers(list, bytes);
    }

    fn numbers<T: Copy>(&mut self, numbers: &[T], bytes: fn(T) -> [u8; 8]) {
        let mut buffer = Vec::with_capacity(8 * PIECE);
        for piece in numbers.chunks(PIECE) {
            parallel::check();
            buffer.clear();
            buffer.extend(piece.iter().flat_map(|number| bytes(*number)));
            self.0.update(&buffer);
        }
    }
}
