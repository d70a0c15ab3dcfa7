//! From a model to its optimal policy: one algorithm a file, all giving the same kind of [`Plan`].
//!
//! | graph | recall | file |
//! | --- | --- | --- |
//! | line, skip | yes | `chain.rs`, with `stack.rs` for what is jumped over, `reach.rs` for where that matters |
//! | line, skip | no | `no_recall.rs` |
//! | tree, forest | yes | `tree.rs` |
//! | small general graph | yes | `dag.rs` |
//! | any of these, small, with a deadline | yes | `timed/` |
//!
//! `grid.rs`, `product.rs` and `memory.rs` are shared; `certificate.rs` checks what any of them says.

mod certificate;
mod chain;
mod dag;
mod grid;
mod look;
mod memory;
mod no_recall;
mod product;
mod reach;
mod seen;
mod solution;
mod stack;
#[cfg(test)]
mod sticky;
mod timed;
mod tree;

pub use certificate::verify;
pub use dag::DAG_SITUATIONS;
pub use solution::{Certificate, Solution, SolveOptions};
pub use timed::SITUATIONS as TIMED_SITUATIONS;

use crate::error::{Error, Result};
use crate::model::{Graph, Model};
use crate::plan::{Plan, STOP, TreePlan};

/// Work (multiply-adds) up to which a line's indices are computed exactly, and not from chords of the grid of
/// losses: about a tenth of a second. Values and decisions are exact in either case; only the figures reported as
/// `index` differ, by at most `index_error`.
pub const EXACT_INDEX_WORK: f64 = 4e8;

/// The optimal policy of `model`.
///
/// Value and decisions are exact (docs/theory.md). Costs: see the files of the algorithms.
///
/// # Errors
///
/// [`Error::Invalid`] for a negative or NaN default loss or deadline, a tree without recall, a deadline without recall or
/// for a model without latencies, and models too large for enumeration or memory.
pub fn solve(model: &Model, options: &SolveOptions) -> Result<Solution> {
    let default_loss = options.default_loss + 0.0;
    if default_loss.is_nan() || default_loss < 0.0 {
        return Err(Error::invalid(format!(
            "`default_loss` must be at least 0 (infinite: at least one stage has to run), got {default_loss}"
        )));
    }
    let deadline = options.deadline + 0.0;
    if deadline.is_nan() || deadline < 0.0 {
        return Err(Error::invalid(format!(
            "`deadline` must be at least 0 seconds (infinite: there is none), got {deadline}"
        )));
    }
    let stages = model.stages();
    let mut solution = Solution {
        value: 0.0,
        index: vec![Vec::new(); stages],
        index_error: 0.0,
        plan: Plan::Tree(TreePlan { parent: Vec::new(), index: Vec::new() }),
        prior_loss: (0..stages).map(|v| model.prior_loss(v)).collect(),
        recall: options.recall,
        default_loss,
    };
    if deadline.is_finite() {
        timed::solve(model, deadline, &mut solution)?;
        return Ok(solution);
    }
    match model.graph() {
        Graph::Line | Graph::Skip if !options.recall => {
            let (value, plan) = no_recall::solve(model, default_loss)?;
            solution.value = value;
            solution.plan = Plan::Chain(plan);
        }
        Graph::Line | Graph::Skip => {
            let tables = chain::solve(model, default_loss)?;
            solution.value = tables.value;
            solution.plan = Plan::Chain(tables.plan);
            solution.index = tables.index;
            solution.index_error = tables.index_error;
            if *model.graph() == Graph::Line && exact_index_work(model) <= EXACT_INDEX_WORK {
                let exact = tree::solve(model, default_loss)?.index;
                refine(model, &exact, &mut solution);
            }
        }
        Graph::Tree { parent } => {
            if !options.recall {
                return Err(recall_needed("a tree or forest"));
            }
            let tables = tree::solve(model, default_loss)?;
            solution.value = tables.value;
            solution.index.clone_from(&tables.index);
            for (v, index) in solution.index.iter_mut().enumerate() {
                index.truncate(model.parent(v).map_or(1, |p| model.states(p)));
            }
            let parent = parent.iter().map(|p| p.map_or(STOP, |p| p as i32)).collect();
            solution.plan = Plan::Tree(TreePlan { parent, index: tables.index });
        }
        Graph::Dag { parents } => {
            if !options.recall {
                return Err(recall_needed("a general graph"));
            }
            let (value, prior, plan) = dag::solve(model, parents, default_loss)?;
            solution.value = value;
            solution.prior_loss = prior;
            solution.plan = Plan::Dag(plan);
        }
    }
    Ok(solution)
}

fn recall_needed(graph: &str) -> Error {
    Error::invalid(format!(
        "`recall` must be True on {graph} (without recall only lines and skip graphs are solved), got False"
    ))
}

/// Multiply-adds of the exact indices of a line: each stage adds its losses and its indices to the points.
fn exact_index_work(model: &Model) -> f64 {
    let mut points = 0.0;
    let mut work = 0.0;
    for v in (0..model.stages()).rev() {
        points += model.states(v) as f64;
        work += model.transition(v).work() as f64 * points;
        points += model.transition(v).shape().0 as f64;
    }
    work
}

/// Replaces a line's indices by exact ones. The plan's thresholds lie in the same cells of the grid, so they stay.
fn refine(model: &Model, exact: &[Vec<f64>], solution: &mut Solution) {
    for (v, index) in solution.index.iter_mut().enumerate() {
        for (state, (index, exact)) in index.iter_mut().zip(&exact[v]).enumerate() {
            let never = model.parent(v).is_some_and(|p| *exact >= model.loss(p)[state]);
            *index = if never { f64::INFINITY } else { *exact };
        }
    }
    solution.index_error = 0.0;
}
