//! Where time is cut into blocks, so that decisions can differ by the time that is left.

use super::sample;
use super::tuning::Tuning;
use crate::random::{mix64, uniform};
use crate::trace::{Kind, Trace};

/// Relative difference up to which two sums of seconds are the same: what adding in another order makes of them.
const SAME: f64 = 1e-9;

/// The blocks of time of recorded requests.
#[derive(Clone, Debug)]
pub struct Clock {
    /// Where blocks end, in seconds, ascending: no request takes longer than the last.
    pub until: Vec<f64>,
    /// Median seconds of each stage (k,).
    pub latency: Vec<f64>,
}

impl Clock {
    /// Blocks that end where waiting for one or several stages may end: all such times where they are few, else
    /// quantiles of those of some requests, as many of one stage as of two, and so on. O(rows · k).
    pub fn new(trace: &Trace, tuning: &Tuning) -> Self {
        let mut waits = waits(trace, tuning);
        waits.sort_unstable_by(f64::total_cmp);
        let mut distinct = waits.clone();
        distinct.dedup_by(|b, a| *b <= *a * (1.0 + SAME));
        if distinct.len() > tuning.time_blocks {
            distinct = sample::quantiles(&waits, tuning.time_blocks.max(2));
        }
        let mut until: Vec<f64> = distinct.into_iter().map(|wait| wait * (1.0 - SAME)).collect();
        let horizon = longest(trace);
        if let Some(last) = until.last_mut() {
            *last = last.max(horizon);
        }
        Self { until, latency: trace.expected_latency().unwrap_or_default().to_vec() }
    }

    /// Where a block begins and ends.
    pub fn span(&self, block: usize) -> (f64, f64) {
        let from = block.checked_sub(1).map_or(0.0, |before| self.until[before]);
        (from, self.until[block])
    }

    /// The block of so many seconds, which are less than the end of `block`.
    #[inline]
    pub fn block_before(&self, block: usize, remaining: f64) -> usize {
        self.until[..block].partition_point(|until| *until <= remaining)
    }
}

/// Seconds that some requests wait for stages: for each number of stages, as many times as for any other number.
fn waits(trace: &Trace, tuning: &Tuning) -> Vec<f64> {
    let k = trace.stages();
    let most = (tuning.time_waits / k).max(1);
    let mut waits = Vec::new();
    for row in sample::spread(trace.rows(), most) {
        for count in 1..=k {
            let key = mix64(u64::from(row) * k as u64 + count as u64);
            waits.push(some_stages(trace.kind(), k, count, key).map(|v| trace.seconds(v, row as usize)).sum());
        }
    }
    waits
}

/// `count` of k stages that a request may wait for in turn: any models, or exits that follow each other.
fn some_stages(kind: Kind, k: usize, count: usize, key: u64) -> impl Iterator<Item = usize> {
    let mut stages: Vec<usize> = (0..k).collect();
    match kind {
        Kind::Exits => stages.rotate_left(key as usize % (k - count + 1)),
        Kind::Models => {
            for at in 0..count {
                let other = at + mix64(key ^ at as u64) as usize % (k - at);
                stages.swap(at, other);
            }
        }
    }
    stages.into_iter().take(count)
}

/// The longest time that a request takes if every stage runs.
fn longest(trace: &Trace) -> f64 {
    let total = |row: usize| (0..trace.stages()).map(|v| trace.seconds(v, row)).sum::<f64>();
    (0..trace.rows()).map(total).fold(0.0, f64::max).next_up()
}

/// Where in a block of time each of so many rows stands, in [0, 1).
pub fn positions(rows: usize) -> Vec<f64> {
    (0..rows as u64).map(|row| uniform(mix64(row))).collect()
}
