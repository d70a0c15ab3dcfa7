//! Array-likes to contiguous numpy arrays, with errors that name the argument.

use numpy::{PyArray1, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList};

use crate::errors::invalid;

/// Whether an array can be read as a slice: C-contiguous, aligned, and not masked or otherwise more than its numbers.
fn is_plain<T: numpy::Element>(array: &Bound<'_, PyArrayDyn<T>>) -> bool {
    array.is_exact_instance_of::<PyUntypedArray>() && array.is_c_contiguous() && array.data().is_aligned()
}

/// An array of floats, without a copy where it is one already. Everything else is converted in one place for both
/// languages: `float_array` of `ttamer_fast._utils.arrays`.
pub fn floats<'py>(name: &str, value: &Bound<'py, PyAny>) -> PyResult<PyReadonlyArrayDyn<'py, f64>> {
    static CONVERT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    if let Ok(array) = value.cast::<PyArrayDyn<f64>>()
        && is_plain(array)
    {
        return Ok(array.readonly());
    }
    let made = CONVERT.import(value.py(), "ttamer_fast._utils.arrays", "float_array")?.call1((name, value))?;
    Ok(made.cast_into::<PyArrayDyn<f64>>().map_err(PyErr::from)?.readonly())
}

/// An array of integers; floats are refused, but for an empty array, which numpy makes of an empty list.
pub fn integers<'py>(name: &str, value: &Bound<'py, PyAny>) -> PyResult<PyReadonlyArrayDyn<'py, i64>> {
    let py = value.py();
    let array = value.cast::<PyArrayDyn<i64>>().ok();
    if let Some(array) = array.filter(|array| is_plain(array)) {
        return Ok(array.readonly());
    }
    let numpy = py.import("numpy")?;
    if array.is_none() {
        let given = numpy.call_method1("asarray", (value,))?;
        let kind: String = given.getattr("dtype")?.getattr("kind")?.extract()?;
        if !matches!(kind.as_str(), "i" | "u" | "b") && given.getattr("size")?.extract::<usize>()? > 0 {
            let dtype = given.getattr("dtype")?.str()?;
            return Err(invalid(py, format!("`{name}` must be an array of integers, got {dtype}")));
        }
    }
    let options = PyDict::new(py);
    options.set_item("dtype", "int64")?;
    options.set_item("requirements", "CA")?;
    let made = numpy.call_method("require", (value,), Some(&options));
    let made = made.map_err(|error| {
        let reason = error.value(py).to_string().replace('\n', " ");
        invalid(py, format!("`{name}` must be an array of integers: {reason}"))
    })?;
    Ok(made.cast_into::<PyArrayDyn<i64>>().map_err(PyErr::from)?.readonly())
}

/// A number, as `check_number` of `ttamer_fast._utils.checks` takes it.
pub fn number(name: &str, value: &Bound<'_, PyAny>) -> PyResult<f64> {
    static CHECK: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    CHECK.import(value.py(), "ttamer_fast._utils.checks", "check_number")?.call1((name, value))?.extract()
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

/// Entries below which an array that is copied costs less than one that owns a vector.
const FEW: usize = 1024;

/// An array of these numbers.
pub fn column<T: numpy::Element + Copy>(py: Python<'_>, numbers: Vec<T>) -> Bound<'_, PyArray1<T>> {
    if numbers.len() < FEW { PyArray1::from_slice(py, &numbers) } else { PyArray1::from_vec(py, numbers) }
}
