//! The least loss in hand, where states and therefore losses are observed.

use super::progress::Progress;

/// The least loss in hand, in the model's unit; infinite while there is none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hand {
    /// The loss itself.
    pub loss: f64,
}

impl Hand {
    /// A stage of this loss (infinite: its state could not be read) becomes the answer if it is better than what is in
    /// hand, or if nothing is.
    #[inline]
    pub(super) fn take(&mut self, progress: &mut Progress, stage: u16, loss: f64) {
        if loss < self.loss || self.loss == f64::INFINITY {
            self.loss = loss;
            progress.answer = stage;
        }
    }

    /// The loss expected of the answer in hand: `prior` of its stage (k,) where its state could not be read.
    pub(super) fn expected_loss(self, progress: &Progress, prior: &[f64]) -> f64 {
        match progress.answer_stage() {
            Some(held) if self.loss == f64::INFINITY => prior.get(held).copied().unwrap_or(f64::INFINITY),
            _ => self.loss,
        }
    }
}
