//! One request.

use std::sync::Arc;

use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyInt};
use ttamer::AnyState;
use ttamer::rules::{NO_LABEL, stage_number};

use crate::errors::raise;

/// One request in progress: which stage to run now, and which answer is the best in hand.
///
/// A run belongs to one request and one thread at a time.
#[pyclass(module = "ttamer_fast")]
pub struct Run {
    policy: Arc<ttamer::Policy>,
    state: AnyState,
}

impl Run {
    pub fn new(policy: Arc<ttamer::Policy>) -> Self {
        let state = policy.begin();
        Self { policy, state }
    }
}

/// A signal as a float: `None`, or a number beyond all floats, is "no information".
#[inline]
fn signal_of(signal: &Bound<'_, PyAny>) -> PyResult<f64> {
    if let Ok(float) = signal.cast_exact::<PyFloat>() {
        return Ok(float.value());
    }
    if signal.is_none() {
        return Ok(f64::NAN);
    }
    signal.extract::<f64>().or_else(|error| {
        let py = signal.py();
        if error.is_instance_of::<PyOverflowError>(py) { Ok(f64::NAN) } else { Err(error) }
    })
}

/// A label as an integer: itself if it is one that fits, else its hash.
#[inline]
fn label_of(label: &Bound<'_, PyAny>) -> PyResult<i64> {
    if label.is_none() {
        return Ok(NO_LABEL);
    }
    if label.is_exact_instance_of::<PyInt>()
        && let Ok(label) = label.extract::<i64>()
    {
        return Ok(label);
    }
    Ok(label.hash()? as i64)
}

#[pymethods]
impl Run {
    /// The stage to run now; None once the request is decided.
    #[getter]
    fn next(&self) -> Option<usize> {
        stage_number(self.state.flat().next)
    }

    /// The stage whose answer is the best in hand; None while there is none.
    #[getter]
    fn answer(&self) -> Option<usize> {
        stage_number(self.state.flat().answer)
    }

    /// Expected loss of the answer in hand, in the unit of the losses; inf while there is none.
    #[getter]
    fn expected_loss(&self) -> f64 {
        self.policy.expected_loss(self.state.flat())
    }

    /// Summed cost of the stages run.
    #[getter]
    fn cost(&self) -> f64 {
        self.state.flat().cost
    }

    /// What the stage `next` reports; returns the new `next`.
    #[pyo3(signature = (signal, prediction = None, /))]
    fn observe(&mut self, signal: &Bound<'_, PyAny>, prediction: Option<&Bound<'_, PyAny>>) -> PyResult<Option<usize>> {
        if !self.state.flat().is_waiting() {
            return Err(raise(signal.py(), ttamer::Error::Stopped));
        }
        let signal = signal_of(signal)?;
        let label = prediction.map_or(Ok(NO_LABEL), label_of)?;
        self.policy.advance(&mut self.state, signal, label);
        Ok(stage_number(self.state.flat().next))
    }

    /// Makes this the run of a new request; returns its first stage.
    fn restart(&mut self) -> Option<usize> {
        self.state = self.policy.begin();
        stage_number(self.state.flat().next)
    }

    fn __repr__(&self) -> String {
        let show = |stage: Option<usize>| stage.map_or("None".into(), |stage| stage.to_string());
        format!("Run(next={}, answer={}, cost={})", show(self.next()), show(self.answer()), self.cost())
    }
}
