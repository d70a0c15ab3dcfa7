//! Learning from traces.

use pyo3::prelude::*;
use ttamer::learn::{self, FitOptions, Kind, Method, Trace};

use crate::convert::{floats, integers};
use crate::errors::invalid;
use crate::policy::Policy;

/// Learns a policy from arrays (n, k); `ttamer_fast.fit` and `ttamer_fast.baselines` are the public face.
#[pyfunction]
#[pyo3(signature = (signal, loss, cost, prediction, *, method, kind, stages, tradeoff, recall = true, provenance = vec![]))]
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
) -> PyResult<Policy> {
    let Some(method) = Method::ALL.into_iter().find(|known| known.name() == method) else {
        let known = Method::ALL.map(Method::name).join(", ");
        return Err(invalid(py, format!("`method` must be one of {known}, got {method}")));
    };
    let kind = match kind {
        "exits" => Kind::Exits,
        "models" => Kind::Models,
        other => return Err(invalid(py, format!("`kind` must be exits or models, got {other}"))),
    };
    let signal = floats("signal", signal)?;
    let loss = floats("loss", loss)?;
    let cost = floats("cost", cost)?;
    let label = prediction.map(|label| integers("prediction", label)).transpose()?;
    let (signal, loss, cost) = (signal.as_slice()?, loss.as_slice()?, cost.as_slice()?);
    let label = label.as_ref().map(|label| label.as_slice()).transpose()?;
    let policy = py.detach(|| {
        let trace = Trace::new(signal, loss, label, cost, kind)?;
        learn::fit(&trace, stages, &FitOptions { method, tradeoff, recall }, provenance)
    });
    Policy::wrap(py, policy)
}
