//! Checks of parts that several rules have.

use crate::error::{Checked, check};

/// Checks that there is a finite mean loss for each of so many stages.
pub(super) fn mean_losses(mean_loss: &[f64], stages: usize) -> Checked {
    check(mean_loss.len() == stages, "the mean losses do not fit the stages")?;
    check(mean_loss.iter().all(|r| r.is_finite()), "a mean loss is not finite")
}

/// Checks the loss of answering with nothing, which may be infinite.
pub(super) fn default_loss(loss: f64) -> Checked {
    check(!loss.is_nan(), "the default loss is not a number")
}
