//! What decisions are judged by besides the rows of a trace.

use crate::error::{Error, Result, number};
use crate::trace::Trace;

/// What decisions are judged by besides the rows of a trace.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Terms {
    /// Loss of answering with nothing, in the unit of the losses; none: the policy's own.
    pub default_loss: Option<f64>,
    /// Seconds that each request has, which stages that are late are cut off by; none, or infinite: no deadline.
    pub deadline: Option<f64>,
}

impl Terms {
    /// What answering with nothing loses on `trace`; the policy's own default loss is infinite where it has none, and is
    /// then the largest loss of the trace. O(n k).
    pub fn nothing(&self, of_policy: f64, trace: &Trace) -> f64 {
        let loss = self.default_loss.unwrap_or(of_policy);
        if loss < f64::INFINITY { loss } else { largest_loss(trace) }
    }

    /// The deadline, if there is one.
    ///
    /// # Errors
    /// [`Error::Invalid`] where it is no number of seconds, or `trace` does not say how long stages took.
    pub fn deadline_on(&self, trace: &Trace) -> Result<Option<f64>> {
        let Some(deadline) = self.deadline else { return Ok(None) };
        if !deadline.is_sign_positive() || deadline.is_nan() {
            return Err(Error::invalid(format!("`deadline` must be 0 or more seconds, got {}", number(deadline))));
        }
        if trace.latencies().is_none() {
            return Err(Error::invalid(
                "`trace` must say how long stages took, `latency`, to be judged under a deadline",
            ));
        }
        Ok((deadline < f64::INFINITY).then_some(deadline))
    }
}

/// The largest loss of a trace that is finite; 0 without one. O(n k).
fn largest_loss(trace: &Trace) -> f64 {
    let losses = trace.losses().iter_columns().flatten().copied();
    losses.filter(|loss| loss.is_finite()).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Kind;

    #[test]
    fn nothing_loses_what_is_said_else_the_largest_loss() {
        let trace = Trace::from_rows(&[0.5; 4], &[0.0, 3.0, 1.0, 2.0], None, &[1.0, 1.0], Kind::Models).ok();
        let nothing = |said, of_policy| {
            trace.as_ref().map(|trace| Terms { default_loss: said, deadline: None }.nothing(of_policy, trace))
        };
        assert_eq!(nothing(None, f64::INFINITY), Some(3.0));
        assert_eq!(nothing(None, 0.5), Some(0.5));
        assert_eq!(nothing(Some(0.25), 0.5), Some(0.25));
        assert_eq!(nothing(Some(f64::INFINITY), 0.5), Some(3.0));
    }
}
