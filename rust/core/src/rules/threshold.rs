//! Confidence thresholds, and static choices as the case without any: they answer with the last stage.

use serde_json::{Value, json};

use super::describe::{number, numbers};
use super::given::Given;
use super::observation::Observation;
use super::progress::Progress;
use super::rule::Rule;
use super::walk::Walk;
use crate::error::{Checked, check};
use crate::plan::{NO_STAGE, STOP, unsigned};
use crate::price::Price;

/// Stop as soon as `signal >= threshold[stage]`; else go on along the walk. At its end a signal may be too low for any
/// answer.
#[derive(Clone, Debug, PartialEq)]
pub struct ThresholdRule {
    /// Which stage comes after which.
    pub walk: Walk,
    /// Least signal that stops (k,); infinite: never.
    pub threshold: Vec<f64>,
    /// Least signal of the last stage that is an answer at all; minus infinity: whatever it is.
    pub reject: f64,
}

impl ThresholdRule {
    #[inline]
    fn after(&self, stage: u16, signal: f64) -> u16 {
        let stops = self.threshold.get(usize::from(stage)).is_none_or(|threshold| signal >= *threshold);
        unsigned(if stops { STOP } else { self.walk.after(stage) })
    }

    /// Whether a signal of the last stage is too low for an answer.
    #[inline]
    fn rejects(&self, signal: f64) -> bool {
        self.reject > f64::NEG_INFINITY && (signal.is_nan() || signal < self.reject)
    }
}

impl Rule for ThresholdRule {
    /// Whether the signal of the answer in hand could be read.
    type Memory = bool;

    fn complete(&mut self, stages: usize, price: &Price) -> Checked {
        check(self.threshold.len() == stages, "the thresholds do not fit the stages")?;
        check(!self.threshold.iter().any(|t| t.is_nan()), "a threshold is not a number")?;
        check(!self.reject.is_nan(), "a threshold is not a number")?;
        self.walk.check(stages, price)
    }

    fn recall(&self) -> bool {
        false
    }

    fn describe(&self) -> Value {
        let found = json!({
            "type": "threshold", "entry": self.walk.entry, "threshold": numbers(&self.threshold),
            "successor": self.walk.successor, "mean_loss": numbers(&self.walk.mean_loss),
        });
        self.walk.describe_nothing(found, "reject", number(self.reject))
    }

    #[inline]
    fn begin(&self, _: Given) -> (Progress, bool) {
        (Progress::new(unsigned(self.walk.entry)), false)
    }

    #[inline]
    fn observe(&self, progress: &mut Progress, is_readable: &mut bool, observation: Observation, price: &Price) {
        let stage = progress.pay_from(price);
        Walk::take_last(progress, is_readable, stage, observation.signal);
        progress.next = self.after(stage, observation.signal);
        if self.walk.is_last(stage) && self.rejects(observation.signal) {
            progress.answer = NO_STAGE;
        }
    }

    fn fail(&self, progress: &mut Progress, _: &mut bool, _: &[u16], _: f64, price: &Price) {
        let stage = progress.pay_from(price);
        progress.next = unsigned(self.walk.after(stage));
    }

    fn alone(&self, stage: u16, _: Observation) -> Option<f64> {
        self.walk.mean_of(stage)
    }

    fn expected_loss(&self, progress: &Progress, _: &bool) -> f64 {
        self.walk.expected_loss(progress)
    }

    fn default_loss(&self) -> f64 {
        self.walk.default_loss
    }

    fn is_exact_without(&self, barred: &[u16]) -> bool {
        self.walk.avoids(barred)
    }

    #[inline]
    fn after_first(&self, observation: Observation) -> Option<u16> {
        let entry = unsigned(self.walk.entry);
        // Where the first stage is also the last, its answer may be refused.
        let is_answer = self.reject == f64::NEG_INFINITY || !self.walk.is_last(entry);
        is_answer.then(|| self.after(entry, observation.signal))
    }
}
