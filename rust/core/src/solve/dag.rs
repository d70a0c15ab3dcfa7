//! General directed acyclic graphs with recall: enumeration of everything that can be known.
//!
//! With several parents the index theorem fails, and finding the best order is NP-hard even with independent stages
//! (docs/theory.md, section 3.6), so only small graphs are accepted. A *situation* says of each stage whether it has run
//! and what its state was: one digit a stage in a mixed radix, 0 not run, 1 + s in state s, `K_v` + 1 run but not
//! readable. Running a stage raises the number, so one pass from the largest number to the smallest solves all.
//!
//! Cost: O(situations · k · K) time, 12 bytes a situation.

use super::solution::{Certificate, Solution};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::parallel;
use crate::plan::{DagPlan, STOP};

/// Most situations that are enumerated: a second, and a table of 16 MB in the policy.
pub const DAG_SITUATIONS: usize = 1 << 22;

/// Situations solved between two looks at whether to go on.
const CHECKED: usize = 256;

/// Everything that the enumeration needs of the model.
pub(super) struct Situations<'a> {
    model: &'a Model,
    parents: &'a [Vec<usize>],
    pub(super) stride: Vec<usize>,
    pub(super) count: usize,
    /// Rows of each transition, one per joint state of the parents.
    rows: Vec<Vec<Vec<f64>>>,
    /// Distribution of each stage's state, its parents taken for independent: used in unreadable states only.
    pub(super) marginal: Vec<Vec<f64>>,
}

/// One situation, taken apart.
pub(super) struct Known {
    /// Digits by stage.
    pub(super) digit: Vec<usize>,
    /// Least loss in hand.
    pub(super) hand: f64,
    /// Stages run.
    run: usize,
    /// Whether a state could not be read.
    unread: bool,
}

impl<'a> Situations<'a> {
    pub(super) fn of(model: &'a Model, parents: &'a [Vec<usize>]) -> Result<Self> {
        let mut stride = Vec::with_capacity(parents.len());
        let mut count = 1.0_f64;
        for v in 0..model.stages() {
            stride.push(count as usize);
            count *= (model.states(v) + 2) as f64;
            if count > DAG_SITUATIONS as f64 {
                let all: f64 = (0..model.stages()).map(|v| (model.states(v) + 2) as f64).product();
                return Err(Error::invalid(format!(
                    "`parents`: a general graph is solved by enumerating every situation (the problem is NP-hard), at \
                     most {DAG_SITUATIONS}, got {all:.3e}; use a line, skip graph or tree, or fewer stages or states"
                )));
            }
        }
        let rows = (0..model.stages()).map(|v| {
            parallel::check();
            let transition = model.transition(v);
            (0..transition.shape().0).map(|row| transition.row(row)).collect()
        });
        let rows = rows.collect();
        let mut all = Self { model, parents, stride, count: count as usize, rows, marginal: Vec::new() };
        for v in 0..model.stages() {
            let unknown: Vec<usize> = (0..v).map(|p| model.states(p) + 1).collect();
            let chances = all.chances(v, &unknown);
            all.marginal.push(chances);
        }
        Ok(all)
    }

    /// Their numbers, so that what follows a situation comes before it.
    pub(super) fn last_to_first(&self) -> impl Iterator<Item = usize> {
        (0..self.count).rev().inspect(|number| {
            if number.is_multiple_of(CHECKED) {
                parallel::check();
            }
        })
    }

    pub(super) fn known(&self, number: usize) -> Known {
        let mut known =
            Known { digit: Vec::with_capacity(self.stride.len()), hand: f64::INFINITY, run: 0, unread: false };
        let mut rest = number;
        for v in 0..self.model.stages() {
            let radix = self.model.states(v) + 2;
            let digit = rest % radix;
            rest /= radix;
            known.run += usize::from(digit > 0);
            known.unread |= digit == radix - 1;
            if digit > 0 && digit < radix - 1 {
                known.hand = known.hand.min(self.model.loss(v)[digit - 1]);
            }
            known.digit.push(digit);
        }
        known
    }

    /// Whether every stage that has run was allowed to.
    pub(super) fn possible(&self, known: &Known) -> bool {
        (0..self.parents.len()).all(|v| known.digit[v] == 0 || self.parents[v].iter().all(|p| known.digit[*p] > 0))
    }

    /// Stages that may be next.
    pub(super) fn open<'b>(&'b self, known: &'b Known) -> impl Iterator<Item = usize> + 'b {
        (0..self.parents.len()).filter(|v| known.digit[*v] == 0 && self.parents[*v].iter().all(|p| known.digit[*p] > 0))
    }

    /// Distribution of the state of `v` given the digits of its parents, a mean over those that could not be read.
    pub(super) fn chances(&self, v: usize, digit: &[usize]) -> Vec<f64> {
        let mut weighted = vec![(0, 1.0)];
        for p in &self.parents[v] {
            let states = self.model.states(*p);
            weighted = weighted
                .into_iter()
                .flat_map(|(row, weight)| {
                    let seen = digit[*p];
                    let range = if seen > states { 0..states } else { seen - 1..seen };
                    range.map(move |s| {
                        let chance = if seen > states { self.marginal[*p][s] } else { 1.0 };
                        (row * states + s, weight * chance)
                    })
                })
                .collect();
        }
        let mut out = vec![0.0; self.model.states(v)];
        for (row, weight) in weighted {
            out.iter_mut().zip(&self.rows[v][row]).for_each(|(a, p)| *a += weight * p);
        }
        out
    }

    /// Expected total of running `v` now and following `value` from there.
    fn total(&self, number: usize, known: &Known, v: usize, value: &[f64]) -> f64 {
        let after = |p: f64, s: usize| p * value[number + (s + 1) * self.stride[v]];
        let follow = |chances: &[f64]| -> f64 {
            chances.iter().enumerate().filter(|(_, p)| **p > 0.0).map(|(s, p)| after(*p, s)).sum()
        };
        let expected = if known.unread {
            follow(&self.chances(v, &known.digit))
        } else {
            let row = self.parents[v].iter().fold(0, |row, p| row * self.model.states(*p) + known.digit[*p] - 1);
            follow(&self.rows[v][row])
        };
        self.model.cost_of(None, v) + expected
    }

    /// What stopping pays; with nothing in hand, infinite while a stage can still be run.
    fn stop(&self, known: &Known, default_loss: f64) -> f64 {
        let hand = known.hand.min(default_loss);
        if hand.is_finite() || known.run == 0 || self.open(known).next().is_some() {
            return hand;
        }
        (0..self.parents.len())
            .filter(|v| known.digit[*v] > 0)
            .map(|v| self.marginal[v].iter().zip(self.model.loss(v)).map(|(p, r)| p * r).sum())
            .fold(f64::INFINITY, f64::min)
    }
}

/// Value, expected loss of each stage in an unknown state, and plan.
pub(crate) fn solve(model: &Model, parents: &[Vec<usize>], default_loss: f64) -> Result<(f64, Vec<f64>, DagPlan)> {
    let all = Situations::of(model, parents)?;
    let mut value = vec![0.0; all.count];
    let mut action = vec![STOP; all.count];
    for number in all.last_to_first() {
        let known = all.known(number);
        if !all.possible(&known) {
            continue;
        }
        let mut best = (all.stop(&known, default_loss), STOP);
        for v in all.open(&known) {
            let total = all.total(number, &known, v, &value);
            if total < best.0 {
                best = (total, v as i32);
            }
        }
        (value[number], action[number]) = best;
    }
    let prior =
        (0..model.stages()).map(|v| all.marginal[v].iter().zip(model.loss(v)).map(|(p, r)| p * r).sum()).collect();
    let plan = DagPlan { stride: all.stride.iter().map(|s| *s as u32).collect(), action, time: None };
    Ok((value[0], prior, plan))
}

/// Evaluates the plan in every situation; see [`super::verify`].
pub(crate) fn verify(
    model: &Model,
    parents: &[Vec<usize>],
    plan: &DagPlan,
    solution: &Solution,
) -> Result<Certificate> {
    let all = Situations::of(model, parents)?;
    let fits = plan.action.len() == all.count && plan.stride.iter().map(|s| *s as usize).eq(all.stride.iter().copied());
    if !fits {
        return Err(Error::invalid("the plan does not have one action per situation of the model"));
    }
    let mut value = vec![0.0; all.count];
    let mut worst = vec![0.0_f64; model.stages() + 1];
    for number in all.last_to_first() {
        let known = all.known(number);
        if known.unread || !all.possible(&known) {
            continue;
        }
        let stop = all.stop(&known, solution.default_loss);
        let mut best = stop;
        let mut taken = if plan.action[number] == STOP { stop } else { f64::INFINITY };
        for v in all.open(&known) {
            let total = all.total(number, &known, v, &value);
            best = best.min(total);
            if plan.action[number] == v as i32 {
                taken = total;
            }
        }
        let gap = taken - best;
        worst[known.run] = worst[known.run].max(if gap.is_nan() { f64::INFINITY } else { gap });
        value[number] = taken;
    }
    let residual = worst.iter().copied().fold(0.0, f64::max);
    Ok(Certificate { value: value[0], residual, bound: worst.iter().sum(), exact: false })
}
