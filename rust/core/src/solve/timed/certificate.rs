//! Checks of plans on lines and skip graphs under a deadline, from the Bellman equation alone.
//!
//! For every stage that may have run last, every state of it that can occur, every loss in hand and every remaining time
//! at which something changes, the plan's own choice is weighed against the best one, by what each pays in expectation. No
//! table of gains, grid or product of the solver is used. A request passes each stage at most once, so no policy saves
//! more than the sum over stages of the largest difference.
//!
//! Cost: K · K multiply-adds a remaining time and loss in hand for each pair of stages that may follow each other.

use super::moments::{distinct, fits, slack};
use super::setting::nothing;
use crate::error::{Error, Result};
use crate::model::{Jumps, Latency, Model};
use crate::parallel;
use crate::plan::{ChainPlan, ChainTime, Clock, STOP};
use crate::solve::memory;

/// What was found of the plan.
pub(crate) struct Found {
    /// What following it pays.
    pub(crate) value: f64,
    /// The most that one deviation saves.
    pub(crate) residual: f64,
    /// The most that any other policy saves.
    pub(crate) bound: f64,
}

impl Found {
    /// No request is in more than one of the situations in which so much can be saved.
    fn add(&mut self, worst: f64) {
        self.residual = self.residual.max(worst);
        self.bound += worst;
    }
}

/// What following the plan pays on the way to a stage: by the state of the stage that a request is at (the first index),
/// remaining time and loss in hand.
type Pays = Vec<Vec<f64>>;

struct Check<'a> {
    model: &'a Model,
    rows: &'a ChainPlan,
    time: &'a ChainTime,
    nothing: f64,
    hands: Vec<f64>,
    left: Vec<f64>,
    slack: f64,
}

/// The remaining times at which the plan has to be looked at: `sums`, if the clock has no other.
pub(super) fn looked_at(clock: &Clock, sums: Vec<f64>, slack: f64) -> Result<Vec<f64>> {
    let near = |edge: &f64| {
        let at = sums.partition_point(|sum| *sum < *edge);
        let both = [at.checked_sub(1).and_then(|before| sums.get(before)), sums.get(at)];
        both.into_iter().flatten().any(|sum| (sum - edge).abs() <= 2.0 * slack)
    };
    if clock.edges.iter().all(near) {
        return Ok(sums);
    }
    Err(Error::invalid("the plan has a remaining time that is no sum of latencies of the model"))
}

/// Evaluates a timed plan in every situation; its shape fits the model.
pub(crate) fn verify(model: &Model, rows: &ChainPlan, time: &ChainTime, default_loss: f64) -> Result<Found> {
    let none = nothing(model, default_loss);
    let mut hands: Vec<f64> = (0..model.stages()).flat_map(|v| model.loss(v)).copied().collect();
    hands.push(none);
    hands.retain(|x| *x <= none);
    hands.sort_unstable_by(f64::total_cmp);
    hands.dedup();
    let slack = slack(model, time.clock.deadline);
    let left = looked_at(&time.clock, remaining_times(model, time.clock.deadline, slack)?, slack)?;
    let most = (0..model.stages()).map(|v| model.states(v)).max().unwrap_or(1);
    let numbers = (model.stages() + 2) as f64 * most as f64 * left.len() as f64 * hands.len() as f64;
    memory::ensure(numbers, "the tables that check the plan")?;
    Ok(Check { model, rows, time, nothing: none, hands, left, slack }.all())
}

/// Every sum of seconds that a request may still need, after any stage.
fn remaining_times(model: &Model, deadline: f64, slack: f64) -> Result<Vec<f64>> {
    let mut after: Vec<Vec<f64>> = vec![Vec::new(); model.stages()];
    let mut all = vec![0.0];
    for from in (0..model.stages()).map(Some).rev().chain([None]) {
        let mut sums = vec![0.0];
        for (to, after) in after.iter().enumerate().skip(from.map_or(0, |from| from + 1)) {
            parallel::check();
            for seconds in all_seconds(model, from, to, deadline, slack) {
                fits((sums.len() + after.len()) as f64)?;
                sums.extend(after.iter().map(|later| seconds + later));
                sums = distinct(sums, deadline, slack);
            }
        }
        all.extend_from_slice(&sums);
        if let Some(from) = from {
            after[from] = sums;
        }
    }
    Ok(distinct(all, deadline, slack))
}

/// Every number of seconds that the jump may take.
fn all_seconds(model: &Model, from: Option<usize>, to: usize, deadline: f64, slack: f64) -> Vec<f64> {
    let first = if model.jumps() == Jumps::Through { from.map_or(0, |from| from + 1) } else { to };
    (first..=to).fold(vec![0.0], |sums: Vec<f64>, v| {
        let own = || model.latencies(v).iter().flat_map(Latency::likely);
        let next = sums.iter().flat_map(|sum| own().map(move |(seconds, _)| sum + seconds));
        distinct(next.collect(), deadline, slack)
    })
}

impl Check<'_> {
    fn all(&self) -> Found {
        let stages = self.model.stages();
        let mut found = Found { value: 0.0, residual: 0.0, bound: 0.0 };
        // What running each later stage pays, as seen from the stage at hand, but for the cost of the jump.
        let mut runs: Vec<(usize, Pays)> = Vec::new();
        for i in (0..stages).rev() {
            let states: Vec<usize> = (0..self.model.states(i)).collect();
            let (pays, worst): (Pays, Vec<f64>) =
                parallel::map(states, |s| self.after(i, s, &runs)).into_iter().unzip();
            found.add(worst.into_iter().fold(0.0, f64::max));
            runs.push((i, pays));
            let through = self.model.jumps() == Jumps::Through;
            let begun = runs.iter().map(|(j, pays)| {
                let pays = if *j == i || through { self.begun(i, pays) } else { pays.clone() };
                (*j, self.before(i, &pays))
            });
            runs = begun.collect();
            runs.retain(|(j, _)| (0..i).map(Some).chain([None]).any(|u| self.model.cost_of(u, *j).is_finite()));
        }
        let mut worst = 0.0_f64;
        for (at, left) in self.left.iter().enumerate() {
            let hand = self.hands.len() - 1;
            let totals = runs.iter().map(|(j, pays)| (*j, self.model.cost_of(None, *j) + pays[0][self.cell(at, hand)]));
            found.value = choice(self.nothing, totals, self.time.first(*left), &mut worst);
        }
        found.add(worst);
        found
    }

    /// The place of a remaining time and a loss in hand.
    fn cell(&self, at: usize, hand: usize) -> usize {
        at * self.hands.len() + hand
    }

    /// Every place, with its remaining time and loss in hand.
    fn cells(&self) -> impl Iterator<Item = (f64, f64)> {
        self.left.iter().flat_map(|left| self.hands.iter().map(move |x| (*left, *x)))
    }

    /// What the plan pays once stage `i` has reported state `s`, and the most that another choice would save there. With
    /// more in hand than the stage's own loss it is that loss.
    fn after(&self, i: usize, s: usize, runs: &[(usize, Pays)]) -> (Vec<f64>, f64) {
        let own = self.model.loss(i)[s].min(self.nothing);
        let is_reached = self.model.marginal(i)[s] > 0.0;
        let row = self.rows.offset[i] as usize + s;
        let mut worst = 0.0;
        let pay = |(place, (left, x)): (usize, (f64, f64))| {
            if x > own || !is_reached {
                return x;
            }
            let next = self.time.action(self.rows.intervals.rows(), row, x, left);
            let totals = runs.iter().map(|(j, pays)| (*j, self.model.cost_of(Some(i), *j) + pays[s][place]));
            choice(x, totals, next, &mut worst)
        };
        let pays: Vec<f64> = self.cells().enumerate().map(pay).collect();
        let at_most = self.hands.partition_point(|x| *x < own);
        let capped = (0..pays.len()).map(|place| {
            let hand = place % self.hands.len();
            pays[place - hand + hand.min(at_most)]
        });
        (capped.collect(), worst)
    }

    /// The same before stage `i` has taken its time: where that is more than what is left, what is in hand is paid.
    fn begun(&self, i: usize, pays: &Pays) -> Pays {
        let begun = |(s, pays): (usize, &Vec<f64>)| {
            let mut begun = vec![0.0; pays.len()];
            for (seconds, q) in self.model.latency(i, s).into_iter().flat_map(Latency::likely) {
                for (at, left) in self.left.iter().enumerate() {
                    let after =
                        self.left.partition_point(|time| *time <= left - seconds + self.slack).saturating_sub(1);
                    let is_late = seconds > left + self.slack;
                    for (hand, x) in self.hands.iter().enumerate() {
                        begun[self.cell(at, hand)] += q * if is_late { *x } else { pays[self.cell(after, hand)] };
                    }
                }
            }
            begun
        };
        parallel::map(pays.iter().enumerate(), begun)
    }

    /// The same before the state of stage `i` is known, by that of the stage before it.
    fn before(&self, i: usize, pays: &Pays) -> Pays {
        let transition = self.model.transition(i);
        parallel::map(0..transition.shape().0, |row| {
            let mut mean = vec![0.0; self.left.len() * self.hands.len()];
            for (p, pays) in transition.row(row).iter().zip(pays).filter(|(p, _)| **p > 0.0) {
                mean.iter_mut().zip(pays).for_each(|(mean, pay)| *mean += p * pay);
            }
            mean
        })
    }
}

/// What the plan's choice pays; `worst` becomes the most that the best one would save.
pub(super) fn choice(stop: f64, totals: impl Iterator<Item = (usize, f64)>, next: i32, worst: &mut f64) -> f64 {
    let mut best = stop;
    let mut taken = if next == STOP { stop } else { f64::INFINITY };
    for (j, total) in totals {
        best = best.min(total);
        if next == j as i32 {
            taken = total;
        }
    }
    let gap = taken - best;
    *worst = worst.max(if gap.is_nan() { f64::INFINITY } else { gap });
    taken
}
