//! A second policy, followed over requests that another one has decided: one lock around the engine's tallies.
//!
//! The lock is taken and released while the interpreter is held, and no Python code runs under it: no thread can hold it
//! while another forks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use numpy::PyReadonlyArray1;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use ttamer::Barred;
use ttamer::operate::{Ended, Ran, Tallies, follow};

use super::grouped::Grouped;
use super::request::{Columns, ended};
use crate::errors::raise;
use crate::policy::Policy;
use crate::prediction::Said;
use crate::reports::{Objects, ObjectsOfMany, Report, mapping};

/// Follows a policy over requests that another one has decided.
#[pyclass(frozen, module = "ttamer_fast._core")]
pub struct Shadow {
    policy: Arc<ttamer::Policy>,
    tallies: Mutex<Tallies>,
}

impl Shadow {
    fn lock(&self) -> MutexGuard<'_, Tallies> {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows it over one request, which went from the start without all that were barred.
    pub fn over(&self, py: Python<'_>, request: &Ended, ran: &[Ran], barred: &[u16]) -> PyResult<()> {
        self.along(py, request, ran, barred, barred)
    }

    fn along(&self, py: Python<'_>, request: &Ended, ran: &[Ran], barred: &[u16], from_start: &[u16]) -> PyResult<()> {
        let without = self.without(py, from_start)?;
        let followed = follow(&self.policy, request, ran, without.as_ref(), barred);
        self.lock().add(request, &followed);
        Ok(())
    }

    /// Stages that a request goes without, if there are any.
    fn without(&self, py: Python<'_>, stages: &[u16]) -> PyResult<Option<Barred>> {
        if stages.is_empty() {
            return Ok(None);
        }
        let stages: Vec<usize> = stages.iter().map(|stage| usize::from(*stage)).collect();
        Barred::of(&self.policy, &stages).map(Some).map_err(|error| raise(py, error))
    }
}

#[pymethods]
impl Shadow {
    #[new]
    #[pyo3(signature = (policy, /))]
    fn new(policy: &Policy) -> Self {
        Self { policy: Arc::clone(policy.shared()), tallies: Mutex::default() }
    }

    /// Follows it over one request.
    #[pyo3(signature = (steps, answer, late, cost, expected_loss, failures, barred, without = None, /))]
    #[expect(clippy::too_many_arguments, reason = "a private entry point")]
    fn follow<'py>(
        &self,
        py: Python<'py>,
        steps: &Bound<'py, PyList>,
        answer: Option<u16>,
        late: bool,
        cost: f64,
        expected_loss: f64,
        failures: &Bound<'py, PyAny>,
        barred: &Bound<'py, PyAny>,
        without: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<()> {
        let failures = mapping(failures)?;
        let mut ran = Vec::with_capacity(steps.len());
        let mut objects = Objects::default();
        for step in steps.iter() {
            let step = step.cast_exact::<PyTuple>()?;
            let number = step.get_borrowed_item(0)?;
            ran.push(Ran {
                stage: number.extract()?,
                has_failed: failures.as_ref().map_or(Ok(false), |failures| failures.contains(&*number))?,
                signal: step.get_borrowed_item(1)?.extract()?,
                prediction: objects.code(Said::of(&*step.get_borrowed_item(2)?)?)?,
            });
        }
        let barred = stages(barred)?;
        let from_start = match without {
            None => barred.clone(),
            Some(without) => stages(without)?,
        };
        self.along(py, &ended(answer, late, cost, expected_loss), &ran, &barred, &from_start)
    }

    /// Follows it over the n requests of a batch.
    #[pyo3(signature = (stage, is_late, cost, expected_loss, reports, without = None, /))]
    #[expect(clippy::too_many_arguments, reason = "a private entry point")]
    fn follow_batch<'py>(
        &self,
        py: Python<'py>,
        stage: PyReadonlyArray1<'py, i32>,
        is_late: Option<PyReadonlyArray1<'py, bool>>,
        cost: PyReadonlyArray1<'py, f64>,
        expected_loss: PyReadonlyArray1<'py, f64>,
        reports: &Bound<'py, PyAny>,
        without: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<()> {
        let columns = Columns { stage, is_late, cost, expected_loss };
        let given = Report::all(reports, true)?;
        let requests = columns.reported(&[])?;
        let n = requests.answer.len();
        let (begun, not_begun): (Vec<_>, Vec<_>) = given.iter().partition(|report| report.is_begun);
        let mut objects = ObjectsOfMany::default();
        let ran = Grouped::of(py, n, &begun, |report, row, said| {
            Ok(Ran {
                stage: report.stage,
                has_failed: report.reasons.is_some(),
                signal: said.signal,
                prediction: objects.code(row, said)?,
            })
        })?;
        let barred = Grouped::of(py, n, &not_begun, |report, _, _| Ok(report.stage))?;
        let mut from_start = match without {
            None => Vec::new(),
            Some(without) => stages(without)?,
        };
        let mut bars = self.without(py, &from_start)?;
        let mut all = Vec::with_capacity(n);
        for row in 0..n {
            let Some(request) = requests.ended(row) else { continue };
            let barred = barred.row(row);
            if without.is_none() && barred != from_start {
                from_start = barred.to_vec();
                bars = self.without(py, &from_start)?;
            }
            all.push((request, follow(&self.policy, &request, ran.row(row), bars.as_ref(), barred)));
        }
        let mut tallies = self.lock();
        for (request, followed) in &all {
            tallies.add(request, followed);
        }
        Ok(())
    }

    /// How it has been followed so far: requests in which it agreed, those of them in
    /// which it did in another order, in which it stopped earlier, wanted more; those left out; among
    /// those in which it ended, how many had another answer, and of how many the sums are: cost of the request and of
    /// the shadow, expected loss of the request and of the shadow.
    #[getter]
    fn counts(&self) -> (u64, u64, u64, u64, u64, u64, u64, f64, f64, f64, f64) {
        let all = *self.lock();
        (
            all.agreed,
            all.other_order,
            all.stopped_earlier,
            all.wanted_more,
            all.left_out,
            all.other_answer,
            all.summed,
            all.cost,
            all.cost_beside,
            all.expected_loss,
            all.expected_loss_beside,
        )
    }
}

/// The stages that are keys of a mapping.
fn stages(given: &Bound<'_, PyAny>) -> PyResult<Vec<u16>> {
    mapping(given)?.map_or(Ok(Vec::new()), |given| given.keys().iter().map(|stage| stage.extract()).collect())
}
