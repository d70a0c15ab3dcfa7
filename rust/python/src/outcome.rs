//! What decisions on the rows of a trace come to.

use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1};
use pyo3::prelude::*;
use ttamer::{Objective, Terms};

use crate::errors::{invalid, raise};
use crate::policy::Policy;
use crate::trace::{Trace, list};
use crate::working::detached;

/// Answer, loss and cost of n requests, in the units of the trace.
#[pyclass(frozen, module = "ttamer_fast._core")]
pub struct Outcome {
    inner: ttamer::Outcome,
}

impl Outcome {
    /// What `work` of the engine gives.
    fn of(py: Python<'_>, work: impl FnOnce() -> ttamer::Result<ttamer::Outcome> + Send) -> PyResult<Self> {
        Ok(Self { inner: detached(py, work)? })
    }

    /// How much each request counts.
    fn weight<'a>(&self, py: Python<'_>, trace: &'a Trace) -> PyResult<&'a [f64]> {
        let (rows, weight) = (self.inner.rows(), trace.inner().weight());
        if weight.len() == rows {
            return Ok(weight);
        }
        Err(invalid(py, format!("`trace` must have the {rows} rows of the outcome, got {}", weight.len())))
    }
}

/// The objective of a trade-off on a trace.
fn objective(py: Python<'_>, trace: &Trace, tradeoff: f64) -> PyResult<Objective> {
    Objective::new(trace.inner(), tradeoff).map_err(|error| raise(py, error))
}

#[pymethods]
impl Outcome {
    /// What `policy` does on every row; costs are those of the trace's own rows. Nothing loses `default_loss`, without it
    /// what the policy says, else the largest loss of the trace. Stages that are late are cut off after `deadline` seconds.
    #[staticmethod]
    #[pyo3(signature = (policy, trace, /, default_loss = None, deadline = None))]
    fn of_policy(
        py: Python<'_>,
        policy: &Policy,
        trace: &Trace,
        default_loss: Option<f64>,
        deadline: Option<f64>,
    ) -> PyResult<Self> {
        let terms = Terms { default_loss, deadline };
        Self::of(py, || ttamer::Outcome::judged(policy.inner(), trace.inner(), &terms))
    }

    /// The same where, with something in hand, no stage is begun whose mean seconds, on `train`, do not fit in what is left.
    #[staticmethod]
    #[pyo3(signature = (policy, trace, train, /, default_loss = None, deadline = None))]
    fn careful(
        py: Python<'_>,
        policy: &Policy,
        trace: &Trace,
        train: &Trace,
        default_loss: Option<f64>,
        deadline: Option<f64>,
    ) -> PyResult<Self> {
        let (terms, mean) = (Terms { default_loss, deadline }, || train.inner().mean_latency().unwrap_or_default());
        Self::of(py, || ttamer::Outcome::careful(policy.inner(), trace.inner(), &terms, &mean()))
    }

    /// Answering every request with one stage, running no more than that takes; with nothing where a deadline cuts it off.
    #[staticmethod]
    #[pyo3(signature = (trace, stage, /, default_loss = None, deadline = None))]
    fn of_stage(
        py: Python<'_>,
        trace: &Trace,
        stage: u16,
        default_loss: Option<f64>,
        deadline: Option<f64>,
    ) -> PyResult<Self> {
        let terms = Terms { default_loss, deadline };
        Self::of(py, || ttamer::Outcome::of_stage(trace.inner(), stage, &terms))
    }

    /// Answering each request with the one stage that is best in hindsight and in time, or with nothing at `default_loss`:
    /// no policy does better.
    #[staticmethod]
    #[pyo3(signature = (trace, tradeoff, /, default_loss = None, deadline = None))]
    fn clairvoyant(
        py: Python<'_>,
        trace: &Trace,
        tradeoff: f64,
        default_loss: Option<f64>,
        deadline: Option<f64>,
    ) -> PyResult<Self> {
        let (objective, terms) = (objective(py, trace, tradeoff)?, Terms { default_loss, deadline });
        Self::of(py, || ttamer::Outcome::clairvoyant(trace.inner(), objective, &terms))
    }

    /// The requests of all pieces, one piece after the other.
    #[staticmethod]
    #[pyo3(signature = (pieces, /))]
    fn joined(py: Python<'_>, pieces: Vec<PyRef<'_, Self>>) -> PyResult<Self> {
        let stages = pieces.first().map_or(0, |piece| piece.inner.stages());
        if stages == 0 || pieces.iter().any(|piece| piece.inner.stages() != stages) {
            return Err(invalid(py, "`pieces` must be outcomes on the same stages, at least one"));
        }
        let pieces: Vec<&ttamer::Outcome> = pieces.iter().map(|piece| &piece.inner).collect();
        Self::of(py, || Ok(ttamer::Outcome::joined(stages, &pieces)))
    }

    /// The given requests, in that order; `index` (m,) are row numbers, none negative.
    #[pyo3(signature = (index, /))]
    fn rows(&self, py: Python<'_>, index: PyReadonlyArray1<'_, i64>) -> PyResult<Self> {
        let rows: Vec<u32> = index.as_array().iter().map(|row| u32::try_from(*row).unwrap_or(u32::MAX)).collect();
        Self::of(py, || self.inner.select(&rows))
    }

    /// (n,) number of the stage whose answer was returned, −1 for none.
    #[getter]
    fn answer<'py>(slf: &Bound<'py, Self>) -> Bound<'py, PyArray1<i32>> {
        list(slf.clone().into_any(), slf.get().inner.answer())
    }

    /// (n,) number of the stage run last, −1 for none.
    #[getter]
    fn last<'py>(slf: &Bound<'py, Self>) -> Bound<'py, PyArray1<i32>> {
        list(slf.clone().into_any(), slf.get().inner.last())
    }

    /// (n, k) which stages were run.
    #[getter]
    fn consulted<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyArray2<bool>>> {
        let inner = &slf.get().inner;
        list(slf.clone().into_any(), inner.consulted()).reshape([inner.rows(), inner.stages()])
    }

    /// (n,) loss of the answer, in the unit of the trace.
    #[getter]
    fn loss<'py>(slf: &Bound<'py, Self>) -> Bound<'py, PyArray1<f64>> {
        list(slf.clone().into_any(), slf.get().inner.loss())
    }

    /// (n,) summed cost, in the unit of the trace.
    #[getter]
    fn cost<'py>(slf: &Bound<'py, Self>) -> Bound<'py, PyArray1<f64>> {
        list(slf.clone().into_any(), slf.get().inner.cost())
    }

    /// (n,) whether the deadline cut off the stage run last.
    #[getter]
    fn late<'py>(slf: &Bound<'py, Self>) -> Bound<'py, PyArray1<bool>> {
        list(slf.clone().into_any(), slf.get().inner.late())
    }

    /// (n,) tradeoff · loss + (1 − tradeoff) · cost / mean cost of running every stage of `trace`.
    #[pyo3(signature = (trace, tradeoff, /))]
    fn objective<'py>(&self, py: Python<'py>, trace: &Trace, tradeoff: f64) -> PyResult<Bound<'py, PyArray1<f64>>> {
        Ok(PyArray1::from_vec(py, self.inner.objective(objective(py, trace, tradeoff)?)))
    }

    /// (k,) weighted share of the requests of `trace` that each stage was run for.
    #[pyo3(signature = (trace, /))]
    fn consulted_share<'py>(&self, py: Python<'py>, trace: &Trace) -> PyResult<Bound<'py, PyArray1<f64>>> {
        Ok(PyArray1::from_vec(py, self.inner.consulted_share(self.weight(py, trace)?)))
    }

    /// (k,) weighted share of the requests of `trace` that each stage's answer was returned to.
    #[pyo3(signature = (trace, /))]
    fn answer_share<'py>(&self, py: Python<'py>, trace: &Trace) -> PyResult<Bound<'py, PyArray1<f64>>> {
        Ok(PyArray1::from_vec(py, self.inner.answer_share(self.weight(py, trace)?)))
    }

    /// Weighted share of the requests of `trace` that an earlier answer than the last was returned to.
    #[pyo3(signature = (trace, /))]
    fn recalled_share(&self, py: Python<'_>, trace: &Trace) -> PyResult<f64> {
        Ok(self.inner.recalled_share(self.weight(py, trace)?))
    }

    fn __len__(&self) -> usize {
        self.inner.rows()
    }

    fn __repr__(&self) -> String {
        format!("Outcome(n={}, k={})", self.inner.rows(), self.inner.stages())
    }
}

/// The requests of `trace` of which all is known that `policy` asks for, by the chance of that; None where it is all of them,
/// and they count alike.
#[pyfunction]
#[pyo3(signature = (trace, policy, /, default_loss = None, deadline = None))]
pub fn observed(
    py: Python<'_>,
    trace: &Trace,
    policy: &Policy,
    default_loss: Option<f64>,
    deadline: Option<f64>,
) -> PyResult<Option<Trace>> {
    let terms = Terms { default_loss, deadline };
    let found = detached(py, || ttamer::Outcome::observed(policy.inner(), trace.inner(), &terms))?;
    Ok(found.map(Trace::holding))
}
