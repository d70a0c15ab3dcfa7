//! Checks of plans on lines and skip graphs under a deadline, from the Bellman equation alone.
//!
//! For every stage that may have run last, every state of it that can occur, every loss in hand and every remaining time
//! at which something changes, the ways that a jump can go are listed one by one, as (seconds, state, chance), and
//! weighed: what the plan's own choice pays, and what the best choice would. No table, grid or product of the solver is
//! used. A request passes each stage at most once, so no policy saves more than the sum over stages of the largest
//! difference.

use std::collections::BTreeMap;

use super::moments::{distinct, slack};
use super::nothing;
use crate::error::{Error, Result};
use crate::model::{Jumps, Latency, Model};
use crate::parallel;
use crate::plan::{ChainPlan, ChainTime, Clock, STOP};

/// What was found of the plan.
pub(in crate::solve) struct Found {
    /// What following it pays.
    pub(in crate::solve) value: f64,
    /// The most that one deviation saves.
    pub(in crate::solve) residual: f64,
    /// The most that any other policy saves.
    pub(in crate::solve) bound: f64,
}

/// One way that a jump can go.
struct Way {
    seconds: f64,
    state: usize,
    chance: f64,
}

/// What the plan pays after a stage: by its state, remaining time and loss in hand.
type Pays = Vec<Vec<Vec<f64>>>;

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
pub(in crate::solve) fn verify(model: &Model, rows: &ChainPlan, time: &ChainTime, default_loss: f64) -> Result<Found> {
    let none = nothing(model, default_loss);
    let mut hands: Vec<f64> = (0..model.stages()).flat_map(|v| model.loss(v)).copied().collect();
    hands.push(none);
    hands.retain(|x| *x <= none);
    hands.sort_unstable_by(f64::total_cmp);
    hands.dedup();
    let slack = slack(model, time.clock.deadline);
    let left = looked_at(&time.clock, remaining_times(model, time.clock.deadline, slack), slack)?;
    Ok(Check { model, rows, time, nothing: none, hands, left, slack }.all())
}

/// Every sum of seconds that a request may still need, after any stage.
fn remaining_times(model: &Model, deadline: f64, slack: f64) -> Vec<f64> {
    let mut after: Vec<Vec<f64>> = vec![Vec::new(); model.stages()];
    let mut all = vec![0.0];
    for from in (0..model.stages()).map(Some).rev().chain([None]) {
        let mut sums = vec![0.0];
        for (to, after) in after.iter().enumerate().skip(from.map_or(0, |from| from + 1)) {
            parallel::check();
            for seconds in all_seconds(model, from, to, deadline, slack) {
                sums.extend(after.iter().map(|later| seconds + later));
                sums = distinct(sums, deadline, slack);
            }
        }
        all.extend_from_slice(&sums);
        if let Some(from) = from {
            after[from] = sums;
        }
    }
    distinct(all, deadline, slack)
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
        let mut pays: Vec<Pays> = (0..stages).map(|_| Vec::new()).collect();
        let mut found = Found { value: 0.0, residual: 0.0, bound: 0.0 };
        for i in (0..stages).rev() {
            let mut worst = 0.0_f64;
            let states = 0..self.model.states(i);
            pays[i] = states.map(|s| self.after(i, s, &pays, &mut worst)).collect();
            found.residual = found.residual.max(worst);
            found.bound += worst;
        }
        let mut worst = 0.0_f64;
        let ways: Vec<(usize, Vec<Way>)> = (0..stages).map(|j| (j, self.ways(None, 0, j))).collect();
        for left in &self.left {
            let next = self.time.first(*left);
            let totals = ways.iter().map(|(j, ways)| (*j, self.total(None, *j, ways, self.nothing, *left, &pays)));
            found.value = choice(self.nothing, totals, next, &mut worst);
        }
        found.residual = found.residual.max(worst);
        found.bound += worst;
        found
    }

    /// What the plan pays after stage `i` in state `s`, by remaining time and loss in hand; `worst` becomes the most that
    /// another choice would save.
    fn after(&self, i: usize, s: usize, pays: &[Pays], worst: &mut f64) -> Vec<Vec<f64>> {
        parallel::check();
        if self.model.marginal(i)[s] == 0.0 {
            return Vec::new();
        }
        let row = self.rows.offset[i] as usize + s;
        let later = i + 1..self.model.stages();
        let ways: Vec<(usize, Vec<Way>)> = later.map(|j| (j, self.ways(Some(i), s, j))).collect();
        let most = self.model.loss(i)[s].min(self.nothing);
        let hands = self.hands.iter().filter(|x| **x <= most);
        let at = |left: &f64| {
            let pay = |x: &f64| {
                let next = self.time.action(self.rows.intervals.rows(), row, *x, *left);
                let totals = ways.iter().map(|(j, ways)| (*j, self.total(Some(i), *j, ways, *x, *left, pays)));
                choice(*x, totals, next, worst)
            };
            hands.clone().map(pay).collect()
        };
        self.left.iter().map(at).collect()
    }

    /// The ways that a jump from `i` in state `s` to `j` can go.
    fn ways(&self, i: Option<usize>, s: usize, j: usize) -> Vec<Way> {
        let model = self.model;
        if model.cost_of(i, j) == f64::INFINITY {
            return Vec::new();
        }
        let first = i.map_or(0, |i| i + 1);
        // Chances of the state of the stage reached, by the seconds that this took.
        let mut reached: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
        let mut state = vec![0.0; if first == 0 { 1 } else { model.states(first - 1) }];
        state[s] = 1.0;
        reached.insert(0, state);
        for v in first..=j {
            let mut next: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
            for (bits, chances) in &reached {
                let before = f64::from_bits(*bits);
                for (state, p) in
                    model.transition(v).push_forward(chances).iter().enumerate().filter(|(_, p)| **p > 0.0)
                {
                    let runs = v == j || model.jumps() == Jumps::Through;
                    let latency = model.latency(v, state).filter(|_| runs);
                    let likely: Vec<(f64, f64)> =
                        latency.map_or_else(|| vec![(0.0, 1.0)], |found| found.likely().collect());
                    for (seconds, q) in likely {
                        let to = next.entry((before + seconds).to_bits()).or_insert_with(|| vec![0.0; model.states(v)]);
                        to[state] += p * q;
                    }
                }
            }
            reached = next;
        }
        let each = |(bits, chances): (u64, Vec<f64>)| {
            let all = chances.into_iter().enumerate().filter(|(_, chance)| *chance > 0.0);
            all.map(move |(state, chance)| Way { seconds: f64::from_bits(bits), state, chance })
        };
        reached.into_iter().flat_map(each).collect()
    }

    /// What running `j` now and following the plan afterwards pays.
    fn total(&self, i: Option<usize>, j: usize, ways: &[Way], x: f64, left: f64, pays: &[Pays]) -> f64 {
        let pay = |way: &Way| {
            if way.seconds > left + self.slack {
                return way.chance * x;
            }
            let hand = x.min(self.model.loss(j)[way.state]);
            let at = self.left.partition_point(|time| *time <= left - way.seconds + self.slack).saturating_sub(1);
            let hand = self.hands.partition_point(|loss| *loss < hand);
            // Nothing is known of a state whose chance is too small for a number.
            let paid = pays[j][way.state].get(at).and_then(|pays| pays.get(hand));
            way.chance * paid.copied().unwrap_or(f64::NAN)
        };
        self.model.cost_of(i, j) + ways.iter().map(pay).sum::<f64>()
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
