//! A calibration trace as the learners read it: one column per stage.

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::price::Price;

/// What jumping over a stage costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Exits of one network: everything in between is run all the same.
    Exits,
    /// Separate models: nothing.
    Models,
}

/// Recorded signals, losses and predictions of `n` requests at `k` stages.
#[derive(Clone, Debug)]
pub struct Trace {
    /// `signal[v][row]`; NaN: unknown.
    pub signal: Vec<Vec<f64>>,
    /// `loss[v][row]`, non-negative.
    pub loss: Vec<Vec<f64>>,
    /// `prediction[v][row]`, if predictions were recorded.
    pub prediction: Option<Vec<Vec<i64>>>,
    /// Mean incremental cost of each stage (k,).
    pub cost: Vec<f64>,
    /// How much each row counts; their mean is 1.
    pub weight: Vec<f64>,
    /// What jumping costs.
    pub kind: Kind,
}

impl Trace {
    /// From arrays (n, k), row by row; `cost` (k,).
    ///
    /// # Errors
    /// [`Error::Invalid`] for an empty trace, lengths that do not fit, losses or costs that are negative or not
    /// finite.
    pub fn new(signal: &[f64], loss: &[f64], prediction: Option<&[i64]>, cost: &[f64], kind: Kind) -> Result<Self> {
        let k = cost.len();
        if k == 0 || signal.is_empty() {
            return Err(Error::invalid("`signal` must have at least one row and one column, got an empty trace"));
        }
        for (name, len) in [("loss", loss.len()), ("prediction", prediction.map_or(signal.len(), <[i64]>::len))] {
            if len != signal.len() || !len.is_multiple_of(k) {
                let message =
                    format!("`{name}` must have the shape of `signal`, got {len} entries for {}", signal.len());
                return Err(Error::invalid(message));
            }
        }
        let is_allowed = |x: &f64| x.is_finite() && *x >= 0.0;
        if let Some(v) = cost.iter().position(|c| !is_allowed(c)) {
            return Err(Error::invalid(format!("`cost[{v}]` must be finite and at least 0, got {}", cost[v])));
        }
        if let Some(at) = loss.iter().position(|r| !is_allowed(r)) {
            let (row, v) = (at / k, at % k);
            return Err(Error::invalid(format!("`loss[{row}, {v}]` must be finite and at least 0, got {}", loss[at])));
        }
        Ok(Self {
            weight: vec![1.0; signal.len() / k],
            signal: columns(signal, k),
            loss: columns(loss, k),
            prediction: prediction.map(|prediction| columns(prediction, k)),
            cost: cost.to_vec(),
            kind,
        })
    }

    /// The same rows, each counting `weight` times (n,).
    ///
    /// # Errors
    /// [`Error::Invalid`] where there is not one weight per row, one is negative or not finite, or all are 0.
    pub fn weighted(mut self, weight: &[f64]) -> Result<Self> {
        if weight.len() != self.rows() {
            let message = format!("`weight` must have {} entries, one per row, got {}", self.rows(), weight.len());
            return Err(Error::invalid(message));
        }
        if let Some(row) = weight.iter().position(|w| !w.is_finite() || *w < 0.0) {
            let message = format!("`weight[{row}]` must be finite and at least 0, got {}", weight[row]);
            return Err(Error::invalid(message));
        }
        // Dividing by the largest first keeps the sum finite.
        let largest = weight.iter().copied().fold(0.0, f64::max);
        if largest <= 0.0 {
            return Err(Error::invalid("`weight` must have a positive entry, got zeros only"));
        }
        let shares: Vec<f64> = weight.iter().map(|w| w / largest).collect();
        let mean = shares.iter().sum::<f64>() / shares.len() as f64;
        self.weight = shares.iter().map(|share| share / mean).collect();
        Ok(self)
    }

    /// Number of requests.
    pub fn rows(&self) -> usize {
        self.loss.first().map_or(0, Vec::len)
    }

    /// Number of stages.
    pub fn stages(&self) -> usize {
        self.cost.len()
    }

    /// Largest loss, 1 if all are 0: the losses divided by it are in [0, 1].
    pub fn scale(&self) -> f64 {
        let largest =
            self.loss.par_iter().map(|column| column.iter().copied().fold(0.0, f64::max)).reduce(|| 0.0, f64::max);
        if largest > 0.0 { largest } else { 1.0 }
    }

    /// Mean loss of each stage (k,).
    pub fn mean_loss(&self) -> Vec<f64> {
        let mean = |column: &Vec<f64>| {
            column.iter().zip(&self.weight).map(|(loss, w)| loss * w).sum::<f64>() / column.len() as f64
        };
        self.loss.iter().map(mean).collect()
    }

    /// Cost of running every stage.
    pub fn full_cost(&self) -> f64 {
        self.cost.iter().sum()
    }

    /// The given rows, in that order.
    #[must_use]
    pub fn select(&self, rows: &[u32]) -> Self {
        fn pick<T: Copy + Send + Sync>(columns: &[Vec<T>], rows: &[u32]) -> Vec<Vec<T>> {
            columns.par_iter().map(|column| rows.iter().map(|row| column[*row as usize]).collect()).collect()
        }
        Self {
            signal: pick(&self.signal, rows),
            loss: pick(&self.loss, rows),
            prediction: self.prediction.as_ref().map(|prediction| pick(prediction, rows)),
            weight: rows.iter().map(|row| self.weight[*row as usize]).collect(),
            cost: self.cost.clone(),
            kind: self.kind,
        }
    }

    /// Cost of running `next` after `last` (none: first).
    pub fn jump_cost(&self, last: Option<usize>, next: usize) -> f64 {
        match self.kind {
            Kind::Models => self.cost[next],
            Kind::Exits => self.cost[last.map_or(0, |last| last + 1)..=next].iter().sum(),
        }
    }

    /// The same as prices of a policy.
    pub fn price(&self) -> Price {
        let stages = self.stages();
        match self.kind {
            Kind::Models => Price::Stage(self.cost.clone()),
            Kind::Exits => {
                let mut jump = vec![0.0; stages * stages];
                for row in 0..stages {
                    for next in row..stages {
                        jump[row * stages + next] = self.jump_cost(row.checked_sub(1), next);
                    }
                }
                Price::Jump { stages, jump }
            }
        }
    }
}

fn columns<T: Copy + Send + Sync>(rows: &[T], k: usize) -> Vec<Vec<T>> {
    (0..k).into_par_iter().map(|v| rows.iter().skip(v).step_by(k).copied().collect()).collect()
}

/// Objective of a trade-off: `λ·loss + (1 − λ)·cost / cost of running every stage`.
#[derive(Clone, Copy, Debug)]
pub struct Objective {
    /// Of one unit of loss.
    pub loss: f64,
    /// Of one unit of cost.
    pub cost: f64,
}

impl Objective {
    /// For the trade-off `lambda` on `trace`.
    ///
    /// # Errors
    /// [`Error::Invalid`] unless `lambda` is in [0, 1].
    pub fn new(trace: &Trace, lambda: f64) -> Result<Self> {
        if !(0.0..=1.0).contains(&lambda) {
            return Err(Error::invalid(format!("`tradeoff` must be in [0, 1], got {lambda}")));
        }
        let full = trace.full_cost();
        Ok(Self { loss: lambda, cost: if full > 0.0 { (1.0 - lambda) / full } else { 0.0 } })
    }
}
