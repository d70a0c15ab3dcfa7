//! Learning from traces.

use pyo3::prelude::*;
use ttamer::learn::{self, FitOptions, Method, Recall, Shape};
use ttamer::trace::{Kind, Trace};

use crate::convert::{floats, integers};
use crate::errors::{invalid, raise};
use crate::policy::Policy;

/// Arrays (n, k), as Python hands them over.
struct Arrays<'a, 'py> {
    signal: &'a Bound<'py, PyAny>,
    loss: &'a Bound<'py, PyAny>,
    cost: &'a Bound<'py, PyAny>,
    prediction: Option<&'a Bound<'py, PyAny>>,
    weight: Option<&'a Bound<'py, PyAny>>,
}

impl Arrays<'_, '_> {
    /// The trace, and what `learn` makes of it without holding the interpreter.
    fn learn<T: Send>(
        &self,
        py: Python<'_>,
        kind: &str,
        learn: impl FnOnce(Trace) -> ttamer::Result<T> + Send,
    ) -> PyResult<T> {
        let kind = match kind {
            "exits" => Kind::Exits,
            "models" => Kind::Models,
            other => return Err(invalid(py, format!("`kind` must be exits or models, got {other}"))),
        };
        let signal = floats("signal", self.signal)?;
        let loss = floats("loss", self.loss)?;
        let cost = floats("cost", self.cost)?;
        let prediction = self.prediction.map(|given| integers("prediction", given)).transpose()?;
        let weight = self.weight.map(|weight| floats("weight", weight)).transpose()?;
        let (signal, loss, cost) = (signal.as_slice()?, loss.as_slice()?, cost.as_slice()?);
        let prediction = prediction.as_ref().map(|array| array.as_slice()).transpose()?;
        let weight = weight.as_ref().map(|weight| weight.as_slice()).transpose()?;
        py.detach(|| {
            let trace = Trace::new(signal, loss, prediction, cost, kind)?;
            learn(match weight {
                Some(weight) => trace.weighted(weight)?,
                None => trace,
            })
        })
        .map_err(|error| raise(py, error))
    }
}

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

/// Learns a policy from arrays (n, k); `ttamer_fast.fit` and `ttamer_fast.baselines` are the public face.
#[pyfunction]
#[pyo3(signature = (signal, loss, cost, prediction, *, method, kind, stages, tradeoff, recall = true, provenance = vec![], weight = None))]
#[expect(clippy::too_many_arguments, reason = "a private entry point; callers see fit() and baselines")]
pub fn fit(
    py: Python<'_>,
    signal: &Bound<'_, PyAny>,
    loss: &Bound<'_, PyAny>,
    cost: &Bound<'_, PyAny>,
    prediction: Option<&Bound<'_, PyAny>>,
    method: &str,
    kind: &str,
    stages: Vec<String>,
    tradeoff: f64,
    recall: bool,
    provenance: Vec<(String, String)>,
    weight: Option<&Bound<'_, PyAny>>,
) -> PyResult<Policy> {
    let method = named(py, "method", method, &Method::ALL, Method::name)?;
    let policy = Arrays { signal, loss, cost, prediction, weight }
        .learn(py, kind, |trace| learn::fit(&trace, stages, &FitOptions { method, tradeoff, recall }, provenance));
    Policy::wrap(py, Ok(policy?))
}

/// Calibration and beliefs of one trace: policies for any trade-off follow cheaply.
#[pyclass(frozen, module = "ttamer_fast._core")]
pub struct Learner {
    inner: learn::Learner,
    stages: Vec<String>,
}

#[pymethods]
impl Learner {
    #[new]
    #[pyo3(signature = (signal, loss, cost, prediction, *, kind, stages, graph = "auto", order = None, weight = None))]
    #[expect(clippy::too_many_arguments, reason = "a private entry point; callers see fit()")]
    fn new(
        py: Python<'_>,
        signal: &Bound<'_, PyAny>,
        loss: &Bound<'_, PyAny>,
        cost: &Bound<'_, PyAny>,
        prediction: Option<&Bound<'_, PyAny>>,
        kind: &str,
        stages: Vec<String>,
        graph: &str,
        order: Option<Vec<usize>>,
        weight: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let shape = named(py, "graph", graph, &Shape::ALL, Shape::name)?;
        let arrays = Arrays { signal, loss, cost, prediction, weight };
        let inner = arrays.learn(py, kind, |trace| match order {
            Some(order) => learn::Learner::in_order(trace, shape, order),
            None => Ok(learn::Learner::new(trace, shape)),
        })?;
        Ok(Self { inner, stages })
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
        let policy = py.detach(|| self.inner.policy(self.stages.clone(), tradeoff, recall_of(recall), provenance));
        Policy::wrap(py, policy)
    }

    /// The same, with its mean loss and mean cost on rows that were not learned from, in turn, if there are enough.
    #[pyo3(signature = (tradeoff, recall = None, provenance = vec![]))]
    fn judged_policy(
        &self,
        py: Python<'_>,
        tradeoff: f64,
        recall: Option<bool>,
        provenance: Vec<(String, String)>,
    ) -> PyResult<(Policy, Option<(f64, f64)>)> {
        let judged =
            py.detach(|| self.inner.judged_policy(self.stages.clone(), tradeoff, recall_of(recall), provenance));
        let (policy, held) = judged.map_err(|error| raise(py, error))?;
        Ok((Policy::new(py, policy)?, held))
    }
}

fn recall_of(recall: Option<bool>) -> Recall {
    match recall {
        None => Recall::Auto,
        Some(true) => Recall::Always,
        Some(false) => Recall::Never,
    }
}
