//! Many requests in step.

use std::sync::{Mutex, MutexGuard, PoisonError};

use numpy::PyArray1;
use pyo3::prelude::*;

use crate::convert::{floats, integers};
use crate::errors::raise;

/// Many requests in step.
#[pyclass(frozen, weakref, module = "ttamer_fast")]
pub struct Batch {
    inner: Mutex<ttamer::Batch>,
}

impl Batch {
    /// Wraps a batch of the engine.
    pub fn new(batch: ttamer::Batch) -> Self {
        Self { inner: Mutex::new(batch) }
    }

    fn lock(&self) -> MutexGuard<'_, ttamer::Batch> {
        // A batch is never left half-changed: observe checks everything before it writes.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Batch {
    /// The stage each request waits for, −1 once decided.
    #[getter]
    fn next<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i32>> {
        PyArray1::from_vec(py, self.lock().next())
    }

    /// The stage whose answer each request has in hand, −1 while none.
    #[getter]
    fn answer<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i32>> {
        PyArray1::from_vec(py, self.lock().answer())
    }

    /// What each request has cost so far, in the unit of the trace.
    #[getter]
    fn cost<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        PyArray1::from_vec(py, self.lock().cost())
    }

    /// Which requests wait for `stage`, ascending.
    #[pyo3(signature = (stage, /))]
    fn rows<'py>(&self, py: Python<'py>, stage: usize) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let rows = self.lock().rows(stage).map_err(|error| raise(py, error))?;
        Ok(PyArray1::from_vec(py, rows))
    }

    /// Signals and predictions of exactly the requests that wait for `stage`.
    #[pyo3(signature = (stage, signal, prediction = None))]
    fn observe(
        &self,
        py: Python<'_>,
        stage: usize,
        signal: &Bound<'_, PyAny>,
        prediction: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let signal = floats("signal", signal)?;
        let prediction = prediction.map(|given| integers("prediction", given)).transpose()?;
        let signal = signal.as_slice()?;
        let prediction = prediction.as_ref().map(|array| array.as_slice()).transpose()?;
        py.detach(|| self.lock().observe(stage, signal, prediction)).map_err(|error| raise(py, error))
    }

    /// The stage gave nothing for these requests, which wait for it.
    #[pyo3(signature = (stage, rows, /))]
    fn fail(&self, py: Python<'_>, stage: usize, rows: &Bound<'_, PyAny>) -> PyResult<()> {
        let rows = integers("rows", rows)?;
        let rows = rows.as_slice()?;
        py.detach(|| self.lock().fail(stage, rows)).map_err(|error| raise(py, error))
    }

    fn __len__(&self) -> usize {
        self.lock().len()
    }

    fn __repr__(&self) -> String {
        let batch = self.lock();
        let waiting = batch.next().iter().filter(|stage| **stage >= 0).count();
        format!("Batch(n={}, waiting={waiting})", batch.len())
    }
}
