//! What a solver hands to the runtime: which stage is next, for every situation.

use serde::{Deserialize, Serialize};

/// The stage number that means "stop".
pub const STOP: i32 = -1;

/// Sorted intervals of the loss in hand, one list per *row*, each ending at infinity.
///
/// In row `q` with `x` in hand the action is [`STOP`] if `x <= stop[q]`, else `next[k]` for the first `k` in
/// `first[q]..first[q + 1]` with `x <= limit[k]`. A row without intervals always stops.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Intervals {
    /// Largest loss in hand at which stopping is optimal, per row; `-inf`: never stop, `inf`: always stop.
    pub stop: Vec<f64>,
    /// Offsets into `limit` and `next`, one more than rows.
    pub first: Vec<u32>,
    /// Upper ends of the intervals, ascending within a row, the last one infinite.
    pub limit: Vec<f64>,
    /// The stage to run in that interval.
    pub next: Vec<i32>,
}

impl Intervals {
    /// No rows yet.
    pub fn new() -> Self {
        Self { first: vec![0], ..Self::default() }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.stop.len()
    }

    /// Appends a row; `steps` are `(limit, next)` in ascending order of limit, the last limit infinite.
    pub fn push(&mut self, stop: f64, steps: impl IntoIterator<Item = (f64, i32)>) {
        self.stop.push(stop);
        for (limit, next) in steps {
            self.limit.push(limit);
            self.next.push(next);
        }
        self.first.push(self.limit.len() as u32);
    }

    /// The action in row `row` with `x` in hand. Total: a row out of range, or a NaN in hand, stops or takes the
    /// row's last interval.
    #[inline]
    pub fn action(&self, row: usize, x: f64) -> i32 {
        if self.stop.get(row).is_none_or(|stop| x <= *stop) {
            return STOP;
        }
        let from = self.first.get(row).map_or(0, |f| *f as usize);
        let to = self.first.get(row + 1).map_or(0, |f| *f as usize);
        let Some(limits) = self.limit.get(from..to) else { return STOP };
        let mut chosen = from;
        for (k, limit) in limits.iter().enumerate() {
            chosen = from + k;
            if x <= *limit {
                break;
            }
        }
        if limits.is_empty() { STOP } else { self.next.get(chosen).copied().unwrap_or(STOP) }
    }
}

/// Decisions on a line or a skip graph: one row per (stage just run, its state), plus one per stage for a state
/// that could not be read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChainPlan {
    /// The stage to run first, or [`STOP`] where the default answer is better than any.
    pub start: i32,
    /// Row of `(v, s)` is `offset[v] + s`; row of stage `v` in an unknown state is `offset[v] + K_v`. Length `k + 1`.
    pub offset: Vec<u32>,
    /// The decisions.
    pub intervals: Intervals,
}

/// Decisions on a tree or forest: the index of every stage given its parent's state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TreePlan {
    /// Parent of each stage, [`STOP`] (−1) for a root.
    pub parent: Vec<i32>,
    /// `index[v][s]` for the parent's state `s`; the last entry is for a parent whose state could not be read (a
    /// root has the two equal entries).
    pub index: Vec<Vec<f64>>,
}

/// Decisions of a solved model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Plan {
    /// Line and skip graphs, with or without recall.
    Chain(ChainPlan),
    /// Trees and forests, with recall.
    Tree(TreePlan),
}
