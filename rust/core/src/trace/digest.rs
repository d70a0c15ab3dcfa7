//! Fingerprints of named content.

use sha2::{Digest, Sha256};

use super::table::Table;

/// Numbers turned into bytes at a time.
const PIECE: usize = 4096;

/// SHA-256 of fields, each behind its name and its size, so that no two contents give the same bytes.
#[derive(Default)]
pub struct Fingerprint(Sha256);

impl Fingerprint {
    /// A text.
    pub fn text(&mut self, name: &str, text: &str) {
        self.0.update(format!("{name} {} ", text.len()));
        self.0.update(text);
    }

    /// A table of numbers, column by column.
    pub fn table<T: Copy + Default + Send + Sync>(&mut self, name: &str, table: &Table<T>, bytes: fn(T) -> [u8; 8]) {
        self.0.update(format!("{name} {} {} ", table.rows(), table.columns()));
        self.numbers(table.cells(), bytes);
    }

    /// A list of numbers.
    pub fn list<T: Copy>(&mut self, name: &str, list: &[T], bytes: fn(T) -> [u8; 8]) {
        self.0.update(format!("{name} {} ", list.len()));
        self.numbers(list, bytes);
    }

    /// Numbers alone.
    pub fn numbers<T: Copy>(&mut self, numbers: &[T], bytes: fn(T) -> [u8; 8]) {
        let mut buffer = Vec::with_capacity(8 * PIECE);
        for piece in numbers.chunks(PIECE) {
            buffer.clear();
            buffer.extend(piece.iter().flat_map(|number| bytes(*number)));
            self.0.update(&buffer);
        }
    }

    /// Of everything so far, hexadecimal.
    pub fn finish(self) -> String {
        let digits = self.0.finalize();
        let digits = digits.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        digits.filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect()
    }
}
