//! Trees and general graphs with recall and a deadline: every situation at every moment.
//!
//! With a deadline which of several open stages is first matters even on a tree, since all share the time that is left:
//! the index theorem fails (docs/theory.md, section 3.9). A situation is numbered as in `dag.rs`; running a stage raises
//! the number, so one pass from the largest to the smallest solves all, each at every moment.
//!
//! Cost: O(situations · moments · k · K · latencies) time, 12 bytes a situation and moment.

use super::moments::{Moments, Step};
use super::setting::nothing;
use crate::error::Result;
use crate::model::Model;
use crate::plan::{DagTime, STOP};
use crate::solve::dag::{Known, Situations};

/// A model to be solved, found to be small enough.
pub(super) struct Timed<'a> {
    model: &'a Model,
    deadline: f64,
    moments: Moments,
    all: Situations<'a>,
    /// What no answer loses.
    nothing: f64,
    /// What the latencies of each stage in each state do.
    steps: Vec<Vec<Vec<Step>>>,
}

impl<'a> Timed<'a> {
    /// Refuses a model that is too large.
    pub(super) fn of(model: &'a Model, parents: &'a [Vec<usize>], deadline: f64, default_loss: f64) -> Result<Self> {
        let situations = (0..model.stages()).map(|v| (model.states(v) + 2) as f64).product();
        let moments = Moments::of(model, deadline, situations)?;
        let all = Situations::of(model, parents)?;
        let steps = |v: usize| (0..model.states(v)).map(|s| moments.steps(model, v, s)).collect();
        let steps = (0..model.stages()).map(steps).collect();
        Ok(Self { model, deadline, nothing: nothing(model, default_loss), moments, all, steps })
    }

    /// Value at the deadline and actions at every moment.
    pub(super) fn solve(&self) -> (f64, DagTime) {
        let (count, moments) = (self.all.count, self.moments.len());
        // What going on is worth, by situation and moment: stopping is worth 0.
        let mut gain = vec![0.0; count * moments];
        let mut action = vec![STOP; count * moments];
        let mut best = vec![(0.0, STOP); moments];
        let mut total = vec![0.0; moments];
        for number in self.all.last_to_first() {
            let known = self.all.known(number);
            if !self.all.possible(&known) {
                continue;
            }
            best.fill((0.0, STOP));
            for v in self.all.open(&known) {
                self.gain_of(number, &known, v, &gain, &mut total);
                for (best, total) in best.iter_mut().zip(&total).filter(|(best, total)| **total > best.0) {
                    *best = (*total, v as i32);
                }
            }
            for (moment, (worth, next)) in best.iter().enumerate() {
                gain[number * moments + moment] = *worth;
                action[moment * count + number] = *next;
            }
        }
        let clock = self.moments.clock(self.model, self.deadline, |v| self.all.marginal[v].clone());
        (self.nothing - gain[moments - 1], DagTime { clock, action })
    }

    /// What running `v` now gains at every moment, less its cost; where it is cut off, nothing.
    fn gain_of(&self, number: usize, known: &Known, v: usize, gain: &[f64], total: &mut [f64]) {
        let moments = self.moments.len();
        let hand = known.hand.min(self.nothing);
        total.fill(-self.model.cost_of(None, v));
        let chances = self.all.chances(v, &known.digit);
        for (s, p) in chances.iter().enumerate().filter(|(_, p)| **p > 0.0) {
            let better = (hand - self.model.loss(v)[s]).max(0.0);
            let next = (number + (s + 1) * self.all.stride[v]) * moments;
            for step in &self.steps[v][s] {
                for (total, after) in total.iter_mut().skip(step.since).zip(&step.after) {
                    *total += p * step.chance * (better + gain[next + after]);
                }
            }
        }
    }
}
