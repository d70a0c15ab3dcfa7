//! Signals and predictions of many requests for the engine: arrays of numbers where they are, all else converted.

use numpy::ndarray::{ArrayView1, ArrayView2, Axis, Ix1, Ix2};
use numpy::{Element, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;
use ttamer::rules;

use crate::convert::floats;
use crate::errors::invalid;
use crate::predictions::Predictions;
use crate::shapes::check_shape;

/// Signals of one stage, or a table of them.
pub enum Signals<'py> {
    Double(PyReadonlyArrayDyn<'py, f64>),
    Single(PyReadonlyArrayDyn<'py, f32>),
}

/// Predictions of one stage, or a table of them.
pub enum Said<'py> {
    Long(PyReadonlyArrayDyn<'py, i64>),
    Short(PyReadonlyArrayDyn<'py, i32>),
    Made(Predictions<'py>),
}

/// An array of numpy's own class with so many axes, whose numbers can be read where they are, in whatever order.
fn there<'py, T: Element>(given: &Bound<'py, PyAny>, axes: usize) -> Option<PyReadonlyArrayDyn<'py, T>> {
    let array = given.cast::<PyArrayDyn<T>>().ok()?;
    let size = size_of::<T>() as isize;
    let is_regular = array.data().is_aligned() && array.strides().iter().all(|stride| stride % size == 0);
    let is_plain = array.is_exact_instance_of::<PyUntypedArray>() && array.ndim() == axes;
    (is_plain && is_regular).then(|| array.readonly())
}

/// An array of one axis as a column; all numbers of any other one, in their order.
fn column<'a, T: Element>(array: &'a PyReadonlyArrayDyn<'_, T>) -> PyResult<ArrayView2<'a, T>> {
    if let Ok(column) = array.as_array().into_dimensionality::<Ix1>() {
        return Ok(column.insert_axis(Axis(1)));
    }
    Ok(ArrayView1::from(array.as_slice()?).insert_axis(Axis(1)))
}

/// An array of k columns.
fn table<'a, T: Element>(name: &str, array: &'a PyReadonlyArrayDyn<'_, T>, k: usize) -> PyResult<ArrayView2<'a, T>> {
    check_shape(array.py(), name, array.shape(), k)?;
    let table = array.as_array().into_dimensionality::<Ix2>();
    table.map_err(|error| invalid(array.py(), format!("`{name}` {error}")))
}

impl<'py> Signals<'py> {
    /// From an array, or whatever is like one; one that has so many axes is read where it is.
    ///
    /// # Errors
    /// As `convert::floats`.
    pub fn of(given: &Bound<'py, PyAny>, axes: usize) -> PyResult<Self> {
        if let Some(array) = there(given, axes) {
            return Ok(Self::Single(array));
        }
        there(given, axes).map_or_else(|| floats("signal", given), Ok).map(Self::Double)
    }

    /// One column for the engine.
    ///
    /// # Errors
    /// None where it was made for one axis.
    pub fn column(&self) -> PyResult<rules::Signals<'_>> {
        Ok(match self {
            Self::Double(array) => rules::Signals::Double(column(array)?),
            Self::Single(array) => rules::Signals::Single(column(array)?),
        })
    }

    /// (n, k) for the engine.
    ///
    /// # Errors
    /// A `ValidationError` for any other shape.
    pub fn table(&self, k: usize) -> PyResult<rules::Signals<'_>> {
        Ok(match self {
            Self::Double(array) => rules::Signals::Double(table("signal", array, k)?),
            Self::Single(array) => rules::Signals::Single(table("signal", array, k)?),
        })
    }
}

impl<'py> Said<'py> {
    /// From an array, a table, or a sequence, as [`Predictions::of`] has it.
    ///
    /// # Errors
    /// As [`Predictions::of`].
    pub fn of(given: &Bound<'py, PyAny>, axes: usize) -> PyResult<Self> {
        if let Some(array) = there(given, axes) {
            return Ok(Self::Long(array));
        }
        if let Some(array) = there(given, axes) {
            return Ok(Self::Short(array));
        }
        Predictions::of(given, axes).map(Self::Made)
    }

    /// Those that were made of something else, and may have objects among them.
    pub fn made(&mut self) -> Option<&mut Predictions<'py>> {
        if let Self::Made(made) = self { Some(made) } else { None }
    }

    /// One column for the engine.
    ///
    /// # Errors
    /// None where it was made for one axis.
    pub fn column(&self) -> PyResult<rules::Predictions<'_>> {
        Ok(match self {
            Self::Long(array) => rules::Predictions::Long(column(array)?),
            Self::Short(array) => rules::Predictions::Short(column(array)?),
            Self::Made(made) => rules::Predictions::column(made.codes()?),
        })
    }

    /// (n, k) for the engine, objects numbered within their rows.
    ///
    /// # Errors
    /// A `ValidationError` for any other shape; what comparing objects raises.
    pub fn table(&mut self, py: Python<'_>, k: usize) -> PyResult<rules::Predictions<'_>> {
        match self {
            Self::Long(array) => table("prediction", array, k).map(rules::Predictions::Long),
            Self::Short(array) => table("prediction", array, k).map(rules::Predictions::Short),
            Self::Made(made) => {
                check_shape(py, "prediction", made.shape(), k)?;
                made.number(k)?;
                let rows = rules::Predictions::rows_of(made.codes()?, k);
                rows.ok_or_else(|| invalid(py, format!("`prediction` must have {k} columns")))
            }
        }
    }
}
