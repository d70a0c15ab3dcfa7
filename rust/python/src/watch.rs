//! The first requests of a policy, held against the trace that it was made from.

use std::ffi::CString;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use pyo3::prelude::*;
use ttamer::rules::Observation;
use ttamer::{Oddity, Policy};

use crate::errors::serving_warning;

/// Requests that are looked at.
const LOOKED_AT: u32 = 64;

/// Signals of a stage that have to be beyond the usual ones, and no other among them, before it is said.
const ALL_OUTSIDE: u32 = 20;

/// What is known of a policy's first requests. Each kind of oddity is said once.
pub struct Watch {
    /// Requests still to be looked at.
    left: AtomicU32,
    /// One bit for each kind of oddity that has been said.
    said: AtomicU8,
    /// Signals seen in a row beyond the usual ones, by stage.
    outside: Vec<AtomicU32>,
}

impl Watch {
    /// Of a policy that has served nothing yet.
    pub fn new(policy: &Policy) -> Self {
        let usual = &policy.facts().usual;
        let left = if usual.is_empty() { 0 } else { LOOKED_AT };
        let outside = usual.iter().map(|_| AtomicU32::new(0)).collect();
        Self { left: AtomicU32::new(left), said: AtomicU8::new(0), outside }
    }

    /// Whether there are requests to be looked at.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.left.load(Ordering::Relaxed) > 0
    }

    /// Takes up to `count` requests; returns how many of them are to be looked at.
    #[cold]
    pub fn take(&self, count: usize) -> usize {
        let wanted = u32::try_from(count).unwrap_or(u32::MAX);
        let before =
            self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left.saturating_sub(wanted)));
        before.unwrap_or(0).min(wanted) as usize
    }

    /// Looks at the first of many reports of one stage, of which each is another request.
    ///
    /// # Errors
    /// As [`Watch::look`].
    pub fn look_at_many(
        &self,
        py: Python<'_>,
        policy: &Policy,
        stage: usize,
        reports: impl ExactSizeIterator<Item = Observation>,
    ) -> PyResult<()> {
        if !self.is_on() {
            return Ok(());
        }
        let count = self.take(reports.len());
        reports.take(count).try_for_each(|report| self.look(py, policy, stage, report))
    }

    /// Looks at a report, and warns of what is odd about it.
    ///
    /// # Errors
    /// The warning itself, where warnings are errors.
    #[cold]
    pub fn look(&self, py: Python<'_>, policy: &Policy, stage: usize, report: Observation) -> PyResult<()> {
        let Some(usual) = policy.facts().usual.get(stage) else { return Ok(()) };
        let oddity = usual.oddity(report).or_else(|| {
            let outside = self.outside.get(stage)?;
            if report.signal.is_nan() {
                return None;
            }
            if !usual.is_outside(report.signal) {
                outside.store(0, Ordering::Relaxed);
                return None;
            }
            (outside.fetch_add(1, Ordering::Relaxed) + 1 >= ALL_OUTSIDE).then_some(Oddity::OtherScale)
        });
        let Some(oddity) = oddity else { return Ok(()) };
        let bit = match oddity {
            Oddity::NoPrediction => 1,
            Oddity::OtherPrediction => 2,
            _ => 4,
        };
        if self.said.fetch_or(bit, Ordering::Relaxed) & bit != 0 {
            return Ok(());
        }
        let name = policy.stages().get(stage).map_or("", String::as_str);
        let what = match oddity {
            Oddity::NoPrediction => {
                "reports no prediction, where those of the calibration trace did: decisions are worse without"
                    .to_owned()
            }
            Oddity::OtherPrediction => {
                let (least, most) = usual.predictions.unwrap_or_default();
                format!(
                    "reports predictions of another kind than the calibration trace, which had integers from {least} to \
                     {most}: stages agree where predictions are equal"
                )
            }
            _ => format!(
                "reports signals as {}, where the calibration trace had {} to {}: they have to be on its scale",
                report.signal, usual.low, usual.high
            ),
        };
        let message = CString::new(format!("stage {stage} ('{name}') {what}").replace('\0', " "))?;
        PyErr::warn(py, &serving_warning(py)?, &message, 1)
    }
}
