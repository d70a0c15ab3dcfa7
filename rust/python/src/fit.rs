//! Learning from traces.

use std::sync::{Arc, Weak};

use pyo3::prelude::*;
use pyo3::types::PyDict;
use ttamer::learn::{self, Approach, Goal, Method, Recall, Shape, Tuning};

use crate::errors::{invalid, raise};
use crate::origin::{Origin, Recipe};
use crate::policy::Policy;
use crate::trace::Trace;
use crate::working::detached;

/// The one of `all` called `name`.
fn named<T: Copy>(
    py: Python<'_>,
    argument: &str,
    name: &str,
    all: &[T],
    name_of: fn(T) -> &'static str,
) -> PyResult<T> {
    all.iter().copied().find(|known| name_of(*known) == name).ok_or_else(|| {
        let known: Vec<&str> = all.iter().map(|known| name_of(*known)).collect();
        invalid(py, format!("`{argument}` must be one of {}, got {name}", known.join(", ")))
    })
}

/// How policies are learned.
pub fn approach(
    py: Python<'_>,
    method: &str,
    graph: &str,
    order: Option<Vec<usize>>,
    default_loss: Option<f64>,
    deadline: bool,
    known_cost: bool,
) -> PyResult<Approach> {
    let method = named(py, "method", method, &Method::ALL, Method::name)?;
    let shape = named(py, "graph", graph, &Shape::ALL, Shape::name)?;
    Ok(Approach { method, shape, order, default_loss, deadline, known_cost })
}

/// The constants of learning, but for those given.
pub fn tuned(py: Python<'_>, given: Option<&Bound<'_, PyDict>>) -> PyResult<Tuning> {
    let Some(given) = given else { return Ok(Tuning::default()) };
    let text: String = py.import("json")?.call_method1("dumps", (given,))?.extract()?;
    Tuning::from_json(&text).map_err(|error| raise(py, error))
}

/// Whether an earlier answer may be returned.
pub fn recall_of(recall: Option<bool>) -> Recall {
    match recall {
        None => Recall::Auto,
        Some(true) => Recall::Always,
        Some(false) => Recall::Never,
    }
}

/// The one goal that is given.
pub fn goal_of(py: Python<'_>, tradeoff: Option<f64>, max_cost: Option<f64>, max_loss: Option<f64>) -> PyResult<Goal> {
    match (tradeoff, max_cost, max_loss) {
        (Some(tradeoff), None, None) => Ok(Goal::Tradeoff(tradeoff)),
        (None, Some(most), None) => Ok(Goal::MaxCost(most)),
        (None, None, Some(most)) => Ok(Goal::MaxLoss(most)),
        _ => Err(invalid(py, "exactly one of `tradeoff`, `max_cost`, `max_loss` must be given")),
    }
}

/// Learns the best policy for one goal; `ttamer_fast.fit` and `ttamer_fast.baselines` are the public face.
#[pyfunction]
#[pyo3(signature = (trace, *, tradeoff = None, max_cost = None, max_loss = None, method = "pathwise", graph = "auto", order = None, recall = None, default_loss = None, seed = 0, deadline = false, known_cost = false, tuning = None))]
#[expect(clippy::too_many_arguments, reason = "a private entry point; callers see fit() and baselines")]
pub fn fit(
    py: Python<'_>,
    trace: &Trace,
    tradeoff: Option<f64>,
    max_cost: Option<f64>,
    max_loss: Option<f64>,
    method: &str,
    graph: &str,
    order: Option<Vec<usize>>,
    recall: Option<bool>,
    default_loss: Option<f64>,
    seed: u64,
    deadline: bool,
    known_cost: bool,
    tuning: Option<&Bound<'_, PyDict>>,
) -> PyResult<Policy> {
    let (goal, recall) = (goal_of(py, tradeoff, max_cost, max_loss)?, recall_of(recall));
    let approach = approach(py, method, graph, order, default_loss, deadline, known_cost)?;
    let recipe = Recipe::new(trace.inner().clone(), approach, tuned(py, tuning)?);
    let (policy, decided) = detached(py, || recipe.fresh()?.reach(goal, recall, seed))?;
    let kept = Arc::new(recipe.of(trace.kept(py)?.trace.clone()));
    Policy::of(py, policy, Some(Arc::new(Origin { kept, whole: Weak::new(), decided })))
}

/// Gives policies learned from one trace, for any trade-off: with the default method they share calibration and beliefs.
#[pyclass(frozen, module = "ttamer_fast._core")]
pub struct Learner {
    inner: learn::Learner,
}

#[pymethods]
impl Learner {
    #[new]
    #[pyo3(signature = (trace, *, method = "pathwise", graph = "auto", order = None, default_loss = None, deadline = false, known_cost = false, tuning = None))]
    #[expect(clippy::too_many_arguments, reason = "a private entry point; callers see fit() and baselines")]
    fn new(
        py: Python<'_>,
        trace: &Trace,
        method: &str,
        graph: &str,
        order: Option<Vec<usize>>,
        default_loss: Option<f64>,
        deadline: bool,
        known_cost: bool,
        tuning: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let approach = approach(py, method, graph, order, default_loss, deadline, known_cost)?;
        let tuning = tuned(py, tuning)?;
        let inner = detached(py, || learn::Learner::new(trace.inner().clone(), &approach, tuning))?;
        Ok(Self { inner })
    }

    /// The policy for one trade-off; without `recall` given, whatever rows held back speak for.
    #[pyo3(signature = (tradeoff, recall = None, provenance = vec![]))]
    fn policy(
        &self,
        py: Python<'_>,
        tradeoff: f64,
        recall: Option<bool>,
        provenance: Vec<(String, String)>,
    ) -> PyResult<Policy> {
        Policy::new(py, detached(py, || self.inner.policy(tradeoff, recall_of(recall), provenance))?)
    }

    /// The same without decisions of their own for requests that go without some stages; decides all others alike.
    #[pyo3(signature = (tradeoff, recall = None))]
    fn draft(&self, py: Python<'_>, tradeoff: f64, recall: Option<bool>) -> PyResult<Policy> {
        Policy::new(py, detached(py, || self.inner.draft(tradeoff, recall_of(recall), vec![]))?.policy)
    }

    /// Logarithms of the odds λ / (1 − λ) between which trade-offs are searched.
    #[getter]
    fn log_odds_range(&self) -> (f64, f64) {
        learn::log_odds_range(&self.inner)
    }

    /// λ of the logarithm of its odds.
    #[staticmethod]
    #[pyo3(signature = (log_odds, /))]
    fn tradeoff_at(log_odds: f64) -> f64 {
        learn::tradeoff_at(log_odds)
    }
}
