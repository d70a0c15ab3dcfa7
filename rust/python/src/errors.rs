//! Engine errors as Python exceptions.

use std::io;
use std::path::Path;

use pyo3::exceptions::{PyException, PyMemoryError, PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};

pyo3::create_exception!(ttamer_fast, TTamerError, PyException, "Base of all errors of this package.");

fn subclass<'py>(
    py: Python<'py>,
    cell: &'static PyOnceLock<Py<PyType>>,
    name: &str,
    doc: &str,
    bases: &[Bound<'py, PyType>],
) -> PyResult<Bound<'py, PyType>> {
    let made = cell.get_or_try_init(py, || {
        let bases = PyTuple::new(py, bases)?;
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
    subclass(py, &CELL, "ValidationError", doc, &[py.get_type::<TTamerError>(), py.get_type::<PyValueError>()])
}

/// `FormatError(TTamerError, ValueError)`.
pub fn format(py: Python<'_>) -> PyResult<Bound<'_, PyType>> {
    static CELL: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let doc = "Bytes or a file that are damaged, or not of the kind that was asked for.";
    subclass(py, &CELL, "FormatError", doc, &[py.get_type::<TTamerError>(), py.get_type::<PyValueError>()])
}

/// `PolicyFormatError(FormatError)`.
pub fn policy_format(py: Python<'_>) -> PyResult<Bound<'_, PyType>> {
    static CELL: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let doc = "Bytes or a file that are not an undamaged policy of a known schema.";
    subclass(py, &CELL, "PolicyFormatError", doc, &[format(py)?])
}

/// `RunFinishedError(TTamerError, RuntimeError)`.
pub fn run_finished(py: Python<'_>) -> PyResult<Bound<'_, PyType>> {
    static CELL: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let doc = "`observe` on a run that has already stopped.";
    subclass(py, &CELL, "RunFinishedError", doc, &[py.get_type::<TTamerError>(), py.get_type::<PyRuntimeError>()])
}

/// The category of what is said of requests that do not look like the trace of their policy.
pub fn serving_warning(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    py.import("ttamer_fast._utils.warnings")?.getattr("ServingWarning")
}

/// The exception for an engine error.
pub fn raise(py: Python<'_>, error: ttamer::Error) -> PyErr {
    let message = error.to_string();
    let class = match &error {
        ttamer::Error::Io { path, source, .. } => return system(py, path, source).unwrap_or_else(|error| error),
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

/// What the system refused: an `OSError` of the class that goes with its number, with the number and the file.
fn system(py: Python<'_>, path: &Path, source: &io::Error) -> PyResult<PyErr> {
    let Some(code) = source.raw_os_error() else {
        let text = format!("{}: {source}", path.display());
        let memory = source.kind() == io::ErrorKind::OutOfMemory;
        return Ok(if memory { PyMemoryError::new_err(text) } else { PyOSError::new_err(text) });
    };
    let reason: String = py.import("os")?.call_method1("strerror", (code,))?.extract()?;
    Ok(PyOSError::new_err((code, reason, path.as_os_str().to_os_string())))
}

/// A `ValidationError` with this message.
pub fn invalid(py: Python<'_>, message: impl Into<String>) -> PyErr {
    raise(py, ttamer::Error::Invalid(message.into()))
}
