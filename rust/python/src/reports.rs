//! What became of the stages of a batch, report by report, as it is handed over.

use std::collections::HashMap;

use numpy::{PyArray1, PyArrayMethods, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PySequence, PyTuple};
use ttamer::operate::Became;
use ttamer::rules::NO_PREDICTION;

use crate::prediction::{Said, among};
use crate::predictions::Predictions;

/// What became of a stage for some rows of a batch.
pub struct Report<'py> {
    /// Its number.
    pub stage: u16,
    /// Why it gave nothing, row by row; none where it answered.
    pub reasons: Option<Bound<'py, PySequence>>,
    /// Whether it was run.
    pub is_begun: bool,
    /// How long it took, where that was measured.
    pub seconds: Option<f64>,
    rows: PyReadonlyArray1<'py, i64>,
    signal: Option<PyReadonlyArray1<'py, f64>>,
    prediction: Option<Predictions<'py>>,
}

/// A row of a report.
pub struct Row<'a, 'py> {
    /// Its place in the report.
    pub at: usize,
    /// Which request it is of.
    pub request: i64,
    /// NaN: no information.
    pub signal: f64,
    /// Code of the prediction, if that has one of its own.
    pub code: i64,
    /// A prediction that has to be compared with others of its request.
    pub object: Option<&'a Bound<'py, PyAny>>,
}

impl<'py> Report<'py> {
    /// Of (stage, rows, signal, prediction, reasons, whether it was begun, seconds); predictions are looked at where
    /// they are wanted.
    pub fn of(given: &Bound<'py, PyAny>, wants_predictions: bool) -> PyResult<Self> {
        let given = given.cast::<PyTuple>()?;
        let array = |array: Bound<'py, PyArray1<f64>>| array.readonly();
        let said = given.get_item(3)?;
        let is_wanted = wants_predictions && !said.is_none();
        Ok(Self {
            stage: given.get_item(0)?.extract()?,
            reasons: given.get_item(4)?.extract()?,
            is_begun: given.get_item(5)?.extract()?,
            seconds: given.get_item(6)?.extract()?,
            rows: given.get_item(1)?.cast::<PyArray1<i64>>().map_err(PyErr::from)?.readonly(),
            signal: given.get_item(2)?.extract::<Option<_>>()?.map(array),
            prediction: is_wanted.then(|| Predictions::of(&said, 1)).transpose()?,
        })
    }

    /// All of them.
    pub fn all(reports: &Bound<'py, PyAny>, wants_predictions: bool) -> PyResult<Vec<Self>> {
        reports.try_iter()?.map(|report| Self::of(&report?, wants_predictions)).collect()
    }

    /// The rows.
    pub fn rows(&self) -> PyResult<&[i64]> {
        Ok(self.rows.as_slice()?)
    }

    /// What became of the stage.
    pub fn became(&self) -> Became {
        match (self.is_begun, &self.reasons) {
            (false, _) => Became::Barred,
            (true, Some(_)) => Became::Failed,
            (true, None) => Became::Answered,
        }
    }

    /// Calls `each` with every row, in order.
    pub fn each<'a>(&'a self, mut each: impl FnMut(Row<'a, 'py>) -> PyResult<()>) -> PyResult<()> {
        let signal = self.signal.as_ref().map_or(Ok(&[][..]), PyReadonlyArray1::as_slice)?;
        let codes = self.prediction.as_ref().map_or(Ok(&[][..]), Predictions::codes)?;
        let mut objects = self.prediction.as_ref().map_or(&[][..], |said| &said.objects).iter().peekable();
        for (at, row) in self.rows()?.iter().enumerate() {
            each(Row {
                at,
                request: *row,
                signal: signal.get(at).copied().unwrap_or(f64::NAN),
                code: codes.get(at).copied().unwrap_or(NO_PREDICTION),
                object: objects.next_if(|(place, _)| *place == at).map(|(_, object)| object),
            })?;
        }
        Ok(())
    }
}

/// Predictions of one request that can only be compared, numbered as they come.
#[derive(Default)]
pub struct Objects<'py>(Vec<Bound<'py, PyAny>>);

impl<'py> Objects<'py> {
    /// The code of whatever a stage said.
    pub fn code(&mut self, said: Said<'py>) -> PyResult<i64> {
        match said {
            Said::Code(code) => Ok(code),
            Said::Object(object) => self.number(&object),
        }
    }

    fn number(&mut self, object: &Bound<'py, PyAny>) -> PyResult<i64> {
        let (code, is_new) = among(&self.0, object)?;
        self.0.extend(is_new.then(|| object.clone()));
        Ok(code)
    }
}

/// The same of many requests, by their numbers.
#[derive(Default)]
pub struct ObjectsOfMany<'py>(HashMap<usize, Objects<'py>>);

impl<'py> ObjectsOfMany<'py> {
    /// The code of what a stage said of a request.
    pub fn code(&mut self, request: usize, said: &Row<'_, 'py>) -> PyResult<i64> {
        said.object.map_or(Ok(said.code), |object| self.0.entry(request).or_default().number(object))
    }
}

/// A mapping as a dict; none where it is empty.
pub fn mapping<'py>(given: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyDict>>> {
    if let Ok(dict) = given.cast_exact::<PyDict>() {
        return Ok((!dict.is_empty()).then(|| dict.clone()));
    }
    if given.len()? == 0 {
        return Ok(None);
    }
    Ok(Some(given.py().get_type::<PyDict>().call1((given,))?.cast_into()?))
}
