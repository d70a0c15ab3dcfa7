//! What a policy pays on an exact model, and how far from optimal that can be.

use pyo3::prelude::*;

use crate::model::Model;
use crate::policy::Policy;
use crate::working::detached;

/// What following a policy pays on a model, and how far from optimal that can be.
///
/// Computed from the policy's decisions alone, independently of the solver: the Bellman residual of every situation
/// that can occur; of a policy with a deadline at every remaining time up to it at which something changes, besides without
/// any. The model may be another one than was solved, say the one before aggregation, with the same latencies.
///
/// Parameters
/// ----------
/// model : Model
/// policy : Policy
///     From `solve`, possibly saved and loaded in between.
///
/// Returns
/// -------
/// Certificate
///     `value`, `residual`, `bound`, `exact`.
///
/// Raises
/// ------
/// ValidationError
///     For a fitted policy, or one of another graph or shape than the model; with a deadline, also for a model that has
///     other latencies.
///
/// Notes
/// -----
/// Lines: O(k K² G) for G distinct losses, skip graphs k times that, trees and general graphs as much as solving. On a
/// tree `value` is within `bound` of what the policy pays. docs/theory.md, section 3.7.
///
/// Examples
/// --------
/// >>> import ttamer_fast as tt
/// >>> model = tt.Model.tree([-1, -1], [[0.0, 1.0], [0.3]], [0.1, 0.05], [[[0.5, 0.5]], [[1.0]]])
/// >>> tt.verify(model, tt.solve(model)).exact
/// True
#[pyfunction]
pub fn verify(py: Python<'_>, model: &Model, policy: &Policy) -> PyResult<Certificate> {
    Ok(Certificate { inner: detached(py, || ttamer::verify(model.inner(), policy.inner()))? })
}

/// What `verify` found.
#[pyclass(frozen, module = "ttamer_fast")]
pub struct Certificate {
    inner: ttamer::solve::Certificate,
}

#[pymethods]
impl Certificate {
    /// Expected loss + cost of following the policy on the model, within the deadline that it was solved for.
    #[getter]
    fn value(&self) -> f64 {
        self.inner.value
    }

    /// The largest Bellman residual over all situations that can occur.
    #[getter]
    fn residual(&self) -> f64 {
        self.inner.residual
    }

    /// No policy pays less than the value minus this.
    #[getter]
    fn bound(&self) -> f64 {
        self.inner.bound
    }

    /// Whether the bound, and the distance to the value that the policy states, are rounding.
    #[getter]
    fn exact(&self) -> bool {
        self.inner.exact
    }

    fn __repr__(&self) -> String {
        let exact = if self.inner.exact { "True" } else { "False" };
        let ttamer::solve::Certificate { value, residual, bound, .. } = self.inner;
        format!("Certificate(value={value:.6}, residual={residual:.1e}, bound={bound:.1e}, exact={exact})")
    }
}
