//! The error for parts that do not even make a rule.

use crate::error::Error;

/// Names the part.
pub(super) fn misfit(problem: &str) -> Error {
    Error::format(format!("invalid policy: {problem}"))
}
