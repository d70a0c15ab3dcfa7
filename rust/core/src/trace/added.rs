//! Requests that are added to a builder, and what they must be; errors say what those of a trace say.

use super::checks;
use crate::error::{Error, Result, number};

/// Requests to be added, row by row.
#[derive(Clone, Copy, Debug)]
pub struct Added<'a> {
    /// Signals (m, k); NaN: unknown.
    pub signal: &'a [f64],
    /// Losses (m, k); NaN: not known.
    pub loss: &'a [f64],
    /// Costs.
    pub cost: Costs<'a>,
    /// Predictions (m, k).
    pub prediction: Option<&'a [i64]>,
    /// How much each counts (m,).
    pub weight: Option<&'a [f64]>,
    /// Seconds that each stage took (m, k); NaN: not known.
    pub latency: Option<&'a [f64]>,
    /// Groups (m,).
    pub group: Option<&'a [i64]>,
    /// Chance that each known loss came to be known (m, k); NaN where it did not.
    pub propensity: Option<&'a [f64]>,
}

/// Costs of requests to be added.
#[derive(Clone, Copy, Debug)]
pub enum Costs<'a> {
    /// Those of every request (k,).
    Alike(&'a [f64]),
    /// Those of each (m, k); NaN where a stage was not run.
    Rows(&'a [f64]),
}

impl<'a> Costs<'a> {
    /// Those of one request (k,).
    pub(super) fn of_row(self, row: usize, k: usize) -> &'a [f64] {
        match self {
            Self::Alike(cost) => cost,
            Self::Rows(cost) => &cost[row * k..(row + 1) * k],
        }
    }
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
    /// What they belong to.
    pub group: bool,
    /// With which chance losses came to be known.
    pub propensity: bool,
}

impl Columns {
    /// Those of requests to be added.
    pub(super) fn of(added: &Added) -> Self {
        Self {
            prediction: added.prediction.is_some(),
            weight: added.weight.is_some(),
            latency: added.latency.is_some(),
            group: added.group.is_some(),
            propensity: added.propensity.is_some(),
        }
    }

    /// The first column that only one of both has: its name, and whether the other one has it.
    pub(super) fn first_difference(self, other: Self) -> Option<(&'static str, bool)> {
        let pair = self.named().into_iter().zip(other.named()).find(|(had, has)| had != has);
        pair.map(|(_, has)| has)
    }

    fn named(self) -> [(&'static str, bool); 5] {
        [
            ("prediction", self.prediction),
            ("weight", self.weight),
            ("latency", self.latency),
            ("group", self.group),
            ("propensity", self.propensity),
        ]
    }

    /// Floats of a row of k stages.
    pub(super) fn floats(self, k: usize) -> usize {
        self.propensity_from(k) + k * usize::from(self.propensity) + usize::from(self.weight)
    }

    /// Integers of a row of k stages.
    pub(super) fn integers(self, k: usize) -> usize {
        k * usize::from(self.prediction) + usize::from(self.group)
    }

    /// Where the propensities of a row begin.
    pub(super) fn propensity_from(self, k: usize) -> usize {
        3 * k + k * usize::from(self.latency)
    }
}

/// The plural of the name of a column.
pub(super) fn plural(name: &str) -> String {
    name.strip_suffix('y').map_or_else(|| format!("{name}s"), |stem| format!("{stem}ies"))
}

impl Added<'_> {
    /// Whether m requests at k stages are as those of a trace; `is_probe` has the stages (k,) of which a loss was known
    /// before, and whether it was infinite.
    pub(super) fn check(&self, m: usize, k: usize, is_probe: &[Option<bool>]) -> Result<()> {
        self.check_lengths(m, k)?;
        check_losses(self.loss, k, is_probe)?;
        match self.cost {
            Costs::Alike(cost) => checks::none_negative("cost", cost)?,
            Costs::Rows(cost) => self.check_costs(cost, k)?,
        }
        checks::none_negative("weight", self.weight.unwrap_or_default())?;
        check_seconds(self.latency.unwrap_or_default(), k)?;
        self.check_propensities(k)
    }

    fn check_lengths(&self, m: usize, k: usize) -> Result<()> {
        let all = m * k;
        let cost = match self.cost {
            Costs::Alike(cost) => (cost.len(), k),
            Costs::Rows(cost) => (cost.len(), all),
        };
        let found = [
            ("signal", Some((self.signal.len(), all))),
            ("loss", Some((self.loss.len(), all))),
            ("cost", Some(cost)),
            ("prediction", self.prediction.map(|said| (said.len(), all))),
            ("weight", self.weight.map(|weight| (weight.len(), m))),
            ("latency", self.latency.map(|took| (took.len(), all))),
            ("group", self.group.map(|group| (group.len(), m))),
            ("propensity", self.propensity.map(|chance| (chance.len(), all))),
        ];
        found
            .into_iter()
            .filter_map(|(name, lengths)| lengths.map(|(given, allowed)| (name, given, allowed)))
            .try_for_each(|(name, given, allowed)| checks::entries(name, given, allowed))
    }

    /// Costs in rows: finite numbers that are not negative, or NaN of stages that were not run.
    fn check_costs(&self, cells: &[f64], k: usize) -> Result<()> {
        let is_bad = |at: usize| {
            let cost = cells[at];
            let is_missing = cost.is_nan() && self.signal[at].is_nan() && self.loss[at].is_nan();
            !(checks::is_allowed(cost) || is_missing)
        };
        match (0..cells.len()).find(|at| is_bad(*at)) {
            None => Ok(()),
            Some(at) => Err(bad_entry("cost", at, k, cells[at])),
        }
    }

    /// Chances: above 0 and at most 1, or NaN where the loss is not known.
    fn check_propensities(&self, k: usize) -> Result<()> {
        let Some(cells) = self.propensity else { return Ok(()) };
        if let Some(at) = cells.iter().position(|p| !checks::is_chance(*p)) {
            return Err(checks::chance_refused(at / k, at % k, cells[at]));
        }
        for column in 0..k {
            let pairs = self.loss.chunks_exact(k).zip(cells.chunks_exact(k));
            if let Some(row) =
                pairs.map(|(loss, p)| (loss[column], p[column])).position(|(loss, p)| !loss.is_nan() && p.is_nan())
            {
                return Err(checks::chance_refused(row, column, f64::NAN));
            }
        }
        Ok(())
    }
}

/// Losses in rows of `k`: numbers that are not negative, or NaN; infinite wherever they are known, of stages that never
/// answer, or nowhere.
fn check_losses(cells: &[f64], k: usize, is_probe: &[Option<bool>]) -> Result<()> {
    if let Some(at) = cells.iter().position(|x| *x < 0.0) {
        return Err(bad_entry("loss", at, k, cells[at]));
    }
    for (column, before) in is_probe.iter().enumerate() {
        let known = || cells.chunks_exact(k).map(|row| row[column]).enumerate().filter(|(_, loss)| !loss.is_nan());
        let Some((first, loss)) = known().next() else { continue };
        let expected = before.unwrap_or(loss.is_infinite());
        let Some((row, given)) = known().find(|(_, loss)| loss.is_infinite() != expected) else { continue };
        let (place, seen) = match before {
            None => (format!("row {first}"), number(loss)),
            Some(true) => ("the batches before".into(), "infinite ones".into()),
            Some(false) => ("the batches before".into(), "finite ones".into()),
        };
        return Err(checks::loss_refused(row, column, given, &place, &seen));
    }
    Ok(())
}

/// Seconds in rows of `k`: finite numbers that are not negative, or NaN.
fn check_seconds(cells: &[f64], k: usize) -> Result<()> {
    match cells.iter().position(|x| *x < 0.0 || *x == f64::INFINITY) {
        None => Ok(()),
        Some(at) => Err(checks::seconds_refused(at / k, at % k, cells[at])),
    }
}

#[cold]
fn bad_entry(argument: &str, at: usize, k: usize, given: f64) -> Error {
    checks::refused(argument, &format!("row {} column {}", at / k, at % k), given)
}
