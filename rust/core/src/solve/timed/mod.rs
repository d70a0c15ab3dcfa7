//! Models whose stages take time, under a deadline: what is known and how much time is left say what to do.
//!
//! A stage that would end after the deadline is cut off: it is paid for, its answer is lost, and the request ends with the
//! best in hand; no answer loses `default_loss`, or the largest loss of the model where that is infinite. With x in hand
//! and R seconds left (docs/theory.md, section 3.9):
//!
//! `V(x, R) = min(x, min_j c_j + E[V(min(x, r_j), R − t_j); t_j ≤ R] + x · P(t_j > R))`.
//!
//! | graph | file |
//! | --- | --- |
//! | line, skip | `chain.rs`: situations are (last stage, its state, x) |
//! | tree, general | `graph.rs`: situations are all that can be known |
//!
//! `moments.rs` has the remaining times, `setting.rs` what a deadline makes of a model; `certificate.rs` and
//! `certificate_graph.rs` check the plans without the solvers.

pub(super) mod certificate;
pub(super) mod certificate_graph;
mod chain;
mod graph;
mod moments;
pub(super) mod setting;

pub use moments::SITUATIONS;
use setting::parents;

use super::chain::solve as solve_chain;
use super::dag;
use super::solution::Solution;
use crate::error::{Error, Result};
use crate::model::{Graph, Model};
use crate::plan::Plan;

/// Value and plan under `deadline`, into `solution`, which has what was asked.
pub(super) fn solve(model: &Model, deadline: f64, solution: &mut Solution) -> Result<()> {
    if model.latencies(0).is_empty() {
        return Err(Error::invalid(format!(
            "`deadline` must be infinite for a model without latencies (`latency=` says them), got {deadline}"
        )));
    }
    if !solution.recall {
        return Err(Error::invalid(
            "`recall` must be True where there is a deadline (a stage that is cut off leaves the best in hand), got False",
        ));
    }
    let default_loss = solution.default_loss;
    match model.graph() {
        Graph::Line | Graph::Skip => {
            let timed = chain::Timed::of(model, deadline, default_loss)?;
            let mut plan = solve_chain(model, default_loss)?.plan;
            let (value, time) = timed.solve()?;
            plan.time = Some(time);
            (solution.value, solution.plan) = (value, Plan::Chain(plan));
        }
        Graph::Tree { .. } | Graph::Dag { .. } => {
            let parents = parents(model);
            let timed = graph::Timed::of(model, &parents, deadline, default_loss)?;
            let (_, prior, mut plan) = dag::solve(model, &parents, default_loss)?;
            let (value, time) = timed.solve();
            plan.time = Some(time);
            (solution.value, solution.prior_loss, solution.plan) = (value, prior, Plan::Dag(plan));
        }
    }
    Ok(())
}
