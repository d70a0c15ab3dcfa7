//! How sure a model is, from the logits of its classes or the log-probabilities of its tokens.

use numpy::ndarray::{ArrayView2, Axis, Ix1, Ix2};
use numpy::{Element, PyArray1, PyArrayDyn, PyArrayMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyBoolMethods, PyBytes, PyFloat, PyInt, PyList, PyString, PyTuple};
use pyo3::{IntoPyObjectExt, intern};
use ttamer::signals::{Logit, Readings, Signal, mean_logprobs, of_logits, of_one};

use crate::errors::{invalid, raise};
use crate::working::detached;

/// From so many numbers on, other threads of Python run meanwhile.
const LONG: usize = 1 << 15;

/// The signals (n,) of logits (n, c), or the one of logits (c,), and with `argmax` the classes.
#[pyfunction]
#[pyo3(signature = (signal, logits, argmax, /))]
pub fn signal_of_logits<'py>(
    signal: &str,
    logits: &Bound<'py, PyAny>,
    argmax: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = logits.py();
    let signal = match signal {
        "max_probability" => Signal::MaxProbability,
        "margin" => Signal::Margin,
        "negative_entropy" => Signal::NegativeEntropy,
        "energy" => Signal::Energy,
        other => return Err(invalid(py, format!("`signal` must be one of those of logits, got '{other}'"))),
    };
    let Ok(argmax) = argmax.cast::<PyBool>().map(PyBoolMethods::is_true) else {
        return Err(invalid(py, format!("`argmax` must be True or False, got {}", argmax.repr()?)));
    };
    match Floats::read("logits", logits, "logit_array")? {
        Floats::Single(array) => signals(&array, signal, argmax),
        Floats::Double(array) => signals(&array, signal, argmax),
    }
}

fn signals<'py, T: Logit + Element>(
    array: &Bound<'py, PyArrayDyn<T>>,
    signal: Signal,
    argmax: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let py = array.py();
    let read = processor::reader::<T>();
    let borrowed = array.readonly();
    let logits = borrowed.as_array();
    if let Ok(one) = logits.view().into_dimensionality::<Ix1>() {
        let (signal, class) = of_one(&one, signal, read).map_err(|error| raise(py, error))?;
        return with_classes(PyFloat::new(py, signal).into_any(), argmax.then_some(class));
    }
    let Ok(rows) = logits.into_dimensionality::<Ix2>() else { return Err(dimensions("logits", "1 or 2", array)) };
    let Readings { signal, argmax: classes } = work(py, &rows, |rows| of_logits(rows, signal, read))?;
    with_classes(PyArray1::from_vec(py, signal).into_any(), argmax.then(|| PyArray1::from_vec(py, classes)))
}

/// The signal alone, or a pair.
fn with_classes<'py>(
    signal: Bound<'py, PyAny>,
    classes: Option<impl IntoPyObject<'py>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = signal.py();
    match classes {
        None => Ok(signal),
        Some(classes) => PyTuple::new(py, [signal, classes.into_bound_py_any(py)?]).map(Bound::into_any),
    }
}

/// Mean of the log-probabilities of the tokens of one sequence (t,), or of each of n.
#[pyfunction]
#[pyo3(signature = (logprobs, /))]
pub fn mean_logprob<'py>(logprobs: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = logprobs.py();
    let logprobs = &listed(logprobs)?;
    if let Some(mean) = mean_of_list(logprobs) {
        return mean.into_bound_py_any(py);
    }
    if let Some(rows) = rows(logprobs)? {
        let mean = |(i, row): (usize, &Bound<'py, PyAny>)| match mean_of_list(row) {
            Some(mean) => Ok(mean),
            None if row.is_none() => Ok(f64::NAN),
            None => mean_of_row(&format!("logprobs[{i}]"), row),
        };
        let means = rows.iter().enumerate().map(mean).collect::<PyResult<Vec<_>>>()?;
        return Ok(PyArray1::from_vec(py, means).into_any());
    }
    match Floats::read("logprobs", logprobs, "logprob_array")? {
        Floats::Single(array) => means(&array),
        Floats::Double(array) => means(&array),
    }
}

fn means<'py, T: Logit + Element>(array: &Bound<'py, PyArrayDyn<T>>) -> PyResult<Bound<'py, PyAny>> {
    let py = array.py();
    if let Some(mean) = mean(array)? {
        return mean.into_bound_py_any(py);
    }
    let borrowed = array.readonly();
    let Ok(rows) = borrowed.as_array().into_dimensionality::<Ix2>() else {
        return Err(dimensions("logprobs", "1 or 2", array));
    };
    Ok(PyArray1::from_vec(py, work(py, &rows, |rows| mean_logprobs(rows))?).into_any())
}

/// The mean of an array of one dimension; None for any other.
fn mean<T: Logit + Element>(array: &Bound<'_, PyArrayDyn<T>>) -> PyResult<Option<f64>> {
    let py = array.py();
    let borrowed = array.readonly();
    let Ok(one) = borrowed.as_array().into_dimensionality::<Ix1>() else { return Ok(None) };
    let means = work(py, &one.insert_axis(Axis(0)), |rows| mean_logprobs(rows))?;
    Ok(means.first().copied())
}

/// The mean of one of several sequences.
fn mean_of_row(name: &str, row: &Bound<'_, PyAny>) -> PyResult<f64> {
    match Floats::read(name, row, "logprob_array")? {
        Floats::Single(array) => mean(&array)?.ok_or_else(|| dimensions(name, "1", &array)),
        Floats::Double(array) => mean(&array)?.ok_or_else(|| dimensions(name, "1", &array)),
    }
}

/// The mean of a list of floats, integers and None; None for anything else.
fn mean_of_list(given: &Bound<'_, PyAny>) -> Option<f64> {
    let number = |entry: Bound<'_, PyAny>| {
        if let Ok(number) = entry.cast_exact::<PyFloat>() {
            return Some(number.value());
        }
        if entry.is_none() {
            return Some(f64::NAN);
        }
        entry.cast_exact::<PyInt>().ok()?.extract::<f64>().ok()
    };
    let numbers: Option<Vec<f64>> = if let Ok(list) = given.cast::<PyList>() {
        list.iter().map(number).collect()
    } else {
        given.cast::<PyTuple>().ok()?.iter().map(number).collect()
    };
    numbers.map(|numbers| ttamer::signals::mean_logprob(&numbers))
}

/// A list in place of an array of objects: of numbers and None, or of sequences of different lengths.
fn listed<'py>(given: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    match given.cast_exact::<PyArrayDyn<Py<PyAny>>>() {
        Ok(array) => array.call_method0("tolist"),
        Err(_) => Ok(given.clone()),
    }
}

/// The entries of a list of sequences; None where the list is of numbers, or is no list.
fn rows<'py>(given: &Bound<'py, PyAny>) -> PyResult<Option<Vec<Bound<'py, PyAny>>>> {
    if !given.is_instance_of::<PyList>() && !given.is_instance_of::<PyTuple>() {
        return Ok(None);
    }
    let entries: Vec<Bound<'py, PyAny>> = given.try_iter()?.collect::<PyResult<_>>()?;
    let is_row = |entry: &Bound<'py, PyAny>| {
        let py = entry.py();
        if let Some(axes) = entry.getattr_opt(intern!(py, "ndim"))? {
            return Ok(axes.extract::<usize>().is_ok_and(|axes| axes > 0));
        }
        let is_text = entry.is_instance_of::<PyString>() || entry.is_instance_of::<PyBytes>();
        Ok::<_, PyErr>(!is_text && entry.hasattr(intern!(py, "__len__"))?)
    };
    for entry in &entries {
        if is_row(entry)? {
            return Ok(Some(entries));
        }
    }
    Ok(None)
}

/// An array whose numbers can be read where they are, in any layout.
enum Floats<'py> {
    Single(Bound<'py, PyArrayDyn<f32>>),
    Double(Bound<'py, PyArrayDyn<f64>>),
}

impl<'py> Floats<'py> {
    /// The array itself, else what a function of `ttamer_fast._utils.logits` makes of it.
    fn read(name: &str, given: &Bound<'py, PyAny>, converter: &str) -> PyResult<Self> {
        static CONVERT: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
        let py = given.py();
        if let Some(found) = Self::in_place(given) {
            return Ok(found);
        }
        let import = || PyModule::import(py, "ttamer_fast._utils.logits").map(Bound::unbind);
        let made = CONVERT.get_or_try_init(py, import)?.bind(py).call_method1(converter, (name, given))?;
        Self::in_place(&made).ok_or_else(|| invalid(py, format!("`{name}` cannot be read as an array of floats")))
    }

    fn in_place(given: &Bound<'py, PyAny>) -> Option<Self> {
        if !given.is_exact_instance_of::<PyUntypedArray>() {
            return None;
        }
        if let Ok(array) = given.cast::<PyArrayDyn<f32>>() {
            return is_regular(array).then(|| Self::Single(array.clone()));
        }
        let array = given.cast::<PyArrayDyn<f64>>().ok()?;
        is_regular(array).then(|| Self::Double(array.clone()))
    }
}

/// Whether every number stands at a whole number of numbers from the first, at an address made for it.
fn is_regular<T: Element>(array: &Bound<'_, PyArrayDyn<T>>) -> bool {
    let size = size_of::<T>() as isize;
    array.data().is_aligned() && array.strides().iter().all(|stride| stride % size == 0)
}

/// Other threads of Python run meanwhile where it takes long.
fn work<'a, T: Logit, R: Send>(
    py: Python<'_>,
    rows: &ArrayView2<'a, T>,
    work: impl FnOnce(&ArrayView2<'a, T>) -> ttamer::Result<R> + Send,
) -> PyResult<R> {
    if rows.len() < LONG { work(rows).map_err(|error| raise(py, error)) } else { detached(py, || work(rows)) }
}

fn dimensions<T: Element>(name: &str, allowed: &str, array: &Bound<'_, PyArrayDyn<T>>) -> PyErr {
    let noun = if allowed == "1" { "dimension" } else { "dimensions" };
    invalid(array.py(), format!("`{name}` must have {allowed} {noun}, got {}", array.ndim()))
}

/// Reading of rows, compiled for the processor that is there.
mod processor {
    use ttamer::signals::{Logit, Read, Signal, read};

    /// With products added in one step where all processors of the kind do that.
    const FUSED: bool = cfg!(any(target_arch = "aarch64", target_feature = "fma"));

    /// The fastest that this processor can do.
    pub fn reader<T: Logit>() -> Read<T> {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return |rows, c, wanted, signals, classes| {
                // SAFETY: the processor has the instructions that the function is compiled for.
                unsafe { wide(rows, c, wanted, signals, classes) }
            };
        }
        read::<T, FUSED>
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn wide<T: Logit>(rows: &[T], c: usize, wanted: Signal, signals: &mut [f64], classes: &mut [i64]) {
        read::<T, true>(rows, c, wanted, signals, classes);
    }
}
