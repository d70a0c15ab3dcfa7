//! Drift monitors: one lock around the engine's.
//!
//! The lock is taken and released while the interpreter is held, and no Python code runs under it: no thread can hold it
//! while another forks, and none waits for it while it holds the interpreter that the owner needs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use numpy::{PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};
use ttamer::monitor::{Drift, Said};
use ttamer::rules::{NO_PREDICTION, Observation};

use crate::errors::{invalid, raise};
use crate::policy::Policy;
use crate::prediction::{self, among};
use crate::signal::signal as signal_of;
use crate::trace::Trace;
use crate::working::detached;

/// Requests of a batch that are taken in before other threads and signals get their turn.
const PIECE: usize = 4096;

/// Compares the requests that a policy serves with those of a reference.
#[pyclass(frozen, module = "ttamer_fast._core")]
pub struct Monitor {
    inner: Mutex<Drift>,
}

impl Monitor {
    fn new(drift: Drift) -> Self {
        Self { inner: Mutex::new(drift) }
    }

    fn lock(&self) -> MutexGuard<'_, Drift> {
        // The engine does not panic; were it to, a monitor with a request half taken in can still go on.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Monitor {
    /// A monitor of `policy` with the requests of `trace` as the reference.
    #[staticmethod]
    #[pyo3(signature = (policy, trace, alpha, seed, /))]
    fn fit(py: Python<'_>, policy: &Policy, trace: &Trace, alpha: f64, seed: u64) -> PyResult<Self> {
        let (policy, trace) = (Arc::clone(policy.shared()), trace.inner());
        Ok(Self::new(detached(py, || Drift::fit(policy, trace, alpha, seed))?))
    }

    /// One finished request: signals and predictions by stage number, and whose answer was returned.
    #[pyo3(signature = (signal, answer, prediction = None, /))]
    fn update(
        &self,
        py: Python<'_>,
        signal: &Bound<'_, PyDict>,
        answer: Option<&Bound<'_, PyAny>>,
        prediction: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<bool> {
        let k = self.lock().policy().stages().len();
        // The items first: converting them may run Python code, which may change the dictionary.
        let items: Vec<_> = signal.iter().collect();
        let mut said = Vec::with_capacity(items.len());
        let mut objects = Vec::new();
        for (key, value) in items {
            let stage = key.extract::<usize>().ok().filter(|stage| *stage < k).ok_or_else(|| {
                invalid(py, format!("`signal` stage must be from 0 to {}, got {}", k - 1, shown(&key)))
            })?;
            let signal = signal_of(&value).map_err(|_| {
                invalid(py, format!("`signal` of stage {stage} must be a number or None, got {}", shown(&value)))
            })?;
            let given = prediction.map(|said| said.get_item(&key)).transpose()?.flatten();
            let prediction = match given.map(|given| prediction::Said::of(&given)).transpose()? {
                None => NO_PREDICTION,
                Some(prediction::Said::Code(code)) => code,
                Some(prediction::Said::Object(object)) => {
                    let (code, is_new) = among(&objects, &object)?;
                    objects.extend(is_new.then_some(object));
                    code
                }
            };
            said.push(Said { stage, observation: Observation::new(signal, prediction) });
        }
        said.sort_unstable_by_key(|said| said.stage);
        let is_run = |answer: &usize| said.iter().any(|said| said.stage == *answer);
        let number = answer.map(|answer| {
            let stage = answer.extract::<usize>().ok().filter(is_run);
            stage.ok_or_else(|| invalid(py, format!("`answer` must be a stage that was run, got {}", shown(answer))))
        });
        let answer = number.transpose()?;
        // True and 1 are one key, 1 and numpy's 1 too: no stage is there twice, but in dictionaries of odd keys.
        said.dedup_by_key(|said| said.stage);
        Ok(self.lock().observe(&said, answer))
    }

    /// Finished requests, in order; all arrays C-contiguous and checked, but for their numbers.
    #[pyo3(signature = (signal, consulted, answer, prediction, /))]
    fn update_batch(
        &self,
        py: Python<'_>,
        signal: PyReadonlyArray2<'_, f64>,
        consulted: PyReadonlyArray2<'_, bool>,
        answer: PyReadonlyArray1<'_, i64>,
        prediction: Option<PyReadonlyArray2<'_, i64>>,
    ) -> PyResult<bool> {
        let k = self.lock().policy().stages().len();
        let n = signal.len() / k;
        let (signal, consulted, answer) = (signal.as_slice()?, consulted.as_slice()?, answer.as_slice()?);
        let prediction = prediction.as_ref().map(|said| said.as_slice()).transpose()?;
        let mut said = Vec::with_capacity(k);
        let mut is_alarmed = self.lock().alarm().is_some();
        for first in (0..n).step_by(PIECE) {
            if first > 0 {
                // Other threads run here.
                py.detach(|| ());
                py.check_signals()?;
            }
            let mut drift = self.lock();
            for (row, answer) in answer.iter().enumerate().skip(first).take(PIECE) {
                said.clear();
                for stage in 0..k {
                    let at = row * k + stage;
                    if consulted[at] {
                        let prediction = prediction.map_or(NO_PREDICTION, |said| said[at]);
                        said.push(Said { stage, observation: Observation::new(signal[at], prediction) });
                    }
                }
                is_alarmed = drift.observe(&said, usize::try_from(*answer).ok());
            }
        }
        Ok(is_alarmed)
    }

    /// Forgets the stream and lowers the alarm.
    fn reset(&self) {
        self.lock().reset();
    }

    /// How many requests have been taken in.
    #[getter]
    fn requests(&self) -> u64 {
        self.lock().requests()
    }

    /// The false-alarm rate.
    #[getter]
    fn alpha(&self) -> f64 {
        self.lock().alpha()
    }

    /// Names of the stages.
    #[getter]
    fn stages<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let policy = Arc::clone(self.lock().policy());
        PyTuple::new(py, policy.stages())
    }

    /// Digest of the policy that is watched.
    #[getter]
    fn digest(&self, py: Python<'_>) -> PyResult<String> {
        let policy = Arc::clone(self.lock().policy());
        Ok(policy.digest().map_err(|error| raise(py, error))?.to_owned())
    }

    /// The alarm, or None: number of the component, requests taken in when it was raised and when the evidence began
    /// to grow, direction.
    #[getter]
    fn alarm(&self) -> Option<(u32, u64, u64, &'static str)> {
        let alarm = self.lock().alarm();
        alarm.map(|alarm| (alarm.component, alarm.at, alarm.since, alarm.direction.name()))
    }

    /// Requests taken in, the alarm, and every watched quantity, all of the same moment.
    fn report<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (requests, alarm, components) = {
            let drift = self.lock();
            (drift.requests(), drift.alarm(), drift.components())
        };
        let alarm = alarm.map(|alarm| (alarm.component, alarm.at, alarm.since, alarm.direction.name()));
        let of = |one: ttamer::monitor::Component| {
            let entry = PyDict::new(py);
            entry.set_item("stage", one.stage)?;
            entry.set_item("watched", one.watched.name())?;
            entry.set_item("log_evidence", one.log_evidence)?;
            entry.set_item("reference_rows", one.reference_rows)?;
            entry.set_item("rows", one.rows)?;
            entry.set_item("reference_mean", one.reference_mean)?;
            entry.set_item("mean", one.mean)?;
            entry.set_item("direction", one.direction.name())?;
            entry.set_item("since", one.since)?;
            Ok(entry)
        };
        let report = PyDict::new(py);
        report.set_item("requests", requests)?;
        report.set_item("alarm", alarm)?;
        report.set_item("components", components.into_iter().map(of).collect::<PyResult<Vec<_>>>()?)?;
        Ok(report)
    }

    /// Everything, as bytes.
    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let drift = self.lock().clone();
        let bytes = py.detach(|| drift.to_bytes()).map_err(|error| raise(py, error))?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// The monitor that `to_bytes` wrote.
    #[staticmethod]
    #[pyo3(signature = (data, /))]
    fn from_bytes(py: Python<'_>, data: &[u8]) -> PyResult<Self> {
        Ok(Self::new(py.detach(|| Drift::from_bytes(data)).map_err(|error| raise(py, error))?))
    }
}

/// A value in a message.
fn shown(value: &Bound<'_, PyAny>) -> String {
    value.repr().map_or_else(|_| "an object".into(), |text| text.to_string().replace('\n', " "))
}
