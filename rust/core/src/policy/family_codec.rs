//! Families to bytes and back: a [`super::frame`] around the family as [`super::wire`] has it, which keeps what members
//! share once.

use std::path::Path;

use super::family::Family;
use super::frame::{FAMILY, Frame, POLICY, digest_of};
use super::wire;
use crate::error::Result;
use crate::files;

/// The schema of families that this version writes, and the only one it reads.
const SCHEMA: u32 = 2;

const FRAME: Frame = Frame {
    magic: FAMILY,
    schema: SCHEMA,
    noun: "family",
    other: (POLICY, "it holds one policy, which `Policy` reads"),
};

impl Family {
    /// The family as bytes, deterministic.
    ///
    /// # Errors
    /// [`Error::Format`](crate::Error::Format) if it cannot be encoded (out of memory) or would have more than
    /// [`MAX_BYTES`](super::MAX_BYTES).
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        FRAME.encode(&wire::Family::of(self)?)
    }

    /// The family that [`Family::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`Error::Format`](crate::Error::Format) for anything else: damaged, truncated, extended, or of another schema.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        FRAME.decode::<wire::Family>(bytes)?.try_into()
    }

    /// Hexadecimal SHA-256 of the family: the checksum that ends its bytes. Computed once.
    ///
    /// # Errors
    /// As [`Family::to_bytes`].
    pub fn digest(&self) -> Result<&str> {
        let digest = self.digest.get_or_try_init(|| Ok(Box::new(digest_of(&self.to_bytes()?))));
        digest.map(String::as_str)
    }

    /// Writes the family to `path`: after a crash the file holds the old content or the new one; see [`files::write`].
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) if the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        files::write(path, &self.to_bytes()?, &mut || true)
    }

    /// Reads the family that [`Family::save`] wrote. Of a file that does not begin as a family no more is read than that.
    ///
    /// # Errors
    /// As [`Policy::load`](super::Policy::load).
    pub fn load(path: &Path) -> Result<Self> {
        FRAME.load(path, Self::from_bytes)
    }
}
