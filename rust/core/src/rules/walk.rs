//! What the heuristics share: they walk forward over the stages and answer with the last one.

use super::checks;
use super::progress::Progress;
use crate::error::{Checked, check};
use crate::plan::{NO_STAGE, STOP};
use crate::price::Price;

/// A walk over the stages, and the mean loss of each on the calibration trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Walk {
    /// The stage to run first.
    pub entry: i32,
    /// The stage after each one, [`STOP`] after the last (k,).
    pub successor: Vec<i32>,
    /// Mean loss of each stage, in the unit of the losses (k,).
    pub mean_loss: Vec<f64>,
}

impl Walk {
    /// The stage after `stage`.
    #[inline]
    pub(super) fn after(&self, stage: u16) -> i32 {
        self.successor.get(usize::from(stage)).copied().unwrap_or(STOP)
    }

    /// Whether none of these stages is on the walk.
    pub(super) fn avoids(&self, barred: &[u16]) -> bool {
        let mut at = self.entry;
        while let Ok(stage) = u16::try_from(at) {
            if barred.contains(&stage) {
                return false;
            }
            at = self.after(stage);
        }
        true
    }

    /// The last stage with a readable signal becomes the answer; one without does only while there is no other.
    #[inline]
    pub(super) fn take_last(progress: &mut Progress, is_readable: &mut bool, stage: u16, signal: f64) {
        if !signal.is_nan() || !*is_readable {
            progress.answer = stage;
        }
        *is_readable |= !signal.is_nan();
    }

    /// The mean loss of the stage in hand: such rules know no more.
    pub(super) fn expected_loss(&self, progress: &Progress) -> f64 {
        let held = progress.answer_stage().and_then(|held| self.mean_loss.get(held).copied());
        held.unwrap_or(f64::INFINITY)
    }

    /// Checks that the walk goes forward over `stages` stages, and therefore ends.
    pub(super) fn check(&self, stages: usize, price: &Price) -> Checked {
        check((0..stages as i32).contains(&self.entry), "the first stage is not one of the stages")?;
        check(self.successor.len() == stages, "the order of stages does not fit the stages")?;
        let is_forward = |(v, next): (usize, &i32)| *next == STOP || (*next > v as i32 && *next < stages as i32);
        check(self.successor.iter().enumerate().all(is_forward), "the order of stages does not lead forward")?;
        let onward = self.successor.iter().enumerate().filter(|(_, next)| **next != STOP);
        let steps = onward.map(|(v, next)| (v as u16, *next as usize));
        checks::priced(price, steps.chain([(NO_STAGE, self.entry as usize)]))?;
        checks::mean_losses(&self.mean_loss, stages)
    }
}
