//! Observed states on a line or a skip graph: the exact index, one lookup and one comparison.

use serde::{Deserialize, Serialize};

use super::{Progress, Rule, stage_number};
use crate::plan::ChainPlan;
use crate::price::Price;

/// How a signal becomes a state number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum StateReader {
    /// The signal is the state itself.
    State,
    /// State = number of edges at or below the signal; ascending edges, one list per stage.
    Bins(Vec<Vec<f64>>),
}

impl StateReader {
    /// The state of `stage` (it has `states`) that `signal` means; `states` itself where it cannot be read.
    #[inline]
    pub fn read(&self, stage: usize, states: usize, signal: f64) -> usize {
        match self {
            Self::State => {
                // A cast saturates: NaN and negatives become 0, which then differs from the signal.
                let state = signal as usize;
                if state < states && state as f64 == signal { state } else { states }
            }
            Self::Bins(edges) => match edges.get(stage) {
                Some(edges) if !signal.is_nan() => edges.partition_point(|edge| *edge <= signal).min(states),
                _ => states,
            },
        }
    }
}

/// The compiled plan of a solved chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChainRule {
    /// From signals to states.
    pub reader: StateReader,
    /// Whether an earlier answer may be returned.
    pub recall: bool,
    /// Loss of answering with nothing; infinite where a stage has to be run.
    pub default_loss: f64,
    /// What one unit of the table's losses is in the unit of the trace (1 for an exact model).
    pub unit: f64,
    /// `loss[offset[v] + s]`, infinite in the row of the unknown state.
    pub loss: Vec<f64>,
    /// Expected loss of each stage while its state is unknown (k,).
    pub prior: Vec<f64>,
    /// What is next, for every row.
    pub plan: ChainPlan,
}

impl ChainRule {
    fn row(&self, stage: usize, signal: f64) -> usize {
        let from = self.plan.offset.get(stage).copied().unwrap_or(0) as usize;
        let to = self.plan.offset.get(stage + 1).copied().unwrap_or(0) as usize;
        // The last row of a stage is the one of the unknown state.
        from + self.reader.read(stage, to.saturating_sub(from).saturating_sub(1), signal)
    }

    /// Why this rule could not be executed, if so.
    pub fn problem(&self, stages: usize) -> Option<&'static str> {
        let offset = &self.plan.offset;
        let rows = self.plan.intervals.rows();
        let ascending = offset.iter().zip(offset.iter().skip(1)).all(|(a, b)| a < b);
        let fits = offset.len() == stages + 1 && offset.first() == Some(&0) && offset.last() == Some(&(rows as u32));
        let edges = match &self.reader {
            StateReader::State => true,
            StateReader::Bins(edges) => {
                edges.len() == stages
                    && edges.iter().zip(offset.iter().zip(offset.iter().skip(1))).all(|(e, (a, b))| {
                        e.len() + 2 == (b - a) as usize
                            && !e.iter().any(|x| x.is_nan())
                            && e.iter().zip(e.iter().skip(1)).all(|(x, y)| x < y)
                    })
            }
        };
        if !ascending || !fits || self.loss.len() != rows || self.prior.len() != stages {
            Some("the table does not fit the stages")
        } else if self.loss.iter().any(|r| r.is_nan()) || self.prior.iter().any(|r| !r.is_finite()) {
            Some("a loss is not a number")
        } else if !edges {
            Some("the bins do not fit the table")
        } else if self.plan.start >= stages as i32
            || self.plan.start < -1
            || self.default_loss.is_nan()
            || !self.unit.is_finite()
        {
            Some("the start does not fit the stages")
        } else {
            let stage_of = |row: usize| offset.partition_point(|from| *from as usize <= row) as i32 - 1;
            self.plan.intervals.problem(stages, stage_of)
        }
    }
}

impl Rule for ChainRule {
    type Memory = ();

    fn begin(&self) -> (Progress, ()) {
        (Progress::new(self.plan.start, self.default_loss), ())
    }

    #[inline]
    fn step(&self, state: &mut Progress, (): &mut (), signal: f64, _prediction: i64, price: &Price) {
        let stage = state.pay_from(price);
        let row = self.row(stage, signal);
        let loss = self.loss.get(row).copied().unwrap_or(f64::INFINITY);
        let known = loss < f64::INFINITY;
        let fallback = state.best == f64::INFINITY && !known;
        if loss < state.best || (known && !self.recall) || fallback {
            state.best = loss;
            state.answer = stage as u16;
        }
        state.next = self.plan.intervals.action(row, state.best) as u16;
    }

    fn expected_loss(&self, progress: &Progress, (): &()) -> f64 {
        match stage_number(progress.answer) {
            Some(held) if progress.best == f64::INFINITY => {
                self.prior.get(held).map_or(f64::INFINITY, |r| r * self.unit)
            }
            _ => progress.best * self.unit,
        }
    }
}
