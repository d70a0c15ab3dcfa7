//! What is asked of a solver, what it answers, and what a check of that says.

use crate::plan::Plan;

/// What to solve for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SolveOptions {
    /// Whether an earlier answer may be returned.
    pub recall: bool,
    /// Loss of answering with nothing; infinite: at least one stage has to run.
    pub default_loss: f64,
    /// Seconds from the start until the request ends; infinite: none was set, and latencies do not matter.
    pub deadline: f64,
}

impl Default for SolveOptions {
    fn default() -> Self {
        Self { recall: true, default_loss: f64::INFINITY, deadline: f64::INFINITY }
    }
}

/// A solved model.
#[derive(Clone, Debug, PartialEq)]
pub struct Solution {
    /// Expected loss plus cost under the plan: the least possible, within the deadline. Exact up to rounding.
    pub value: f64,
    /// `index[v]` (`K_parent`,) of consulting v given its parent's state; the largest solution. Infinite where it
    /// cannot matter. On lines and trees with recall and without a deadline; empty lists elsewhere.
    pub index: Vec<Vec<f64>>,
    /// No index is further than this from the exact one; 0: exact up to rounding.
    pub index_error: f64,
    /// What to do in every situation.
    pub plan: Plan,
    /// Expected loss of each stage while its state is unknown (k,).
    pub prior_loss: Vec<f64>,
    /// Whether an earlier answer may be returned.
    pub recall: bool,
    /// Loss of answering with nothing.
    pub default_loss: f64,
}

/// What [`super::verify`] found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Certificate {
    /// Expected total of following the plan on this model. On trees within `bound` of it, on chains exact.
    pub value: f64,
    /// The largest Bellman residual over all situations that can occur.
    pub residual: f64,
    /// No policy pays less than what the plan pays minus this.
    pub bound: f64,
    /// Whether the bound, and the distance from `value` to the value that the solution states, are rounding.
    pub exact: bool,
}
