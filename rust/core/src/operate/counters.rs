//! What became of requests, counted as they end: for whoever collects metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use super::ended::{Became, Ended, Outcome, Reported};
use super::histogram::{Distribution, Histogram};
use crate::error::{Error, Result};
use crate::plan::{NO_STAGE, stage_number};

/// How many ways there are to end.
const OUTCOMES: usize = Outcome::ALL.len();

/// Counts of the requests of a cascade with so many stages. Nothing is locked: counts of requests that end at the same
/// time are all there, and one who reads meanwhile may see part of a request.
#[derive(Debug)]
pub struct Counters {
    outcomes: [AtomicU64; OUTCOMES],
    explored: AtomicU64,
    stages: Box<[OfStage]>,
    cost: Histogram,
}

/// What is counted of one stage.
#[derive(Debug)]
struct OfStage {
    runs: AtomicU64,
    failures: AtomicU64,
    barred: AtomicU64,
    /// Of the stage that answered last, and recalled.
    answers: [AtomicU64; 2],
    seconds: Histogram,
}

/// What has been counted, of k stages.
#[derive(Clone, Debug, PartialEq)]
pub struct Counted {
    /// Requests by [`Outcome`], in the order of [`Outcome::ALL`].
    pub outcomes: [u64; OUTCOMES],
    /// Requests that were run through.
    pub explored: u64,
    /// (k,) how often stages were run.
    pub runs: Vec<u64>,
    /// (k,) how often they gave no answer.
    pub failures: Vec<u64>,
    /// (k,) how often they were not tried.
    pub barred: Vec<u64>,
    /// (k, 2) whose answers were returned: right after it had answered, or recalled.
    pub answers: Vec<[u64; 2]>,
    /// Costs of requests.
    pub cost: Distribution,
    /// (k,) how long stages took.
    pub seconds: Vec<Distribution>,
}

fn one(count: &AtomicU64) {
    more(count, 1);
}

fn more(count: &AtomicU64, times: u64) {
    count.fetch_add(times, Ordering::Relaxed);
}

impl Counters {
    /// Of no requests yet; with bounds of the costs of requests, and of the seconds that stages take.
    ///
    /// # Errors
    /// As [`Histogram::new`].
    pub fn new(stages: usize, cost_bounds: &[f64], seconds_bounds: &[f64]) -> Result<Self> {
        let of_stage = |_| {
            Ok(OfStage {
                runs: AtomicU64::new(0),
                failures: AtomicU64::new(0),
                barred: AtomicU64::new(0),
                answers: [const { AtomicU64::new(0) }; 2],
                seconds: Histogram::new("seconds_bounds", seconds_bounds)?,
            })
        };
        Ok(Self {
            outcomes: [const { AtomicU64::new(0) }; OUTCOMES],
            explored: AtomicU64::new(0),
            stages: (0..stages).map(of_stage).collect::<Result<_>>()?,
            cost: Histogram::new("cost_bounds", cost_bounds)?,
        })
    }

    /// Takes in what became of a stage of a request: its number, what it gave, and how long it took (NaN: nobody
    /// measured). What is none of the stages is left out.
    #[inline]
    pub fn stage(&self, stage: u16, became: Became, seconds: f64) {
        self.stage_of_many(stage, became, seconds, 1);
    }

    #[inline]
    fn stage_of_many(&self, stage: u16, became: Became, seconds: f64, requests: u64) {
        let Some(of) = self.stages.get(usize::from(stage)) else { return };
        if became == Became::Barred {
            return more(&of.barred, requests);
        }
        more(&of.runs, requests);
        if became == Became::Failed {
            more(&of.failures, requests);
        }
        of.seconds.add(seconds, requests);
    }

    /// Takes in how a request ended that ran `last` last and was last answered by `answered`, both [`NO_STAGE`] where
    /// there is none.
    #[inline]
    pub fn ended(&self, ended: &Ended, last: u16, answered: u16, is_explored: bool) {
        if let Some(count) = self.outcomes.get(ended.outcome(last, answered) as usize) {
            one(count);
        }
        self.answer(ended, answered, 1);
        if is_explored {
            one(&self.explored);
        }
        self.cost.add(ended.cost, 1);
    }

    #[inline]
    fn answer(&self, ended: &Ended, answered: u16, requests: u64) {
        let of = stage_number(ended.answer).and_then(|answer| self.stages.get(answer));
        if let Some([direct, recalled]) = of.map(|of| &of.answers) {
            more(if ended.answer == answered { direct } else { recalled }, requests);
        }
    }

    /// Takes in n requests at once, those that are run through among them. O(n + their stages).
    ///
    /// # Errors
    /// [`Error::Invalid`] where columns are not of one length, or a row is not of the batch; nothing is counted then.
    pub fn batch(&self, requests: &Reported, is_explored: Option<&[bool]>) -> Result<()> {
        let n = requests.answer.len();
        let lengths = [requests.cost.len(), requests.expected_loss.len()];
        let flags = [requests.is_late, is_explored].map(|flags| flags.map_or(n, <[bool]>::len));
        if let Some(other) = lengths.into_iter().chain(flags).find(|length| *length != n) {
            return Err(Error::invalid(format!("columns must have {n} entries, as `stage` has, got {other}")));
        }
        let mut ran = vec![(NO_STAGE, NO_STAGE); n];
        for report in requests.reports {
            for row in report.rows {
                let Some((last, answered)) = usize::try_from(*row).ok().and_then(|row| ran.get_mut(row)) else {
                    return Err(Error::invalid(format!("`reports` must be of rows in 0..{n}, got {row}")));
                };
                match report.became {
                    Became::Answered => (*last, *answered) = (report.stage, report.stage),
                    Became::Failed => *last = report.stage,
                    Became::Barred => {}
                }
            }
        }
        for report in requests.reports {
            self.stage_of_many(report.stage, report.became, report.seconds, report.rows.len() as u64);
        }
        let mut outcomes = [0; OUTCOMES];
        for (row, (last, answered)) in ran.into_iter().enumerate() {
            let Some(ended) = requests.ended(row) else { continue };
            if let Some(count) = outcomes.get_mut(ended.outcome(last, answered) as usize) {
                *count += 1;
            }
            self.answer(&ended, answered, 1);
        }
        self.outcomes.iter().zip(outcomes).for_each(|(count, times)| more(count, times));
        self.cost.add_all(requests.cost);
        let explored = is_explored.map_or(0, |flags| flags.iter().filter(|flag| **flag).count());
        more(&self.explored, explored as u64);
        Ok(())
    }

    /// What has been counted so far.
    pub fn read(&self) -> Counted {
        let number = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let each = |of: fn(&OfStage) -> &AtomicU64| self.stages.iter().map(|stage| number(of(stage))).collect();
        Counted {
            outcomes: self.outcomes.each_ref().map(number),
            explored: number(&self.explored),
            runs: each(|stage| &stage.runs),
            failures: each(|stage| &stage.failures),
            barred: each(|stage| &stage.barred),
            answers: self.stages.iter().map(|stage| stage.answers.each_ref().map(number)).collect(),
            cost: self.cost.read(),
            seconds: self.stages.iter().map(|stage| stage.seconds.read()).collect(),
        }
    }
}
