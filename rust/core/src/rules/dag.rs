//! Observed states on a small general graph: every situation has its action.

use serde::{Deserialize, Serialize};

use super::{Progress, Rule, StateReader, stage_number};
use crate::plan::{DagPlan, STOP};
use crate::price::Price;

/// The compiled plan of a solved general graph. The situation's number is the request's `memo`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DagRule {
    /// Loss of answering with nothing; infinite where a stage has to be run.
    pub default_loss: f64,
    /// `loss[v][s]`.
    pub loss: Vec<Vec<f64>>,
    /// Expected loss of each stage while its state is unknown (k,).
    pub prior: Vec<f64>,
    /// What is next, in every situation.
    pub plan: DagPlan,
}

impl DagRule {
    fn action(&self, situation: i64) -> i32 {
        usize::try_from(situation).ok().and_then(|at| self.plan.action.get(at)).copied().unwrap_or(STOP)
    }

    /// Why this rule could not be executed, if so.
    pub fn problem(&self, stages: usize) -> Option<&'static str> {
        let mut count = 1_usize;
        let mut fits = self.loss.len() == stages && self.plan.stride.len() == stages && self.prior.len() == stages;
        for (losses, stride) in self.loss.iter().zip(&self.plan.stride) {
            fits &= *stride as usize == count;
            count = count.saturating_mul(losses.len() + 2);
        }
        if !fits || self.plan.action.len() != count {
            return Some("the actions do not fit the stages");
        }
        let is_finite = self.loss.iter().flatten().chain(&self.prior).all(|r| r.is_finite());
        if !is_finite || self.default_loss.is_nan() {
            return Some("a loss is not a number");
        }
        // A stage runs once, so every request ends.
        let leads_on = |(situation, action): (usize, &i32)| match usize::try_from(*action) {
            Ok(j) if j < stages => (situation / self.plan.stride[j] as usize).is_multiple_of(self.loss[j].len() + 2),
            _ => *action == STOP,
        };
        let ends = self.plan.action.iter().enumerate().all(leads_on);
        if ends { None } else { Some("an action runs a stage twice") }
    }
}

impl Rule for DagRule {
    type Memory = ();

    fn begin(&self) -> (Progress, ()) {
        (Progress::new(self.action(0), self.default_loss), ())
    }

    #[inline]
    fn step(&self, progress: &mut Progress, (): &mut (), signal: f64, _prediction: i64, price: &Price) {
        let stage = progress.pay_from(price);
        let losses = self.loss.get(stage).map_or(&[][..], Vec::as_slice);
        let row = StateReader::State.read(stage, losses.len(), signal);
        let loss = losses.get(row).copied().unwrap_or(f64::INFINITY);
        if loss < progress.best || progress.best == f64::INFINITY {
            progress.best = loss;
            progress.answer = stage as u16;
        }
        let stride = self.plan.stride.get(stage).copied().unwrap_or(0);
        progress.memo = progress.memo.wrapping_add((row as i64 + 1).wrapping_mul(i64::from(stride)));
        progress.next = self.action(progress.memo) as u16;
    }

    fn expected_loss(&self, progress: &Progress, (): &()) -> f64 {
        match stage_number(progress.answer) {
            Some(held) if progress.best == f64::INFINITY => self.prior.get(held).copied().unwrap_or(f64::INFINITY),
            _ => progress.best,
        }
    }
}
