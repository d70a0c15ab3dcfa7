//! What the stages in hand have said.

use super::super::prediction::NO_PREDICTION;

/// Answers that are weighed against each other; on a longer path the oldest is let go.
pub const SLOTS: usize = 8;

/// What one stage said.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// Calibrated logit of its expected loss; infinite if its signal was not a number, NaN if it gave nothing at all.
    pub logit: f64,
    /// Its prediction.
    pub prediction: i64,
}

impl Reading {
    /// Nothing.
    pub const NONE: Self = Self { logit: f64::INFINITY, prediction: NO_PREDICTION };

    /// A stage that ran and gave nothing: it is no answer, and no evidence about the others.
    pub const FAILED: Self = Self { logit: f64::NAN, prediction: NO_PREDICTION };

    /// Whether the stage gave nothing at all.
    #[inline]
    pub(super) fn is_failed(&self) -> bool {
        self.logit.is_nan()
    }

    /// Whether it has both a signal and a prediction.
    #[inline]
    pub fn is_complete(&self) -> bool {
        self.is_known() && self.prediction != NO_PREDICTION
    }

    /// Whether its signal was a number.
    #[inline]
    pub(super) fn is_known(&self) -> bool {
        self.logit < f64::INFINITY
    }
}
