//! What a solver hands to the runtime: which stage is next, for every situation.

use crate::error::{Checked, check};

/// The stage number that means "stop".
pub const STOP: i32 = -1;

/// The stage number of a request that means "none": [`STOP`] in 16 bits.
pub const NO_STAGE: u16 = u16::MAX;

/// `Some(stage)` unless `stage` is [`NO_STAGE`].
#[inline]
pub fn stage_number(stage: u16) -> Option<usize> {
    if stage == NO_STAGE { None } else { Some(usize::from(stage)) }
}

/// The stage number as in arrays: [`STOP`] for none.
#[inline]
pub fn signed(stage: u16) -> i32 {
    if stage == NO_STAGE { STOP } else { i32::from(stage) }
}

/// The stage number of a request; [`STOP`] becomes [`NO_STAGE`].
#[inline]
pub const fn unsigned(stage: i32) -> u16 {
    stage as u16
}

/// One row of [`Intervals`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// Largest loss in hand at which stopping is optimal; `-inf`: never stop, `inf`: always stop.
    pub stop: f64,
    /// The stage to run above every limit ([`STOP`] in a row that always stops).
    pub last: i32,
    /// Where the row's own limits begin.
    pub first: u32,
    /// How many it has.
    pub len: u32,
}

/// Sorted intervals of the loss in hand, one list per *row*.
///
/// With `x` in hand the action of a row is [`STOP`] if `x <= stop`, else the stage of its first limit with
/// `x <= limit`, else `last`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Intervals {
    rows: Vec<Row>,
    limit: Vec<f64>,
    next: Vec<i32>,
}

impl Intervals {
    /// No rows yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// The rows.
    pub fn table(&self) -> &[Row] {
        &self.rows
    }

    /// Appends a row; `steps` are `(limit, next)` in ascending order of limit, the last limit infinite. Without steps
    /// the row always stops.
    pub fn push(&mut self, stop: f64, steps: impl IntoIterator<Item = (f64, i32)>) {
        let first = self.limit.len() as u32;
        let mut last = STOP;
        for (limit, next) in steps {
            self.limit.push(limit);
            self.next.push(next);
            last = next;
        }
        if self.limit.len() as u32 > first {
            self.limit.pop();
            self.next.pop();
        }
        self.rows.push(Row { stop, last, first, len: self.limit.len() as u32 - first });
    }

    /// Appends all rows of `other`.
    pub(crate) fn extend(&mut self, other: &Self) {
        self.extend_with(other, &other.rows);
    }

    /// Some rows by themselves; none where there are no such rows.
    pub(crate) fn part(&self, rows: std::ops::Range<usize>) -> Self {
        let mut part = Self::new();
        part.extend_with(self, self.rows.get(rows).unwrap_or_default());
        part
    }

    fn extend_with(&mut self, other: &Self, rows: &[Row]) {
        for row in rows {
            let first = self.limit.len() as u32;
            for (limit, next) in other.steps(row) {
                self.limit.push(limit);
                self.next.push(next);
            }
            self.rows.push(Row { first, len: self.limit.len() as u32 - first, ..*row });
        }
    }

    /// The finite limits of a row and the stages below them.
    pub fn steps(&self, row: &Row) -> impl Iterator<Item = (f64, i32)> + '_ {
        let range = row.first as usize..row.first as usize + row.len as usize;
        let limits = self.limit.get(range.clone()).unwrap_or_default();
        let next = self.next.get(range).unwrap_or_default();
        limits.iter().copied().zip(next.iter().copied())
    }

    /// The action in row `row` with `x` in hand. Total: a row out of range stops, a NaN in hand takes `last`.
    #[inline]
    pub fn action(&self, row: usize, x: f64) -> i32 {
        match self.rows.get(row) {
            None => STOP,
            Some(row) if x <= row.stop => STOP,
            Some(row) if row.len == 0 => row.last,
            Some(row) => self.steps(row).find(|(limit, _)| x <= *limit).map_or(row.last, |(_, next)| next),
        }
    }

    /// The same, in O(log n) of the n limits of the row, which must ascend.
    pub(crate) fn action_sought(&self, row: usize, x: f64) -> i32 {
        let Some(found) = self.rows.get(row).filter(|found| found.len > 0 && x > found.stop) else {
            return self.action(row, x);
        };
        let range = found.first as usize..found.first as usize + found.len as usize;
        let (limits, next) = (self.limit.get(range.clone()), self.next.get(range));
        let at = limits.unwrap_or_default().partition_point(|limit| *limit < x);
        next.unwrap_or_default().get(at).copied().unwrap_or(found.last)
    }

    /// What a row may do with more in hand than it stops with, in the order of its limits.
    pub(crate) fn actions<'a>(&'a self, row: &'a Row) -> impl Iterator<Item = i32> + 'a {
        self.steps(row).map(|(_, next)| next).chain([row.last])
    }

    /// Where a row leads but for [`STOP`].
    pub(crate) fn targets(&self, row: usize) -> impl Iterator<Item = usize> + '_ {
        let actions = self.rows.get(row).into_iter().flat_map(|row| self.actions(row));
        actions.filter_map(|next| usize::try_from(next).ok())
    }

    /// Checks that these intervals can be executed over `targets` stages or situations; `place_of(row)` is the one that
    /// a row belongs to: every row must lead beyond it, so that each request ends.
    pub(crate) fn check(&self, targets: usize, place_of: impl Fn(usize) -> i32) -> Checked {
        let is_number = |x: &f64| !x.is_nan();
        check(
            self.rows.iter().map(|row| &row.stop).chain(&self.limit).all(is_number),
            "a limit of a decision is not a number",
        )?;
        let is_ascending = |row: &Row| self.steps(row).map(|(limit, _)| limit).is_sorted();
        check(self.rows.iter().all(is_ascending), "the limits of a decision do not ascend")?;
        let is_forward = |(at, row): (usize, &Row)| {
            let place = place_of(at);
            self.actions(row).all(|j| j == STOP || (j > place && j < targets as i32))
        };
        check(self.rows.iter().enumerate().all(is_forward), "a decision does not lead forward")
    }
}

/// Decisions on a line or a skip graph: one row per (stage just run, its state), plus one per stage for a state
/// that could not be read.
#[derive(Clone, Debug, PartialEq)]
pub struct ChainPlan {
    /// The stage to run first, or [`STOP`] where the default answer is better than any.
    pub start: i32,
    /// Row of `(v, s)` is `offset[v] + s`; row of stage `v` in an unknown state is `offset[v] + K_v`. Length `k + 1`.
    pub offset: Vec<u32>,
    /// The decisions.
    pub intervals: Intervals,
    /// Those with a deadline; without it, none was planned for.
    pub time: Option<ChainTime>,
}

/// Decisions on a line or a skip graph while time runs out.
#[derive(Clone, Debug, PartialEq)]
pub struct ChainTime {
    /// Which bucket of remaining time there is.
    pub clock: Clock,
    /// The stage to run first, or [`STOP`], by bucket (M,).
    pub start: Vec<i32>,
    /// The decisions: as many rows as without a deadline for each bucket, one bucket after the other.
    pub intervals: Intervals,
}

impl ChainTime {
    /// What is next in `row` of a plan of `rows`, with `x` in hand and so many seconds left. Total.
    #[inline]
    pub fn action(&self, rows: usize, row: usize, x: f64, remaining: f64) -> i32 {
        let at = self.clock.bucket(remaining).map(|bucket| bucket * rows + row);
        at.map_or(STOP, |at| self.intervals.action(at, x))
    }

    /// What is first, with so many seconds left. Total.
    #[inline]
    pub fn first(&self, remaining: f64) -> i32 {
        self.clock.bucket(remaining).and_then(|bucket| self.start.get(bucket)).copied().unwrap_or(STOP)
    }
}

/// Remaining times in buckets, within which no decision changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Clock {
    /// Seconds from the start that the policy was solved for.
    pub deadline: f64,
    /// Expected seconds of each stage (k,).
    pub latency: Vec<f64>,
    /// The least remaining seconds of each bucket, ascending (M,).
    pub edges: Vec<f64>,
}

impl Clock {
    /// The bucket of so many seconds; `None` where less is left than the first one asks, or NaN.
    #[inline]
    pub fn bucket(&self, remaining: f64) -> Option<usize> {
        self.edges.partition_point(|edge| *edge <= remaining).checked_sub(1)
    }

    /// Checks that there is a bucket, that they ascend, and that the rest are seconds.
    pub(crate) fn check(&self, stages: usize) -> Checked {
        let is_seconds = |t: &f64| t.is_finite() && *t >= 0.0;
        check(is_seconds(&self.deadline), "the deadline is not a number of seconds")?;
        check(self.latency.len() == stages, "the latencies do not fit the stages")?;
        check(self.latency.iter().all(is_seconds), "a latency is not a number of seconds")?;
        check(!self.edges.is_empty(), "there is no remaining time to decide in")?;
        check(self.edges.iter().all(|edge| edge.is_finite()), "a remaining time is not finite")?;
        let ascends = self.edges.iter().zip(self.edges.iter().skip(1)).all(|(a, b)| a < b);
        check(ascends, "the remaining times do not ascend")
    }
}

/// Decisions on a tree or forest: the index of every stage given its parent's state.
#[derive(Clone, Debug, PartialEq)]
pub struct TreePlan {
    /// Parent of each stage, [`STOP`] (−1) for a root.
    pub parent: Vec<i32>,
    /// `index[v][s]` for the parent's state `s`; the last entry is for a parent whose state could not be read (a
    /// root has the two equal entries).
    pub index: Vec<Vec<f64>>,
}

/// Decisions on a small general graph: one action per *situation*.
///
/// A situation is a number: 0 at the start; running stage v and seeing state s adds `(s + 1) · stride[v]`, not being
/// able to read it adds `(K_v + 1) · stride[v]`.
#[derive(Clone, Debug, PartialEq)]
pub struct DagPlan {
    /// What one unit of each stage's digit is worth (k,).
    pub stride: Vec<u32>,
    /// The stage to run, or [`STOP`], by situation.
    pub action: Vec<i32>,
    /// The actions with a deadline; without it, none was planned for.
    pub time: Option<DagTime>,
}

/// Actions on a small graph while time runs out.
#[derive(Clone, Debug, PartialEq)]
pub struct DagTime {
    /// Which bucket of remaining time there is.
    pub clock: Clock,
    /// The stage to run, or [`STOP`]: one per situation for each bucket, one bucket after the other.
    pub action: Vec<i32>,
}

impl DagTime {
    /// What is next in one of so many situations, with so many seconds left. Total.
    #[inline]
    pub fn action(&self, situations: usize, situation: usize, remaining: f64) -> i32 {
        let at = self.clock.bucket(remaining).map(|bucket| bucket * situations + situation);
        at.and_then(|at| self.action.get(at)).copied().unwrap_or(STOP)
    }
}

/// Decisions of a solved model.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Plan {
    /// Line and skip graphs, with or without recall.
    Chain(ChainPlan),
    /// Trees and forests, with recall.
    Tree(TreePlan),
    /// Small general graphs, and trees with a deadline, with recall.
    Dag(DagPlan),
}

impl Plan {
    /// Its buckets of remaining time, if it was made for a deadline.
    pub fn clock(&self) -> Option<&Clock> {
        match self {
            Self::Chain(plan) => plan.time.as_ref().map(|time| &time.clock),
            Self::Dag(plan) => plan.time.as_ref().map(|time| &time.clock),
            Self::Tree(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeking_finds_what_searching_finds() {
        let mut intervals = Intervals::new();
        intervals.push(-0.5, [(0.0, 1), (0.0, 2), (1.0, STOP), (2.0, 3), (f64::INFINITY, 4)]);
        intervals.push(f64::INFINITY, []);
        intervals.push(f64::NEG_INFINITY, [(f64::INFINITY, 2)]);
        for row in 0..4 {
            for x in [f64::NEG_INFINITY, -1.0, -0.5, -0.1, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, f64::INFINITY, f64::NAN] {
                assert_eq!(intervals.action_sought(row, x), intervals.action(row, x), "row {row}, {x} in hand");
            }
        }
    }
}
