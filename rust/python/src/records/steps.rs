//! What became of the stages of requests, as it is handed over: steps of one, or reports of many.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};
use ttamer::operate::{Became, Ran};
use ttamer::records::{ANSWERED, BARRED, FAILED, FOR_RECORD, Step};
use ttamer::rules::NO_PREDICTION;

use crate::prediction::Said;
use crate::reports::{Objects, ObjectsOfMany, Report, mapping};

/// What became of one stage, with a reason of its own.
pub struct Told<'py> {
    step: Step<'static>,
    reason: Option<Bound<'py, PyString>>,
}

impl Told<'_> {
    /// As it is recorded.
    pub fn step(&self) -> Step<'_> {
        // Text that is not UTF-8 has lone surrogates: nothing is said then.
        Step { reason: self.reason.as_ref().and_then(|reason| reason.to_str().ok()), ..self.step.clone() }
    }
}

/// Stages of one request: those that the policy ran, then those that ran for the record alone.
pub struct Stages<'py> {
    /// In their order.
    pub told: Vec<Told<'py>>,
    objects: Objects<'py>,
}

impl<'py> Stages<'py> {
    /// With room for so many.
    pub fn with_room(count: usize) -> Self {
        Self { told: Vec::with_capacity(count), objects: Objects::default() }
    }

    /// Adds steps, (stage, signal, prediction) each; why stages failed or were not tried, and how long they took, by
    /// their numbers.
    pub fn add(
        &mut self,
        steps: &Bound<'py, PyList>,
        failures: &Bound<'py, PyAny>,
        barred: &Bound<'py, PyAny>,
        seconds: Option<&Bound<'py, PyDict>>,
        for_record: bool,
    ) -> PyResult<()> {
        let mark = if for_record { FOR_RECORD } else { 0 };
        let failures = mapping(failures)?;
        for step in steps.iter() {
            let step = step.cast_exact::<PyTuple>()?;
            let number = step.get_borrowed_item(0)?;
            let prediction = self.objects.code(Said::of(&*step.get_borrowed_item(2)?)?)?;
            let reason = match &failures {
                None => None,
                Some(failures) => failures.get_item(&*number)?.map(Bound::cast_into::<PyString>).transpose()?,
            };
            let seconds = match seconds {
                None => None,
                Some(seconds) => seconds.get_item(&*number)?.map(|seconds| seconds.extract()).transpose()?,
            };
            let step = Step {
                stage: number.extract()?,
                what: if reason.is_some() { FAILED } else { ANSWERED } | mark,
                signal: step.get_borrowed_item(1)?.extract()?,
                prediction,
                seconds: seconds.unwrap_or(f64::NAN),
                reason: None,
            };
            self.told.push(Told { step, reason });
        }
        for (stage, reason) in mapping(barred)?.iter().flat_map(PyDictMethods::iter) {
            self.told.push(Told { step: not_tried(stage.extract()?, mark), reason: Some(reason.cast_into()?) });
        }
        Ok(())
    }

    /// Those that the policy ran, as a shadow is told of them.
    pub fn ran(&self) -> Vec<Ran> {
        let ran = self.decided().filter(|step| !is(step, BARRED));
        ran.map(|step| Ran {
            stage: step.stage,
            has_failed: is(step, FAILED),
            signal: step.signal,
            prediction: step.prediction,
        })
        .collect()
    }

    /// Those that were not tried.
    pub fn barred(&self) -> Vec<u16> {
        self.decided().filter(|step| is(step, BARRED)).map(|step| step.stage).collect()
    }

    /// What became of them, and how long they took.
    pub fn became(&self) -> impl Iterator<Item = (u16, Became, f64)> {
        self.decided().map(|step| {
            let became = match (is(step, BARRED), is(step, FAILED)) {
                (true, _) => Became::Barred,
                (false, true) => Became::Failed,
                (false, false) => Became::Answered,
            };
            (step.stage, became, step.seconds)
        })
    }

    fn decided(&self) -> impl Iterator<Item = &Step<'static>> {
        self.told.iter().map(|told| &told.step).filter(|step| step.what & FOR_RECORD == 0)
    }
}

/// Whether a step is of this kind.
fn is(step: &Step<'_>, kind: u8) -> bool {
    step.what & !FOR_RECORD == kind
}

fn not_tried(stage: u16, mark: u8) -> Step<'static> {
    Step { stage, what: BARRED | mark, signal: f64::NAN, prediction: NO_PREDICTION, seconds: f64::NAN, reason: None }
}

/// Stages of some of the requests of a batch.
pub struct StagesOfMany<'py> {
    /// Those of each request, in their order.
    pub told: Vec<Vec<Told<'py>>>,
    /// Where each row of the batch is among them, if it is.
    place: Vec<Option<usize>>,
    objects: ObjectsOfMany<'py>,
}

impl<'py> StagesOfMany<'py> {
    /// Of these rows of `n`.
    pub fn of(n: usize, rows: &[usize]) -> Self {
        let mut place = vec![None; n];
        for (at, row) in rows.iter().enumerate() {
            if let Some(place) = place.get_mut(*row) {
                *place = Some(at);
            }
        }
        Self { told: rows.iter().map(|_| Vec::with_capacity(4)).collect(), place, objects: ObjectsOfMany::default() }
    }

    /// Adds reports, (stage, rows, signal, prediction, reasons, whether it was begun, seconds) each.
    pub fn add(&mut self, reports: &Bound<'py, PyAny>, for_record: bool) -> PyResult<()> {
        let mark = if for_record { FOR_RECORD } else { 0 };
        for report in reports.try_iter()? {
            let report = Report::of(&report?, true)?;
            let what = match report.became() {
                Became::Answered => ANSWERED,
                Became::Failed => FAILED,
                Became::Barred => BARRED,
            };
            let seconds = report.seconds.filter(|_| report.is_begun).unwrap_or(f64::NAN);
            report.each(|said| {
                let Some(place) =
                    usize::try_from(said.request).ok().and_then(|row| self.place.get(row).copied().flatten())
                else {
                    return Ok(());
                };
                let reason = match &report.reasons {
                    None => None,
                    Some(reasons) => Some(reasons.get_item(said.at)?.cast_into::<PyString>()?),
                };
                let prediction = self.objects.code(place, &said)?;
                let step = Step {
                    stage: report.stage,
                    what: what | mark,
                    signal: said.signal,
                    prediction,
                    seconds,
                    reason: None,
                };
                let Some(told) = self.told.get_mut(place) else {
                    return Err(PyTypeError::new_err("a row is not among those of the batch"));
                };
                told.push(Told { step, reason });
                Ok(())
            })?;
        }
        Ok(())
    }
}
