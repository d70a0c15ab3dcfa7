//! Traces: numpy in, views of the same numbers out.

use numpy::ndarray::{ArrayView1, ArrayView2, ShapeBuilder};
use numpy::{Element, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyTuple;
use ttamer::learn::Kept;
use ttamer::{Cost, Estimate as CoreEstimate, Kind, Table};

use crate::errors::{invalid, raise};
use crate::working::detached;

/// A stage that was not run for many requests: its number, the first of them, the stage whose signal tells it from those
/// that were run through, how many there are, and how many were run through.
type Thin = (usize, usize, usize, usize, usize);

/// Signals, losses and costs of n requests at all k stages; immutable, safe to share between threads.
#[pyclass(frozen, weakref, module = "ttamer_fast._core")]
pub struct Trace {
    inner: ttamer::Trace,
    /// What policies keep of it, once one has been learned from it.
    kept: PyOnceLock<Kept>,
}

impl Trace {
    /// The trace of the engine.
    pub fn inner(&self) -> &ttamer::Trace {
        &self.inner
    }

    pub fn holding(inner: ttamer::Trace) -> Self {
        Self { inner, kept: PyOnceLock::new() }
    }

    /// What policies keep of it.
    pub fn kept(&self, py: Python<'_>) -> PyResult<&Kept> {
        self.kept.get_or_try_init(py, || detached(py, || Kept::of(&self.inner)))
    }

    /// What `work` of the engine gives.
    pub fn of(py: Python<'_>, work: impl FnOnce() -> ttamer::Result<ttamer::Trace> + Send) -> PyResult<Self> {
        Ok(Self::holding(detached(py, work)?))
    }
}

/// A shape as Python writes it.
pub fn shape(lengths: &[usize]) -> String {
    match lengths {
        [one] => format!("({one},)"),
        several => format!("({})", several.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    }
}

/// The entries of a C-contiguous matrix, column by column; `allowed` says in words which shapes are.
fn table<T: Element + Copy + Default + Send + Sync>(
    name: &str,
    array: &PyReadonlyArrayDyn<'_, T>,
    allowed: &str,
) -> PyResult<Table<T>> {
    let py = array.py();
    let given = array.shape();
    let &[rows, columns] = given else {
        return Err(invalid(py, format!("`{name}` must have shape {allowed}, got {}", shape(given))));
    };
    let cells = array.as_slice()?;
    detached(py, || Ok(Table::from_fn(rows, columns, |row, column| cells[row * columns + column])))
}

/// A read-only matrix (n, k) of numbers that `owner`, a frozen object, keeps where they are; no copy.
fn matrix<'py, T: Element + Copy + Default + Send + Sync>(
    owner: Bound<'py, PyAny>,
    table: &Table<T>,
) -> PyResult<Bound<'py, PyArray2<T>>> {
    let shape = (table.rows(), table.columns()).f();
    let view = ArrayView2::from_shape(shape, table.cells()).map_err(|error| invalid(owner.py(), error.to_string()))?;
    // SAFETY: the numbers live as long as `owner`, which the array keeps alive, and nobody writes to them.
    let array = unsafe { PyArray2::borrow_from_array(&view, owner) };
    array.readwrite().make_nonwriteable();
    Ok(array)
}

/// The same of a list (n,).
pub fn list<'py, T: Element>(owner: Bound<'py, PyAny>, numbers: &[T]) -> Bound<'py, PyArray1<T>> {
    let view = ArrayView1::from(numbers);
    // SAFETY: as for `matrix`.
    let array = unsafe { PyArray1::borrow_from_array(&view, owner) };
    array.readwrite().make_nonwriteable();
    array
}

#[pymethods]
impl Trace {
    #[new]
    #[pyo3(signature = (signal, loss, cost, prediction = None, *, kind = "exits", stages = None, weight = None, latency = None, group = None, propensity = None, teacher = None))]
    #[expect(clippy::too_many_arguments, reason = "a private entry point; callers see ttamer_fast.Trace")]
    fn new(
        py: Python<'_>,
        signal: PyReadonlyArrayDyn<'_, f64>,
        loss: PyReadonlyArrayDyn<'_, f64>,
        cost: PyReadonlyArrayDyn<'_, f64>,
        prediction: Option<PyReadonlyArrayDyn<'_, i64>>,
        kind: &str,
        stages: Option<Vec<String>>,
        weight: Option<PyReadonlyArrayDyn<'_, f64>>,
        latency: Option<PyReadonlyArrayDyn<'_, f64>>,
        group: Option<PyReadonlyArrayDyn<'_, i64>>,
        propensity: Option<PyReadonlyArrayDyn<'_, f64>>,
        teacher: Option<&str>,
    ) -> PyResult<Self> {
        let signal = table("signal", &signal, "(n, k) with at least one row and one stage")?;
        let (n, k) = (signal.rows(), signal.columns());
        let loss = table("loss", &loss, &shape(&[n, k]))?;
        let cost = match cost.ndim() {
            1 => Cost::Alike(cost.as_array().iter().copied().collect()),
            _ => Cost::Rows(table("cost", &cost, &format!("{} or {}", shape(&[k]), shape(&[n, k])))?),
        };
        let prediction = prediction.map(|prediction| table("prediction", &prediction, &shape(&[n, k]))).transpose()?;
        let weight = weight.map(|weight| per_row("weight", &weight, n)).transpose()?;
        let latency = latency.map(|latency| table("latency", &latency, &shape(&[n, k]))).transpose()?;
        let group = group.map(|group| per_row("group", &group, n)).transpose()?;
        let propensity = propensity.map(|propensity| table("propensity", &propensity, &shape(&[n, k]))).transpose()?;
        Self::of(py, || {
            let mut trace = ttamer::Trace::new(signal, loss, cost, Kind::named(kind)?)?;
            if let Some(prediction) = prediction {
                trace = trace.predicted(prediction)?;
            }
            if let Some(latency) = latency {
                trace = trace.timed(latency)?;
            }
            if let Some(stages) = stages {
                trace = trace.named(stages)?;
            }
            if let Some(propensity) = propensity {
                trace = trace.with_propensity(propensity)?;
            }
            trace.taught(teacher).weighted(weight)?.grouped(group)
        })
    }

    /// (n, k) signals.
    #[getter]
    fn signal<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyArray2<f64>>> {
        matrix(slf.clone().into_any(), slf.get().inner.signals())
    }

    /// (n, k) losses, in the unit they were given in.
    #[getter]
    fn loss<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyArray2<f64>>> {
        matrix(slf.clone().into_any(), slf.get().inner.losses())
    }

    /// (k,) or (n, k) incremental costs, in the unit they were given in.
    #[getter]
    fn cost<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let owner = slf.clone().into_any();
        Ok(match slf.get().inner.cost() {
            Cost::Alike(cost) => list(owner, cost).into_any(),
            Cost::Rows(cost) => matrix(owner, cost)?.into_any(),
        })
    }

    /// (n, k) seconds that each stage took, NaN where they are not known, or None.
    #[getter]
    fn latency<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyArray2<f64>>>> {
        slf.get().inner.latencies().map(|table| matrix(slf.clone().into_any(), table)).transpose()
    }

    /// (k,) weighted median seconds of each stage, infinite where none are known, or None.
    #[getter]
    fn expected_latency<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyArray1<f64>>>> {
        detached(py, || Ok(self.inner.expected_latency())).map(|found| found.map(|list| PyArray1::from_slice(py, list)))
    }

    /// (n, k) chances that losses came to be known, or None.
    #[getter]
    fn propensity<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyArray2<f64>>>> {
        slf.get().inner.propensity().map(|table| matrix(slf.clone().into_any(), table)).transpose()
    }

    /// Whose answers losses are held against, where it is not the truth.
    #[getter]
    fn teacher(&self) -> Option<&str> {
        self.inner.teacher()
    }

    /// Whether some loss is not known.
    #[getter]
    fn is_censored(&self) -> bool {
        self.inner.is_censored()
    }

    /// The same with numbers for what is not known, and where they are from requests that are not alike: the stage, the
    /// first of these requests, the stage that tells it from those that were run through, how many there are, and how many
    /// were run through. None where everything is known.
    fn completed(&self, py: Python<'_>) -> PyResult<Option<(Self, Vec<Thin>)>> {
        let found = detached(py, || self.inner.completed())?;
        Ok(found.map(|found| {
            let thin = found.thin.iter().map(|thin| (thin.stage, thin.row, thin.seen, thin.rows, thin.through));
            (Self::holding(found.trace.clone()), thin.collect())
        }))
    }

    /// The same requests at other prices (k,).
    #[pyo3(signature = (cost, /))]
    fn repriced(&self, py: Python<'_>, cost: Vec<f64>) -> PyResult<Self> {
        self.inner.repriced(&cost).map(Self::holding).map_err(|error| raise(py, error))
    }

    /// The requests of which every loss is known, by the chance of that; None where it is all requests, and they count alike.
    fn run_through(&self, py: Python<'_>) -> PyResult<Option<Self>> {
        Ok(detached(py, || self.inner.run_through())?.map(Self::holding))
    }

    /// (n, k) predictions, or None.
    #[getter]
    fn prediction<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyArray2<i64>>>> {
        slf.get().inner.predictions().map(|table| matrix(slf.clone().into_any(), table)).transpose()
    }

    /// (n,) weights as they were given, or None.
    #[getter]
    fn weight<'py>(slf: &Bound<'py, Self>) -> Option<Bound<'py, PyArray1<f64>>> {
        slf.get().inner.given_weight().map(|weight| list(slf.clone().into_any(), weight))
    }

    /// (n,) numbers that are equal exactly where rows never stand on both sides of a split, or None.
    #[getter]
    fn units<'py>(slf: &Bound<'py, Self>) -> Option<Bound<'py, PyArray1<i64>>> {
        let trace = &slf.get().inner;
        let units = slf.py().detach(|| trace.units());
        units.map(|units| list(slf.clone().into_any(), units))
    }

    /// The largest loss but for a few rows, how many these are, and their share in all loss.
    #[getter]
    fn tail(&self, py: Python<'_>) -> (f64, usize, f64) {
        let tail = py.detach(|| self.inner.tail());
        (tail.most, tail.rows, tail.share)
    }

    /// (n,) numbers of groups, or None.
    #[getter]
    fn group<'py>(slf: &Bound<'py, Self>) -> Option<Bound<'py, PyArray1<i64>>> {
        slf.get().inner.group().map(|group| list(slf.clone().into_any(), group))
    }

    /// `exits` or `models`.
    #[getter]
    fn kind(&self) -> &'static str {
        self.inner.kind().name()
    }

    /// Names of the stages.
    #[getter]
    fn stages<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.inner.names())
    }

    /// Numbers of the stages that can answer, ascending: those of finite losses.
    #[getter]
    fn answering(&self) -> Vec<usize> {
        self.inner.answering()
    }

    /// (k,) weighted mean loss of each stage, in the unit of the loss; infinite of those that never answer.
    #[getter]
    fn mean_loss<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        PyArray1::from_vec(py, self.inner.mean_loss())
    }

    /// (k,) weighted mean incremental cost of each stage, in the unit of the cost.
    #[getter]
    fn mean_cost<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        PyArray1::from_slice(py, self.inner.mean_cost())
    }

    /// Mean cost of running every stage, in the unit of the cost.
    #[getter]
    fn full_cost(&self) -> f64 {
        self.inner.full_cost()
    }

    /// Hexadecimal SHA-256 of everything in the trace; computed once.
    #[getter]
    fn digest(&self, py: Python<'_>) -> PyResult<&str> {
        detached(py, || Ok(self.inner.digest()))
    }

    /// The trace of some requests, in that order; `index` (m,) are row numbers, none negative.
    #[pyo3(signature = (index, /))]
    fn rows(&self, py: Python<'_>, index: PyReadonlyArray1<'_, i64>) -> PyResult<Self> {
        let rows: Vec<u32> = index.as_array().iter().map(|row| u32::try_from(*row).unwrap_or(u32::MAX)).collect();
        Self::of(py, || self.inner.part(&rows))
    }

    /// The same requests, each counting `weight` (n,) times, or all alike; the other numbers are shared.
    #[pyo3(signature = (weight, /))]
    fn weighted(&self, py: Python<'_>, weight: Option<PyReadonlyArrayDyn<'_, f64>>) -> PyResult<Self> {
        let weight = weight.map(|weight| per_row("weight", &weight, self.inner.rows())).transpose()?;
        Self::of(py, || self.inner.clone().weighted(weight))
    }

    /// The same requests as seen by a policy of these stages and this kind; `argument` is what errors call the trace.
    #[pyo3(signature = (argument, names, kind, /))]
    fn matching(&self, py: Python<'_>, argument: &str, names: Vec<String>, kind: &str) -> PyResult<Self> {
        Self::of(py, || self.inner.matching(argument, &names, Kind::named(kind)?))
    }

    /// What a policy fitted to this trace says that it was made from.
    #[pyo3(signature = (tradeoff, goal, /))]
    fn provenance(&self, py: Python<'_>, tradeoff: f64, goal: &str) -> PyResult<Vec<(String, String)>> {
        detached(py, || Ok(ttamer::learn::provenance(&self.inner, tradeoff, goal)))
    }

    fn __len__(&self) -> usize {
        self.inner.rows()
    }
}

/// One number per row.
fn per_row<T: Element + Copy>(name: &str, array: &PyReadonlyArrayDyn<'_, T>, rows: usize) -> PyResult<Vec<T>> {
    if array.ndim() != 1 {
        let message = format!("`{name}` must have shape {}, got {}", shape(&[rows]), shape(array.shape()));
        return Err(invalid(array.py(), message));
    }
    Ok(array.as_array().iter().copied().collect())
}

/// The mean of a sample, and how far off it may be.
#[pyclass(frozen, module = "ttamer_fast._core")]
pub struct Estimate {
    inner: CoreEstimate,
}

#[pymethods]
impl Estimate {
    /// Weighted mean, in the unit of the values.
    #[getter]
    fn mean(&self) -> f64 {
        self.inner.mean
    }

    /// Standard error of the mean, in the unit of the values; infinite where all say no more than one.
    #[getter]
    fn standard_error(&self) -> f64 {
        self.inner.standard_error()
    }

    /// (Σ w)² / Σ w² of values or units: how many that count alike say as much.
    #[getter]
    fn size(&self) -> f64 {
        self.inner.size
    }

    /// Σ w / max w of values or units: how many that count as the heaviest does weigh as much.
    #[getter]
    fn heavy(&self) -> f64 {
        self.inner.heavy
    }

    fn __repr__(&self) -> String {
        format!("Estimate(mean={}, standard_error={})", self.inner.mean, self.inner.standard_error())
    }
}

/// The mean of (n,) values, contiguous, of which each counts `weight` (n,), on any scale, or all alike, and those of one
/// `unit` (n,) belong together.
#[pyfunction]
#[pyo3(signature = (values, weight = None, unit = None, /))]
pub fn estimate(
    py: Python<'_>,
    values: PyReadonlyArray1<'_, f64>,
    weight: Option<PyReadonlyArray1<'_, f64>>,
    unit: Option<PyReadonlyArray1<'_, i64>>,
) -> PyResult<Estimate> {
    let values = values.as_slice()?;
    let weight = weight.as_ref().map(|weight| weight.as_slice()).transpose()?;
    let unit = unit.as_ref().map(|unit| unit.as_slice()).transpose()?;
    let inner = py.detach(|| CoreEstimate::weighted(values, weight, unit));
    Ok(Estimate { inner: inner.map_err(|error| raise(py, error))? })
}
