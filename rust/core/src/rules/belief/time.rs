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
    /// The situation that requests begin with, by block; [`NO_STAGE`] where nothing is answered at once.
    pub entries: Vec<u16>,
}

impl Time {
    /// The block for so many seconds left; one past the last where the decisions without time hold.
    #[inline]
    pub(super) fn block(&self, remaining: f64) -> u16 {
        self.until.partition_point(|until| *until <= remaining) as u16
    }

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
        let time = Time { until: vec![0.01, 0.02, 0.05], ..Time::default() };
        let blocks = [-1.0, 0.0, 0.009, 0.01, 0.02, 0.049, 0.05, 9.0, f64::INFINITY].map(|left| time.block(left));
        assert_eq!(blocks, [0, 0, 0, 1, 2, 2, 3, 3, 3]);
    }
}
