//! The mean of bounded values, tested at any time, or once.

use numpy::PyReadonlyArray1;
use pyo3::prelude::*;
use ttamer::{BoundedMean as CoreMean, PlannedMean as CorePlanned};

use crate::errors::raise;
use crate::working::detached;

/// What independent (n,) values, contiguous, that could not have been below `low` or above `high`, say of their mean.
#[pyclass(frozen, module = "ttamer_fast._core")]
pub struct BoundedMean {
    inner: CoreMean,
}

#[pymethods]
impl BoundedMean {
    #[new]
    #[pyo3(signature = (values, low, high, /))]
    fn new(py: Python<'_>, values: PyReadonlyArray1<'_, f64>, low: f64, high: f64) -> PyResult<Self> {
        let values = values.as_slice()?;
        let inner = py.detach(|| CoreMean::new(values, low, high));
        Ok(Self { inner: inner.map_err(|error| raise(py, error))? })
    }

    fn __len__(&self) -> usize {
        self.inner.rows()
    }

    /// Of the values; that of the bounds without values.
    #[getter]
    fn mean(&self) -> f64 {
        self.inner.mean()
    }

    /// Logarithm of the capital, 1 at the start, against "the mean is at least `m`": ever 1 / α with probability at most α
    /// if it is.
    #[pyo3(signature = (m, /))]
    fn log_capital(&self, py: Python<'_>, m: f64) -> PyResult<f64> {
        detached(py, || self.inner.log_capital(m))
    }

    /// The same against "the mean is at most `m`".
    #[pyo3(signature = (m, /))]
    fn log_capital_below(&self, py: Python<'_>, m: f64) -> PyResult<f64> {
        detached(py, || self.inner.log_capital_below(m))
    }

    /// The means that neither capital rejects at `error` / 2.
    #[pyo3(signature = (error, /))]
    fn interval(&self, py: Python<'_>, error: f64) -> PyResult<(f64, f64)> {
        detached(py, || self.inner.interval(error))
    }

    /// How many values there would have to be, about, for the capital against `m` to reach 1 / `error`; None: never.
    #[pyo3(signature = (m, error, /))]
    fn rows_needed(&self, py: Python<'_>, m: f64, error: f64) -> PyResult<Option<f64>> {
        detached(py, || self.inner.rows_needed(m, error))
    }

    fn __repr__(&self) -> String {
        format!("BoundedMean(n={}, mean={})", self.inner.rows(), self.inner.mean())
    }
}

/// Independent (n,) values, contiguous, in the order in which they are bet on, that could not have been below `low` or
/// above `high`; (l,) `known` ones, contiguous, make the first bets.
#[pyclass(frozen, module = "ttamer_fast._core")]
pub struct PlannedMean {
    inner: CorePlanned,
}

#[pymethods]
impl PlannedMean {
    #[new]
    #[pyo3(signature = (values, known, low, high, /))]
    fn new(
        py: Python<'_>,
        values: PyReadonlyArray1<'_, f64>,
        known: PyReadonlyArray1<'_, f64>,
        low: f64,
        high: f64,
    ) -> PyResult<Self> {
        let (values, known) = (values.as_slice()?, known.as_slice()?);
        let inner = py.detach(|| CorePlanned::new(values, known, low, high));
        Ok(Self { inner: inner.map_err(|error| raise(py, error))? })
    }

    fn __len__(&self) -> usize {
        self.inner.rows()
    }

    /// Of "the mean is at least `m`", for a test at the level `error`.
    #[pyo3(signature = (m, error, /))]
    fn p_value(&self, py: Python<'_>, m: f64, error: f64) -> PyResult<f64> {
        detached(py, || self.inner.p_value(m, error))
    }

    /// About the least `m` with a p-value of at most `error`; `high` where none has one.
    #[pyo3(signature = (error, /))]
    fn least(&self, py: Python<'_>, error: f64) -> PyResult<f64> {
        detached(py, || self.inner.least(error))
    }

    fn __repr__(&self) -> String {
        format!("PlannedMean(n={})", self.inner.rows())
    }
}
