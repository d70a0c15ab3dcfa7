//! Array-likes to contiguous numpy arrays, with errors that name the argument.

use numpy::{PyArray1, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::errors::invalid;

/// `value` as a C-contiguous array of `T`, without a copy where it is one already.
fn array<'py, T: numpy::Element>(
    name: &str,
    value: &Bound<'py, PyAny>,
    dtype: &str,
) -> PyResult<PyReadonlyArrayDyn<'py, T>> {
    let py = value.py();
    if let Ok(array) = value.cast::<PyArrayDyn<T>>()
        && array.is_c_contiguous()
    {
        return Ok(array.readonly());
    }
    let numpy = py.import("numpy")?;
    let options = PyDict::new(py);
    options.set_item("dtype", dtype)?;
    let made = numpy.call_method("ascontiguousarray", (value,), Some(&options));
    let made = made.map_err(|error| {
        let reason = error.value(py).to_string().replace('\n', " ");
        invalid(py, format!("`{name}` must be an array of {dtype}: {reason}"))
    })?;
    Ok(made.cast_into::<PyArrayDyn<T>>().map_err(PyErr::from)?.readonly())
}

/// An array of floats.
pub fn floats<'py>(name: &str, value: &Bound<'py, PyAny>) -> PyResult<PyReadonlyArrayDyn<'py, f64>> {
    array(name, value, "float64")
}

/// An array of integers; floats that are not whole numbers are refused.
pub fn integers<'py>(name: &str, value: &Bound<'py, PyAny>) -> PyResult<PyReadonlyArrayDyn<'py, i64>> {
    let py = value.py();
    let numpy = py.import("numpy")?;
    if value.cast::<PyArrayDyn<i64>>().is_err() {
        let given = numpy.call_method1("asarray", (value,))?;
        let kind: String = given.getattr("dtype")?.getattr("kind")?.extract()?;
        if !matches!(kind.as_str(), "i" | "u" | "b") {
            let dtype = given.getattr("dtype")?.str()?;
            return Err(invalid(py, format!("`{name}` must be an array of integers, got {dtype}")));
        }
    }
    array(name, value, "int64")
}

/// The numbers of a one-dimensional array.
pub fn vector(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Vec<f64>> {
    let array = floats(name, value)?;
    if array.ndim() != 1 {
        return Err(invalid(value.py(), format!("`{name}` must have 1 dimension, got {}", array.ndim())));
    }
    Ok(array.as_slice()?.to_vec())
}

/// Each entry of a sequence, with its own name for messages.
pub fn entries<'py>(name: &str, value: &Bound<'py, PyAny>) -> PyResult<Vec<(String, Bound<'py, PyAny>)>> {
    let list: PyResult<Vec<Bound<'py, PyAny>>> = value.try_iter().and_then(Iterator::collect);
    let list = list.map_err(|_| invalid(value.py(), format!("`{name}` must be a sequence, one entry per stage")))?;
    Ok(list.into_iter().enumerate().map(|(v, entry)| (format!("{name}[{v}]"), entry)).collect())
}

/// A list of arrays.
pub fn arrays(py: Python<'_>, columns: &[Vec<f64>]) -> PyResult<Py<PyList>> {
    let arrays = columns.iter().map(|column| PyArray1::from_slice(py, column));
    Ok(PyList::new(py, arrays.collect::<Vec<_>>())?.unbind())
}
