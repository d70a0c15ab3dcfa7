//! Patience: stop once enough consecutive stages gave the same prediction. Answers with the last stage.

use serde::{Deserialize, Serialize};

use super::threshold::{mean_loss, take_last, walk_problem};
use super::{NO_PREDICTION, NO_STAGE, Progress, Rule};
use crate::plan::STOP;
use crate::price::Price;

/// Stop after `patience` consecutive repetitions of a prediction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PatienceRule {
    /// The stage to run first.
    pub entry: i32,
    /// Repetitions that stop.
    pub patience: u16,
    /// The stage after each one, [`STOP`] after the last (k,).
    pub successor: Vec<i32>,
    /// Mean loss of each stage on the calibration trace (k,).
    pub prior: Vec<f64>,
}

impl PatienceRule {
    /// Why this rule could not be executed, if so.
    pub fn problem(&self, stages: usize) -> Option<&'static str> {
        if self.prior.len() != stages || !self.prior.iter().all(|v| v.is_finite()) {
            Some("a loss is not finite")
        } else {
            walk_problem(self.entry, &self.successor, stages)
        }
    }
}

impl Rule for PatienceRule {
    type Memory = ();

    fn begin(&self) -> (Progress, ()) {
        (Progress::new(self.entry, f64::INFINITY), ())
    }

    #[inline]
    fn step(&self, state: &mut Progress, (): &mut (), signal: f64, prediction: i64, price: &Price) {
        let is_first = state.last == NO_STAGE;
        let stage = state.pay_from(price);
        let repeats = !is_first && prediction == state.memo && prediction != NO_PREDICTION;
        state.mark = if repeats { state.mark.saturating_add(1) } else { 0 };
        state.memo = prediction;
        take_last(state, stage, signal, &self.prior);
        let stop = state.mark >= self.patience;
        state.next = if stop { STOP } else { self.successor.get(stage).copied().unwrap_or(STOP) } as u16;
    }

    fn expected_loss(&self, progress: &Progress, (): &()) -> f64 {
        mean_loss(progress, &self.prior)
    }
}
