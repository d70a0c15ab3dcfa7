//! What stages said of many requests: arrays, columns and sequences as codes, entry by entry as
//! [`Said::of`](crate::prediction::Said::of) has them.

use numpy::{PyArray1, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyList, PySequence, PyString, PyTuple};
use ttamer::rules::NO_PREDICTION;
use ttamer::rules::prediction as code;

use crate::errors::invalid;
use crate::known::Known;
use crate::prediction::{Said, among};

/// Codes of many predictions.
pub struct Predictions<'py> {
    codes: Codes<'py>,
    shape: Vec<usize>,
    /// Objects that are compared within their request, each with its place among the codes, ascending.
    pub objects: Vec<(usize, Bound<'py, PyAny>)>,
}

enum Codes<'py> {
    /// The numbers where they are.
    Array(PyReadonlyArrayDyn<'py, i64>),
    Made(Vec<i64>),
}

impl<'py> Predictions<'py> {
    /// From an array, a table, or a sequence: of predictions for one axis, of rows of them for two.
    ///
    /// # Errors
    /// A `ValidationError` where it is none of these, rows differ in length, or an entry is not hashable; and whatever
    /// the methods of entries raise.
    pub fn of(given: &Bound<'py, PyAny>, axes: usize) -> PyResult<Self> {
        let py = given.py();
        let known = Known::get(py)?;
        if known.is_plain_array(given)
            && let Ok(array) = given.cast::<PyArrayDyn<i64>>()
            && array.is_c_contiguous()
            && array.data().is_aligned()
        {
            let shape = array.shape().to_vec();
            return Ok(Self { codes: Codes::Array(array.readonly()), shape, objects: Vec::new() });
        }
        if known.is_array(given) {
            return of_array(given);
        }
        if let Ok(values) = given.cast_exact::<PyList>() {
            return of_list(values.get_slice(0, values.len()), axes);
        }
        if [
            given.is_instance_of::<PyString>(),
            given.is_instance_of::<PyBytes>(),
            given.is_instance_of::<PyByteArray>(),
        ]
        .contains(&true)
        {
            return Err(refused(given));
        }
        if let Ok(values) = given.cast::<PySequence>() {
            return of_list(values.to_list()?, axes);
        }
        of_others(given, axes)
    }

    /// (n,) or (n, k), as given.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The codes, the last axis first; those of objects are what was last written there.
    pub fn codes(&self) -> PyResult<&[i64]> {
        match &self.codes {
            Codes::Array(array) => Ok(array.as_slice()?),
            Codes::Made(codes) => Ok(codes),
        }
    }

    /// Writes the code of an object.
    pub fn write(&mut self, place: usize, code: i64) {
        if let Codes::Made(codes) = &mut self.codes
            && let Some(cell) = codes.get_mut(place)
        {
            *cell = code;
        }
    }

    /// Numbers the objects of requests that have `k` entries each.
    ///
    /// # Errors
    /// What comparing them raises.
    pub fn number(&mut self, k: usize) -> PyResult<()> {
        let objects = std::mem::take(&mut self.objects);
        let mut request = None;
        let mut shown = Vec::new();
        for (place, object) in &objects {
            if request.replace(place / k.max(1)) != Some(place / k.max(1)) {
                shown.clear();
            }
            let (code, is_new) = among(&shown, object)?;
            if is_new {
                shown.push(object.clone());
            }
            self.write(*place, code);
        }
        Ok(())
    }

    fn append(&mut self, more: Self) -> PyResult<()> {
        if let Codes::Made(codes) = &mut self.codes {
            let before = codes.len();
            codes.extend(more.codes()?);
            self.objects.extend(more.objects.into_iter().map(|(place, object)| (before + place, object)));
        }
        Ok(())
    }

    fn made(codes: Vec<i64>, shape: Vec<usize>) -> Self {
        Self { codes: Codes::Made(codes), shape, objects: Vec::new() }
    }
}

fn refused(given: &Bound<'_, PyAny>) -> PyErr {
    let name = given.get_type().name().map_or_else(|_| "something else".into(), |name| name.to_string());
    invalid(given.py(), format!("`prediction` must be an array or a sequence of predictions, got {name}"))
}

/// Entry by entry.
fn of_entries<'py>(
    entries: impl Iterator<Item = Bound<'py, PyAny>>,
    shape: Vec<usize>,
    row: Option<usize>,
) -> PyResult<Predictions<'py>> {
    let mut codes = Vec::with_capacity(shape.iter().product());
    let mut objects = Vec::new();
    for (place, entry) in entries.enumerate() {
        match Said::of(&entry) {
            Ok(Said::Code(code)) => codes.push(code),
            Ok(Said::Object(object)) => {
                objects.push((place, object));
                codes.push(NO_PREDICTION);
            }
            Err(error) => return Err(placed(entry.py(), error, &shape, row, place)),
        }
    }
    Ok(Predictions { codes: Codes::Made(codes), shape, objects })
}

/// The error with the place of the entry, if it is one of ours.
fn placed(py: Python<'_>, error: PyErr, shape: &[usize], row: Option<usize>, place: usize) -> PyErr {
    let Ok(ours) = crate::errors::validation(py) else { return error };
    if !error.is_instance(py, &ours) {
        return error;
    }
    let place = match (row, shape) {
        (Some(row), _) => format!("row {row} column {place}"),
        (None, [_, k]) => format!("row {} column {}", place / k.max(&1), place % k.max(&1)),
        (None, _) => format!("row {place}"),
    };
    let text = error.value(py).to_string();
    let placed = invalid(py, text.replacen("`prediction`", &format!("`prediction` {place}"), 1));
    placed.set_cause(py, error.cause(py));
    placed
}

/// A list that nobody else has: of predictions for one axis, of rows for two.
fn of_list(values: Bound<'_, PyList>, axes: usize) -> PyResult<Predictions<'_>> {
    if axes == 1 {
        let shape = vec![values.len()];
        return of_entries(values.iter(), shape, None);
    }
    let py = values.py();
    let mut all = Predictions::made(Vec::new(), vec![values.len(), 0]);
    for (row, given) in values.iter().enumerate() {
        let of_row = if let Ok(list) = given.cast_exact::<PyList>() {
            of_entries(list.get_slice(0, list.len()).iter(), vec![list.len()], Some(row))
        } else if let Ok(tuple) = given.cast_exact::<PyTuple>() {
            of_entries(tuple.iter(), vec![tuple.len()], Some(row))
        } else {
            Predictions::of(&given, 1)
        }?;
        let &[k] = of_row.shape() else {
            return Err(invalid(py, format!("`prediction` row {row} must be a sequence of predictions, got an array")));
        };
        if row == 0 {
            all.shape = vec![values.len(), k];
        } else if all.shape.last() != Some(&k) {
            let first = all.shape.last().copied().unwrap_or(0);
            let message = format!("`prediction` row {row} must have {first} entries, as row 0 has, got {k}");
            return Err(invalid(py, message));
        }
        all.append(of_row)?;
    }
    Ok(all)
}

/// An array of numpy, of any type.
fn of_array<'py>(given: &Bound<'py, PyAny>) -> PyResult<Predictions<'py>> {
    let py = given.py();
    let known = Known::get(py)?;
    if known.is_masked_array(given)? {
        return of_masked(given);
    }
    let numpy = py.import(intern!(py, "numpy"))?;
    let array = numpy.call_method1(intern!(py, "asarray"), (given,))?;
    let shape = array.cast::<PyUntypedArray>()?.shape().to_vec();
    let dtype = array.getattr(intern!(py, "dtype"))?;
    let kind: char = dtype.getattr(intern!(py, "kind"))?.extract()?;
    let size: usize = dtype.getattr(intern!(py, "itemsize"))?.extract()?;
    let contiguous = |wanted: &str| numpy.call_method1("require", (&array, wanted, ("C", "ALIGNED")));
    let codes = match kind {
        'u' if size == 8 => read::<u64>(&contiguous("uint64")?, |number| code::unsigned(*number))?,
        'b' | 'i' | 'u' => read::<i64>(&contiguous("int64")?, |number| *number)?,
        'f' if size <= 8 => read::<f64>(&contiguous("float64")?, |number| code::float(*number))?,
        'c' if size <= 16 => {
            let parts = contiguous("complex128")?.call_method1("view", ("float64",))?;
            let parts = parts.cast::<PyArrayDyn<f64>>().map_err(PyErr::from)?.readonly();
            parts.as_slice()?.chunks_exact(2).map(|parts| code::complex(parts[0], parts[1])).collect()
        }
        'U' if size > 0 => read_text(&array, size / 4, "uint32", code::text)?,
        'S' if size > 0 => read_text(&array, size, "uint8", code::bytes)?,
        _ => {
            // The entries themselves of arrays of objects and of text of any length, numpy's own of all others.
            let flat = array.call_method0("ravel")?;
            let flat = if matches!(kind, 'O' | 'T') { flat.call_method0("tolist")? } else { flat };
            let entries: Vec<Bound<'py, PyAny>> = flat.try_iter()?.collect::<PyResult<_>>()?;
            return of_entries(entries.into_iter(), shape, None);
        }
    };
    Ok(Predictions::made(codes, shape))
}

/// A code for each number of a contiguous array.
fn read<T: numpy::Element>(array: &Bound<'_, PyAny>, of: impl Fn(&T) -> i64) -> PyResult<Vec<i64>> {
    let array = array.cast::<PyArrayDyn<T>>().map_err(PyErr::from)?.readonly();
    Ok(array.as_slice()?.iter().map(of).collect())
}

/// A code for each text of `width` characters, as a number each, zeros at the end left out.
fn read_text<T: numpy::Element + Copy + Default + PartialEq>(
    array: &Bound<'_, PyAny>,
    width: usize,
    character: &str,
    of: impl Fn(&[T]) -> i64,
) -> PyResult<Vec<i64>> {
    let native = array.getattr("dtype")?.call_method1("newbyteorder", ("=",))?;
    let flat = array.call_method1("astype", (native,))?.call_method1("reshape", (-1,))?;
    let contiguous = array.py().import("numpy")?.call_method1("ascontiguousarray", (flat,))?;
    let characters = contiguous.call_method1("view", (character,))?;
    let characters = characters.cast::<PyArray1<T>>().map_err(PyErr::from)?.readonly();
    let trimmed = |text: &[T]| text.len() - text.iter().rev().take_while(|one| **one == T::default()).count();
    Ok(characters.as_slice()?.chunks_exact(width).map(|text| of(&text[..trimmed(text)])).collect())
}

/// An array with a mask: what is masked is no prediction.
fn of_masked<'py>(given: &Bound<'py, PyAny>) -> PyResult<Predictions<'py>> {
    let py = given.py();
    let masked = py.import("numpy.ma")?;
    let mut all = of_array(&masked.call_method1("getdata", (given,))?)?;
    let mask = masked.call_method1("getmaskarray", (given,))?;
    let mask = mask.call_method0("ravel")?.cast_into::<PyArray1<bool>>().map_err(PyErr::from)?;
    let mask = mask.to_vec()?;
    let codes = all.codes()?.iter().zip(&mask).map(|(code, hidden)| if *hidden { NO_PREDICTION } else { *code });
    all.codes = Codes::Made(codes.collect());
    all.objects.retain(|(place, _)| mask.get(*place) != Some(&true));
    Ok(all)
}

/// Columns, tables and tensors of other packages.
fn of_others<'py>(given: &Bound<'py, PyAny>, axes: usize) -> PyResult<Predictions<'py>> {
    let py = given.py();
    let class = given.get_type();
    let has = |name: &str| class.hasattr(name);
    if has("iloc")? && has("columns")? {
        let each = |column: usize| given.getattr("iloc")?.get_item((pyo3::types::PySlice::full(py), column));
        return of_columns(py, (0..given.getattr("columns")?.len()?).map(each));
    }
    for columns in ["itercolumns", "iter_columns"] {
        if has(columns)? {
            return of_columns(py, given.call_method0(columns)?.try_iter()?);
        }
    }
    // A column that knows its own types: numpy would make floats of integers with gaps.
    let is_numpy = given.getattr("dtype").is_ok_and(|dtype| dtype.hasattr("newbyteorder").unwrap_or(false));
    let is_tensor = has("__dlpack__")?;
    for (values, is_wanted) in [("to_pylist", true), ("to_list", !is_tensor), ("tolist", !is_tensor)] {
        if is_wanted && !is_numpy && has(values)? {
            return of_list(given.call_method0(values)?.cast_into::<PyList>()?, axes);
        }
    }
    if !has("__array__")? && !has("__dlpack__")? {
        return Err(refused(given));
    }
    match py.import("numpy")?.call_method1("asarray", (given,)) {
        Ok(array) => of_array(&array),
        // A tensor of a type or on a device that numpy does not know.
        Err(error) => match given.call_method0("tolist").map(Bound::cast_into::<PyList>) {
            Ok(Ok(values)) => of_list(values, axes),
            _ => Err(error),
        },
    }
}

/// Columns of one length, as rows.
fn of_columns<'py>(
    py: Python<'py>,
    columns: impl Iterator<Item = PyResult<Bound<'py, PyAny>>>,
) -> PyResult<Predictions<'py>> {
    let columns: Vec<Predictions<'py>> = columns.map(|column| Predictions::of(&column?, 1)).collect::<PyResult<_>>()?;
    let (n, k) = (columns.first().map_or(0, |column| column.shape().iter().product()), columns.len());
    let mut all = Predictions::made(vec![NO_PREDICTION; n * k], vec![n, k]);
    for (at, column) in columns.into_iter().enumerate() {
        let codes = column.codes()?;
        if codes.len() != n {
            return Err(invalid(py, format!("`prediction` column {at} must have {n} entries, got {}", codes.len())));
        }
        for (row, code) in codes.iter().enumerate() {
            all.write(row * k + at, *code);
        }
        all.objects.extend(column.objects.into_iter().map(|(row, object)| (row * k + at, object)));
    }
    all.objects.sort_by_key(|(place, _)| *place);
    Ok(all)
}

/// The codes of predictions, int64 of the same shape: of (n, k) predictions, a row for each request, or of the (k,) of
/// one request. Equal in a row exactly where the predictions are, −2⁶³ where there is none.
#[pyfunction]
#[pyo3(signature = (prediction, /, axes = 2))]
pub fn prediction_codes<'py>(prediction: &Bound<'py, PyAny>, axes: usize) -> PyResult<Bound<'py, PyAny>> {
    let py = prediction.py();
    let mut found = Predictions::of(prediction, axes)?;
    if let Codes::Array(_) = found.codes {
        return Ok(prediction.clone());
    }
    let shape = found.shape().to_vec();
    let k = shape.last().copied().unwrap_or(1);
    found.number(k)?;
    PyArray1::from_slice(py, found.codes()?).call_method1("reshape", (shape,))
}
