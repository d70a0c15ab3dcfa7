//! Lines and skip graphs with recall and a deadline: the gain of going on, by moment, stage by stage from the last.
//!
//! With x in hand after stage i in state s and R seconds left, let `H_i(x, R | s)` be the gain of being allowed to go on:
//!
//! `H_i(x, R | s) = max(0, max_j T_ij(x, R | s) − c_ij)`,
//! `T_ij(x, R | s) = Σ P_ij(s' | s) Σ q_j(t | s') 1[t ≤ R] [(x − r_j(s'))⁺ + H_j(min(x, r_j(s')), R − t | s')]`.
//!
//! A stage that is cut off gains nothing and costs its price: it drops out of the sum. Where a jump takes the seconds of
//! all that lies between, each stage on the way shifts the time as well.
//!
//! Cost: one product per pair of stages of K × K by K × (moments · losses); memory one such table a stage that may be
//! jumped to.

use ndarray::{Array2, Axis};

use super::moments::Moments;
use super::setting::nothing;
use crate::error::{Error, Result};
use crate::model::{Graph, Jumps, Model};
use crate::parallel;
use crate::plan::{ChainTime, Intervals, STOP};
use crate::solve::grid::distinct;
use crate::solve::memory;
use crate::solve::product::times;

/// Most numbers in all tables at once: half a gigabyte.
const NUMBERS: f64 = 67_108_864.0;

/// A model to be solved, found to be small enough.
pub(super) struct Timed<'a> {
    model: &'a Model,
    deadline: f64,
    moments: Moments,
    /// Every loss that can be in hand, ascending; the last is that of no answer.
    hand: Vec<f64>,
}

/// One decision: up to which loss in hand to stop, and what is next below each further limit.
struct Row {
    stop: f64,
    steps: Vec<(f64, i32)>,
}

impl<'a> Timed<'a> {
    /// Refuses a model that is too large.
    pub(super) fn of(model: &'a Model, deadline: f64, default_loss: f64) -> Result<Self> {
        let stages = model.stages();
        let rows: usize = (0..stages).map(|v| model.states(v) + 1).sum();
        let moments = Moments::of(model, deadline, rows as f64)?;
        let none = nothing(model, default_loss);
        let losses = (0..stages).flat_map(|v| model.loss(v)).copied().filter(|r| *r < none);
        let hand = distinct(losses.chain([none]).collect());
        let most = (0..stages).map(|v| model.states(v)).max().unwrap_or(1) as f64;
        let tables = if *model.graph() == Graph::Line { 4 } else { stages + 3 };
        let numbers = tables as f64 * most * moments.len() as f64 * hand.len() as f64;
        if numbers > NUMBERS {
            return Err(Error::invalid(format!(
                "`deadline`: the tables of {} remaining times by {} losses in hand by states would have {numbers:.3e} \
                 numbers, at most {NUMBERS}; use fewer stages, states, losses or distinct latencies",
                moments.len(),
                hand.len()
            )));
        }
        memory::ensure(numbers, "its tables of remaining times and losses in hand by states")?;
        Ok(Self { model, deadline, moments, hand })
    }

    /// Value at the deadline and decisions at every moment.
    pub(super) fn solve(&self) -> Result<(f64, ChainTime)> {
        let model = self.model;
        let stages = model.stages();
        // `T_j` as seen from the stage at hand, for each j that it or an earlier one may jump to.
        let mut brings: Vec<(usize, Array2<f64>)> = Vec::new();
        let mut rows_of: Vec<Vec<Vec<Row>>> = Vec::with_capacity(stages);
        for i in (0..stages).rev() {
            let (gain, rows) = self.decide(i, &brings);
            rows_of.push(rows);
            brings.retain(|(j, _)| (0..i).map(Some).chain([None]).any(|u| model.cost_of(u, *j).is_finite()));
            if model.jumps() == Jumps::Through {
                for (_, table) in &mut brings {
                    *table = self.shifted(i, table);
                }
            }
            brings.push((i, self.shifted(i, &self.offered(i, &gain))));
            for (_, table) in &mut brings {
                *table = times(model.transition(i), None, &table.view());
            }
        }
        rows_of.reverse();
        let (value, start) = self.begin(&brings);
        let intervals = self.compile(&rows_of)?;
        let clock = self.moments.clock(model, self.deadline, |v| model.marginal(v).to_vec());
        Ok((value, ChainTime { clock, start, intervals }))
    }

    /// The column of `x` in hand at a moment.
    fn column(&self, moment: usize, x: f64) -> usize {
        moment * self.hand.len() + self.hand.partition_point(|loss| *loss < x)
    }

    /// `H_i` by state, and the decisions by state (the unknown one last) and moment.
    fn decide(&self, i: usize, brings: &[(usize, Array2<f64>)]) -> (Array2<f64>, Vec<Vec<Row>>) {
        let (model, width) = (self.model, self.moments.len() * self.hand.len());
        let mut gain = Array2::zeros((model.states(i), width));
        let mut rows = Vec::with_capacity(model.states(i) + 1);
        let mut who = vec![STOP; width];
        let none = self.hand.last().copied().unwrap_or(0.0);
        for (s, mut gain) in gain.rows_mut().into_iter().enumerate() {
            parallel::check();
            who.fill(STOP);
            for (j, table) in brings.iter().rev() {
                let cost = model.cost_of(Some(i), *j);
                better(gain.iter_mut().zip(table.row(s)), &mut who, cost, *j);
            }
            rows.push(self.rows(&who, model.loss(i).get(s).copied().unwrap_or(none).min(none)));
        }
        let mut unknown = vec![0.0; width];
        who.fill(STOP);
        for (j, table) in brings.iter().rev() {
            let mut mean = vec![0.0; width];
            for (row, p) in table.rows().into_iter().zip(model.marginal(i)) {
                mean.iter_mut().zip(row).for_each(|(mean, t)| *mean += p * t);
            }
            better(unknown.iter_mut().zip(&mean), &mut who, model.cost_of(Some(i), *j), *j);
        }
        rows.push(self.rows(&who, none));
        (gain, rows)
    }

    /// The decisions at every moment, of what is next by moment and loss in hand, of which none is above `most`.
    fn rows(&self, who: &[i32], most: f64) -> Vec<Row> {
        let hands = self.hand.len();
        let at_most = |moment: usize| &who[moment * hands..=self.column(moment, most)];
        (0..self.moments.len()).map(|moment| Row::of(&self.hand, at_most(moment))).collect()
    }

    /// `(x − r_i(s))⁺ + H_i(min(x, r_i(s)), R | s)`.
    fn offered(&self, i: usize, gain: &Array2<f64>) -> Array2<f64> {
        let mut out = Array2::zeros(gain.dim());
        for ((mut out, gain), r) in out.rows_mut().into_iter().zip(gain.rows()).zip(self.model.loss(i)) {
            parallel::check();
            for moment in 0..self.moments.len() {
                for x in &self.hand {
                    out[self.column(moment, *x)] = (x - r).max(0.0) + gain[self.column(moment, x.min(*r))];
                }
            }
        }
        out
    }

    /// A table by state and moment, as it is before stage `i` has taken its time.
    fn shifted(&self, i: usize, table: &Array2<f64>) -> Array2<f64> {
        let hands = self.hand.len();
        let mut out = Array2::zeros(table.dim());
        for (s, (mut out, table)) in out.axis_iter_mut(Axis(0)).zip(table.axis_iter(Axis(0))).enumerate() {
            parallel::check();
            for step in self.moments.steps(self.model, i, s) {
                for (moment, after) in (step.since..).zip(&step.after) {
                    for x in 0..hands {
                        out[moment * hands + x] += step.chance * table[after * hands + x];
                    }
                }
            }
        }
        out
    }

    /// The value at the deadline, which is the last moment, and the first stage at every moment.
    fn begin(&self, brings: &[(usize, Array2<f64>)]) -> (f64, Vec<i32>) {
        let mut gain = vec![0.0; self.moments.len() * self.hand.len()];
        let mut who = vec![STOP; gain.len()];
        for (j, table) in brings.iter().rev() {
            better(gain.iter_mut().zip(table.row(0)), &mut who, self.model.cost_of(None, *j), *j);
        }
        let none = self.hand.last().copied().unwrap_or(0.0);
        let start = (0..self.moments.len()).map(|moment| who[self.column(moment, none)]).collect();
        (none - gain.last().copied().unwrap_or(0.0), start)
    }

    /// One row per stage and state for each moment.
    fn compile(&self, rows_of: &[Vec<Vec<Row>>]) -> Result<Intervals> {
        let steps: usize = rows_of.iter().flatten().flatten().map(|row| row.steps.len()).sum();
        if u32::try_from(steps).is_err() {
            return Err(Error::invalid(format!("the model is too large: its plan would have {steps} steps")));
        }
        let mut intervals = Intervals::new();
        for moment in 0..self.moments.len() {
            for row in rows_of.iter().flatten().filter_map(|rows| rows.get(moment)) {
                intervals.push(row.stop, row.steps.iter().copied());
            }
        }
        Ok(intervals)
    }
}

/// Takes stage `j` wherever it brings more than what is best so far, once `cost` is paid; of equals the first that came.
fn better<'t>(pairs: impl Iterator<Item = (&'t mut f64, &'t f64)>, who: &mut [i32], cost: f64, j: usize) {
    if cost == f64::INFINITY {
        return;
    }
    for ((best, t), who) in pairs.zip(who) {
        if t - cost > *best {
            *best = t - cost;
            *who = j as i32;
        }
    }
}

impl Row {
    /// Of what is next with each loss in hand.
    fn of(hand: &[f64], who: &[i32]) -> Self {
        let Some(first) = who.iter().position(|next| *next != STOP) else {
            return Self { stop: f64::INFINITY, steps: Vec::new() };
        };
        let stop = first.checked_sub(1).and_then(|before| hand.get(before)).copied().unwrap_or(f64::NEG_INFINITY);
        let mut steps: Vec<(f64, i32)> = Vec::new();
        for (x, next) in hand.iter().zip(who).skip(first) {
            match steps.last_mut() {
                // Where rounding breaks the order, going on stays what it was with a little less in hand.
                Some(last) if last.1 == *next || *next == STOP => last.0 = *x,
                _ => steps.push((*x, *next)),
            }
        }
        if let Some(last) = steps.last_mut() {
            last.0 = f64::INFINITY;
        }
        Self { stop, steps }
    }
}
