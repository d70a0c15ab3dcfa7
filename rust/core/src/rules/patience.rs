//! Patience: stop once enough consecutive stages gave the same prediction. Answers with the last stage.

use serde_json::{Value, json};

use super::describe::numbers;
use super::given::Given;
use super::observation::Observation;
use super::prediction::NO_PREDICTION;
use super::progress::Progress;
use super::rule::Rule;
use super::walk::Walk;
use crate::error::Checked;
use crate::plan::{NO_STAGE, STOP, unsigned};
use crate::price::Price;

/// Stop after `patience` consecutive repetitions of a prediction.
#[derive(Clone, Debug, PartialEq)]
pub struct PatienceRule {
    /// Which stage comes after which.
    pub walk: Walk,
    /// Repetitions that stop.
    pub patience: u16,
    /// Whether a request that ends with fewer has no answer.
    pub rejects: bool,
}

/// What a request remembers: the last prediction, how often it was repeated, and whether the signal of the answer in
/// hand could be read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Streak {
    prediction: i64,
    repeats: u16,
    is_readable: bool,
}

impl PatienceRule {
    #[inline]
    fn after(&self, stage: u16, repeats: u16) -> u16 {
        unsigned(if repeats >= self.patience { STOP } else { self.walk.after(stage) })
    }
}

impl Rule for PatienceRule {
    type Memory = Streak;

    fn complete(&mut self, stages: usize, price: &Price) -> Checked {
        self.walk.check(stages, price)
    }

    fn recall(&self) -> bool {
        false
    }

    fn describe(&self) -> Value {
        let found = json!({
            "type": "patience", "entry": self.walk.entry, "patience": self.patience,
            "successor": self.walk.successor, "mean_loss": numbers(&self.walk.mean_loss),
        });
        self.walk.describe_nothing(found, "rejects", json!(self.rejects))
    }

    #[inline]
    fn begin(&self, _: Given) -> (Progress, Streak) {
        let streak = Streak { prediction: NO_PREDICTION, repeats: 0, is_readable: false };
        (Progress::new(unsigned(self.walk.entry)), streak)
    }

    #[inline]
    fn observe(&self, progress: &mut Progress, streak: &mut Streak, observation: Observation, price: &Price) {
        let stage = progress.pay_from(price);
        let repeats = observation.prediction == streak.prediction && observation.prediction != NO_PREDICTION;
        streak.repeats = if repeats { streak.repeats.saturating_add(1) } else { 0 };
        streak.prediction = observation.prediction;
        Walk::take_last(progress, &mut streak.is_readable, stage, observation.signal);
        progress.next = self.after(stage, streak.repeats);
        if self.rejects && self.walk.is_last(stage) && streak.repeats < self.patience {
            progress.answer = NO_STAGE;
        }
    }

    fn fail(&self, progress: &mut Progress, _: &mut Streak, _: &[u16], _: f64, price: &Price) {
        let stage = progress.pay_from(price);
        progress.next = unsigned(self.walk.after(stage));
    }

    fn alone(&self, stage: u16, _: Observation) -> Option<f64> {
        self.walk.mean_of(stage)
    }

    fn expected_loss(&self, progress: &Progress, _: &Streak) -> f64 {
        self.walk.expected_loss(progress)
    }

    fn default_loss(&self) -> f64 {
        self.walk.default_loss
    }

    fn is_exact_without(&self, barred: &[u16]) -> bool {
        self.walk.avoids(barred)
    }

    #[inline]
    fn after_first(&self, _: Observation) -> Option<u16> {
        let entry = unsigned(self.walk.entry);
        // Where the first stage is also the last, its answer may be refused.
        let is_answer = !self.rejects || !self.walk.is_last(entry);
        is_answer.then(|| self.after(entry, 0))
    }
}
