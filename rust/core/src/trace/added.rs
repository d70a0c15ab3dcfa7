//! Requests that a builder is given, and whether they can be taken in.

use super::checks;
use crate::error::{Error, Result, number};

/// Requests to be added, row by row.
#[derive(Clone, Copy, Debug)]
pub struct Added<'a> {
    /// Signals (m, k).
    pub signal: &'a [f64],
    /// Losses (m, k).
    pub loss: &'a [f64],
    /// Costs (k,) or (m, k).
    pub cost: &'a [f64],
    /// Predictions (m, k).
    pub prediction: Option<&'a [i64]>,
    /// How much each counts (m,).
    pub weight: Option<&'a [f64]>,
    /// Seconds that each stage took (m, k); NaN: not known.
    pub latency: Option<&'a [f64]>,
    /// Chance that each known loss came to be known (m, k); NaN where it is not.
    pub propensity: Option<&'a [f64]>,
    /// Groups (m,).
    pub group: Option<&'a [i64]>,
}

/// What rows have besides signals, losses and costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "columns that are there or not, each by itself")]
pub struct Columns {
    /// What the stages said.
    pub prediction: bool,
    /// How much they count.
    pub weight: bool,
    /// How long the stages took.
    pub latency: bool,
    /// With which chance losses came to be known.
    pub propensity: bool,
    /// What they belong to.
    pub group: bool,
}

impl Columns {
    /// Of these requests.
    pub(super) fn of(added: &Added) -> Self {
        Self {
            prediction: added.prediction.is_some(),
            weight: added.weight.is_some(),
            latency: added.latency.is_some(),
            propensity: added.propensity.is_some(),
            group: added.group.is_some(),
        }
    }

    pub(super) fn named(self) -> [(&'static str, bool); 5] {
        let (latency, group) = (("latency", self.latency), ("group", self.group));
        [("prediction", self.prediction), ("weight", self.weight), latency, ("propensity", self.propensity), group]
    }
}

/// How many requests these are of `k` stages, or why they cannot be taken in.
///
/// # Errors
/// As of [`Builder::append`](super::Builder::append).
pub(super) fn check(added: &Added, k: usize) -> Result<usize> {
    let m = added.signal.len() / k;
    check_lengths(added, m, k)?;
    check_losses(added.loss, k)?;
    check_rows("cost", added.cost, if added.cost.len() == k { 0 } else { k })?;
    if let Some(weight) = added.weight {
        check_rows("weight", weight, 0)?;
    }
    check_seconds(added.latency.unwrap_or_default(), k)?;
    check_chances(added.propensity.unwrap_or_default(), added.loss, k)?;
    Ok(m)
}

fn check_lengths(added: &Added, m: usize, k: usize) -> Result<()> {
    checks::entries("signal", added.signal.len(), m * k)?;
    checks::entries("loss", added.loss.len(), m * k)?;
    if added.cost.len() != k {
        checks::entries("cost", added.cost.len(), m * k)?;
    }
    if let Some(said) = added.prediction {
        checks::entries("prediction", said.len(), m * k)?;
    }
    if let Some(weight) = added.weight {
        checks::entries("weight", weight.len(), m)?;
    }
    if let Some(latency) = added.latency {
        checks::entries("latency", latency.len(), m * k)?;
    }
    if let Some(propensity) = added.propensity {
        checks::entries("propensity", propensity.len(), m * k)?;
    }
    if let Some(group) = added.group {
        checks::entries("group", group.len(), m)?;
    }
    Ok(())
}

/// Finite numbers that are not negative, in rows of `columns`, or in a list (0).
#[inline]
fn check_rows(argument: &str, cells: &[f64], columns: usize) -> Result<()> {
    match cells.iter().position(|x| !(*x >= 0.0 && *x < f64::INFINITY)) {
        None => Ok(()),
        Some(at) => Err(bad_entry(argument, at, columns, cells[at])),
    }
}

/// Losses in rows of `columns`: numbers that are not negative, infinite of stages that never answer; NaN: not known.
fn check_losses(cells: &[f64], columns: usize) -> Result<()> {
    match cells.iter().position(|x| *x < 0.0) {
        None => Ok(()),
        Some(at) => Err(bad_entry("loss", at, columns, cells[at])),
    }
}

/// Seconds in rows of `columns`: finite numbers that are not negative, or NaN.
fn check_seconds(cells: &[f64], columns: usize) -> Result<()> {
    match cells.iter().position(|x| *x < 0.0 || *x == f64::INFINITY) {
        None => Ok(()),
        Some(at) => Err(checks::seconds_refused(at / columns, at % columns, cells[at])),
    }
}

#[cold]
fn bad_entry(argument: &str, at: usize, columns: usize, given: f64) -> Error {
    let place = match columns {
        0 => format!("entry {at}"),
        columns => format!("row {} column {}", at / columns, at % columns),
    };
    Error::invalid(format!("`{argument}` {place} must be finite and at least 0, got {}", number(given)))
}

/// Chances in rows of `columns`: above 0 and at most 1 where the loss is known, or NaN.
fn check_chances(cells: &[f64], loss: &[f64], columns: usize) -> Result<()> {
    let is_chance = |p: f64| p > 0.0 && p <= 1.0;
    let fits = |p: f64, loss: f64| is_chance(p) || p.is_nan() && loss.is_nan();
    match cells.iter().zip(loss).position(|(p, loss)| !fits(*p, *loss)) {
        None => Ok(()),
        Some(at) => {
            let (row, column, given) = (at / columns, at % columns, number(cells[at]));
            let allowed = "above 0 and at most 1 where the loss is known";
            Err(Error::invalid(format!("`propensity` row {row} column {column} must be {allowed}, got {given}")))
        }
    }
}
