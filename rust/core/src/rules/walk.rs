//! What the heuristics share: they walk forward over the stages and answer with the last one.

use serde_json::Value;

use super::checks;
use super::describe::{extended, number};
use super::progress::Progress;
use crate::error::{Checked, check};
use crate::plan::{NO_STAGE, STOP};
use crate::price::Price;

/// A walk over the stages, and the mean loss of each on the calibration trace, and of nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Walk {
    /// The stage to run first; [`STOP`] where nothing is answered at once.
    pub entry: i32,
    /// The stage after each one, [`STOP`] after the last (k,).
    pub successor: Vec<i32>,
    /// Mean loss of each stage, in the unit of the losses, infinite of those that never answer (k,).
    pub mean_loss: Vec<f64>,
    /// Loss of answering with nothing, in the unit of the losses; infinite: some stage has to answer.
    pub default_loss: f64,
}

impl Walk {
    /// The stage after `stage`.
    #[inline]
    pub(super) fn after(&self, stage: u16) -> i32 {
        self.successor.get(usize::from(stage)).copied().unwrap_or(STOP)
    }

    /// Whether none of these stages is on the walk.
    pub(super) fn avoids(&self, barred: &[u16]) -> bool {
        !self.stages().any(|stage| barred.contains(&stage))
    }

    /// The last stage with a readable signal becomes the answer; one without does only while there is no other.
    #[inline]
    pub(super) fn take_last(progress: &mut Progress, is_readable: &mut bool, stage: u16, signal: f64) {
        if !signal.is_nan() || !*is_readable {
            progress.answer = stage;
        }
        *is_readable |= !signal.is_nan();
    }

    /// The stages that may run, in their order; one after the other leads forward.
    fn stages(&self) -> impl Iterator<Item = u16> {
        let step = |stage: &u16| u16::try_from(self.after(*stage)).ok();
        std::iter::successors(u16::try_from(self.entry).ok(), step)
    }

    /// Mean loss of a stage; none of one that never answers.
    pub(super) fn mean_of(&self, stage: u16) -> Option<f64> {
        self.mean_loss.get(usize::from(stage)).copied().filter(|loss| *loss < f64::INFINITY)
    }

    /// Whether a request ends after `stage` because nothing follows it.
    pub(super) fn is_last(&self, stage: u16) -> bool {
        self.after(stage) == STOP
    }

    /// The mean loss of the stage in hand: such rules know no more.
    pub(super) fn expected_loss(&self, progress: &Progress) -> f64 {
        let held = progress.answer_stage().and_then(|held| self.mean_loss.get(held).copied());
        held.unwrap_or(self.default_loss)
    }

    /// An object with what is known about answering with nothing, where that may happen.
    pub(super) fn describe_nothing(&self, found: Value, name: &'static str, what: Value) -> Value {
        if self.default_loss == f64::INFINITY {
            return found;
        }
        extended(found, [("default_loss", number(self.default_loss)), (name, what)])
    }

    /// Checks that the walk goes forward over `stages` stages, and therefore ends.
    pub(super) fn check(&self, stages: usize, price: &Price) -> Checked {
        checks::default_loss(self.default_loss)?;
        let may_end = self.default_loss < f64::INFINITY;
        let begins = (0..stages as i32).contains(&self.entry) || (self.entry == STOP && may_end);
        check(begins, "the first stage is not one of the stages")?;
        check(self.successor.len() == stages, "the order of stages does not fit the stages")?;
        let is_forward = |(v, next): (usize, &i32)| *next == STOP || (*next > v as i32 && *next < stages as i32);
        check(self.successor.iter().enumerate().all(is_forward), "the order of stages does not lead forward")?;
        let onward = self.successor.iter().enumerate().filter(|(_, next)| **next != STOP);
        let steps = onward.map(|(v, next)| (v as u16, *next as usize));
        let first = usize::try_from(self.entry).ok().map(|entry| (NO_STAGE, entry));
        checks::priced(price, steps.chain(first))?;
        checks::mean_losses_of_some(&self.mean_loss, stages)?;
        check(self.stages().all(|stage| self.mean_of(stage).is_some()), "a stage that runs never answers")
    }
}
