//! Stored decisions: intervals of the loss or belief in hand.

use serde::{Deserialize, Serialize};

use super::misfit::misfit;
use crate::error::{Error, Result};
use crate::plan::{self, STOP};

/// One entry a row in `stop`, `last` and `steps`; the steps of all rows one after the other in `limit` and `next`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Intervals {
    /// Up to which value a row stops.
    stop: Vec<f64>,
    /// What is next above all limits of the row.
    last: Vec<i32>,
    /// How many limits the row has.
    steps: Vec<u32>,
    limit: Vec<f64>,
    next: Vec<i32>,
}

impl From<&plan::Intervals> for Intervals {
    fn from(intervals: &plan::Intervals) -> Self {
        let rows = intervals.table();
        let (limit, next) = rows.iter().flat_map(|row| intervals.steps(row)).unzip();
        Self {
            stop: rows.iter().map(|row| row.stop).collect(),
            last: rows.iter().map(|row| row.last).collect(),
            steps: rows.iter().map(|row| row.len).collect(),
            limit,
            next,
        }
    }
}

impl TryFrom<Intervals> for plan::Intervals {
    type Error = Error;

    fn try_from(stored: Intervals) -> Result<Self> {
        let Intervals { stop, last, steps, limit, next } = stored;
        let total: u64 = steps.iter().map(|steps| u64::from(*steps)).sum();
        if stop.len() != last.len() || stop.len() != steps.len() {
            return Err(misfit("the limits to stop at do not fit the rows"));
        }
        if total != limit.len() as u64 || total != next.len() as u64 {
            return Err(misfit("the limits of the decisions do not fit the rows"));
        }
        let mut all = limit.into_iter().zip(next);
        let mut intervals = Self::new();
        for ((stop, last), steps) in stop.into_iter().zip(last).zip(steps) {
            let always_stops = steps == 0 && last == STOP;
            let end = (!always_stops).then_some((f64::INFINITY, last));
            intervals.push(stop, all.by_ref().take(steps as usize).chain(end));
        }
        Ok(intervals)
    }
}
