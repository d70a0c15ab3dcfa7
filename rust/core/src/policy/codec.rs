//! Policies to bytes and back: a [`super::frame`] around the policy as [`super::wire`] has it.
//!
//! A new optional field needs no new schema: readers take its absence for its default, and refuse fields that they do not
//! know. The schema changes where the meaning of a field does. Bytes are accepted only if the decoded parts fit each other,
//! so that no accepted policy can fail while deciding.

use std::path::Path;

use super::compiled::Policy;
use super::frame::{FAMILY, Frame, POLICY, digest_of};
use super::wire;
use crate::error::Result;
use crate::files;

/// The schema that this version writes, and the only one it reads.
pub const SCHEMA: u32 = 4;

const FRAME: Frame = Frame {
    magic: POLICY,
    schema: SCHEMA,
    noun: "policy",
    other: (FAMILY, "it holds a family of policies, which `PolicyFamily` reads"),
};

impl Policy {
    /// The policy as bytes, deterministic.
    ///
    /// # Errors
    /// [`Error::Format`](crate::Error::Format) if it cannot be encoded (out of memory) or would have more than
    /// [`MAX_BYTES`](super::MAX_BYTES).
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        FRAME.encode(&wire::Policy::from(self))
    }

    /// The policy that [`Policy::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`Error::Format`](crate::Error::Format) for anything else: damaged, truncated, extended, or of another schema.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        FRAME.decode::<wire::Policy>(bytes)?.try_into()
    }

    /// Hexadecimal SHA-256 of the policy: the checksum that ends its bytes. Computed once.
    ///
    /// # Errors
    /// As [`Policy::to_bytes`].
    pub fn digest(&self) -> Result<&str> {
        let digest = self.digest.get_or_try_init(|| Ok(Box::new(digest_of(&self.to_bytes()?))));
        digest.map(String::as_str)
    }

    /// Writes the policy to `path`: after a crash the file holds the old policy or the new one; see [`files::write`].
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) if the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        files::write(path, &self.to_bytes()?, &mut || true)
    }

    /// Reads the policy that [`Policy::save`] wrote. Of a file that does not begin as a policy no more is read than that.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) if the file cannot be read, [`Error::Invalid`](crate::Error::Invalid) if it is a
    /// pipe or a device, [`Error::Format`](crate::Error::Format) if it holds no undamaged policy.
    pub fn load(path: &Path) -> Result<Self> {
        FRAME.load(path, Self::from_bytes)
    }
}
