//! An independent check of a plan: what it pays, and how far from optimal that can be.
//!
//! Chains: the plan is evaluated in every (stage, state, loss in hand) that can occur, with plain products and none of
//! the solver's shortcuts; the residual is what the best single deviation would save. A run passes each stage at most
//! once, so no policy saves more than the sum over stages of the largest residual.
//!
//! Trees and forests: given the plan's indices σ', let `c'_v(s) = E[(σ'_v(s) − Y_v)⁺ | s]`, everything built from σ'.
//! With costs c' the plan is exactly optimal (docs/theory.md), so with costs c it is within twice the sum over stages
//! of the largest |c' − c| of the optimum.
//!
//! With a deadline the decisions at all remaining times are checked besides those without one (`timed/certificate.rs`).

use ndarray::{Array2, Axis};

use super::dag;
use super::grid::LossGrid;
use super::memory;
use super::product::times;
use super::solution::{Certificate, Solution};
use super::timed;
use super::timed::certificate::Found;
use super::timed::setting::{nothing, parents};
use super::tree::{self, Steps};
use crate::error::{Error, Result};
use crate::model::{Graph, Model};
use crate::parallel;
use crate::plan::{ChainPlan, Clock, DagPlan, Plan, STOP, TreePlan};

/// Share of the model's largest possible total that is taken for rounding.
const ROUNDING: f64 = 1e-11;

/// Checks `solution` against `model`, which may be another one than it was solved for (say, the model before
/// aggregation): same graph, same states.
///
/// On chains O(k · K² · G), k times that on skip graphs, G the number of distinct losses: as much as solving without
/// shortcuts. On trees as much as solving.
///
/// # Errors
///
/// [`Error::Invalid`] if the plan does not have the shape of the model, or for models too large for memory.
pub fn verify(model: &Model, solution: &Solution) -> Result<Certificate> {
    let mut check = Check { residual: 0.0, bound: 0.0 };
    let value = match (&solution.plan, model.graph()) {
        (Plan::Chain(plan), Graph::Line | Graph::Skip) => {
            fits_chain(model, plan)?;
            let value = if solution.recall {
                check.chain(model, plan, solution.default_loss)?
            } else {
                check.no_recall(model, plan, solution.default_loss)
            };
            match &plan.time {
                None => value,
                Some(time) => {
                    let rows = time.intervals.rows() / plan.intervals.rows();
                    fits_clock(model, &time.clock, [time.start.len(), rows])?;
                    check.timed(&timed::certificate::verify(model, plan, time, solution.default_loss)?)
                }
            }
        }
        (Plan::Tree(plan), Graph::Tree { .. }) => {
            fits_tree(model, plan)?;
            check.tree(model, plan, solution.default_loss)?
        }
        (Plan::Dag(plan), Graph::Dag { .. }) if plan.time.is_none() => check.dag(model, plan, solution)?,
        (Plan::Dag(plan @ DagPlan { time: Some(time), .. }), Graph::Tree { .. } | Graph::Dag { .. }) => {
            check.dag(model, plan, solution)?;
            fits_clock(model, &time.clock, [time.action.len() / plan.action.len(); 2])?;
            check.timed(&timed::certificate_graph::verify(model, plan, time, solution.default_loss)?)
        }
        _ => return Err(Error::invalid("the plan belongs to another kind of graph than the model")),
    };
    // Numbers below the least normal one are rounded by more than their share.
    let rounding = (ROUNDING * largest_total(model, solution)).max(f64::MIN_POSITIVE);
    let exact = check.bound <= rounding && (value - solution.value).abs() <= rounding + check.bound;
    Ok(Certificate { value, residual: check.residual, bound: check.bound, exact })
}

/// The largest loss plus all costs along the costliest way; within a deadline no answer may be the largest loss.
fn largest_total(model: &Model, solution: &Solution) -> f64 {
    let stages = model.stages();
    let none = if solution.plan.clock().is_some() { nothing(model, solution.default_loss) } else { 0.0 };
    let loss = (0..stages).flat_map(|v| model.loss(v)).copied().fold(none, f64::max);
    let cost = |v: usize| {
        let last = (0..v).map(|u| model.cost_of(Some(u), v)).chain([model.cost_of(None, v)]);
        last.filter(|c| c.is_finite()).fold(0.0, f64::max)
    };
    loss + (0..stages).map(cost).sum::<f64>()
}

fn fits_chain(model: &Model, plan: &ChainPlan) -> Result<()> {
    let mut row = 0;
    let fits = plan.offset.len() == model.stages() + 1
        && plan.offset.first() == Some(&0)
        && (0..model.stages()).all(|v| {
            row += model.states(v) + 1;
            plan.offset[v + 1] as usize == row
        })
        && plan.intervals.rows() == row;
    if fits { Ok(()) } else { Err(Error::invalid("the plan does not have one row per stage and state of the model")) }
}

/// Checks that there is as much of `each` part of a plan as its clock has buckets.
fn fits_clock(model: &Model, clock: &Clock, each: [usize; 2]) -> Result<()> {
    if model.latencies(0).is_empty() {
        return Err(Error::invalid("the plan has a deadline, and the model has no latencies"));
    }
    if each == [clock.edges.len(); 2] {
        return Ok(());
    }
    Err(Error::invalid("the plan does not have its decisions once for every remaining time"))
}

fn fits_tree(model: &Model, plan: &TreePlan) -> Result<()> {
    let stages = model.stages();
    let fits = plan.index.len() == stages
        && plan.parent.len() == stages
        && (0..stages).all(|v| {
            plan.index[v].len() == model.parent(v).map_or(1, |p| model.states(p)) + 1
                && usize::try_from(plan.parent[v]).ok() == model.parent(v)
        });
    if fits { Ok(()) } else { Err(Error::invalid("the plan does not have one index per stage and parent's state")) }
}

struct Check {
    residual: f64,
    bound: f64,
}

/// What can be saved in one stage.
#[derive(Default)]
struct Worst(f64);

impl Worst {
    /// In a situation the plan attains `taken`, the best choice `best`, larger being better.
    fn see(&mut self, best: f64, taken: f64) {
        let gap = best - taken;
        self.0 = self.0.max(if gap.is_nan() { f64::INFINITY } else { gap });
    }
}

impl Check {
    fn add(&mut self, worst: &Worst) {
        self.residual = self.residual.max(worst.0);
        self.bound += worst.0;
    }

    /// Besides what has been checked, the decisions within a deadline; what those pay.
    fn timed(&mut self, found: &Found) -> f64 {
        self.residual = self.residual.max(found.residual);
        self.bound = self.bound.max(found.bound);
        found.value
    }

    /// The actions on a small graph, without a deadline.
    fn dag(&mut self, model: &Model, plan: &DagPlan, solution: &Solution) -> Result<f64> {
        let found = dag::verify(model, &parents(model), plan, solution)?;
        (self.residual, self.bound) = (found.residual, found.bound);
        Ok(found.value)
    }

    fn chain(&mut self, model: &Model, plan: &ChainPlan, default_loss: f64) -> Result<f64> {
        let stages = model.stages();
        let grid = LossGrid::of(model, default_loss);
        let most = (0..stages).map(|v| model.states(v)).max().unwrap_or(1) as f64;
        let kept = if *model.graph() == Graph::Line { 3 } else { stages + 1 };
        let columns = grid.after(stages - 1).len();
        memory::ensure(kept as f64 * most * columns as f64, "the tables that check the plan")?;
        let mut columns = grid.after(stages - 1);
        // What jumping to j brings, by state of the stage at hand and loss in hand.
        let mut brings: Vec<(usize, Array2<f64>)> = Vec::new();
        let mut unseen = vec![f64::INFINITY; stages];
        let mut at_default = vec![0.0; stages];
        for i in (0..stages).rev() {
            let mut worst = Worst::default();
            let mut gain: Array2<f64> = Array2::zeros((model.states(i), columns.len()));
            for (s, r) in model.loss(i).iter().enumerate() {
                parallel::check();
                if model.marginal(i)[s] == 0.0 {
                    continue;
                }
                let row = plan.offset[i] as usize + s;
                // After the first stage only its own loss or the default answer's is in hand.
                let last = columns.at(r.min(default_loss));
                for m in if i == 0 { last } else { 0 }..=last {
                    let mut best = 0.0_f64;
                    let action = plan.intervals.action(row, columns.point[m]);
                    let mut taken = if action == STOP { 0.0 } else { f64::NEG_INFINITY };
                    for (j, brings) in &brings {
                        let gain = brings[[s, m]] - model.cost_of(Some(i), *j);
                        best = best.max(gain);
                        if action == *j as i32 {
                            taken = gain;
                        }
                    }
                    worst.see(best, taken);
                    gain[[s, m]] = taken;
                }
            }
            self.add(&worst);
            // One stage earlier: fewer losses can be in hand.
            let (kept, earlier) = columns.before(i.saturating_sub(1));
            let mut offer = Array2::zeros((model.states(i), kept.len()));
            let mut total = 0.0;
            for (s, r) in model.loss(i).iter().enumerate() {
                let own = columns.at(r.min(default_loss));
                for (to, m) in kept.iter().enumerate() {
                    offer[[s, to]] = (columns.point[*m] - r).max(0.0) + gain[[s, own.min(*m)]];
                }
                total += model.marginal(i)[s] * (r - gain[[s, own]]);
            }
            unseen[i] = total;
            columns = earlier;
            if default_loss.is_finite() {
                let m = columns.at(default_loss);
                at_default[i] = model.marginal(i).iter().zip(offer.column(m)).map(|(p, t)| p * t).sum();
            }
            brings.retain(|(j, _)| (0..i).any(|u| model.cost_of(Some(u), *j).is_finite()));
            for (_, brings) in &mut brings {
                *brings = times(model.transition(i), None, &brings.select(Axis(1), &kept).view());
            }
            brings.push((i, times(model.transition(i), None, &offer.view())));
        }
        let (stop, offers): (f64, Vec<f64>) = if default_loss.is_finite() {
            (0.0, (0..stages).map(|j| at_default[j] - model.cost_of(None, j)).collect())
        } else {
            (f64::NEG_INFINITY, (0..stages).map(|j| -model.cost_of(None, j) - unseen[j]).collect())
        };
        let taken = self.first(stop, &offers, plan.start);
        Ok(if default_loss.is_finite() { default_loss - taken } else { -taken })
    }

    /// The start: what stopping and each stage bring, larger being better.
    fn first(&mut self, stop: f64, offers: &[f64], start: i32) -> f64 {
        let best = offers.iter().copied().fold(stop, f64::max);
        let taken = match usize::try_from(start) {
            Ok(j) => offers.get(j).copied().unwrap_or(f64::NEG_INFINITY),
            Err(_) => stop,
        };
        let mut worst = Worst::default();
        worst.see(best, taken);
        self.add(&worst);
        taken
    }

    fn no_recall(&mut self, model: &Model, plan: &ChainPlan, default_loss: f64) -> f64 {
        let stages = model.stages();
        let mut later: Vec<(usize, Vec<f64>)> = Vec::new();
        let mut unseen = vec![f64::INFINITY; stages];
        for i in (0..stages).rev() {
            let mut worst = Worst::default();
            let mut value = model.loss(i).to_vec();
            for (s, r) in model.loss(i).iter().enumerate() {
                let action = plan.intervals.action(plan.offset[i] as usize + s, *r);
                let mut best = *r;
                let mut taken = if action == STOP { *r } else { f64::INFINITY };
                for (j, value) in &later {
                    let total = model.cost_of(Some(i), *j) + value[s];
                    best = best.min(total);
                    if action == *j as i32 {
                        taken = total;
                    }
                }
                if model.marginal(i)[s] > 0.0 {
                    worst.see(-best, -taken);
                    value[s] = taken;
                }
            }
            self.add(&worst);
            unseen[i] = model.marginal(i).iter().zip(&value).map(|(p, v)| p * v).sum();
            later.push((i, value));
            for (_, value) in &mut later {
                parallel::check();
                *value = model.transition(i).expect(value);
            }
        }
        let offers: Vec<f64> = (0..stages).map(|j| -model.cost_of(None, j) - unseen[j]).collect();
        -self.first(-default_loss, &offers, plan.start)
    }

    fn tree(&mut self, model: &Model, plan: &TreePlan, default_loss: f64) -> Result<f64> {
        let stages = model.stages();
        let mut open: Vec<Vec<Steps>> = (0..stages).map(|_| Vec::new()).collect();
        let mut roots = Vec::new();
        for v in (0..stages).rev() {
            let offer = tree::best_of(model, v, std::mem::take(&mut open[v]))?;
            let seen = tree::seen_from_parent(model, v, offer);
            let cost = model.cost_of(None, v);
            let mut worst = Worst::default();
            let rows = model.parent(v).map_or(1, |p| model.states(p));
            for s in 0..rows {
                let sigma = plan.index[v][s];
                let most = model.parent(v).map_or(f64::INFINITY, |p| model.loss(p)[s]).min(default_loss);
                if model.parent(v).is_some_and(|p| model.marginal(p)[s] == 0.0) {
                    continue;
                }
                let paid = seen.paid(s, sigma.min(most));
                // At or above everything that can be in hand: never consulted, as with any higher cost.
                let gap = if sigma >= most { (paid - cost).max(0.0) } else { (paid - cost).abs() };
                worst.see(if sigma.is_nan() { f64::INFINITY } else { gap }, 0.0);
            }
            self.residual = self.residual.max(worst.0);
            self.bound += 2.0 * worst.0;
            let equivalent = seen.floor(model, v, &plan.index[v])?;
            match model.parent(v) {
                Some(parent) => open[parent].push(equivalent),
                None => roots.push(equivalent),
            }
        }
        Ok(tree::expected_minimum(&roots, default_loss))
    }
}
