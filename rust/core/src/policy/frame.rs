//! The frame of every file of policies: a magic, a schema, a body in `MessagePack` with fields by name, and a checksum.
//!
//! | bytes | content |
//! | --- | --- |
//! | 8 | magic |
//! | 4 | schema version, little endian |
//! | 8 | length of the body, little endian |
//! | … | body |
//! | 32 | SHA-256 of everything before |
//!
//! The same content always gives the same bytes. A body is decoded only if the checksum holds and nothing is missing; it is
//! refused where something is left over.

use std::io::Read;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::digits::hexadecimal;
use crate::error::{Error, Result};
use crate::files;
use crate::parallel;

/// Bytes of a magic.
const MAGIC: usize = 8;

/// What a file of a policy begins with.
pub(super) const POLICY: &[u8; MAGIC] = b"TTAMER\r\n";

/// What a file of a family begins with.
pub(super) const FAMILY: &[u8; MAGIC] = b"TTFAMI\r\n";

const HEADER: usize = MAGIC + 4 + 8;
const CHECKSUM: usize = 32;

/// Bytes that a stored policy or family may have, 2³⁰: what claims to be one is not read beyond.
pub const MAX_BYTES: usize = 1 << 30;

/// One kind of file.
pub(super) struct Frame {
    /// What a file of the kind begins with.
    pub magic: &'static [u8; MAGIC],
    /// The schema that is written, and the only one that is read.
    pub schema: u32,
    /// What it holds, in messages.
    pub noun: &'static str,
    /// What another kind of file begins with, and what to do with such a file.
    pub other: (&'static [u8; MAGIC], &'static str),
}

impl Frame {
    /// Content as bytes, deterministic.
    ///
    /// # Errors
    /// [`Error::Format`] if it cannot be encoded (out of memory) or would have more than [`MAX_BYTES`].
    pub fn encode(&self, content: &impl Serialize) -> Result<Vec<u8>> {
        let body = rmp_serde::to_vec_named(content)
            .map_err(|e| Error::format(format!("cannot encode the {}: {e}", self.noun)))?;
        let mut bytes = Vec::with_capacity(HEADER + body.len() + CHECKSUM);
        bytes.extend_from_slice(self.magic);
        bytes.extend_from_slice(&self.schema.to_le_bytes());
        bytes.extend_from_slice(&(body.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&body);
        let checksum = checksum_of(&bytes);
        bytes.extend_from_slice(&checksum);
        self.check_size(bytes.len())?;
        Ok(bytes)
    }

    /// The content that [`Frame::encode`] made bytes of.
    ///
    /// # Errors
    /// [`Error::Format`] for anything else: damaged, truncated, extended, of another kind or schema.
    pub fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T> {
        let noun = self.noun;
        self.check_size(bytes.len())?;
        let refuse = |why: String| Err(Error::Format(why));
        if !bytes.starts_with(self.magic) {
            let (other, what) = self.other;
            let why = if bytes.starts_with(other) { what } else { "the first 8 bytes are not its magic" };
            return refuse(format!("not a {noun} file: {why}"));
        }
        let Some((content, checksum)) = bytes.split_last_chunk::<CHECKSUM>().filter(|(c, _)| c.len() >= HEADER) else {
            return refuse(format!("truncated {noun} file: {} bytes are fewer than any {noun} has", bytes.len()));
        };
        if checksum_of(content) != *checksum {
            return refuse(format!("damaged {noun} file: the checksum does not match"));
        }
        let (header, body) = content.split_at(HEADER);
        let word = |from: usize, len: usize| {
            header.iter().skip(from).take(len).rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte))
        };
        let (schema, length) = (word(MAGIC, 4), word(MAGIC + 4, 8));
        if schema != u64::from(self.schema) {
            let reads = self.schema;
            return refuse(format!("{noun} schema {schema} is not readable by this version, which reads {reads}"));
        }
        if length != body.len() as u64 {
            return refuse(format!("damaged {noun} file: body of {} bytes, expected {length}", body.len()));
        }
        let mut body = Watched { rest: body, unwatched: 0 };
        let content = T::deserialize(&mut rmp_serde::Deserializer::new(&mut body))
            .map_err(|e| Error::format(format!("damaged {noun} file: {e}")))?;
        if !body.rest.is_empty() {
            return refuse(format!("damaged {noun} file: {} bytes are left over", body.rest.len()));
        }
        Ok(content)
    }

    /// What `read` makes of the bytes of a file; of a file of another kind no more is read than its beginning.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, [`Error::Invalid`] if it is a pipe or a device, [`Error::Format`] as
    /// `read` says, with the path.
    pub fn load<T>(&self, path: &Path, read: impl FnOnce(&[u8]) -> Result<T>) -> Result<T> {
        let content = files::read(path, self.magic, MAX_BYTES)?;
        read(&content).map_err(|error| Error::Format(format!("{}: {error}", path.display())))
    }

    fn check_size(&self, bytes: usize) -> Result<()> {
        if bytes <= MAX_BYTES {
            return Ok(());
        }
        Err(Error::format(format!("too large for a {} file: it may have at most {MAX_BYTES} bytes", self.noun)))
    }
}

/// The checksum that ends these bytes, hexadecimal.
pub(super) fn digest_of(bytes: &[u8]) -> String {
    hexadecimal(bytes.last_chunk::<CHECKSUM>().map_or(&[][..], |checksum| checksum))
}

/// Bytes hashed or decoded between two looks at whether to go on.
const PIECE: usize = 1 << 16;

fn checksum_of(content: &[u8]) -> [u8; CHECKSUM] {
    let mut digest = Sha256::new();
    for piece in content.chunks(PIECE) {
        parallel::check();
        digest.update(piece);
    }
    digest.finalize().into()
}

/// Bytes that are decoded for as long as nobody interrupts.
struct Watched<'a> {
    rest: &'a [u8],
    unwatched: usize,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.rest.read(buffer)?;
        self.unwatched += count;
        if self.unwatched >= PIECE {
            self.unwatched = 0;
            parallel::check();
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::thread::sleep;
    use std::time::Duration;

    use super::*;
    use crate::parallel::interruptible;

    #[test]
    fn a_look_is_taken_once_a_piece() {
        let (bytes, reads) = (vec![0; 4 * PIECE], Cell::new(0));
        let ended = interruptible(
            || true,
            || {
                // Until it is time to ask.
                sleep(Duration::from_millis(100));
                let mut body = Watched { rest: &bytes, unwatched: 0 };
                let mut half = vec![0; PIECE / 2];
                while body.read(&mut half).is_ok_and(|count| count > 0) {
                    reads.set(reads.get() + 1);
                }
            },
        );
        assert!(matches!(ended, Err(Error::Interrupted)));
        assert_eq!(reads.get(), 1, "reads before the look");
    }

    #[test]
    fn larger_files_than_any_are_not_looked_at() {
        let frame = Frame { magic: b"ANYTHING", schema: 1, noun: "word", other: (b"NOTHING\n", "nothing") };
        let refused = frame.decode::<String>(&vec![0; MAX_BYTES + 1]).map_err(|error| error.to_string());
        let told = format!("too large for a word file: it may have at most {MAX_BYTES} bytes");
        assert_eq!(refused, Err(told));
        assert!(frame.check_size(MAX_BYTES).is_ok());
    }
}
