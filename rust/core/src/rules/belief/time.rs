//! Time as part of the decision: which decisions hold for the seconds that a request has left.

use super::node::Node;
use crate::error::{Checked, check};
use crate::plan::NO_STAGE;

/// Blocks of decisions by time, at most: a bound on what a file can ask for.
pub const MAX_BLOCKS: usize = 256;

/// Of decisions for requests with a deadline, in blocks: block b holds for less than `until[b]` seconds left, and at least
/// `until[b − 1]`. From the last of them on no recorded request would have been late: the decisions without time hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Time {
    /// Where blocks end, in seconds, ascending.
    pub until: Vec<f64>,
    /// Median seconds of each stage (k,); of exits, since the exit before.
    pub latency: Vec<f64>,
    /// The situation that requests begin with, by block; [`NO_STAGE`] where they end without running anything.
    pub entries: Vec<u16>,
}

/// Finds blocks: time is cut into cells of equal length, most of which lie within one block.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Finder {
    until: Vec<f64>,
    /// The block that each cell begins in, and where that block ends.
    cells: Vec<(u16, f64)>,
    /// Cells a second.
    density: f64,
}

/// Cells of time: several for each block.
const CELLS: usize = 1024;
/// The cell of whatever is clearly beyond the last block.
const BEYOND: usize = CELLS + 1;

impl Finder {
    /// For blocks that end at these ascending numbers of seconds.
    pub fn new(until: &[f64]) -> Self {
        let found = CELLS as f64 / until.last().copied().unwrap_or(0.0);
        let density = if found.is_finite() { found } else { 0.0 };
        // What is less than a cell away may have been rounded into it.
        let begins = |cell: usize| until.partition_point(|until| density * until < cell as f64 - 0.5);
        let cell = |cell: usize| {
            let block = begins(cell);
            (block as u16, until.get(block).copied().unwrap_or(f64::INFINITY))
        };
        Self { until: until.to_vec(), cells: (0..=BEYOND).map(cell).collect(), density }
    }

    /// The block for so many seconds left; one past the last where the decisions without time hold.
    #[inline]
    pub fn block(&self, remaining: f64) -> u16 {
        let cell = usize::from((remaining * self.density) as u16).min(BEYOND);
        match self.cells.get(cell) {
            Some((block, until)) if remaining < *until => *block,
            _ => self.search(remaining),
        }
    }

    #[inline(never)]
    fn search(&self, remaining: f64) -> u16 {
        self.until.partition_point(|until| *until <= remaining) as u16
    }
}

impl Time {
    /// Checks that all this fits so many stages and these situations.
    pub(super) fn check(&self, stages: usize, nodes: &[Node]) -> Checked {
        let blocks = self.until.len();
        check((1..=MAX_BLOCKS).contains(&blocks), "there must be 1 to 256 blocks of time")?;
        let is_seconds = |x: &f64| x.is_finite() && *x >= 0.0;
        check(self.until.iter().all(is_seconds) && self.until.is_sorted(), "the blocks of time do not ascend")?;
        check(self.latency.len() == stages, "the latencies do not fit the stages")?;
        check(self.latency.iter().all(is_seconds), "a latency is not a number of seconds")?;
        check(self.entries.len() == blocks, "the first situations do not fit the blocks of time")?;
        let begins =
            |entry: &u16| nodes.get(usize::from(*entry)).map_or(*entry == NO_STAGE, |node| node.members.len() == 1);
        check(self.entries.iter().all(begins), "a first situation does not begin")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_rounded_down_to_its_block() {
        let finder = Finder::new(&[0.01, 0.02, 0.05]);
        let blocks = [-1.0, 0.0, 0.009, 0.01, 0.02, 0.049, 0.05, 9.0, f64::INFINITY].map(|left| finder.block(left));
        assert_eq!(blocks, [0, 0, 0, 1, 2, 2, 3, 3, 3]);
    }

    #[test]
    fn cells_find_what_searching_finds() {
        let dense: Vec<f64> = (0..256).map(|at| 1e-3 * f64::from(at).powi(2)).collect();
        for until in [vec![0.3], vec![0.0, 0.0], vec![0.1, 0.1 + 1e-12, 7.0], vec![1e-300, 1e300], dense] {
            let finder = Finder::new(&until);
            let near = until.iter().flat_map(|until| [*until, until.next_up(), until.next_down(), 0.999 * until]);
            for left in near.chain([-1.0, 0.0, 1e-9, 0.2, 6.9, 64.0, f64::MAX, f64::INFINITY, f64::NEG_INFINITY]) {
                let sought = until.partition_point(|until| *until <= left) as u16;
                assert_eq!(finder.block(left), sought, "{left} of {until:?}");
            }
        }
    }
}
