//! What takes in records and writes them.
//!
//! Two locks. That of what waits is taken and released while the interpreter is held, and no Python code runs under it:
//! no thread can hold it while another forks. That of the files is held while the system writes, without the
//! interpreter: a forked child uses a writer of its own.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};
use ttamer::records::{About, Appender, EXPLORED, Ending, LATE, Pending, Pushed, Segments, is_explored, now};

use super::steps::{Stages, StagesOfMany, Told};
use crate::convert::column;
use crate::errors::{invalid, raise};
use crate::files::path_of;
use crate::operate::{Counters, Shadow, ended};

/// Takes in records, and writes them when it is told to.
#[pyclass(frozen, module = "ttamer_fast._core")]
pub struct RecordWriter {
    pending: Mutex<Pending>,
    files: Mutex<Appender>,
    /// Records that could not be written yet.
    stuck: AtomicUsize,
    written: AtomicU64,
    is_closed: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether somebody should be told that there is something to write; a ValidationError where a record does not fit.
fn is_news(py: Python<'_>, pushed: Pushed) -> PyResult<bool> {
    match pushed {
        Pushed::Unfit => Err(invalid(py, "`steps` must be of stages of a policy that is declared")),
        _ => Ok(matches!(pushed, Pushed::First | Pushed::Full)),
    }
}

#[pymethods]
impl RecordWriter {
    #[new]
    #[pyo3(signature = (folder, stem, most_bytes, most_seconds, most_rows, full_rows, /))]
    fn new(
        folder: &Bound<'_, PyAny>,
        stem: String,
        most_bytes: u64,
        most_seconds: f64,
        most_rows: usize,
        full_rows: usize,
    ) -> PyResult<Self> {
        let folder = path_of("folder", folder)?;
        let segments = Segments::new(Path::new(&folder), stem, most_bytes, most_seconds);
        Ok(Self {
            pending: Mutex::new(Pending::new(most_rows, full_rows)),
            files: Mutex::new(Appender::new(segments)),
            stuck: AtomicUsize::new(0),
            written: AtomicU64::new(0),
            is_closed: AtomicBool::new(false),
        })
    }

    /// The number of a policy.
    #[pyo3(signature = (digest, stages, kind, cost, /))]
    fn declare(
        &self,
        py: Python<'_>,
        digest: String,
        stages: Vec<String>,
        kind: String,
        cost: Vec<f64>,
    ) -> PyResult<usize> {
        let about = About::new(digest, stages, kind, cost).map_err(|error| raise(py, error))?;
        Ok(lock(&self.pending).declare(about))
    }

    /// Takes in one request, of which those who count and follow are told too. True where somebody should write.
    #[pyo3(signature = (
        policy, id, steps, answer, late, cost, expected_loss, failures, barred, seconds, propensity, flags = 0,
        exploration = None, counters = None, shadow = None, /
    ))]
    #[expect(clippy::too_many_arguments, reason = "a private entry point; callers see RecordLog.append")]
    fn append<'py>(
        &self,
        py: Python<'py>,
        policy: usize,
        id: &str,
        steps: &Bound<'py, PyList>,
        answer: Option<i16>,
        late: bool,
        cost: f64,
        expected_loss: f64,
        failures: &Bound<'py, PyAny>,
        barred: &Bound<'py, PyAny>,
        seconds: Option<&Bound<'py, PyDict>>,
        propensity: f64,
        flags: u8,
        exploration: Option<&Bound<'py, PyTuple>>,
        counters: Option<&Bound<'py, Counters>>,
        shadow: Option<&Bound<'py, Shadow>>,
    ) -> PyResult<bool> {
        let mut stages = Stages::with_room(steps.len());
        stages.add(steps, failures, barred, seconds, false)?;
        let mut exploration_cost = 0.0;
        if let Some(exploration) = exploration {
            type Explored<'py> =
                (Bound<'py, PyList>, Bound<'py, PyAny>, Bound<'py, PyAny>, Option<Bound<'py, PyDict>>, f64);
            let (steps, failures, barred, seconds, cost): Explored<'py> = exploration.extract()?;
            stages.add(&steps, &failures, &barred, seconds.as_ref(), true)?;
            exploration_cost = cost;
        }
        let ending = Ending {
            time: now(),
            answer: answer.unwrap_or(-1),
            flags: flags | if late { LATE } else { 0 },
            cost,
            expected_loss,
            propensity,
            exploration_cost,
        };
        let elsewhere = self.stuck.load(Ordering::Relaxed);
        let steps = stages.told.iter().map(Told::step);
        let pushed = lock(&self.pending).push(policy, id, ending, steps, elsewhere);
        let is_new = is_news(py, pushed)?;
        let request = ended(answer.and_then(|answer| u16::try_from(answer).ok()), late, cost, expected_loss);
        if let Some(shadow) = shadow {
            shadow.get().over(py, &request, &stages.ran(), &stages.barred())?;
        }
        if let Some(counters) = counters {
            counters.get().take_in(&request, stages.became(), false);
        }
        Ok(is_new)
    }

    /// Takes in some requests of a batch of n, all where `rows` is None. True where somebody should write.
    #[pyo3(signature = (
        policy, batch, rows, answer, late, cost, expected_loss, reports, propensity, flags, exploration = None, /
    ))]
    #[expect(clippy::too_many_arguments, reason = "a private entry point; callers see RecordLog.append")]
    fn append_batch<'py>(
        &self,
        py: Python<'py>,
        policy: usize,
        batch: &str,
        rows: Option<PyReadonlyArray1<'py, i64>>,
        answer: PyReadonlyArray1<'py, i32>,
        late: Option<PyReadonlyArray1<'py, bool>>,
        cost: PyReadonlyArray1<'py, f64>,
        expected_loss: PyReadonlyArray1<'py, f64>,
        reports: &Bound<'py, PyAny>,
        propensity: f64,
        flags: PyReadonlyArray1<'py, u8>,
        exploration: Option<(Bound<'py, PyAny>, PyReadonlyArray1<'py, f64>)>,
    ) -> PyResult<bool> {
        let answer = answer.as_array();
        let n = answer.len();
        let rows: Vec<usize> = match &rows {
            None => (0..n).collect(),
            Some(rows) => rows.as_array().iter().map(|row| *row as usize).collect(),
        };
        let mut stages = StagesOfMany::of(n, &rows);
        stages.add(reports, false)?;
        if let Some((reports, _)) = &exploration {
            stages.add(reports, true)?;
        }
        let (cost, expected_loss, flags) = (cost.as_array(), expected_loss.as_array(), flags.as_array());
        let late = late.as_ref().map(PyReadonlyArray1::as_array);
        let explored = exploration.as_ref().map(|(_, cost)| cost.as_array());
        let (time, elsewhere) = (now(), self.stuck.load(Ordering::Relaxed));
        let mut pushed = Vec::with_capacity(rows.len());
        let mut id = String::with_capacity(batch.len() + 8);
        let mut pending = lock(&self.pending);
        for (row, told) in rows.into_iter().zip(&stages.told) {
            let is_late = late.as_ref().and_then(|late| late.get(row)).copied().unwrap_or(false);
            let ending = Ending {
                time,
                answer: answer.get(row).map_or(-1, |answer| *answer as i16),
                flags: flags.get(row).copied().unwrap_or(0) | if is_late { LATE } else { 0 },
                cost: cost.get(row).copied().unwrap_or(0.0),
                expected_loss: expected_loss.get(row).copied().unwrap_or(f64::INFINITY),
                propensity,
                exploration_cost: explored.as_ref().and_then(|cost| cost.get(row)).copied().unwrap_or(0.0),
            };
            id.clear();
            id.push_str(batch);
            id.push('.');
            id.push_str(&row.to_string());
            pushed.push(pending.push(policy, &id, ending, told.iter().map(Told::step), elsewhere));
        }
        drop(pending);
        pushed.into_iter().try_fold(false, |is_new, pushed| Ok(is_new | is_news(py, pushed)?))
    }

    /// Writes what waits. Returns what the system said where it could not, and None else.
    fn flush(&self, py: Python<'_>) -> Option<String> {
        let taken = lock(&self.pending).take();
        if taken.is_empty() && self.stuck.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let taken_rows = taken.iter().map(|(_, columns)| columns.len()).sum();
        self.stuck.fetch_add(taken_rows, Ordering::Relaxed);
        let (result, lost): (io::Result<()>, usize) = py.detach(|| {
            let mut files = lock(&self.files);
            let (written, result) = files.write(&taken);
            // Whoever writes last of all that were taken gives up what is left: others may still wait for the files.
            let lost = if self.is_closed.load(Ordering::Relaxed) { files.give_up() } else { 0 };
            self.stuck.fetch_sub(written + lost, Ordering::Relaxed);
            self.written.fetch_add(written as u64, Ordering::Relaxed);
            (result, lost)
        });
        lock(&self.pending).lose(lost);
        result.err().map(|error| error.to_string())
    }

    /// Takes in nothing more, writes what waits, and counts what could not be written as dropped.
    fn close(&self, py: Python<'_>) -> Option<String> {
        lock(&self.pending).close();
        self.is_closed.store(true, Ordering::Relaxed);
        self.flush(py)
    }

    /// So many records that were not taken in are lost.
    #[pyo3(signature = (rows, /))]
    fn lose(&self, rows: usize) {
        lock(&self.pending).lose(rows);
    }

    /// How many records wait, are written, and had no room.
    #[getter]
    fn counts(&self) -> (usize, u64, u64) {
        let pending = lock(&self.pending);
        let waiting = pending.rows() + self.stuck.load(Ordering::Relaxed);
        (waiting, self.written.load(Ordering::Relaxed), pending.dropped())
    }
}

/// Whether a request is run through, which so large a share of all are.
#[pyfunction]
#[pyo3(signature = (id, seed, share, /))]
pub fn drawn(id: &str, seed: u64, share: f64) -> bool {
    is_explored(id.as_bytes(), seed, share)
}

/// The same of the n requests of a batch: 1 (explored) or 0 each.
#[pyfunction]
#[pyo3(signature = (batch, n, seed, share, /))]
pub fn drawn_of_batch<'py>(py: Python<'py>, batch: &str, n: usize, seed: u64, share: f64) -> Bound<'py, PyArray1<u8>> {
    let drawn = |row| if is_explored(format!("{batch}.{row}").as_bytes(), seed, share) { EXPLORED } else { 0 };
    column(py, (0..n).map(drawn).collect())
}
