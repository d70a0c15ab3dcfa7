//! Rules of heuristics on confidence alone: static choices and thresholds. They answer with the last stage.

use serde::{Deserialize, Serialize};

use super::{Progress, Rule, stage_number};
use crate::plan::STOP;
use crate::price::Price;

/// Stop as soon as `signal >= threshold[stage]`; else go to `successor[stage]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThresholdRule {
    /// The stage to run first.
    pub entry: i32,
    /// Least signal that stops (k,); infinite: never.
    pub threshold: Vec<f64>,
    /// The stage after each one, [`STOP`] after the last (k,).
    pub successor: Vec<i32>,
    /// Mean loss of each stage on the calibration trace (k,).
    pub prior: Vec<f64>,
}

/// Whether `entry` and `successor` describe a walk over `stages` stages that ends.
pub(super) fn walk_problem(entry: i32, successor: &[i32], stages: usize) -> Option<&'static str> {
    let forward =
        successor.iter().enumerate().all(|(v, next)| *next == STOP || (*next > v as i32 && *next < stages as i32));
    if successor.len() != stages || entry < 0 || entry as usize >= stages || !forward {
        Some("the order of stages is not a walk forward")
    } else {
        None
    }
}

impl ThresholdRule {
    /// Why this rule could not be executed, if so.
    pub fn problem(&self, stages: usize) -> Option<&'static str> {
        if self.threshold.len() != stages || self.threshold.iter().any(|t| t.is_nan()) {
            Some("the thresholds do not fit the stages")
        } else if self.prior.len() != stages || !self.prior.iter().all(|v| v.is_finite()) {
            Some("a loss is not finite")
        } else {
            walk_problem(self.entry, &self.successor, stages)
        }
    }
}

/// The last stage with a readable signal becomes the answer; one without does only while there is no other.
#[inline]
pub(super) fn take_last(state: &mut Progress, stage: usize, signal: f64, prior: &[f64]) {
    if !signal.is_nan() {
        state.best = prior.get(stage).copied().unwrap_or(f64::INFINITY);
        state.answer = stage as u16;
    } else if state.best == f64::INFINITY {
        state.answer = stage as u16;
    }
}

/// Expected loss for rules that know no more than each stage's mean loss.
pub(super) fn mean_loss(progress: &Progress, prior: &[f64]) -> f64 {
    stage_number(progress.answer).and_then(|held| prior.get(held).copied()).unwrap_or(f64::INFINITY)
}

impl Rule for ThresholdRule {
    type Memory = ();

    fn begin(&self) -> (Progress, ()) {
        (Progress::new(self.entry, f64::INFINITY), ())
    }

    #[inline]
    fn step(&self, state: &mut Progress, (): &mut (), signal: f64, _prediction: i64, price: &Price) {
        let stage = state.pay_from(price);
        take_last(state, stage, signal, &self.prior);
        let stop = self.threshold.get(stage).is_none_or(|threshold| signal >= *threshold);
        state.next = if stop { STOP } else { self.successor.get(stage).copied().unwrap_or(STOP) } as u16;
    }

    fn expected_loss(&self, progress: &Progress, (): &()) -> f64 {
        mean_loss(progress, &self.prior)
    }
}
