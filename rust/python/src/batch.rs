//! Many requests in step.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use numpy::{PyArray1, PyUntypedArrayMethods};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use ttamer::rules::Observations;

use crate::columns::{Said, Signals};
use crate::convert::{column, integers};
use crate::errors::raise;
use crate::given::seconds_of_each;
use crate::prediction::among;
use crate::predictions::Predictions;
use crate::watch::Watch;

/// Predictions that can only be compared, of requests that are not decided.
type Objects = HashMap<usize, Vec<Py<PyAny>>>;

/// Many requests in step.
#[pyclass(frozen, weakref, module = "ttamer_fast")]
pub struct Batch {
    inner: Mutex<ttamer::Batch>,
    /// Empty but where such a prediction has been seen. No Python code runs while it is locked.
    objects: Mutex<Objects>,
    /// Of the policy.
    watch: Arc<Watch>,
}

/// Objects of the rows that wait for a stage.
struct Numbered<'py> {
    /// These rows.
    rows: Vec<i64>,
    /// Those that their requests have not shown before, each with its row.
    new: Vec<(usize, Bound<'py, PyAny>)>,
}

/// What it guards is never left half-changed: everything is checked before it is written.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Batch {
    /// Wraps a batch of the engine.
    pub fn new(batch: ttamer::Batch, watch: Arc<Watch>) -> Self {
        Self { inner: Mutex::new(batch), objects: Mutex::default(), watch }
    }

    fn lock(&self) -> MutexGuard<'_, ttamer::Batch> {
        lock(&self.inner)
    }

    /// Numbers the objects among the predictions of the rows that wait for a stage.
    fn number<'py>(
        &self,
        py: Python<'py>,
        stage: usize,
        prediction: &mut Predictions<'py>,
    ) -> PyResult<Option<Numbered<'py>>> {
        let given = std::mem::take(&mut prediction.objects);
        if given.is_empty() {
            return Ok(None);
        }
        let rows = self.lock().rows(stage).map_err(|error| raise(py, error))?;
        let mut new = Vec::new();
        for (place, object) in given {
            // Where there is no such row, the engine says how many there are.
            let Some(row) = rows.get(place).map(|row| *row as usize) else { continue };
            let before = |shown: &Vec<Py<PyAny>>| shown.iter().map(|one| one.bind(py).clone()).collect::<Vec<_>>();
            let shown = lock(&self.objects).get(&row).map(before).unwrap_or_default();
            let (code, is_new) = among(&shown, &object)?;
            prediction.write(place, code);
            if is_new {
                new.push((row, object));
            }
        }
        Ok(Some(Numbered { rows, new }))
    }

    /// Seconds that each request has left that waits for a stage.
    fn seconds(&self, py: Python<'_>, stage: usize, given: &Bound<'_, PyAny>) -> PyResult<Vec<f64>> {
        let (policy, count) = {
            let batch = self.lock();
            (Arc::clone(batch.policy()), batch.waiting(stage))
        };
        seconds_of_each(&policy, given, count.map_err(|error| raise(py, error))?)
    }

    /// Changes some requests without a report.
    fn turn(
        &self,
        py: Python<'_>,
        rows: Option<&Bound<'_, PyAny>>,
        work: impl FnOnce(&mut ttamer::Batch, Option<&[i64]>) -> ttamer::Result<()> + Send,
    ) -> PyResult<()> {
        let rows = rows.map(|rows| integers("rows", rows)).transpose()?;
        let done = {
            let rows = rows.as_ref().map(|rows| rows.as_slice()).transpose()?;
            py.detach(|| work(&mut self.lock(), rows))
        };
        done.map_err(|error| raise(py, error))?;
        self.keep(Vec::new());
        Ok(())
    }

    /// Keeps new objects, and lets go of those of decided rows.
    fn keep(&self, new: Vec<(usize, Bound<'_, PyAny>)>) {
        let mut gone = Vec::new();
        {
            let mut objects = lock(&self.objects);
            if new.is_empty() && objects.is_empty() {
                return;
            }
            for (row, object) in new {
                objects.entry(row).or_default().push(object.unbind());
            }
            let batch = self.lock();
            objects.retain(|row, shown| {
                let is_decided = batch.stage_of(*row).is_none();
                if is_decided {
                    gone.append(shown);
                }
                !is_decided
            });
            if objects.is_empty() {
                *objects = Objects::default();
            }
        }
        // Last, as it may run other code.
        drop(gone);
    }
}

#[pymethods]
impl Batch {
    /// The stage each request waits for, −1 once decided.
    #[getter]
    fn next<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i32>> {
        column(py, self.lock().next())
    }

    /// The stage whose answer each request has in hand, −1 while none.
    #[getter]
    fn answer<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i32>> {
        column(py, self.lock().answer())
    }

    /// What each request has cost so far, in the unit of the trace.
    #[getter]
    fn cost<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        column(py, self.lock().cost())
    }

    /// Expected loss of the answer each request has in hand, in the unit of the losses; inf while none: (n,) float64.
    ///
    /// To the last bit what a `Run` with the same reports expects. O(n).
    #[getter]
    fn expected_loss<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        let losses = py.detach(|| self.lock().expected_loss());
        column(py, losses)
    }

    /// The stage that most requests wait for, of several the last one, and which requests wait for it.
    ///
    /// Returns
    /// -------
    /// tuple or None
    ///     The stage, and the numbers of the requests, ascending: (m,) int64. None once all are decided.
    ///
    /// Notes
    /// -----
    /// O(n). Threads may share a batch: each call finds it as it is between two others.
    ///
    /// Examples
    /// --------
    /// >>> import numpy as np, ttamer_fast as tt
    /// >>> rng = np.random.default_rng(0)
    /// >>> signal = rng.random((1000, 3))
    /// >>> trace = tt.Trace(signal, rng.random((1000, 3)) > signal, cost=[1.0, 2.0, 4.0])
    /// >>> batch = tt.fit(trace, tradeoff=0.9).start_batch(len(trace))
    /// >>> while (pending := batch.pending()) is not None:
    /// ...     stage, rows = pending
    /// ...     batch.observe(stage, trace.signal[rows, stage])
    /// >>> bool((batch.answer >= 0).all())
    /// True
    fn pending<'py>(&self, py: Python<'py>) -> Option<(usize, Bound<'py, PyArray1<i64>>)> {
        let (stage, rows) = self.lock().pending()?;
        Some((stage, column(py, rows)))
    }

    /// Which requests wait for `stage`, ascending.
    #[pyo3(signature = (stage, /))]
    fn rows<'py>(&self, py: Python<'py>, stage: usize) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let rows = self.lock().rows(stage).map_err(|error| raise(py, error))?;
        Ok(column(py, rows))
    }

    /// The first stage that requests wait for, and which these are, ascending; None once all are decided. Where requests
    /// only go forward, each stage taken in this order has all its requests at once.
    fn first<'py>(&self, py: Python<'py>) -> Option<(usize, Bound<'py, PyArray1<i64>>)> {
        let (stage, rows) = self.lock().first()?;
        Some((stage, column(py, rows)))
    }

    /// Signals and predictions of exactly the requests that wait for `stage`: predictions as a run takes them, one by
    /// one.
    ///
    /// `remaining`: seconds that each of them has left, a number for all or one for each, as in `Run.observe`.
    #[pyo3(signature = (stage, signal, prediction = None, remaining = None))]
    fn observe(
        &self,
        py: Python<'_>,
        stage: usize,
        signal: &Bound<'_, PyAny>,
        prediction: Option<&Bound<'_, PyAny>>,
        remaining: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let signal = Signals::of(signal, 1)?;
        let remaining = remaining.map(|given| self.seconds(py, stage, given)).transpose()?;
        let mut prediction = prediction.map(|given| Said::of(given, 1)).transpose()?;
        let made = prediction.as_mut().and_then(Said::made);
        let numbered = made.map(|given| self.number(py, stage, given)).transpose()?.flatten();
        {
            let prediction = prediction.as_ref().map(Said::column).transpose()?;
            let reports = Observations::of(signal.column()?, prediction).within(remaining.as_deref());
            let rows = numbered.as_ref().map(|numbered| numbered.rows.as_slice());
            if self.watch.is_on() {
                let policy = Arc::clone(self.lock().policy());
                let looked_at = (0..reports.len()).map(|at| reports.at(at));
                self.watch.look_at_many(py, &policy, stage, looked_at)?;
            }
            let taken_in = py.detach(|| {
                let mut batch = self.lock();
                if let Some(rows) = rows
                    && batch.rows(stage)? != rows
                {
                    let rule = "must not be compared by code that observes the batch: no report was taken in";
                    return Err(ttamer::Error::invalid(format!("`prediction` {rule}")));
                }
                batch.report(stage, reports)
            });
            taken_in.map_err(|error| raise(py, error))?;
        }
        self.keep(numbered.map(|numbered| numbered.new).unwrap_or_default());
        Ok(())
    }

    /// The stage gave no answer for these requests, which wait for it: `Run.fail` for each of them.
    ///
    /// Parameters
    /// ----------
    /// stage : int
    ///     The stage.
    /// rows : array of int
    ///     Numbers of requests that wait for it, ascending: (m,). The others that do go on waiting.
    /// remaining : float or array of float, optional
    ///     Seconds that all of them, or each, (m,), has left, as in `Run.fail`.
    ///
    /// Raises
    /// ------
    /// ValidationError
    ///     If there is no such stage, if `rows` do not ascend or do not wait for it, or if `remaining` is not allowed.
    ///     Nothing is changed then.
    ///
    /// Notes
    /// -----
    /// O(n + m log n). Threads may share a batch.
    #[pyo3(signature = (stage, rows, /, remaining = None))]
    fn fail(
        &self,
        py: Python<'_>,
        stage: usize,
        rows: &Bound<'_, PyAny>,
        remaining: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let rows = integers("rows", rows)?;
        let policy = Arc::clone(self.lock().policy());
        let remaining = remaining.map(|given| seconds_of_each(&policy, given, rows.len())).transpose()?;
        self.turn(py, Some(rows.as_any()), |batch, rows| match (rows.unwrap_or_default(), &remaining) {
            (rows, None) => batch.fail(stage, rows),
            (rows, Some(remaining)) => batch.fail_within(stage, rows, remaining),
        })
    }

    /// The stage cannot be tried now for these requests, which wait for it: `Run.bar` for each of them.
    ///
    /// Parameters
    /// ----------
    /// stage : int
    ///     The stage. It is not paid for.
    /// rows : array of int
    ///     Numbers of requests that wait for it, ascending: (m,). The others that do go on waiting.
    ///
    /// Raises
    /// ------
    /// ValidationError
    ///     If there is no such stage, or `rows` do not ascend or do not wait for it. Nothing is changed then.
    ///
    /// Notes
    /// -----
    /// O(n + m log n). Threads may share a batch.
    ///
    /// Examples
    /// --------
    /// >>> import numpy as np, ttamer_fast as tt
    /// >>> rng = np.random.default_rng(0)
    /// >>> signal = rng.random((1000, 2))
    /// >>> trace = tt.Trace(signal, rng.random((1000, 2)) > signal, cost=[1.0, 2.0], kind='models')
    /// >>> batch = tt.fit(trace, tradeoff=0.9).start_batch(3)
    /// >>> batch.bar(0, [1])
    /// >>> batch.next.tolist(), batch.cost.tolist()
    /// ([0, 1, 0], [0.0, 0.0, 0.0])
    #[pyo3(signature = (stage, rows, /))]
    fn bar(&self, py: Python<'_>, stage: usize, rows: &Bound<'_, PyAny>) -> PyResult<()> {
        self.turn(py, Some(rows), |batch, rows| batch.bar(stage, rows.unwrap_or_default()))
    }

    /// Requests end now, while the stages they wait for are under way: `Run.stop` for each of them.
    ///
    /// Those that are not decided pay for that stage, and keep the answer they have in hand, if any. The others stay as
    /// they are.
    ///
    /// Parameters
    /// ----------
    /// rows : array of int, optional
    ///     Numbers of requests, ascending: (m,). All of them by default.
    ///
    /// Raises
    /// ------
    /// ValidationError
    ///     If `rows` do not ascend, or one is no request. Nothing is changed then.
    ///
    /// Notes
    /// -----
    /// O(n + m log n). Threads may share a batch.
    ///
    /// Examples
    /// --------
    /// >>> import numpy as np, ttamer_fast as tt
    /// >>> rng = np.random.default_rng(0)
    /// >>> signal = rng.random((1000, 2))
    /// >>> trace = tt.Trace(signal, rng.random((1000, 2)) > signal, cost=[1.0, 2.0], kind='models')
    /// >>> batch = tt.fit(trace, tradeoff=0.9).start_batch(3)
    /// >>> batch.observe(0, [0.5, 0.5, 0.99])
    /// >>> batch.stop([0])
    /// >>> batch.next.tolist(), batch.answer.tolist(), batch.cost.tolist()
    /// ([-1, 1, -1], [0, 0, 0], [3.0, 1.0, 1.0])
    #[pyo3(signature = (rows = None))]
    fn stop(&self, py: Python<'_>, rows: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        self.turn(py, rows, ttamer::Batch::stop)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.objects.try_lock().map_or(Ok(()), |objects| objects.values().flatten().try_for_each(|one| visit.call(one)))
    }

    fn __clear__(&self) {
        let gone = std::mem::take(&mut *lock(&self.objects));
        drop(gone);
    }

    fn __len__(&self) -> usize {
        self.lock().len()
    }

    fn __repr__(&self) -> String {
        let batch = self.lock();
        let waiting = batch.next().iter().filter(|stage| **stage >= 0).count();
        format!("Batch(n={}, waiting={waiting})", batch.len())
    }
}
