//! One error type for the whole engine.

use std::path::PathBuf;

/// Everything that can go wrong; messages are one line, lower case, and name the argument.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller passed something that is not allowed.
    #[error("{0}")]
    Invalid(String),
    /// Bytes that are not an undamaged policy of a known version.
    #[error("{0}")]
    Format(String),
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// `observe` on a run that has already stopped.
    #[error("the run has stopped: no stage is waiting for a signal")]
    Stopped,
}

impl Error {
    /// An [`Error::Invalid`] from anything that prints.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }

    /// An [`Error::Format`] from anything that prints.
    pub fn format(message: impl Into<String>) -> Self {
        Self::Format(message.into())
    }
}

/// The engine's result type.
pub type Result<T> = std::result::Result<T, Error>;

/// Whether the parts of a policy fit each other; why not, if they do not.
pub type Checked = std::result::Result<(), &'static str>;

/// [`Checked`] that `holds`, else `problem`.
pub(crate) fn check(holds: bool, problem: &'static str) -> Checked {
    if holds { Ok(()) } else { Err(problem) }
}
