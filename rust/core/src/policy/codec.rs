//! Policies to bytes and back.
//!
//! | bytes | content |
//! | --- | --- |
//! | 8 | magic `TTAMER\r\n` |
//! | 4 | schema version, little endian |
//! | 8 | length of the body, little endian |
//! | … | body: the policy as [`super::wire`] has it, in `MessagePack`, fields by name |
//! | 32 | SHA-256 of everything before |
//!
//! A new optional field needs no new schema: readers take its absence for its default, and refuse fields that they do not
//! know. The schema changes where the meaning of a field does.
//!
//! The same policy always gives the same bytes. Bytes are accepted only if the checksum holds, nothing is missing or
//! left over, and the decoded parts fit each other, so that no accepted policy can fail while deciding.

use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::compiled::Policy;
use super::wire;
use crate::digits::hexadecimal;
use crate::error::{Error, Result};
use crate::files;
use crate::parallel;

const MAGIC: &[u8; 8] = b"TTAMER\r\n";
const HEADER: usize = MAGIC.len() + 4 + 8;
const CHECKSUM: usize = 32;

/// Bytes that a stored policy may have, 2³⁰: what claims to be one is not read beyond.
pub const MAX_BYTES: usize = 1 << 30;

/// The schema that this version writes, and the only one it reads.
pub const SCHEMA: u32 = 3;

impl Policy {
    /// The policy as bytes, deterministic.
    ///
    /// # Errors
    /// [`Error::Format`] if it cannot be encoded (out of memory) or would have more than [`MAX_BYTES`].
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let body = rmp_serde::to_vec_named(&wire::Policy::from(self))
            .map_err(|e| Error::format(format!("cannot encode the policy: {e}")))?;
        let mut bytes = Vec::with_capacity(HEADER + body.len() + CHECKSUM);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&SCHEMA.to_le_bytes());
        bytes.extend_from_slice(&(body.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&body);
        let checksum = digest_of(&bytes);
        bytes.extend_from_slice(&checksum);
        check_size(bytes.len())?;
        Ok(bytes)
    }

    /// The policy that [`Policy::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`Error::Format`] for anything else: damaged, truncated, extended, or of another schema.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        check_size(bytes.len())?;
        let refuse = |why: String| Err(Error::Format(why));
        if !bytes.starts_with(MAGIC) {
            return refuse("not a policy file: the first 8 bytes are not its magic".into());
        }
        let Some((content, checksum)) = bytes.split_last_chunk::<CHECKSUM>().filter(|(c, _)| c.len() >= HEADER) else {
            return refuse(format!("truncated policy file: {} bytes are fewer than any policy has", bytes.len()));
        };
        if digest_of(content) != *checksum {
            return refuse("damaged policy file: the checksum does not match".into());
        }
        let (header, body) = content.split_at(HEADER);
        let word = |from: usize, len: usize| {
            header.iter().skip(from).take(len).rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte))
        };
        let (schema, length) = (word(MAGIC.len(), 4), word(MAGIC.len() + 4, 8));
        if schema != u64::from(SCHEMA) {
            return refuse(format!("policy schema {schema} is not readable by this version, which reads {SCHEMA}"));
        }
        if length != body.len() as u64 {
            return refuse(format!("damaged policy file: body of {} bytes, expected {length}", body.len()));
        }
        let mut body = Watched { rest: body, unwatched: 0 };
        let stored = wire::Policy::deserialize(&mut rmp_serde::Deserializer::new(&mut body));
        let stored = stored.map_err(|e| Error::format(format!("damaged policy file: {e}")))?;
        if !body.rest.is_empty() {
            return refuse(format!("damaged policy file: {} bytes are left over", body.rest.len()));
        }
        Self::try_from(stored)
    }

    /// Hexadecimal SHA-256 of the policy: the checksum that ends its bytes. Computed once.
    ///
    /// # Errors
    /// As [`Policy::to_bytes`].
    pub fn digest(&self) -> Result<&str> {
        let digest = self.digest.get_or_try_init(|| {
            let bytes = self.to_bytes()?;
            let checksum = bytes.last_chunk::<CHECKSUM>().map_or(&[][..], |checksum| checksum);
            Ok(Box::new(hexadecimal(checksum)))
        });
        digest.map(String::as_str)
    }

    /// Writes the policy to `path`: after a crash the file holds the old policy or the new one; see [`files::write`].
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        files::write(path, &self.to_bytes()?, &mut || true)
    }

    /// Reads the policy that [`Policy::save`] wrote. Of a file that does not begin as a policy no more is read than that.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, [`Error::Invalid`] if it is a pipe or a device, [`Error::Format`] if it
    /// holds no undamaged policy.
    pub fn load(path: &Path) -> Result<Self> {
        let content = files::read(path, MAGIC, MAX_BYTES)?;
        Self::from_bytes(&content).map_err(|error| Error::Format(format!("{}: {error}", path.display())))
    }
}

fn check_size(bytes: usize) -> Result<()> {
    if bytes <= MAX_BYTES {
        return Ok(());
    }
    Err(Error::format(format!("too large for a policy file: it may have at most {MAX_BYTES} bytes")))
}

/// Bytes hashed or decoded between two looks at whether to go on.
const PIECE: usize = 1 << 16;

fn digest_of(content: &[u8]) -> [u8; CHECKSUM] {
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
    fn larger_files_than_any_policy_are_not_looked_at() {
        let refused = Policy::from_bytes(&vec![0; MAX_BYTES + 1]).map_err(|error| error.to_string());
        let told = format!("too large for a policy file: it may have at most {MAX_BYTES} bytes");
        assert_eq!(refused, Err(told));
        assert!(check_size(MAX_BYTES).is_ok());
    }
}
