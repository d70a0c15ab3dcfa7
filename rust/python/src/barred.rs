//! Stages that requests go without, by number or name.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use ttamer::{Barred, Policy};

use crate::errors::raise;

/// The stages of `policy` among `given`, a sequence of numbers and names.
///
/// # Errors
/// A `ValidationError` for what is no such sequence, and for what is none of the stages.
pub fn barred(policy: &Policy, given: &Bound<'_, PyAny>) -> PyResult<Barred> {
    static CHECK: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = given.py();
    let check = CHECK.import(py, "ttamer_fast._utils.checks", "check_stages")?;
    let stages: Vec<usize> = check.call1(("barred", given, policy.stages()))?.extract()?;
    Barred::of(policy, &stages).map_err(|error| raise(py, error))
}
