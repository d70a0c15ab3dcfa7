//! Patience: stop once enough consecutive stages gave the same label. Answers with the last stage.

use serde::{Deserialize, Serialize};

use super::threshold::{mean_loss, take_last, walk_problem};
use super::{FlatState, NO_LABEL, NO_STAGE, Rule};
use crate::plan::STOP;
use crate::price::Price;

/// Stop after `patience` consecutive repetitions of a label.
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

    fn begin(&self) -> (FlatState, ()) {
        (FlatState::new(self.entry, f64::INFINITY), ())
    }

    #[inline]
    fn step(&self, state: &mut FlatState, (): &mut (), signal: f64, label: i64, price: &Price) {
        let is_first = state.last == NO_STAGE;
        let stage = state.pay_from(price);
        let repeats = !is_first && label == state.memo && label != NO_LABEL;
        state.mark = if repeats { state.mark.saturating_add(1) } else { 0 };
        state.memo = label;
        take_last(state, stage, signal, &self.prior);
        let stop = state.mark >= self.patience;
        state.next = if stop { STOP } else { self.successor.get(stage).copied().unwrap_or(STOP) } as u16;
    }

    fn expected_loss(&self, flat: &FlatState, (): &()) -> f64 {
        mean_loss(flat, &self.prior)
    }
}
