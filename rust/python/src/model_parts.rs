//! What exact models are made of, from Python and back.

use numpy::{PyArray1, PyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use ttamer::{Jumps, Latency, Transition};

use crate::convert::{entries, floats, integers, vector};
use crate::errors::invalid;

pub fn losses(loss: &Bound<'_, PyAny>) -> PyResult<Vec<Vec<f64>>> {
    entries("loss", loss)?.iter().map(|(name, entry)| vector(name, entry)).collect()
}

pub fn transitions(transition: &Bound<'_, PyAny>) -> PyResult<Vec<Transition>> {
    entries("transition", transition)?.iter().map(|(name, entry)| one_transition(name, entry)).collect()
}

/// Dense array, scipy.sparse matrix or array, coordinates, or a pair (U, V) of dense factors.
fn one_transition(name: &str, entry: &Bound<'_, PyAny>) -> PyResult<Transition> {
    if entry.hasattr("tocoo")? {
        let entries = entry.call_method0("tocoo")?;
        let part = |name: &str| entries.getattr(name);
        return sparse(name, &part("row")?, &part("col")?, &part("data")?, &part("shape")?);
    }
    let parts = entry.cast::<PyTuple>().map_or_else(|_| Vec::new(), |parts| parts.iter().collect());
    if let [u, v] = parts.as_slice() {
        let factor = |at: usize, given: &Bound<'_, PyAny>| matrix(&format!("{name}[{at}]"), given);
        return Ok(Transition::LowRank { u: factor(0, u)?, v: factor(1, v)? });
    }
    if let [row, column, value, shape] = parts.as_slice() {
        return sparse(name, row, column, value, shape);
    }
    matrix(name, entry).map(Transition::Dense)
}

/// From coordinates: where every entry is, and what it is.
fn sparse(
    name: &str,
    row: &Bound<'_, PyAny>,
    column: &Bound<'_, PyAny>,
    value: &Bound<'_, PyAny>,
    shape: &Bound<'_, PyAny>,
) -> PyResult<Transition> {
    let py = row.py();
    let places = |given: &Bound<'_, PyAny>| -> PyResult<Vec<usize>> {
        // A negative place becomes one beyond every shape.
        Ok(numbers(name, given)?.into_iter().map(|place| place as usize).collect())
    };
    let shape = shape.extract().map_err(|_| invalid(py, format!("`{name}` must have a shape of two numbers")))?;
    let made = Transition::from_coordinates(&places(row)?, &places(column)?, &vector(name, value)?, shape);
    made.map_err(|error| invalid(py, format!("`{name}`: {error}")))
}

/// What `one_transition` reads.
pub fn given<'py>(py: Python<'py>, transition: &Transition) -> PyResult<Bound<'py, PyAny>> {
    let dense = |matrix: &ndarray::Array2<f64>| PyArray2::from_array(py, matrix);
    Ok(match transition {
        Transition::Dense(matrix) => dense(matrix).into_any(),
        Transition::LowRank { u, v } => (dense(u), dense(v)).into_pyobject(py)?.into_any(),
        Transition::Sparse(entries) => {
            let (mut rows, mut columns, mut values) = (Vec::new(), Vec::new(), Vec::new());
            for row in 0..entries.shape().0 {
                let (column, value) = entries.row(row);
                rows.resize(rows.len() + column.len(), row as i64);
                columns.extend(column.iter().map(|column| i64::from(*column)));
                values.extend_from_slice(value);
            }
            let places = (PyArray1::from_vec(py, rows), PyArray1::from_vec(py, columns));
            (places.0, places.1, PyArray1::from_vec(py, values), entries.shape()).into_pyobject(py)?.into_any()
        }
        _ => return Err(invalid(py, "`model` has a transition that cannot be copied")),
    })
}

/// What each stage's seconds are: a tuple (seconds, probability), or a sequence of such tuples, one per state.
pub fn latencies(latency: &Bound<'_, PyAny>) -> PyResult<Vec<Vec<Latency>>> {
    let stage = |(name, entry): &(String, Bound<'_, PyAny>)| {
        if entry.is_instance_of::<PyTuple>() {
            return Ok(vec![one_latency(name, entry)?]);
        }
        entries(name, entry)?.iter().map(|(name, entry)| one_latency(name, entry)).collect()
    };
    entries("latency", latency)?.iter().map(stage).collect()
}

fn one_latency(name: &str, entry: &Bound<'_, PyAny>) -> PyResult<Latency> {
    let parts = entry.cast::<PyTuple>().map_or_else(|_| Vec::new(), |parts| parts.iter().collect());
    let [seconds, probability] = parts.as_slice() else {
        return Err(invalid(entry.py(), format!("`{name}` must be a tuple (seconds, probability)")));
    };
    Ok(Latency::new(vector(&format!("{name}[0]"), seconds)?, vector(&format!("{name}[1]"), probability)?))
}

/// `exits` and `models`, as of a trace.
pub fn jumps(py: Python<'_>, kind: &str) -> PyResult<Jumps> {
    match kind {
        "exits" => Ok(Jumps::Through),
        "models" => Ok(Jumps::Alone),
        other => Err(invalid(py, format!("`kind` must be 'exits' or 'models', got '{other}'"))),
    }
}

pub fn matrix(name: &str, value: &Bound<'_, PyAny>) -> PyResult<ndarray::Array2<f64>> {
    let array = floats(name, value)?;
    let dims = array.ndim();
    let matrix = array.as_array().to_owned().into_dimensionality::<ndarray::Ix2>();
    matrix.map_err(|_| invalid(value.py(), format!("`{name}` must have 2 dimensions, got {dims}")))
}

/// A list of stage numbers.
pub fn numbers(name: &str, entry: &Bound<'_, PyAny>) -> PyResult<Vec<i64>> {
    let array = integers(name, entry)?;
    if array.ndim() != 1 {
        return Err(invalid(entry.py(), format!("`{name}` must have 1 dimension, got {}", array.ndim())));
    }
    Ok(array.as_slice()?.to_vec())
}

/// The latencies of a model as `latencies` reads them; None where there are none.
pub fn given_latencies<'py>(py: Python<'py>, model: &ttamer::Model) -> PyResult<Bound<'py, PyAny>> {
    let one = |latency: &Latency| {
        let parts = [latency.seconds(), latency.probability()].map(|part| PyArray1::from_slice(py, part));
        PyTuple::new(py, parts)
    };
    let stages = (0..model.stages()).map(|v| match model.latencies(v) {
        [only] => Ok(one(only)?.into_any()),
        each => Ok(PyList::new(py, each.iter().map(one).collect::<PyResult<Vec<_>>>()?)?.into_any()),
    });
    if model.latencies(0).is_empty() {
        return Ok(py.None().into_bound(py));
    }
    Ok(PyList::new(py, stages.collect::<PyResult<Vec<_>>>()?)?.into_any())
}
