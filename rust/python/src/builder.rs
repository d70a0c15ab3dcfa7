//! Builders of traces: one lock around the engine's, taken as in `drift.rs`.

use std::sync::{Mutex, MutexGuard, PoisonError};

use numpy::{
    PyArray1, PyArrayDyn, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyReadonlyArrayDyn, PyUntypedArrayMethods,
};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString};
use ttamer::Kind;
use ttamer::trace::{Added, Builder as Engine, Costs, Source, Sum, Total, Totals, WORDS, group_of_text};

use crate::errors::{invalid, raise};
use crate::trace::{Trace, shape};

/// Collects requests and keeps a uniform sample of them.
#[pyclass(frozen, module = "ttamer_fast._core")]
pub struct Builder {
    inner: Mutex<Engine>,
    stages: usize,
}

/// Numbers row by row: of an array as they lie there, or of lists.
enum Numbers<'py, T: numpy::Element> {
    Array(PyReadonlyArrayDyn<'py, T>),
    Listed { cells: Vec<T>, shape: [usize; 2], dimensions: usize },
}

impl<'py, T: numpy::Element> Numbers<'py, T> {
    /// A C-contiguous array of `T`, a list of lists of k numbers, or a list of numbers; `None` for anything else.
    fn of(value: &Bound<'py, PyAny>, k: usize, number: fn(&Bound<'_, PyAny>) -> Option<T>) -> Option<Self> {
        if let Ok(array) = value.cast_exact::<PyArrayDyn<T>>() {
            return array.is_c_contiguous().then(|| Self::Array(array.readonly()));
        }
        let list = value.cast_exact::<PyList>().ok()?;
        let mut cells = Vec::with_capacity(list.len() * k);
        let is_nested = list.get_item(0).is_ok_and(|first| first.is_exact_instance_of::<PyList>());
        if !is_nested {
            for item in list.iter() {
                cells.push(number(&item)?);
            }
            let shape = [list.len(), 0];
            return Some(Self::Listed { cells, shape, dimensions: 1 });
        }
        for row in list.iter() {
            let row = row.cast_into_exact::<PyList>().ok().filter(|row| row.len() == k)?;
            for item in row.iter() {
                cells.push(number(&item)?);
            }
        }
        Some(Self::Listed { cells, shape: [list.len(), k], dimensions: 2 })
    }

    fn cells(&self) -> PyResult<&[T]> {
        match self {
            Self::Array(array) => Ok(array.as_slice()?),
            Self::Listed { cells, .. } => Ok(cells),
        }
    }

    /// The shape as numpy has it.
    fn shape(&self) -> &[usize] {
        match self {
            Self::Array(array) => array.shape(),
            Self::Listed { shape, dimensions, .. } => shape.get(..*dimensions).unwrap_or_default(),
        }
    }
}

fn float(item: &Bound<'_, PyAny>) -> Option<f64> {
    if let Ok(float) = item.cast_exact::<PyFloat>() {
        return Some(float.value());
    }
    if item.is_exact_instance_of::<PyInt>() || item.is_exact_instance_of::<PyBool>() {
        return item.extract().ok();
    }
    None
}

fn integer(item: &Bound<'_, PyAny>) -> Option<i64> {
    item.is_exact_instance_of::<PyInt>().then(|| item.extract().ok()).flatten()
}

/// A group as a number: integers as they are, texts by their digest.
fn group(item: &Bound<'_, PyAny>) -> Option<i64> {
    match item.cast_exact::<PyString>() {
        Ok(text) => text.to_str().ok().map(group_of_text),
        Err(_) => integer(item),
    }
}

/// A ValidationError unless the shape of an argument is as `words` say.
fn check(py: Python<'_>, holds: bool, name: &str, given: &[usize], words: impl Fn() -> String) -> PyResult<()> {
    if holds {
        return Ok(());
    }
    Err(invalid(py, format!("`{name}` must have shape {}, got {}", words(), shape(given))))
}

impl Builder {
    fn lock(&self) -> MutexGuard<'_, Engine> {
        // The engine checks everything before it changes anything.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Builder {
    #[new]
    #[pyo3(signature = (stages, capacity, source, seed, /))]
    fn new(py: Python<'_>, stages: usize, capacity: Option<usize>, source: &str, seed: u64) -> PyResult<Self> {
        let inner = Engine::new(stages, capacity, source, seed).map_err(|error| raise(py, error))?;
        Ok(Self { inner: Mutex::new(inner), stages })
    }

    /// Adds requests given as C-contiguous arrays of float64 and int64, or as lists of numbers; False, and nothing is
    /// added, where an argument is anything else.
    #[pyo3(signature = (signal, loss, cost, prediction, weight, latency, group_, propensity, /))]
    #[expect(clippy::too_many_arguments, reason = "a private entry point; callers see TraceBuilder.append")]
    fn append<'py>(
        &self,
        py: Python<'py>,
        signal: &Bound<'py, PyAny>,
        loss: &Bound<'py, PyAny>,
        cost: &Bound<'py, PyAny>,
        prediction: Option<&Bound<'py, PyAny>>,
        weight: Option<&Bound<'py, PyAny>>,
        latency: Option<&Bound<'py, PyAny>>,
        group_: Option<&Bound<'py, PyAny>>,
        propensity: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<bool> {
        let k = self.stages;
        let floats = |value| Numbers::<f64>::of(value, k, float);
        let (Some(signal), Some(loss), Some(cost)) = (floats(signal), floats(loss), floats(cost)) else {
            return Ok(false);
        };
        let said = prediction.map(|said| Numbers::<i64>::of(said, k, integer));
        let [weight, latency, propensity] = [weight, latency, propensity].map(|given| given.map(floats));
        let belongs = group_.map(|belongs| Numbers::<i64>::of(belongs, 1, group));
        if matches!(said, Some(None)) || matches!(belongs, Some(None)) {
            return Ok(false);
        }
        if [&weight, &latency, &propensity].into_iter().any(|given| matches!(given, Some(None))) {
            return Ok(false);
        }
        let (said, belongs) = (said.flatten(), belongs.flatten());
        let [weight, latency, propensity] = [weight, latency, propensity].map(Option::flatten);
        // An empty list is a batch of no requests.
        let m = signal.shape().first().copied().unwrap_or(0);
        let is_table = |given: &[usize]| *given == [m, k] || *given == [0] && m == 0;
        check(py, is_table(signal.shape()), "signal", signal.shape(), || format!("(m, {k})"))?;
        let (table, list) = (|| shape(&[m, k]), || shape(&[m]));
        check(py, is_table(loss.shape()), "loss", loss.shape(), table)?;
        let is_cost = *cost.shape() == [k] || *cost.shape() == [m, k];
        check(py, is_cost, "cost", cost.shape(), || format!("({k},) or {}", table()))?;
        if let Some(said) = &said {
            check(py, is_table(said.shape()), "prediction", said.shape(), table)?;
        }
        for (name, given) in [("latency", &latency), ("propensity", &propensity)] {
            if let Some(given) = given {
                check(py, is_table(given.shape()), name, given.shape(), table)?;
            }
        }
        for (name, given) in
            [("weight", weight.as_ref().map(Numbers::shape)), ("group", belongs.as_ref().map(Numbers::shape))]
        {
            if let Some(given) = given {
                check(py, *given == [m], name, given, list)?;
            }
        }
        let added = Added {
            signal: signal.cells()?,
            loss: loss.cells()?,
            cost: if cost.shape().len() == 1 { Costs::Alike(cost.cells()?) } else { Costs::Rows(cost.cells()?) },
            prediction: said.as_ref().map(Numbers::cells).transpose()?,
            weight: weight.as_ref().map(Numbers::cells).transpose()?,
            latency: latency.as_ref().map(Numbers::cells).transpose()?,
            group: belongs.as_ref().map(Numbers::cells).transpose()?,
            propensity: propensity.as_ref().map(Numbers::cells).transpose()?,
        };
        self.lock().append(&added).map_err(|error| raise(py, error))?;
        Ok(true)
    }

    /// A builder with the requests of this one and of others, which appends to the source of this one.
    #[pyo3(signature = (others, /))]
    fn merged(&self, py: Python<'_>, others: Vec<PyRef<'_, Self>>) -> PyResult<Self> {
        let mut all = vec![self.lock().clone()];
        all.extend(others.iter().map(|other| other.lock().clone()));
        let merged = py.detach(|| Engine::merged(&all)).map_err(|error| raise(py, error))?;
        Ok(Self { inner: Mutex::new(merged), stages: self.stages })
    }

    /// The trace of the kept requests.
    #[pyo3(signature = (kind, names, teacher, /))]
    fn build(&self, py: Python<'_>, kind: &str, names: Vec<String>, teacher: Option<&str>) -> PyResult<Trace> {
        let mut engine = self.lock();
        engine.trim();
        let kept = engine.clone();
        drop(engine);
        Trace::of(py, || kept.build(Kind::named(kind)?, names, teacher))
    }

    /// How many requests have been appended.
    #[getter]
    fn requests(&self) -> u64 {
        self.lock().requests()
    }

    /// Names of the sources, with how many requests each has given.
    #[getter]
    fn sources(&self) -> Vec<(String, u64)> {
        sources_of(&self.lock())
    }

    /// Whether the known losses of each stage (k) are infinite, so that they are no part of the sums; None: none is known.
    #[getter]
    fn is_probe(&self) -> Vec<Option<bool>> {
        self.lock().totals().is_probe.clone()
    }

    /// Sums of losses (k) and of costs (k), each as often as its request counts; how much the requests count together in
    /// which a loss is not known (k) or a cost is not (k); and how much all count: each the bytes, lowest first, of a whole
    /// number of 2**-1074.
    #[getter]
    fn totals<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyBytes>> {
        let totals = self.lock().totals().clone();
        bytes_of(py, &totals)
    }

    /// Sources, totals, which stages are probes, and the kept rows as arrays by name, all of one moment; predictions,
    /// weights, latencies, groups and propensities where there are any.
    #[expect(clippy::type_complexity, reason = "four parts, three of them as their own getters have them")]
    fn state<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Vec<(String, u64)>, Vec<Bound<'py, PyBytes>>, Vec<Option<bool>>, Bound<'py, PyDict>)> {
        let mut engine = self.lock();
        engine.trim();
        let kept = engine.clone();
        drop(engine);
        let (rows, k) = (kept.rows(), self.stages);
        let arrays = PyDict::new(py);
        let source = rows.places().iter().map(|place| i64::from(place.source));
        arrays.set_item("source", PyArray1::from_iter(py, source))?;
        arrays.set_item("number", PyArray1::from_iter(py, rows.places().iter().map(|place| place.number as i64)))?;
        let n = rows.len();
        let (has_latency, has_propensity) =
            kept.columns().map_or((false, false), |columns| (columns.latency, columns.propensity));
        let optional = [("latency", has_latency), ("propensity", has_propensity)];
        let optional = optional.into_iter().filter_map(|(name, is_there)| is_there.then_some(name));
        for (at, name) in ["signal", "loss", "cost"].into_iter().chain(optional).enumerate() {
            let cells: Vec<f64> = (0..n).flat_map(|row| rows.float(row)[at * k..][..k].to_vec()).collect();
            arrays.set_item(name, PyArray1::from_vec(py, cells).reshape([n, k])?)?;
        }
        if let Some(columns) = kept.columns() {
            if columns.prediction {
                let cells: Vec<i64> = (0..n).flat_map(|row| rows.integer(row)[..k].to_vec()).collect();
                arrays.set_item("prediction", PyArray1::from_vec(py, cells).reshape([n, k])?)?;
            }
            if columns.weight {
                let last = rows.floats - 1;
                arrays.set_item("weight", PyArray1::from_iter(py, (0..n).map(|row| rows.float(row)[last])))?;
            }
            if columns.group {
                let last = rows.integers - 1;
                arrays.set_item("group", PyArray1::from_iter(py, (0..n).map(|row| rows.integer(row)[last])))?;
            }
        }
        Ok((sources_of(&kept), bytes_of(py, kept.totals()), kept.totals().is_probe.clone(), arrays))
    }

    /// The builder that `state` was taken from: this one, still empty, with its parts.
    #[pyo3(signature = (sources, totals, is_probe, source, number, signal, loss, cost, prediction, weight, latency, group_, propensity, /))]
    #[expect(clippy::too_many_arguments, reason = "a private entry point; callers see TraceBuilder.load")]
    fn restored(
        &self,
        py: Python<'_>,
        sources: Vec<(String, u64)>,
        totals: Vec<[u8; 8 * WORDS]>,
        is_probe: Vec<Option<bool>>,
        source: PyReadonlyArray1<'_, i64>,
        number: PyReadonlyArray1<'_, i64>,
        signal: PyReadonlyArray2<'_, f64>,
        loss: PyReadonlyArray2<'_, f64>,
        cost: PyReadonlyArray2<'_, f64>,
        prediction: Option<PyReadonlyArray2<'_, i64>>,
        weight: Option<PyReadonlyArray1<'_, f64>>,
        latency: Option<PyReadonlyArray2<'_, f64>>,
        group_: Option<PyReadonlyArray1<'_, i64>>,
        propensity: Option<PyReadonlyArray2<'_, f64>>,
    ) -> PyResult<Self> {
        let sources = sources.into_iter().map(|(name, count)| Source { name, count }).collect();
        let totals = totals_of(&totals, is_probe);
        let place = |(source, number): (&i64, &i64)| (u32::try_from(*source).unwrap_or(u32::MAX), *number as u64);
        let places: Vec<_> = source.as_slice()?.iter().zip(number.as_slice()?).map(place).collect();
        let added = Added {
            signal: signal.as_slice()?,
            loss: loss.as_slice()?,
            cost: Costs::Rows(cost.as_slice()?),
            prediction: prediction.as_ref().map(|array| array.as_slice()).transpose()?,
            weight: weight.as_ref().map(|array| array.as_slice()).transpose()?,
            latency: latency.as_ref().map(|array| array.as_slice()).transpose()?,
            group: group_.as_ref().map(|array| array.as_slice()).transpose()?,
            propensity: propensity.as_ref().map(|array| array.as_slice()).transpose()?,
        };
        let empty = self.lock().clone();
        let restored = empty.restored(sources, totals, &places, &added).map_err(|error| raise(py, error))?;
        Ok(Self { inner: Mutex::new(restored), stages: self.stages })
    }

    fn __len__(&self) -> usize {
        self.lock().requests() as usize
    }
}

fn sources_of(engine: &Engine) -> Vec<(String, u64)> {
    engine.sources().iter().map(|source| (source.name.clone(), source.count)).collect()
}

fn bytes_of<'py>(py: Python<'py>, totals: &Totals) -> Vec<Bound<'py, PyBytes>> {
    let bytes = |total: &Total| -> Vec<u8> { total.words().iter().flat_map(|word| word.to_le_bytes()).collect() };
    let sums = || totals.loss.iter().chain(&totals.cost);
    let all = sums().map(|sum| &sum.known).chain(sums().map(|sum| &sum.unknown)).chain([&totals.weight]);
    all.map(|total| PyBytes::new(py, &bytes(total))).collect()
}

/// What `bytes_of` gave; of no stages where that is not as many for each.
fn totals_of(bytes: &[[u8; 8 * WORDS]], is_probe: Vec<Option<bool>>) -> Totals {
    let (weight, sums) = bytes.split_last().map_or((Total::ZERO, bytes), |(last, sums)| (total_of(last), sums));
    let (known, unknown) = sums.split_at(sums.len() / 2);
    let pairs =
        known.iter().zip(unknown).map(|(known, unknown)| Sum { known: total_of(known), unknown: total_of(unknown) });
    let mut loss: Vec<Sum> = pairs.collect();
    let cost = loss.split_off(loss.len() / 2);
    Totals { loss, cost, weight, is_probe }
}

fn total_of(bytes: &[u8; 8 * WORDS]) -> Total {
    let mut words = [0; WORDS];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    }
    Total::of_words(words)
}
