//! Checks of plans on trees and general graphs under a deadline, from the Bellman equation alone.
//!
//! What can be known is followed from the start, whatever is run, and the plan's own choice is weighed against the best one
//! at every remaining time at which something changes. A request gathers one more stage at each step, so no policy saves
//! more than the sum over the numbers of stages run of the largest difference.

use std::collections::HashMap;

use super::certificate::{Found, choice, looked_at};
use super::moments::{distinct, fits, slack};
use super::setting::{nothing, parents};
use crate::error::Result;
use crate::model::{Latency, Model};
use crate::parallel;
use crate::plan::{DagPlan, DagTime};

/// The state of every stage that has run.
type Seen = Vec<Option<usize>>;

struct Check<'a> {
    model: &'a Model,
    parents: Vec<Vec<usize>>,
    plan: &'a DagPlan,
    time: &'a DagTime,
    nothing: f64,
    left: Vec<f64>,
    slack: f64,
    /// What the plan pays, by remaining time.
    known: HashMap<Seen, Vec<f64>>,
    /// The most that another choice saves, by number of stages run.
    worst: Vec<f64>,
}

/// Evaluates a timed plan in every situation; its shape fits the model.
pub(crate) fn verify(model: &Model, plan: &DagPlan, time: &DagTime, default_loss: f64) -> Result<Found> {
    let deadline = time.clock.deadline;
    let slack = slack(model, deadline);
    let mut sums = vec![0.0];
    for v in 0..model.stages() {
        let own: Vec<f64> = model.latencies(v).iter().flat_map(Latency::likely).map(|(seconds, _)| seconds).collect();
        fits(sums.len() as f64 * (own.len() + 1) as f64)?;
        let with = sums.iter().flat_map(|sum| own.iter().chain([&0.0]).map(move |seconds| sum + seconds));
        sums = distinct(with.collect(), deadline, slack);
    }
    let mut check = Check {
        model,
        parents: parents(model),
        plan,
        time,
        nothing: nothing(model, default_loss),
        left: looked_at(&time.clock, sums, slack)?,
        slack,
        known: HashMap::new(),
        worst: vec![0.0; model.stages() + 1],
    };
    let start = vec![None; model.stages()];
    check.look(&start);
    let value = check.known.get(&start).and_then(|pays| pays.last()).copied().unwrap_or(f64::NAN);
    let residual = check.worst.iter().copied().fold(0.0, f64::max);
    Ok(Found { value, residual, bound: check.worst.iter().sum() })
}

impl Check<'_> {
    /// Finds what the plan pays once this is known, unless that has been found before.
    fn look(&mut self, seen: &Seen) {
        if self.known.contains_key(seen) {
            return;
        }
        parallel::check();
        let model = self.model;
        let run = seen.iter().flatten().count();
        let loss = seen.iter().enumerate().filter_map(|(v, state)| Some(model.loss(v)[(*state)?]));
        let hand = loss.fold(self.nothing, f64::min);
        let is_open = |v: &usize| seen[*v].is_none() && self.parents[*v].iter().all(|p| seen[*p].is_some());
        let mut totals: Vec<(usize, Vec<f64>)> = Vec::new();
        for v in (0..model.stages()).filter(is_open).collect::<Vec<_>>() {
            let row = self.parents[v].iter().fold(0, |row, p| row * model.states(*p) + seen[*p].unwrap_or(0));
            let mut total = vec![model.cost_of(None, v); self.left.len()];
            for (s, p) in model.transition(v).row(row).iter().enumerate().filter(|(_, p)| **p > 0.0) {
                let mut next = seen.clone();
                next[v] = Some(s);
                self.look(&next);
                let pays = self.known.get(&next).map_or(&[][..], Vec::as_slice);
                for (seconds, q) in model.latency(v, s).into_iter().flat_map(Latency::likely) {
                    for (total, left) in total.iter_mut().zip(&self.left) {
                        let at = self.left.partition_point(|time| *time <= left - seconds + self.slack);
                        let paid = if seconds > left + self.slack { hand } else { pays[at.saturating_sub(1)] };
                        *total += p * q * paid;
                    }
                }
            }
            totals.push((v, total));
        }
        let digits = seen.iter().zip(&self.plan.stride);
        let situation: usize = digits.map(|(state, stride)| state.map_or(0, |s| (s + 1) * *stride as usize)).sum();
        let mut worst = 0.0_f64;
        let pays = self.left.iter().enumerate().map(|(at, left)| {
            let next = self.time.action(self.plan.action.len(), situation, *left);
            choice(hand, totals.iter().map(|(v, total)| (*v, total[at])), next, &mut worst)
        });
        let pays = pays.collect();
        self.worst[run] = self.worst[run].max(worst);
        self.known.insert(seen.clone(), pays);
    }
}
