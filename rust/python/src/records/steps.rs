//! What became of the stages of requests, as it is handed over: steps of one, or reports of many.

use std::collections::HashMap;

use numpy::{PyArray1, PyArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PySequence, PyString, PyTuple};
use ttamer::records::{ANSWERED, BARRED, FAILED, FOR_RECORD, Step};
use ttamer::rules::NO_PREDICTION;

use crate::prediction::{Said, among};
use crate::predictions::Predictions;

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
    objects: Vec<Bound<'py, PyAny>>,
}

impl<'py> Stages<'py> {
    /// With room for so many.
    pub fn with_room(count: usize) -> Self {
        Self { told: Vec::with_capacity(count), objects: Vec::new() }
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
            let prediction = match Said::of(&*step.get_borrowed_item(2)?)? {
                Said::Code(code) => code,
                Said::Object(object) => {
                    let (code, is_new) = among(&self.objects, &object)?;
                    self.objects.extend(is_new.then_some(object));
                    code
                }
            };
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
}

fn not_tried(stage: u16, mark: u8) -> Step<'static> {
    Step { stage, what: BARRED | mark, signal: f64::NAN, prediction: NO_PREDICTION, seconds: f64::NAN, reason: None }
}

/// A mapping as a dict; none where it is empty.
fn mapping<'py>(given: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyDict>>> {
    if let Ok(dict) = given.cast_exact::<PyDict>() {
        return Ok((!dict.is_empty()).then(|| dict.clone()));
    }
    if given.len()? == 0 {
        return Ok(None);
    }
    Ok(Some(given.py().get_type::<PyDict>().call1((given,))?.cast_into()?))
}

/// Stages of some of the requests of a batch.
pub struct StagesOfMany<'py> {
    /// Those of each request, in their order.
    pub told: Vec<Vec<Told<'py>>>,
    /// Where each row of the batch is among them, if it is.
    place: Vec<Option<usize>>,
    objects: HashMap<usize, Vec<Bound<'py, PyAny>>>,
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
        Self { told: rows.iter().map(|_| Vec::with_capacity(4)).collect(), place, objects: HashMap::new() }
    }

    /// Adds reports, (stage, rows, signal, prediction, reasons, whether it was begun, seconds) each.
    pub fn add(&mut self, reports: &Bound<'py, PyAny>, for_record: bool) -> PyResult<()> {
        let mark = if for_record { FOR_RECORD } else { 0 };
        for report in reports.try_iter()? {
            let report = report?;
            let report = report.cast::<PyTuple>()?;
            let stage: u16 = report.get_item(0)?.extract()?;
            let rows = report.get_item(1)?;
            let rows = rows.cast::<PyArray1<i64>>().map_err(PyErr::from)?.readonly();
            let is_begun: bool = report.get_item(5)?.extract()?;
            let seconds: Option<f64> = report.get_item(6)?.extract()?;
            let reasons: Option<Bound<'py, PySequence>> = report.get_item(4)?.extract()?;
            let signal: Option<Bound<'py, PyArray1<f64>>> = report.get_item(2)?.extract()?;
            let signal = signal.map(|signal| signal.to_vec()).transpose()?;
            let said = report.get_item(3)?;
            let said = if said.is_none() { None } else { Some(Predictions::of(&said, 1)?) };
            let mut objects = said.as_ref().map_or(&[][..], |said| &said.objects).iter().peekable();
            for (at, row) in rows.as_array().iter().enumerate() {
                let object = objects.next_if(|(place, _)| *place == at).map(|(_, object)| object);
                let Some(place) = usize::try_from(*row).ok().and_then(|row| self.place.get(row).copied().flatten())
                else {
                    continue;
                };
                let prediction = match object {
                    Some(object) => self.number(place, object)?,
                    None => said
                        .as_ref()
                        .map(|said| said.codes())
                        .transpose()?
                        .map_or(NO_PREDICTION, |codes| codes.get(at).copied().unwrap_or(NO_PREDICTION)),
                };
                let reason = match &reasons {
                    None => None,
                    Some(reasons) => Some(reasons.get_item(at)?.cast_into::<PyString>()?),
                };
                let what = match (is_begun, &reason) {
                    (false, _) => BARRED,
                    (true, Some(_)) => FAILED,
                    (true, None) => ANSWERED,
                };
                let signal = signal.as_ref().and_then(|signal| signal.get(at)).copied().unwrap_or(f64::NAN);
                let seconds = seconds.filter(|_| is_begun).unwrap_or(f64::NAN);
                let step = Step { stage, what: what | mark, signal, prediction, seconds, reason: None };
                let Some(told) = self.told.get_mut(place) else {
                    return Err(PyTypeError::new_err("a row is not among those of the batch"));
                };
                told.push(Told { step, reason });
            }
        }
        Ok(())
    }

    fn number(&mut self, place: usize, object: &Bound<'py, PyAny>) -> PyResult<i64> {
        let shown = self.objects.entry(place).or_default();
        let (code, is_new) = among(shown, object)?;
        shown.extend(is_new.then(|| object.clone()));
        Ok(code)
    }
}
