//! Recorded requests: immutable, checked once, shared by all that read them.

use std::sync::Arc;

use once_cell::race::OnceBox;

use super::checks;
use super::completed::Completed;
use super::cost::{Charge, Cost};
use super::table::Table;
use super::weights::normalised_weights;
use crate::error::{Error, Result};
use crate::mean::{known_mean, mean, sum};
use crate::price::Price;

/// What jumping over a stage costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Exits of one network: everything in between is run all the same.
    Exits,
    /// Separate models: nothing.
    Models,
}

impl Kind {
    /// Its name in arguments and files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exits => "exits",
            Self::Models => "models",
        }
    }

    /// The kind of that name.
    ///
    /// # Errors
    /// [`Error::Invalid`] for any other.
    pub fn named(name: &str) -> Result<Self> {
        [Self::Exits, Self::Models]
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| Error::invalid(format!("`kind` must be 'exits' or 'models', got '{name}'")))
    }
}

/// The name of a stage that was given none.
pub(super) fn default_name(stage: usize) -> String {
    format!("stage {stage}")
}

/// Signals, losses and costs of n requests at all k stages.
///
/// A clone shares the numbers: O(k) time and memory.
#[derive(Clone, Debug)]
pub struct Trace {
    pub(super) signal: Arc<Table<f64>>,
    pub(super) loss: Arc<Table<f64>>,
    pub(super) prediction: Option<Arc<Table<i64>>>,
    pub(super) cost: Arc<Cost>,
    pub(super) latency: Option<Arc<Table<f64>>>,
    /// Chances that losses came to be known (n, k), where they are given.
    pub(super) propensity: Option<Arc<Table<f64>>>,
    /// The row that each has borrowed numbers from (n,), if any has.
    pub(super) lender: Option<Arc<Vec<i64>>>,
    /// Whose answers losses are held against, where it is not the truth.
    pub(super) teacher: Option<Arc<str>>,
    /// Whether some loss is not known.
    pub(super) is_censored: bool,
    /// The same with numbers for what is not known, once somebody has asked.
    pub(super) completed: OnceBox<Completed>,
    /// In seconds (k,).
    pub(super) expected_latency: OnceBox<Vec<f64>>,
    /// In the unit of the costs (k,).
    pub(super) mean_cost: Vec<f64>,
    /// As given (n,); none: all rows count alike.
    pub(super) given_weight: Option<Arc<Vec<f64>>>,
    /// The same, of mean 1 over the rows that it was given for (n,).
    pub(super) weight: Arc<Vec<f64>>,
    pub(super) group: Option<Arc<Vec<i64>>>,
    pub(super) kind: Kind,
    pub(super) names: Arc<Vec<String>>,
    /// Never waited for: a fork may leave it half made by a thread that is no more.
    pub(super) digest: OnceBox<String>,
    /// Equal for rows that repeat each other (n,), if any do.
    pub(super) repeats: OnceBox<Option<Arc<Vec<i64>>>>,
}

impl Trace {
    /// From `signal` (n, k), on any scale, larger is more confident, NaN is unknown; `loss` (n, k), of answering with
    /// that stage, in any unit; and the incremental `cost` of running each stage, in any unit. Stages are named
    /// `stage 0`, `stage 1`, …; rows count alike and belong to no groups. O(n k).
    ///
    /// # Errors
    /// [`Error::Invalid`] for an empty trace, tables that do not fit, losses or costs that are negative or not finite. The losses of
    /// a stage may all be infinite: it informs and never answers.
    pub fn new(signal: Table<f64>, loss: Table<f64>, cost: Cost, kind: Kind) -> Result<Self> {
        checks::not_empty(&signal)?;
        let (rows, stages) = (signal.rows(), signal.columns());
        checks::same_shape("loss", &loss, rows, stages)?;
        checks::losses(&loss)?;
        checks::costs(&cost, rows, stages, |row, v| signal.column(v)[row].is_nan() && loss.column(v)[row].is_nan())?;
        let weight = vec![1.0; rows];
        let cost = cost.simplified();
        Ok(Self {
            is_censored: has_unknown(&loss),
            signal: Arc::new(signal),
            loss: Arc::new(loss),
            prediction: None,
            mean_cost: cost.mean(&weight),
            cost: Arc::new(cost),
            latency: None,
            propensity: None,
            lender: None,
            teacher: None,
            expected_latency: OnceBox::new(),
            given_weight: None,
            weight: Arc::new(weight),
            group: None,
            kind,
            names: Arc::new((0..stages).map(default_name).collect()),
            digest: OnceBox::new(),
            completed: OnceBox::new(),
            repeats: OnceBox::new(),
        })
    }

    /// From arrays (n, k), row by row, and a cost for each stage (k,); otherwise as [`Trace::new`].
    ///
    /// # Errors
    /// As [`Trace::new`] and [`Trace::predicted`].
    pub fn from_rows(
        signal: &[f64],
        loss: &[f64],
        prediction: Option<&[i64]>,
        cost: &[f64],
        kind: Kind,
    ) -> Result<Self> {
        let k = cost.len();
        let (signal, loss) = (Table::from_rows("signal", signal, k)?, Table::from_rows("loss", loss, k)?);
        let trace = Self::new(signal, loss, Cost::Alike(cost.to_vec()), kind)?;
        match prediction {
            Some(prediction) => trace.predicted(Table::from_rows("prediction", prediction, k)?),
            None => Ok(trace),
        }
    }

    /// The same requests with what each stage predicted (n, k): numbers that are equal exactly where answers are.
    /// What is said of stages that were not run is ignored.
    ///
    /// # Errors
    /// [`Error::Invalid`] for another shape.
    pub fn predicted(self, prediction: Table<i64>) -> Result<Self> {
        checks::same_shape("prediction", &prediction, self.rows(), self.stages())?;
        let prediction = if self.is_censored { self.of_run(&prediction) } else { prediction };
        Ok(Self {
            prediction: Some(Arc::new(prediction)),
            digest: OnceBox::new(),
            completed: OnceBox::new(),
            repeats: OnceBox::new(),
            ..self
        })
    }

    /// The same requests with other names of the stages (k,).
    ///
    /// # Errors
    /// [`Error::Invalid`] unless there is one per stage, none empty, none twice.
    pub fn named(self, names: Vec<String>) -> Result<Self> {
        checks::names(&names, self.stages())?;
        Ok(Self { names: Arc::new(names), digest: OnceBox::new(), completed: OnceBox::new(), ..self })
    }

    /// The same requests, each counting `weight` times (n,); none: all alike. Only ratios matter.
    ///
    /// # Errors
    /// [`Error::Invalid`] where there is not one weight per row, one is negative or not finite, or all are 0.
    pub fn weighted(self, weight: Option<Vec<f64>>) -> Result<Self> {
        let normalised = match &weight {
            Some(weight) => normalised_weights(weight, self.rows())?,
            None => vec![1.0; self.rows()],
        };
        Ok(Self {
            mean_cost: self.cost.mean(&normalised),
            given_weight: weight.map(Arc::new),
            weight: Arc::new(normalised),
            expected_latency: OnceBox::new(),
            digest: OnceBox::new(),
            completed: OnceBox::new(),
            ..self
        })
    }

    /// The same requests in groups (n,), such as sessions: rows of one number never stand on both sides of a fold.
    ///
    /// # Errors
    /// [`Error::Invalid`] where there is not one number per row.
    pub fn grouped(self, group: Option<Vec<i64>>) -> Result<Self> {
        if let Some(group) = &group {
            checks::one_per_row("group", group.len(), self.rows())?;
        }
        Ok(Self { group: group.map(Arc::new), digest: OnceBox::new(), completed: OnceBox::new(), ..self })
    }

    /// Number of requests n.
    pub fn rows(&self) -> usize {
        self.signal.rows()
    }

    /// Number of stages k.
    pub fn stages(&self) -> usize {
        self.signal.columns()
    }

    /// Names of the stages (k,).
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// What jumping costs.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Signals (n, k); NaN: unknown.
    pub fn signals(&self) -> &Table<f64> {
        &self.signal
    }

    /// Signals of one stage (n,).
    pub fn signal(&self, stage: usize) -> &[f64] {
        self.signal.column(stage)
    }

    /// Losses (n, k), at least 0.
    pub fn losses(&self) -> &Table<f64> {
        &self.loss
    }

    /// Losses of one stage (n,).
    pub fn loss(&self, stage: usize) -> &[f64] {
        self.loss.column(stage)
    }

    /// Predictions (n, k), if there are any.
    pub fn predictions(&self) -> Option<&Table<i64>> {
        self.prediction.as_deref()
    }

    /// Predictions of one stage (n,), if there are any.
    pub fn prediction(&self, stage: usize) -> Option<&[i64]> {
        self.prediction.as_ref().map(|prediction| prediction.column(stage))
    }

    /// Incremental costs of the stages.
    pub fn cost(&self) -> &Cost {
        &self.cost
    }

    /// How much each row counts (n,): as given, over the mean of what was given.
    pub fn weight(&self) -> &[f64] {
        &self.weight
    }

    /// Weights as they were given (n,), if any were.
    pub fn given_weight(&self) -> Option<&[f64]> {
        self.given_weight.as_ref().map(|weight| weight.as_slice())
    }

    /// The group of each row (n,), if there are groups.
    pub fn group(&self) -> Option<&[i64]> {
        self.group.as_ref().map(|group| group.as_slice())
    }

    /// Whether a stage informs and never answers: its loss is infinite.
    pub fn is_probe(&self, stage: usize) -> bool {
        self.loss(stage).iter().find(|loss| !loss.is_nan()).is_some_and(|loss| loss.is_infinite())
    }

    /// The stages that can answer, ascending; at least one.
    pub fn answering(&self) -> Vec<usize> {
        (0..self.stages()).filter(|stage| !self.is_probe(*stage)).collect()
    }

    /// Weighted mean loss of each stage over the rows in which it is known, infinite of those that never answer (k,). NaN
    /// where it is known in none. O(n k).
    pub fn mean_loss(&self) -> Vec<f64> {
        let mass = sum(self.rows(), |row| self.weight[row]);
        let total = |column: &[f64]| column.iter().zip(self.weight()).map(|(loss, w)| loss * w).sum::<f64>();
        let mean = |v: usize| match self.loss(v) {
            _ if self.is_probe(v) => f64::INFINITY,
            column if self.is_censored => known_mean(column, &self.weight),
            column if mass > 0.0 => total(column) / mass,
            _ => 0.0,
        };
        (0..self.stages()).map(mean).collect()
    }

    /// Weighted mean of a number per row (n,). O(n).
    pub fn mean(&self, value: &[f64]) -> f64 {
        mean(value, &self.weight)
    }

    /// Weighted mean incremental cost of each stage (k,), in the unit of the trace.
    pub fn mean_cost(&self) -> &[f64] {
        &self.mean_cost
    }

    /// Mean cost of running every stage, in the unit of the trace.
    pub fn full_cost(&self) -> f64 {
        self.mean_cost.iter().sum()
    }

    /// Mean cost of running `next` after `last` (none: first), in the unit of the trace.
    pub fn jump_cost(&self, last: Option<usize>, next: usize) -> f64 {
        self.mean_cost[self.run_by(last, next)..=next].iter().sum()
    }

    /// What running `next` after `last` (none: first) costs each request, in the unit of the trace. O(n k).
    pub fn charge(&self, last: Option<usize>, next: usize) -> Charge {
        self.cost.of_stages(self.run_by(last, next), next + 1)
    }

    /// The first of the stages that running `next` after `last` runs.
    pub(crate) fn run_by(&self, last: Option<usize>, next: usize) -> usize {
        match self.kind {
            Kind::Models => next,
            Kind::Exits => last.map_or(0, |last| last + 1),
        }
    }

    /// The mean costs as prices of a policy.
    pub fn price(&self) -> Price {
        let stages = self.stages();
        match self.kind {
            Kind::Models => Price::Stage(self.mean_cost.clone()),
            Kind::Exits => {
                let mut jump = vec![0.0; stages * stages];
                for row in 0..stages {
                    for next in row..stages {
                        jump[row * stages + next] = self.jump_cost(row.checked_sub(1), next);
                    }
                }
                Price::Jump { stages, jump, alone: false }
            }
        }
    }

    /// The trace of some requests, in that order, which count as they were given to. O(m k) for m of them.
    ///
    /// # Errors
    /// [`Error::Invalid`] where none is left, one is not there, or all weights that are left are 0.
    pub fn part(&self, rows: &[u32]) -> Result<Self> {
        if rows.is_empty() {
            return Err(Error::invalid("`index` must leave at least one row, got none"));
        }
        if let Some(row) = rows.iter().find(|row| **row as usize >= self.rows()) {
            return Err(Error::invalid(format!("`index` must be in 0..{}, got {row}", self.rows())));
        }
        let part = self.select(rows);
        let Some(weight) = &part.given_weight else { return Ok(part) };
        if weight.iter().all(|w| *w == 0.0) {
            let message = "`weight` must have a positive entry in every part of a trace, got zeros only";
            return Err(Error::invalid(message));
        }
        let weight = weight.to_vec();
        part.weighted(Some(weight))
    }

    /// The given rows, in that order, each counting as it does among all rows.
    #[must_use]
    pub(crate) fn select(&self, rows: &[u32]) -> Self {
        fn pick<T: Copy>(list: &[T], rows: &[u32]) -> Vec<T> {
            rows.iter().map(|row| list[*row as usize]).collect()
        }
        let weight = pick(&self.weight, rows);
        let cost = self.cost.select(rows);
        let loss = self.loss.select(rows);
        Self {
            signal: Arc::new(self.signal.select(rows)),
            is_censored: self.is_censored && has_unknown(&loss),
            loss: Arc::new(loss),
            prediction: self.prediction.as_ref().map(|prediction| Arc::new(prediction.select(rows))),
            mean_cost: cost.mean(&weight),
            cost: Arc::new(cost),
            latency: self.latency.as_ref().map(|latency| Arc::new(latency.select(rows))),
            propensity: self.propensity.as_ref().map(|propensity| Arc::new(propensity.select(rows))),
            lender: self.lender.as_ref().map(|lender| Arc::new(pick(lender, rows))),
            teacher: self.teacher.clone(),
            expected_latency: OnceBox::new(),
            given_weight: self.given_weight.as_ref().map(|weight| Arc::new(pick(weight, rows))),
            weight: Arc::new(weight),
            group: self.group.as_ref().map(|group| Arc::new(pick(group, rows))),
            kind: self.kind,
            names: Arc::clone(&self.names),
            digest: OnceBox::new(),
            completed: OnceBox::new(),
            repeats: OnceBox::new(),
        }
    }
}

/// Whether some loss is not known. O(n k), all cores.
pub(super) fn has_unknown(loss: &Table<f64>) -> bool {
    loss.first(f64::is_nan).is_some()
}
