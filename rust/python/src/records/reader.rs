//! What reads records: pieces of them, samples and counts, as columns.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use ttamer::records::{Gathered, Reader, Truth, Wanted};

use crate::convert::column;
use crate::errors::invalid;
use crate::prediction::Said;
use crate::working::detached;

/// Labels that became known later, by request.
#[pyclass(module = "ttamer_fast._core")]
pub struct RecordTruth {
    inner: Option<Truth>,
}

#[pymethods]
impl RecordTruth {
    /// Of labels by the names of requests.
    #[new]
    #[pyo3(signature = (labels, /))]
    fn new(labels: &Bound<'_, PyDict>) -> PyResult<Self> {
        let py = labels.py();
        // The items first: reading a label may run Python code, which may change the dictionary.
        let items: Vec<_> = labels.iter().collect();
        let mut codes = Vec::with_capacity(items.len());
        for (id, label) in items {
            let Ok(name) = id.extract::<String>() else {
                let given = id.repr()?;
                return Err(invalid(py, format!("`truth` must have names of requests as keys, got {given}")));
            };
            match Said::of(&label)? {
                Said::Code(code) => codes.push((name, code)),
                Said::Object(object) => {
                    let allowed = "a number, text, bytes, or a tuple or frozenset of these";
                    let given = object.get_type().name()?;
                    let message = format!("`truth` of request {name:?} must be {allowed}, got {given}");
                    return Err(invalid(py, message));
                }
            }
        }
        Ok(Self { inner: Some(Truth::new(codes)) })
    }

    /// How many labels there are, how many of them are of requests that were not met, and the first of these.
    #[getter]
    fn unmet(&self) -> (usize, usize, Option<String>) {
        self.inner.as_ref().map_or((0, 0, None), Truth::unmet)
    }
}

/// Reads the records of some files.
#[pyclass(module = "ttamer_fast._core")]
pub struct RecordReader {
    inner: Reader,
}

#[pymethods]
impl RecordReader {
    #[new]
    #[pyo3(signature = (files, wanted, unique, /))]
    #[expect(clippy::type_complexity, reason = "a private entry point; callers see read_records")]
    fn new(
        files: Vec<(PathBuf, u64)>,
        wanted: (Option<Vec<String>>, Option<Vec<String>>, f64, f64, Option<bool>),
        unique: bool,
    ) -> Self {
        let (digests, stages, since, until, explored) = wanted;
        let wanted = Wanted { digests, stages, since, until, explored };
        Self { inner: Reader::new(files, wanted, unique) }
    }

    /// At least so many records, or all that are left; None at the end.
    #[pyo3(signature = (least, truth = None, /))]
    fn piece<'py>(
        &mut self,
        py: Python<'py>,
        least: usize,
        truth: Option<PyRefMut<'py, RecordTruth>>,
    ) -> PyResult<Option<Bound<'py, PyDict>>> {
        let (inner, mut given) = (&mut self.inner, truth);
        let mut taken = given.as_mut().and_then(|truth| truth.inner.take());
        let gathered = detached(py, || inner.piece(least, &mut taken));
        if let Some(truth) = &mut given {
            truth.inner = taken;
        }
        gathered?.map(|gathered| columns(py, gathered)).transpose()
    }

    /// A uniform sample of all records, in the order of time; all of them without a capacity.
    #[pyo3(signature = (capacity, seed, truth = None, /))]
    fn sample<'py>(
        &mut self,
        py: Python<'py>,
        capacity: Option<usize>,
        seed: u64,
        truth: Option<PyRefMut<'py, RecordTruth>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let (inner, mut given) = (&mut self.inner, truth);
        let mut taken = given.as_mut().and_then(|truth| truth.inner.take());
        let gathered = detached(py, || inner.sample(capacity, seed, &mut taken));
        if let Some(truth) = &mut given {
            truth.inner = taken;
        }
        columns(py, gathered?)
    }

    /// All records counted, by policy: requests, explored, capped, complete, unanswered; costs of policies and of
    /// exploration; first and last time.
    #[expect(clippy::type_complexity, reason = "a private entry point; callers see RecordCounts")]
    fn counts(&mut self, py: Python<'_>) -> PyResult<Vec<([u64; 5], f64, f64, Option<(f64, f64)>)>> {
        let inner = &mut self.inner;
        let counts = detached(py, || inner.counts())?;
        let one = |one: ttamer::records::Counts| {
            let numbers = [one.requests, one.explored, one.capped, one.complete, one.unanswered];
            (numbers, one.cost, one.exploration_cost, one.times)
        };
        Ok(counts.into_iter().map(one).collect())
    }

    /// Digest, stages, kind and costs of the policies whose records have been met.
    #[getter]
    fn policies(&self) -> Vec<(String, Vec<String>, String, Vec<f64>)> {
        let each = self.inner.policies().iter();
        each.map(|about| (about.digest.clone(), about.stages.clone(), about.kind.clone(), about.cost.clone())).collect()
    }

    /// What has not been read so far: file, from, to, and why; None for a last block that was not written to its end.
    #[getter]
    fn damage(&self) -> Vec<(PathBuf, u64, u64, Option<&'static str>)> {
        let each = self.inner.damage().iter();
        each.map(|damage| (damage.path.clone(), damage.offset, damage.end, damage.reason)).collect()
    }
}

/// Columns by name: n of requests, and of their stages as many as `steps` says of each.
fn columns(py: Python<'_>, gathered: Gathered) -> PyResult<Bound<'_, PyDict>> {
    let Gathered { columns: found, policy, truth, .. } = gathered;
    let texts = found.texts();
    let all = PyDict::new(py);
    all.set_item("id", PyBytes::new(py, &found.id))?;
    all.set_item("texts", texts)?;
    all.set_item("id_length", column(py, found.id_length))?;
    all.set_item("policy", column(py, policy))?;
    all.set_item("truth", column(py, truth))?;
    all.set_item("time", column(py, found.time))?;
    all.set_item("answer", column(py, found.answer))?;
    all.set_item("flags", column(py, found.flags))?;
    all.set_item("cost", column(py, found.cost))?;
    all.set_item("expected_loss", column(py, found.expected_loss))?;
    all.set_item("propensity", column(py, found.propensity))?;
    all.set_item("exploration_cost", column(py, found.exploration_cost))?;
    all.set_item("steps", column(py, found.steps))?;
    all.set_item("stage", column(py, found.stage))?;
    all.set_item("what", column(py, found.what))?;
    all.set_item("signal", column(py, found.signal))?;
    all.set_item("prediction", column(py, found.prediction))?;
    all.set_item("seconds", column(py, found.seconds))?;
    all.set_item("reason", column(py, found.reason))?;
    Ok(all)
}
