//! Engine errors as Python exceptions.

use pyo3::exceptions::{PyException, PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};

pyo3::create_exception!(ttamer_fast, TTamerError, PyException, "Base of all errors of this package.");

fn subclass<'py>(
    py: Python<'py>,
    cell: &'static PyOnceLock<Py<PyType>>,
    name: &str,
    doc: &str,
    other: &Bound<'py, PyType>,
) -> PyResult<Bound<'py, PyType>> {
    let made = cell.get_or_try_init(py, || {
        let bases = PyTuple::new(py, [&py.get_type::<TTamerError>(), other])?;
        let body = PyDict::new(py);
        body.set_item("__module__", "ttamer_fast")?;
        body.set_item("__doc__", doc)?;
        let class = py.get_type::<PyType>().call1((name, bases, body))?;
        Ok::<_, PyErr>(class.cast_into::<PyType>()?.unbind())
    })?;
    Ok(made.bind(py).clone())
}

/// `ValidationError(TTamerError, ValueError)`.
pub fn validation(py: Python<'_>) -> PyResult<Bound<'_, PyType>> {
    static CELL: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let doc = "An argument is not allowed; the message names it, what was allowed and what was given.";
    subclass(py, &CELL, "ValidationError", doc, &py.get_type::<PyValueError>())
}

/// `PolicyFormatError(TTamerError, ValueError)`.
pub fn policy_format(py: Python<'_>) -> PyResult<Bound<'_, PyType>> {
    static CELL: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let doc = "Bytes or a file that are not an undamaged policy of a known schema.";
    subclass(py, &CELL, "PolicyFormatError", doc, &py.get_type::<PyValueError>())
}

/// `RunFinishedError(TTamerError, RuntimeError)`.
pub fn run_finished(py: Python<'_>) -> PyResult<Bound<'_, PyType>> {
    static CELL: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let doc = "`observe` on a run that has already stopped.";
    subclass(py, &CELL, "RunFinishedError", doc, &py.get_type::<PyRuntimeError>())
}

/// The exception for an engine error.
pub fn raise(py: Python<'_>, error: ttamer::Error) -> PyErr {
    let message = error.to_string();
    let class = match &error {
        ttamer::Error::Io { source, .. } => {
            return PyOSError::new_err((source.raw_os_error(), message));
        }
        ttamer::Error::Invalid(_) => validation(py),
        ttamer::Error::Format(_) => policy_format(py),
        ttamer::Error::Stopped => run_finished(py),
        _ => Ok(py.get_type::<TTamerError>()),
    };
    match class {
        Ok(class) => PyErr::from_type(class, message),
        Err(error) => error,
    }
}

/// A `ValidationError` with this message.
pub fn invalid(py: Python<'_>, message: impl Into<String>) -> PyErr {
    raise(py, ttamer::Error::Invalid(message.into()))
}
