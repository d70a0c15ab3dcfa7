//! What the stages in hand have said.

use super::super::prediction::NO_PREDICTION;

/// Answers that are weighed against each other; on a longer path the oldest is let go.
pub const SLOTS: usize = 8;

/// What one stage said.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// Calibrated logit of its expected loss; infinite if its signal was not a number.
    pub logit: f64,
    /// Its prediction.
    pub prediction: i64,
}

impl Reading {
    /// Nothing.
    pub const NONE: Self = Self { logit: f64::INFINITY, prediction: NO_PREDICTION };

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
