//! One calibration, many goals.

use std::sync::{Arc, Weak};

use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use ttamer::learn::Kept;

use crate::convert::vector;
use crate::fit::{approach, goal_of, recall_of, tuned};
use crate::origin::{Origin, Recipe};
use crate::policy::Policy;
use crate::trace::Trace;
use crate::working::detached;

/// Calibration and beliefs of one trace, for any goal and any prices; `ttamer_fast.calibrate` is the public face.
#[pyclass(frozen, weakref, module = "ttamer_fast._core")]
pub struct Calibration {
    recipe: Arc<Recipe>,
    /// Of the requests that policies keep.
    kept: Arc<Recipe>,
    /// Whether these are all.
    is_whole: bool,
}

#[pymethods]
impl Calibration {
    #[new]
    #[pyo3(signature = (trace, *, graph = "auto", order = None, default_loss = None, deadline = false, known_cost = false))]
    fn new(
        py: Python<'_>,
        trace: &Trace,
        graph: &str,
        order: Option<Vec<usize>>,
        default_loss: Option<f64>,
        deadline: bool,
        known_cost: bool,
    ) -> PyResult<Self> {
        let approach = approach(py, "pathwise", graph, order, default_loss, deadline, known_cost)?;
        let recipe = Recipe::new(trace.inner().clone(), approach, tuned(py, None)?);
        recipe.learner(py)?;
        let Kept { trace, is_whole } = trace.kept(py)?.clone();
        let kept = Arc::new(recipe.of(trace));
        Ok(Self { recipe: Arc::new(recipe), kept, is_whole })
    }

    /// The best policy for one goal, at the prices `cost` (k,) where they are given.
    #[pyo3(signature = (*, tradeoff = None, max_cost = None, max_loss = None, recall = None, cost = None, seed = 0))]
    #[expect(clippy::too_many_arguments, reason = "a private entry point; callers see ttamer_fast.Calibration")]
    fn policy(
        &self,
        py: Python<'_>,
        tradeoff: Option<f64>,
        max_cost: Option<f64>,
        max_loss: Option<f64>,
        recall: Option<bool>,
        cost: Option<&Bound<'_, PyAny>>,
        seed: u64,
    ) -> PyResult<Policy> {
        let (goal, recall) = (goal_of(py, tradeoff, max_cost, max_loss)?, recall_of(recall));
        let cost = cost.map(|cost| vector("cost", cost)).transpose()?;
        let learner = self.recipe.learner(py)?;
        let (policy, decided) = detached(py, || {
            let repriced = cost.map(|cost| learner.repriced(&cost)).transpose()?;
            repriced.as_ref().unwrap_or(&learner).reach(goal, recall, seed)
        })?;
        let whole = if self.is_whole { Arc::downgrade(&self.recipe) } else { Weak::new() };
        Policy::of(py, policy, Some(Arc::new(Origin { kept: Arc::clone(&self.kept), whole, decided })))
    }

    /// Names of the stages (k,).
    #[getter]
    fn stages<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.recipe.trace().names())
    }

    /// Number of requests.
    #[getter]
    fn n(&self) -> usize {
        self.recipe.trace().rows()
    }

    /// (k,) mean incremental costs, in the unit of the trace.
    #[getter]
    fn cost<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        PyArray1::from_slice(py, self.recipe.trace().mean_cost())
    }
}
