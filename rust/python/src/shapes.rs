//! Shapes of what is replayed.

use pyo3::prelude::*;

use crate::errors::invalid;
use crate::predictions::Predictions;

/// Checks the shape (n, k) of a replayed array.
pub fn check_shape(py: Python<'_>, name: &str, shape: &[usize], k: usize) -> PyResult<()> {
    if shape.len() == 2 && shape.last() == Some(&k) {
        return Ok(());
    }
    Err(invalid(py, format!("`{name}` must have shape (n, {k}), got {shape:?}")))
}

/// Predictions (n, k), a row for each request.
pub fn predictions<'py>(given: &Bound<'py, PyAny>, k: usize) -> PyResult<Predictions<'py>> {
    let mut prediction = Predictions::of(given, 2)?;
    check_shape(given.py(), "prediction", prediction.shape(), k)?;
    prediction.number(k)?;
    Ok(prediction)
}
