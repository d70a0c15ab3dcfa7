//! Backward induction where time runs out: the same decisions as without a deadline, once for every block of the time that
//! is left. Each row moves by its own recorded seconds, so that nothing is assumed about how stages are slow together.

use std::collections::{BTreeMap, BTreeSet};

use super::clock::{Clock, positions};
use super::induction::{Decision, Going, Induced, Recorded, first, price, solve, stop};
use super::situations::{Choice, Situations};
use crate::parallel;

/// Finds the best decisions in every situation for every block of time. A stage that is late is paid for and gives
/// nothing; a request with nothing in hand then loses `miss`. It may end so before: where it is likely to be late, the
/// price of the stage is saved. O(rows · choices · blocks · log blocks).
pub fn induce_within(situations: &Situations, recorded: &Recorded, clock: &Clock, miss: f64) -> Vec<Induced> {
    let recorded = &Recorded { may_end: true, ..*recorded };
    let list = &situations.list;
    let blocks = clock.until.len();
    let walk = Walk::new(situations, recorded, clock);
    let mut decisions: Vec<Vec<Decision>> = vec![vec![Vec::new(); list.len()]; blocks];
    // By situation and block.
    let mut ahead: Vec<Vec<Vec<f64>>> = vec![Vec::new(); list.len()];
    let deepest = list.iter().map(|situation| situation.depth).max().unwrap_or(0);
    for depth in (1..=deepest).rev() {
        let level: Vec<usize> = (0..list.len()).filter(|at| list[*at].depth == depth).collect();
        let pairs: Vec<(usize, usize)> =
            level.iter().flat_map(|at| (0..blocks).map(move |block| (*at, block))).collect();
        let solved = parallel::map(&pairs, |(at, block)| {
            let known = recorded.known[*at];
            let late = |row: usize| stop(known, recorded, row);
            let choices = &list[*at].choices;
            let later: Vec<Vec<f64>> =
                choices.iter().map(|choice| walk.later(*block, choice, &ahead[choice.to], late)).collect();
            let going =
                choices.iter().zip(&later).map(|(choice, later)| Going { price: price(choice, recorded), later });
            solve(known, &going.collect::<Vec<_>>(), recorded)
        });
        for ((at, block), (decision, value)) in pairs.into_iter().zip(solved) {
            decisions[block][at] = decision;
            ahead[at].push(value);
        }
        for at in (0..list.len()).filter(|at| list[*at].depth == depth + 1) {
            ahead[at] = Vec::new();
        }
    }
    let missed = recorded.objective.loss * miss;
    let induced = |(block, decisions): (usize, Vec<Decision>)| {
        let later: Vec<Vec<f64>> =
            situations.entries.iter().map(|entry| walk.later(block, entry, &ahead[entry.to], |_| missed)).collect();
        first(decisions, situations, recorded, missed, |entry, row| later[entry][row])
    };
    parallel::map(decisions.into_iter().enumerate().collect::<Vec<_>>(), induced)
}

/// How time passes on every row.
struct Walk<'a> {
    clock: &'a Clock,
    /// Where each row stands in its block, in [0, 1).
    position: Vec<f64>,
    /// Seconds that each row waits, by the stage run before and the one waited for.
    delay: BTreeMap<(Option<usize>, u16), Vec<f64>>,
}

impl<'a> Walk<'a> {
    fn new(situations: &Situations, recorded: &Recorded, clock: &'a Clock) -> Self {
        let choices = situations.list.iter().flat_map(|situation| &situation.choices).chain(&situations.entries);
        let jumps: BTreeSet<(Option<usize>, u16)> = choices.map(|choice| (choice.after, choice.stage)).collect();
        let delay = |(after, stage): (Option<usize>, u16)| {
            let seconds = recorded.rows.delay(after, usize::from(stage)).unwrap_or_default();
            ((after, stage), seconds)
        };
        Self { clock, position: positions(recorded.rows.rows()), delay: jumps.into_iter().map(delay).collect() }
    }

    /// What each row comes to once the stage of `choice`, begun in `block`, has reported, or has not: `late(row)`.
    fn later(&self, block: usize, choice: &Choice, ahead: &[Vec<f64>], late: impl Fn(usize) -> f64) -> Vec<f64> {
        let delay = &self.delay[&(choice.after, choice.stage)];
        let (from, to) = self.clock.span(block);
        let of = |(row, (position, seconds)): (usize, (&f64, &f64))| {
            let left = from + position * (to - from) - seconds;
            if left < 0.0 { late(row) } else { ahead[self.clock.block_before(block, left)][row] }
        };
        self.position.iter().zip(delay).enumerate().map(of).collect()
    }
}
