//! Posterior belief with recall (theory, section 4): calibrate, duel, compare with the index.

use serde::{Deserialize, Serialize};

use super::{Curve, FlatState, Rule};
use crate::plan::{Intervals, STOP};

/// `offset + incumbent · z_incumbent + challenger · z_challenger`, all logits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Linear {
    /// Constant term.
    pub offset: f64,
    /// Weight of the incumbent's belief.
    pub incumbent: f64,
    /// Weight of the challenger's calibrated loss.
    pub challenger: f64,
}

impl Linear {
    #[inline]
    fn at(&self, incumbent: f64, challenger: f64) -> f64 {
        self.offset + self.incumbent * incumbent + self.challenger * challenger
    }

    fn is_finite(&self) -> bool {
        self.offset.is_finite() && self.incumbent.is_finite() && self.challenger.is_finite()
    }
}

/// Posterior expected losses (logits) of the answer in hand and of the new one, given both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Duel {
    /// Of the answer in hand.
    pub incumbent: Linear,
    /// Of the stage that just reported.
    pub challenger: Linear,
}

/// Calibration, duels and indices of a fitted policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BeliefRule {
    /// The stage to run first.
    pub entry: i32,
    /// Whether an earlier answer may be returned.
    pub recall: bool,
    /// Losses are `scale · sigmoid(belief)`.
    pub scale: f64,
    /// Mean loss of each stage (k,): what is expected of an answer whose signal is unknown.
    pub prior: Vec<f64>,
    /// Signal to logit of the expected loss, one per stage (k,).
    pub curve: Vec<Curve>,
    /// One per challenger (k,), each for labels that differ, are equal, or are not known.
    pub duel: Vec<[Duel; 3]>,
    /// Stop or run which stage, one row per stage (k,), on the belief in hand.
    pub decide: Intervals,
}

impl BeliefRule {
    /// The logit of the expected loss of stage `stage` alone; infinite where the signal is not a number.
    #[inline]
    pub fn calibrated(&self, stage: usize, signal: f64) -> f64 {
        match self.curve.get(stage) {
            Some(curve) if !signal.is_nan() => curve.at(signal),
            _ => f64::INFINITY,
        }
    }

    /// Updates the answer in hand with what `stage` reports; the decision is left to the caller.
    #[inline]
    pub fn assess(&self, state: &mut FlatState, stage: usize, signal: f64, label: i64) {
        let challenger = self.calibrated(stage, signal);
        if challenger == f64::INFINITY {
            // No information: an answer to fall back on only while there is no other.
            if state.best == f64::INFINITY && self.is_better_fallback(stage, state.answer) {
                state.answer = stage as i16;
                state.label = label;
            }
        } else if state.best == f64::INFINITY {
            state.best = challenger;
            state.answer = stage as i16;
            state.label = label;
        } else if let Some(duel) = self.duel.get(stage) {
            let relation = if label == super::NO_LABEL || state.label == super::NO_LABEL {
                2
            } else {
                usize::from(state.same_label(label))
            };
            let [differ, equal, unknown] = duel;
            let forms = match relation {
                0 => differ,
                1 => equal,
                _ => unknown,
            };
            let kept = forms.incumbent.at(state.best, challenger);
            let new = forms.challenger.at(state.best, challenger);
            if new < kept || !self.recall {
                state.best = new;
                state.answer = stage as i16;
                state.label = label;
            } else {
                state.best = kept;
            }
        }
    }

    fn is_better_fallback(&self, stage: usize, than: i16) -> bool {
        let held = usize::try_from(than).ok().and_then(|held| self.prior.get(held));
        match (self.prior.get(stage), held) {
            (Some(new), Some(held)) => new <= held,
            _ => true,
        }
    }

    /// Why this rule could not be executed, if so.
    pub fn problem(&self, stages: usize) -> Option<&'static str> {
        let finite = self.duel.iter().flatten().all(|d| d.incumbent.is_finite() && d.challenger.is_finite());
        if self.curve.len() != stages || self.duel.len() != stages || self.prior.len() != stages {
            Some("a stage lacks its calibration")
        } else if !finite || !self.prior.iter().chain([&self.scale]).all(|v| v.is_finite()) {
            Some("a coefficient is not finite")
        } else if !self.curve.iter().all(Curve::is_valid) {
            Some("a calibration curve is not valid")
        } else if self.entry < 0 || self.entry as usize >= stages || self.decide.rows() != stages {
            Some("the decisions do not fit the stages")
        } else {
            None
        }
    }
}

impl Rule for BeliefRule {
    type State = FlatState;

    fn begin(&self) -> FlatState {
        FlatState::new(self.entry as i16, f64::INFINITY)
    }

    #[inline]
    fn step(&self, state: &mut FlatState, signal: f64, label: i64, price: f64) {
        let Some(stage) = state.waiting() else { return };
        state.cost += price;
        state.last = state.next;
        self.assess(state, stage, signal, label);
        state.next = self.decide.action(stage, state.best) as i16;
    }

    fn expected_loss(&self, state: &FlatState) -> f64 {
        match usize::try_from(state.answer) {
            Err(_) => f64::INFINITY,
            Ok(held) if state.best == f64::INFINITY => self.prior.get(held).copied().unwrap_or(f64::INFINITY),
            Ok(_) => self.scale / (1.0 + (-state.best).exp()),
        }
    }

    fn flat(state: &FlatState) -> &FlatState {
        state
    }
}

const _: () = assert!(STOP == -1, "states are built with -1 for no stage");
