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
    /// The work was ended before it was done ([`crate::interruptible`]).
    #[error("interrupted")]
    Interrupted,
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

/// A number as messages show it, the same in both languages.
pub(crate) fn number(x: f64) -> String {
    if x.is_nan() { "nan".into() } else { format!("{x:?}") }
}

/// A number to so many significant digits, without zeros at the end.
pub(crate) fn significant(x: f64, digits: usize) -> String {
    fn trimmed(text: &str) -> &str {
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
    }
    let scientific = format!("{x:.0$e}", digits.saturating_sub(1));
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return number(x) };
    let exponent: i64 = exponent.parse().unwrap_or(0);
    if (-4..digits as i64).contains(&exponent) {
        let places = usize::try_from(digits as i64 - 1 - exponent).unwrap_or(0);
        trimmed(&format!("{x:.places$}")).into()
    } else {
        format!("{}e{exponent:+03}", trimmed(mantissa))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_in_few_digits() {
        let shown =
            [1.25, 0.333_333_333, 0.000_123_456_789, 123_456.7, 2.0, 0.0, 1e-9, 1_234_567.8].map(|x| significant(x, 6));
        assert_eq!(shown, ["1.25", "0.333333", "0.000123457", "123457", "2", "0", "1e-09", "1.23457e+06"]);
        assert_eq!([f64::NAN, f64::INFINITY, -0.5].map(number), ["nan", "inf", "-0.5"]);
    }
}
