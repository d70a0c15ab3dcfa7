//! Counts of what became of requests.

use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};
use ttamer::operate::{self, Became, Ended, Outcome};
use ttamer::plan::NO_STAGE;

use super::request::{Columns, ended, reports};
use crate::errors::raise;
use crate::reports::{Report, mapping};

/// Counts requests as they end.
#[pyclass(frozen, module = "ttamer_fast._core")]
pub struct Counters {
    inner: operate::Counters,
}

impl Counters {
    /// Counts one request, of whose stages is said what became of them and how long they took.
    pub fn take_in(&self, request: &Ended, stages: impl Iterator<Item = (u16, Became, f64)>, explored: bool) {
        let (mut last, mut answered) = (NO_STAGE, NO_STAGE);
        for (stage, became, seconds) in stages {
            self.inner.stage(stage, became, seconds);
            match became {
                Became::Answered => (last, answered) = (stage, stage),
                Became::Failed => last = stage,
                Became::Barred => {}
            }
        }
        self.inner.ended(request, last, answered, explored);
    }
}

#[pymethods]
impl Counters {
    #[new]
    #[pyo3(signature = (k, cost_bounds, seconds_bounds, /))]
    fn new(py: Python<'_>, k: u16, cost_bounds: Vec<f64>, seconds_bounds: Vec<f64>) -> PyResult<Self> {
        let made = operate::Counters::new(usize::from(k), &cost_bounds, &seconds_bounds);
        Ok(Self { inner: made.map_err(|error| raise(py, error))? })
    }

    /// Counts one request.
    #[pyo3(signature = (steps, answer, late, cost, expected_loss, failures, barred, seconds, explored, /))]
    #[expect(clippy::too_many_arguments, reason = "a private entry point")]
    fn count<'py>(
        &self,
        steps: &Bound<'py, PyList>,
        answer: Option<u16>,
        late: bool,
        cost: f64,
        expected_loss: f64,
        failures: &Bound<'py, PyAny>,
        barred: &Bound<'py, PyAny>,
        seconds: Option<&Bound<'py, PyDict>>,
        explored: bool,
    ) -> PyResult<()> {
        let (failures, barred) = (mapping(failures)?, mapping(barred)?);
        let mut told = Vec::with_capacity(steps.len());
        for step in steps.iter() {
            let number = step.cast_exact::<PyTuple>()?.get_borrowed_item(0)?;
            let stage: u16 = number.extract()?;
            let has_failed = failures.as_ref().map_or(Ok(false), |failures| failures.contains(&*number))?;
            let taken = match seconds {
                None => None,
                Some(seconds) => seconds.get_item(&*number)?.map(|seconds| seconds.extract()).transpose()?,
            };
            let became = if has_failed { Became::Failed } else { Became::Answered };
            told.push((stage, became, taken.unwrap_or(f64::NAN)));
        }
        for stage in barred.iter().flat_map(PyDictMethods::keys) {
            told.push((stage.extract()?, Became::Barred, f64::NAN));
        }
        self.take_in(&ended(answer, late, cost, expected_loss), told.into_iter(), explored);
        Ok(())
    }

    /// Counts the n requests of a batch.
    #[pyo3(signature = (stage, is_late, cost, expected_loss, reports, explored, /))]
    #[expect(clippy::too_many_arguments, reason = "a private entry point")]
    fn count_batch<'py>(
        &self,
        py: Python<'py>,
        stage: PyReadonlyArray1<'py, i32>,
        is_late: Option<PyReadonlyArray1<'py, bool>>,
        cost: PyReadonlyArray1<'py, f64>,
        expected_loss: PyReadonlyArray1<'py, f64>,
        reports: &Bound<'py, PyAny>,
        explored: Option<PyReadonlyArray1<'py, bool>>,
    ) -> PyResult<()> {
        let given = Report::all(reports, false)?;
        let columns = Columns { stage, is_late, cost, expected_loss };
        let told = self::reports(&given)?;
        let explored = explored.as_ref().map(PyReadonlyArray1::as_slice).transpose()?;
        self.inner.batch(&columns.reported(&told)?, explored).map_err(|error| raise(py, error))
    }

    /// What has been counted so far.
    fn read(&self) -> Counted {
        Counted { inner: self.inner.read() }
    }
}

/// What has been counted, of k stages; arrays are made when they are asked for.
#[pyclass(frozen, module = "ttamer_fast._core")]
pub struct Counted {
    inner: operate::Counted,
}

#[pymethods]
impl Counted {
    /// Requests by how they ended.
    #[getter]
    fn outcomes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let outcomes = PyDict::new(py);
        for (outcome, count) in Outcome::ALL.iter().zip(&self.inner.outcomes) {
            outcomes.set_item(outcome.name(), count)?;
        }
        Ok(outcomes)
    }

    /// Requests that were run through.
    #[getter]
    fn explored(&self) -> u64 {
        self.inner.explored
    }

    /// (k,) how often stages were run.
    #[getter]
    fn runs<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u64>> {
        PyArray1::from_slice(py, &self.inner.runs)
    }

    /// (k,) how often they gave no answer.
    #[getter]
    fn failures<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u64>> {
        PyArray1::from_slice(py, &self.inner.failures)
    }

    /// (k,) how often they were not tried.
    #[getter]
    fn barred<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u64>> {
        PyArray1::from_slice(py, &self.inner.barred)
    }

    /// (k, 2) whose answers were returned: of the stage that answered last, and recalled.
    #[getter]
    fn answers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<u64>>> {
        table(py, self.inner.answers.iter().map(|one| &one[..]), 2)
    }

    /// (b + 1,) requests by cost.
    #[getter]
    fn cost_counts<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u64>> {
        PyArray1::from_slice(py, &self.inner.cost.counts)
    }

    /// Summed cost of all requests.
    #[getter]
    fn cost_sum(&self) -> f64 {
        self.inner.cost.sum
    }

    /// (k, s + 1) runs of each stage by how long they took.
    #[getter]
    fn seconds_counts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<u64>>> {
        let places = self.inner.seconds.first().map_or(0, |one| one.counts.len());
        table(py, self.inner.seconds.iter().map(|one| &one.counts[..]), places)
    }

    /// (k,) how long they took together.
    #[getter]
    fn seconds_sum<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        PyArray1::from_iter(py, self.inner.seconds.iter().map(|one| one.sum))
    }
}

/// Rows of so many numbers.
fn table<'a, 'py>(
    py: Python<'py>,
    rows: impl ExactSizeIterator<Item = &'a [u64]>,
    width: usize,
) -> PyResult<Bound<'py, PyArray2<u64>>> {
    let shape = [rows.len(), width];
    PyArray1::from_vec(py, rows.flatten().copied().collect::<Vec<u64>>()).reshape(shape)
}
