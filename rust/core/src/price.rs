//! What running a stage costs, given the stage run before it.

use crate::error::{Checked, check};
use crate::plan::{NO_STAGE, stage_number};

/// A sum of so many prices as there may be stages is finite.
const MOST_PRICE: f64 = 1e300;

/// Prices of stages, in the unit of the trace (or as weighted in an exact model).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Price {
    /// The same whatever ran before (k,).
    Stage(Vec<f64>),
    /// `jump[(last + 1) * k + next]`, row 0: nothing has run; infinite where the jump is not allowed.
    Jump {
        /// Number of stages.
        stages: usize,
        /// The matrix (k, k), row by row.
        jump: Vec<f64>,
        /// Whether a jump takes the time of the stage that it leads to alone: not that of what lies between too, as of
        /// exits.
        alone: bool,
    },
}

impl Price {
    /// Number of stages.
    pub fn stages(&self) -> usize {
        match self {
            Self::Stage(price) => price.len(),
            Self::Jump { stages, .. } => *stages,
        }
    }

    /// What each stage costs beyond the one before it (k,).
    pub(crate) fn increments(&self) -> Vec<f64> {
        let before = |stage: usize| stage.checked_sub(1).map_or(NO_STAGE, |before| before as u16);
        (0..self.stages()).map(|stage| self.of(before(stage), stage)).collect()
    }

    /// Price of running `next` after `last` ([`NO_STAGE`](crate::plan::NO_STAGE): nothing yet); 0 for what is out of range.
    #[inline]
    pub fn of(&self, last: u16, next: usize) -> f64 {
        match self {
            Self::Stage(price) => price.get(next).copied().unwrap_or(0.0),
            Self::Jump { stages, jump, .. } => {
                let row = stage_number(last).map_or(0, |last| last + 1);
                jump.get(row * stages + next).copied().unwrap_or(0.0)
            }
        }
    }

    /// The first stage that runs for `next` after `last`: `next` itself, or the exit after `last` where jumps have prices.
    pub(crate) fn run_from(&self, last: u16, next: usize) -> usize {
        match self {
            Self::Stage(_) | Self::Jump { alone: true, .. } => next,
            Self::Jump { .. } => stage_number(last).map_or(0, |last| last + 1),
        }
    }

    /// Whether `next`, which has not run, may do so out of its turn after `last`: any stage where prices are by stage, a
    /// later one where they are of jumps.
    pub(crate) fn may_follow(&self, last: u16, next: u16) -> bool {
        let is_forward = last == NO_STAGE || next > last;
        (is_forward || matches!(self, Self::Stage(_))) && self.allows(last, usize::from(next))
    }

    /// Whether there is a finite price of running `next` after `last`: none after the last stage, where jumps have prices.
    pub(crate) fn allows(&self, last: u16, next: usize) -> bool {
        match self {
            Self::Stage(_) => true,
            Self::Jump { stages, jump, .. } => {
                let row = stage_number(last).map_or(0, |last| last + 1);
                jump.get(row * stages + next).is_some_and(|price| *price < f64::INFINITY)
            }
        }
    }

    /// Checks the prices; infinite ones are allowed for jumps alone.
    pub(crate) fn check(&self, stages: usize) -> Checked {
        check(self.stages() == stages, "the prices do not fit the stages")?;
        match self {
            Self::Stage(price) => {
                check(price.iter().all(|c| (0.0..=MOST_PRICE).contains(c)), "a price is not between 0 and 1e300")
            }
            Self::Jump { stages, jump, .. } => {
                check(jump.len() == stages * stages, "the prices of jumps are not one per pair of stages")?;
                let is_price = |c: &f64| (0.0..=MOST_PRICE).contains(c) || *c == f64::INFINITY;
                check(jump.iter().all(is_price), "a price of a jump is not between 0 and 1e300, or infinite")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn out_of_turn_jumps_lead_forward_at_a_price() {
        let jump = vec![1.0, f64::INFINITY, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, f64::INFINITY];
        let jump = Price::Jump { stages: 3, jump, alone: false };
        let from = |last: u16| [0, 1, 2].map(|next| jump.may_follow(last, next));
        assert_eq!(from(NO_STAGE), [true, false, true]);
        assert_eq!((from(0), from(1), from(2)), ([false, true, true], [false, false, false], [false; 3]));
        let stage = Price::Stage(vec![1.0; 3]);
        assert!(stage.may_follow(2, 0) && stage.may_follow(NO_STAGE, 2) && stage.may_follow(0, 1));
    }

    #[test]
    fn a_jump_runs_what_lies_between_or_one_stage_alone() {
        let jump = |alone| Price::Jump { stages: 3, jump: vec![1.0; 9], alone };
        let from = |price: Price| [(NO_STAGE, 2), (0, 2), (1, 2)].map(|(last, next)| price.run_from(last, next));
        assert_eq!(from(jump(false)), [0, 1, 2]);
        assert_eq!((from(jump(true)), from(Price::Stage(vec![1.0; 3]))), ([2; 3], [2; 3]));
    }
}
