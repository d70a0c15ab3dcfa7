//! What is not known of the requests of a running cascade.

use std::sync::Arc;

use once_cell::race::OnceBox;

use super::checks;
use super::content::Trace;
use super::table::Table;
use crate::error::{Error, Result, number};

/// The code of no prediction.
pub const NOTHING_SAID: i64 = i64::MIN;

impl Trace {
    /// Whether some loss is not known.
    pub fn is_censored(&self) -> bool {
        self.is_censored
    }

    /// Whether a stage was run for a request: something is known of what came of it.
    pub fn is_run(&self, stage: usize, row: usize) -> bool {
        !(self.signal(stage)[row].is_nan() && self.loss(stage)[row].is_nan())
    }

    /// The predictions of stages that were run.
    pub(super) fn of_run(&self, prediction: &Table<i64>) -> Table<i64> {
        let said = |row, stage| if self.is_run(stage, row) { prediction.column(stage)[row] } else { NOTHING_SAID };
        Table::from_fn(self.rows(), self.stages(), said)
    }

    /// The same requests with the chances (n, k), above 0 and at most 1, that each loss came to be known, given what was
    /// known of its request before; NaN where it did not. Those of one request are not independent: whoever ran one more
    /// stage for the record ran all of them.
    ///
    /// # Errors
    /// [`Error::Invalid`] for another shape, a number out of range, and a chance that is not there for a known loss.
    pub fn with_propensity(self, propensity: Table<f64>) -> Result<Self> {
        checks::same_shape("propensity", &propensity, self.rows(), self.stages())?;
        let refused = |row: usize, stage: usize, given: f64| {
            Err(Error::invalid(format!(
                "`propensity[{row}, {stage}]` must be above 0 and at most 1 where the loss is known, got {}",
                number(given)
            )))
        };
        if let Some((row, stage, given)) = propensity.first(|p| !(p.is_nan() || (p > 0.0 && p <= 1.0))) {
            return refused(row, stage, given);
        }
        for stage in 0..self.stages() {
            let cells = self.loss(stage).iter().zip(propensity.column(stage));
            if let Some(row) = cells.clone().position(|(loss, p)| !loss.is_nan() && p.is_nan()) {
                return refused(row, stage, f64::NAN);
            }
        }
        Ok(Self { propensity: Some(Arc::new(propensity)), digest: OnceBox::new(), completed: OnceBox::new(), ..self })
    }

    /// Chances (n, k) that losses came to be known, if they were given.
    pub fn propensity(&self) -> Option<&Table<f64>> {
        self.propensity.as_deref()
    }

    /// The same requests whose losses are those against the answers of `teacher`, a stage or anybody else, in place of the
    /// truth; none: the truth.
    #[must_use]
    pub fn taught(self, teacher: Option<&str>) -> Self {
        Self { teacher: teacher.map(Arc::from), digest: OnceBox::new(), completed: OnceBox::new(), ..self }
    }

    /// Whose answers losses are held against, where it is not the truth.
    pub fn teacher(&self) -> Option<&str> {
        self.teacher.as_deref()
    }

    /// The requests of which every loss is known, each counting as its weight says over the chance of that: with them, a
    /// mean is that of all requests. None where nothing is left out and all chances are 1.
    ///
    /// # Errors
    /// [`Error::Invalid`] where losses are not known and no propensity says why, or no request is left.
    pub fn run_through(&self) -> Result<Option<Self>> {
        let of_row = |row: usize| self.chance_of(row, |_| true);
        if !self.is_censored && self.propensity.is_none() {
            return Ok(None);
        }
        self.reweighted(of_row).map(Some)
    }

    /// The chance that the losses of some stages are known of a request; none where one is not.
    pub fn chance_of(&self, row: usize, is_needed: impl Fn(usize) -> bool) -> Option<f64> {
        let mut chance = 1.0_f64;
        for stage in (0..self.stages()).filter(|stage| is_needed(*stage)) {
            if self.loss(stage)[row].is_nan() {
                return None;
            }
            chance = chance.min(self.propensity.as_ref().map_or(1.0, |propensity| propensity.column(stage)[row]));
        }
        Some(chance)
    }

    /// The requests of which enough is known, each counting as its weight says over the chance of that.
    ///
    /// # Errors
    /// As [`Trace::run_through`].
    pub fn reweighted(&self, chance: impl Fn(usize) -> Option<f64>) -> Result<Self> {
        if self.is_censored && self.propensity.is_none() {
            return Err(self.refused());
        }
        let kept: Vec<(u32, f64)> =
            (0..self.rows()).filter_map(|row| chance(row).map(|chance| (row as u32, chance))).collect();
        let weight: Vec<f64> = kept.iter().map(|(row, chance)| self.weight[*row as usize] / chance).collect();
        if weight.iter().all(|w| *w == 0.0) {
            let message = "`trace` must have a request of which all that is needed is known, got none: run some through \
                           every stage";
            return Err(Error::invalid(message));
        }
        let rows: Vec<u32> = kept.iter().map(|kept| kept.0).collect();
        self.select(&rows).weighted(Some(weight))
    }

    /// Why a trace of which not everything is known cannot be judged on.
    fn refused(&self) -> Error {
        let unknown = self.loss.first(f64::is_nan);
        let (row, stage) = unknown.map_or((0, 0), |(row, stage, _)| (row, stage));
        self.unknown(row, stage)
    }

    /// Why a decision on a request cannot be judged that depends on a stage of which not all is known.
    pub(crate) fn unknown(&self, row: usize, stage: usize) -> Error {
        Error::invalid(format!(
            "`trace` must have known losses to be judged on, got nan in `loss[{row}, {stage}]` (stage '{}'): give \
             `propensity`, the chance that each known loss came to be known, or a trace of requests that were drawn at \
             random and run through every stage",
            self.names[stage]
        ))
    }

    /// The same requests, of which some have numbers from others: the number of the row that each has them from, its own
    /// where all are its own (n,).
    #[must_use]
    pub(crate) fn borrowing(self, lender: Vec<i64>) -> Self {
        Self { lender: Some(Arc::new(lender)), ..self }
    }

    /// The row that each has borrowed numbers from (n,), if any has.
    pub(crate) fn lender(&self) -> Option<&[i64]> {
        self.lender.as_ref().map(|lender| lender.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Kind;

    fn logged() -> Option<Trace> {
        let nan = f64::NAN;
        let signal = [0.9, nan, 0.2, 0.7, 0.8, 0.6];
        let loss = [0.0, nan, 1.0, 0.0, 0.0, 1.0];
        Trace::from_rows(&signal, &loss, None, &[1.0, 2.0], Kind::Models).ok()
    }

    #[test]
    fn rows_that_were_run_through_stand_for_the_others() {
        let trace = logged();
        assert_eq!(trace.as_ref().map(Trace::is_censored), Some(true));
        let refused = trace.as_ref().and_then(|trace| trace.run_through().err()).map(|error| error.to_string());
        assert!(refused.is_some_and(|text| text.contains("`loss[0, 1]` (stage 'stage 1')")));
        let nan = f64::NAN;
        let chances = Table::from_rows("propensity", &[1.0, nan, 1.0, 1.0, 1.0, 0.25], 2);
        let trace = trace.zip(chances.ok()).and_then(|(trace, chances)| trace.with_propensity(chances).ok());
        let through = trace.and_then(|trace| trace.run_through().ok().flatten());
        let said =
            through.map(|through| (through.signal(0).to_vec(), through.weight().to_vec(), through.is_censored()));
        assert_eq!(said, Some((vec![0.2, 0.8], vec![0.4, 1.6], false)));
    }

    #[test]
    fn chances_must_be_there_for_what_is_known() {
        let refused = |chances: [f64; 6]| {
            let table = Table::from_rows("propensity", &chances, 2).ok()?;
            logged()?.with_propensity(table).err().map(|error| error.to_string())
        };
        let (nan, text) = (f64::NAN, |cell: &str, given: &str| {
            format!("`propensity[{cell}]` must be above 0 and at most 1 where the loss is known, got {given}")
        });
        assert_eq!(refused([1.0, nan, 1.0, 1.0, 1.0, 1.0]), None);
        assert_eq!(refused([1.0, nan, 1.0, nan, 1.0, 1.0]), Some(text("1, 1", "nan")));
        assert_eq!(refused([1.0, nan, 0.0, 1.0, 1.0, 1.0]), Some(text("1, 0", "0")));
    }
}
