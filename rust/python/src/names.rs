//! Columns of tables and names of stages.

use pyo3::prelude::*;
use pyo3::types::PyList;
use ttamer::trace;

use crate::errors::raise;

/// For each of the `wanted` stages, which of the `given` ones it is, by name.
#[pyfunction]
#[pyo3(signature = (argument, wanted, given, /))]
pub fn in_order(py: Python<'_>, argument: &str, wanted: Vec<String>, given: Vec<String>) -> PyResult<Vec<usize>> {
    trace::in_order(argument, &wanted, &given).map_err(|error| raise(py, error))
}

/// A table with its columns in the order of `stages`; what has no names for its columns, as it is.
#[pyfunction]
#[pyo3(signature = (argument, value, stages, /))]
pub fn by_name<'py>(argument: &str, value: &Bound<'py, PyAny>, stages: Vec<String>) -> PyResult<Bound<'py, PyAny>> {
    columns_of(argument, value, &stages)
}

/// The same. Names are those of pandas, polars (`columns`) and pyarrow (`column_names`); columns that are numbered, not
/// named, have none.
pub fn columns_of<'py>(argument: &str, value: &Bound<'py, PyAny>, stages: &[String]) -> PyResult<Bound<'py, PyAny>> {
    let Some(labels) = labels(value)? else { return Ok(value.clone()) };
    let Ok(given) = labels.extract::<Vec<String>>() else { return Ok(value.clone()) };
    let order = trace::in_order(argument, stages, &given).map_err(|error| raise(value.py(), error))?;
    if order.iter().enumerate().all(|(place, stage)| place == *stage) {
        return Ok(value.clone());
    }
    let sorted =
        PyList::new(value.py(), order.iter().map(|stage| labels.get_item(*stage)).collect::<PyResult<Vec<_>>>()?)?;
    if value.hasattr("column_names")? { value.call_method1("select", (sorted,)) } else { value.get_item(sorted) }
}

/// What a table calls its columns.
fn labels<'py>(value: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyList>>> {
    for attribute in ["column_names", "columns"] {
        if let Some(found) = value.getattr_opt(attribute)? {
            let Ok(entries) = found.try_iter() else { return Ok(None) };
            return Ok(Some(PyList::new(value.py(), entries.collect::<PyResult<Vec<_>>>()?)?));
        }
    }
    Ok(None)
}
