//! Governors: one lock around the engine's, taken and released with the interpreter held.

use std::sync::{Mutex, MutexGuard, PoisonError};

use numpy::PyReadonlyArray1;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use ttamer::operate::{self, Budget, End, Ladder};

use crate::errors::{invalid, raise};
use crate::family::PolicyFamily;

/// Which policy of a family is to serve, so that a budget is held; `ttamer_fast.BudgetGovernor` is the public face.
#[pyclass(frozen, module = "ttamer_fast._core")]
pub struct Governor {
    inner: Mutex<operate::Governor>,
}

impl Governor {
    fn new(governor: operate::Governor) -> Self {
        Self { inner: Mutex::new(governor) }
    }

    fn lock(&self) -> MutexGuard<'_, operate::Governor> {
        // The engine does not panic; were it to, what is known of the window can still be gone on from.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Governor {
    /// Of a budget per request or per second, over a window of requests or seconds, from a time `now` on.
    #[new]
    #[pyo3(signature = (family, max_cost, max_rate, window, now, /))]
    fn begin(
        py: Python<'_>,
        family: &PolicyFamily,
        max_cost: Option<f64>,
        max_rate: Option<f64>,
        window: f64,
        now: f64,
    ) -> PyResult<Self> {
        let budget = match (max_cost, max_rate) {
            (Some(most), None) => Budget::Request { most, window },
            (None, Some(most)) => Budget::Second { most, window },
            _ => return Err(invalid(py, "exactly one of `max_cost`, `max_rate` must be given")),
        };
        let ladder = Ladder::of(family.inner());
        let governor = ladder.and_then(|ladder| operate::Governor::new(ladder, budget, now));
        governor.map(Self::new).map_err(|error| raise(py, error))
    }

    /// A request has cost so much; the number of the policy that serves the next one.
    #[pyo3(signature = (cost, now, /))]
    fn spend(&self, cost: f64, now: f64) -> usize {
        let mut governor = self.lock();
        governor.spend(cost, now);
        governor.serving()
    }

    /// Requests that one policy has served have cost so much.
    #[pyo3(signature = (costs, now, /))]
    fn spend_many(&self, costs: PyReadonlyArray1<'_, f64>, now: f64) -> PyResult<usize> {
        let costs = costs.as_slice()?;
        let mut governor = self.lock();
        governor.spend_many(costs, now);
        Ok(governor.serving())
    }

    /// The number of the policy that serves the next request.
    #[getter]
    fn serving(&self) -> usize {
        self.lock().serving()
    }

    /// Numbers of the policies that it moves along, from the cheapest to the dearest.
    #[getter]
    fn ladder<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let members: Vec<usize> = self.lock().ladder().rungs().iter().map(|rung| rung.member).collect();
        PyTuple::new(py, members)
    }

    /// The same budget and debt along the policies of another family.
    #[pyo3(signature = (family, /))]
    fn along(&self, py: Python<'_>, family: &PolicyFamily) -> PyResult<Self> {
        let ladder = Ladder::of(family.inner()).map_err(|error| raise(py, error))?;
        let governor = self.lock().along(ladder);
        Ok(Self::new(governor))
    }

    /// What it has learned, and in how many requests.
    fn learned(&self) -> ([f64; 8], u64) {
        let governor = self.lock();
        (governor.learned(), governor.requests())
    }

    /// Goes on from what another one had learned.
    #[pyo3(signature = (learned, requests, /))]
    fn resume(&self, py: Python<'_>, learned: [f64; 8], requests: u64) -> PyResult<()> {
        self.lock().resume(learned, requests).map_err(|error| raise(py, error))
    }

    /// Where it stands.
    #[pyo3(signature = (now, /))]
    fn report<'py>(&self, py: Python<'py>, now: f64) -> PyResult<Bound<'py, PyDict>> {
        let found = self.lock().report(now);
        let report = PyDict::new(py);
        report.set_item("level", found.level)?;
        report.set_item("tradeoff", found.serving.tradeoff)?;
        report.set_item("mean_cost", found.mean_cost)?;
        report.set_item("expected_cost", found.expected_cost)?;
        report.set_item("ratio", found.ratio)?;
        report.set_item("rate", found.rate)?;
        report.set_item("debt", found.debt)?;
        report.set_item("requests", found.requests)?;
        let saturated = found.saturated.map(|end| match end {
            End::Cheapest => "cheapest",
            End::Dearest => "dearest",
        });
        report.set_item("saturated", saturated)?;
        Ok(report)
    }
}
