//! Requests that have ended, as they are handed over.

use numpy::PyReadonlyArray1;
use pyo3::prelude::*;
use ttamer::operate::{self, Ended, Reported};
use ttamer::plan::NO_STAGE;

use crate::reports::Report;

/// How a request ended.
pub fn ended(answer: Option<u16>, is_late: bool, cost: f64, expected_loss: f64) -> Ended {
    Ended { answer: answer.unwrap_or(NO_STAGE), is_late, cost, expected_loss }
}

/// How the requests of a batch ended.
pub struct Columns<'py> {
    pub stage: PyReadonlyArray1<'py, i32>,
    pub is_late: Option<PyReadonlyArray1<'py, bool>>,
    pub cost: PyReadonlyArray1<'py, f64>,
    pub expected_loss: PyReadonlyArray1<'py, f64>,
}

impl Columns<'_> {
    /// As the engine takes them.
    pub fn reported<'a>(&'a self, reports: &'a [operate::Report<'a>]) -> PyResult<Reported<'a>> {
        Ok(Reported {
            answer: self.stage.as_slice()?,
            is_late: self.is_late.as_ref().map(PyReadonlyArray1::as_slice).transpose()?,
            cost: self.cost.as_slice()?,
            expected_loss: self.expected_loss.as_slice()?,
            reports,
        })
    }
}

/// Reports as the engine takes them.
pub fn reports<'a>(given: &'a [Report<'_>]) -> PyResult<Vec<operate::Report<'a>>> {
    let each = given.iter().map(|report| {
        let seconds = report.seconds.unwrap_or(f64::NAN);
        Ok(operate::Report { stage: report.stage, rows: report.rows()?, became: report.became(), seconds })
    });
    each.collect()
}
