//! The remaining times at which decisions change: sums of latencies of stages that may follow each other.
//!
//! What is optimal with R seconds left depends on which of the stages that are still to come end in time, so on which sums
//! of their latencies are at most R. Between two such sums nothing changes: a table over the sums is exact for every R up
//! to the deadline. Sums that differ by no more than a billionth of the deadline (of the longest that all stages can
//! take, where that is less) are one: 0.1 + 0.2 is 0.3.

use crate::error::{Error, Result};
use crate::model::{Graph, Jumps, Latency, Model};
use crate::parallel;
use crate::plan::Clock;

/// Most situations that are solved, remaining times included: a table of 16 MB and more in the policy.
pub const SITUATIONS: usize = 1 << 22;

/// Share of the deadline by which times may differ that count as equal.
const SLACK: f64 = 1e-9;

/// Sums of latencies up to the deadline, ascending; the first is 0.
pub(super) struct Moments {
    pub(super) point: Vec<f64>,
    pub(super) slack: f64,
}

/// Where one latency leads: from each moment to the last one that is left afterwards.
pub(super) struct Step {
    /// How likely the latency is.
    pub(super) chance: f64,
    /// The moment after each of the moments, from the first at which so much time is left.
    pub(super) after: Vec<usize>,
    /// The first moment at which so much time is left.
    pub(super) since: usize,
}

/// By how much times may differ that count as equal.
pub(super) fn slack(model: &Model, deadline: f64) -> f64 {
    let longest = |v: usize| model.latencies(v).iter().flat_map(Latency::likely).map(|(t, _)| t);
    let total: f64 = (0..model.stages()).map(|v| longest(v).fold(0.0, f64::max)).sum();
    SLACK * deadline.min(total)
}

/// Ascending, up to `most`, without those that are within `slack` above one that stays.
pub(super) fn distinct(mut times: Vec<f64>, most: f64, slack: f64) -> Vec<f64> {
    times.retain(|t| *t <= most + slack);
    times.sort_unstable_by(f64::total_cmp);
    times.dedup_by(|later, kept| *later <= *kept + slack);
    times
}

impl Moments {
    /// All that matter up to `deadline`, for tables of so many rows each.
    pub(super) fn of(model: &Model, deadline: f64, rows: f64) -> Result<Self> {
        fits(rows)?;
        let slack = slack(model, deadline);
        let is_consecutive = match model.graph() {
            Graph::Line => true,
            Graph::Skip => model.jumps() == Jumps::Through,
            Graph::Tree { .. } | Graph::Dag { .. } => false,
        };
        let mut all = vec![0.0];
        // What may be left after the stage at hand, where stages follow each other without a gap.
        let mut onward = vec![0.0];
        for v in (0..model.stages()).rev() {
            parallel::check();
            let seconds = model.latencies(v).iter().flat_map(Latency::likely).map(|(t, _)| t);
            let seconds = distinct(seconds.collect(), deadline, slack);
            let from = if is_consecutive { &onward } else { &all };
            fits(from.len() as f64 * (seconds.len() + 1) as f64)?;
            let sums = from.iter().flat_map(|sum| seconds.iter().map(move |t| sum + t));
            let sums = distinct(sums.chain([0.0]).collect(), deadline, slack);
            fits((all.len() + sums.len()) as f64)?;
            all.extend_from_slice(&sums);
            all = distinct(all, deadline, slack);
            onward = sums;
        }
        fits(all.len() as f64 * rows)?;
        Ok(Self { point: all, slack })
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.point.len()
    }

    /// What the latencies of stage `v` in state `s` do at every moment.
    pub(super) fn steps(&self, model: &Model, v: usize, s: usize) -> Vec<Step> {
        let likely = model.latency(v, s).into_iter().flat_map(Latency::likely);
        likely.map(|(seconds, chance)| self.step(seconds, chance)).collect()
    }

    fn step(&self, seconds: f64, chance: f64) -> Step {
        let since = self.point.partition_point(|moment| *moment + self.slack < seconds);
        let mut left = 0;
        let after = self.point.iter().skip(since).map(|moment| {
            while self.point.get(left + 1).is_some_and(|next| *next + seconds <= *moment + self.slack) {
                left += 1;
            }
            left
        });
        Step { chance, after: after.collect(), since }
    }

    /// What a policy needs in order to know which moment it is.
    pub(super) fn clock(&self, model: &Model, deadline: f64, chances: impl Fn(usize) -> Vec<f64>) -> Clock {
        let mean = |v: usize| match model.latencies(v) {
            [only] => only.mean(),
            each => each.iter().zip(chances(v)).map(|(latency, p)| p * latency.mean()).sum(),
        };
        Clock {
            deadline,
            latency: (0..model.stages()).map(mean).collect(),
            edges: self.point.iter().map(|moment| moment - self.slack).collect(),
        }
    }
}

/// Refuses more situations than are solved, before they are made.
pub(super) fn fits(situations: f64) -> Result<()> {
    if situations <= SITUATIONS as f64 {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "`deadline`: a model with latencies is solved in every situation and at every remaining time, at most \
         {SITUATIONS}, got {situations:.3e} or more; use fewer stages, states or distinct latencies"
    )))
}
