//! What running a stage costs, given the stage run before it.

use crate::error::{Checked, check};
use crate::plan::{NO_STAGE, stage_number};

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

    /// Price of running `next` after `last` ([`NO_STAGE`](crate::plan::NO_STAGE): nothing yet); 0 for what is out of range.
    #[inline]
    pub fn of(&self, last: u16, next: usize) -> f64 {
        match self {
            Self::Stage(price) => price.get(next).copied().unwrap_or(0.0),
            Self::Jump { stages, jump } => {
                let row = stage_number(last).map_or(0, |last| last + 1);
                jump.get(row * stages + next).copied().unwrap_or(0.0)
            }
        }
    }

    /// Whether `next` may run after `last`: any other stage where prices are by stage, a later one where they are of jumps.
    pub(crate) fn allows(&self, last: u16, next: u16) -> bool {
        match self {
            Self::Stage(_) => next != last,
            Self::Jump { .. } => {
                (last == NO_STAGE || next > last) && self.of(last, usize::from(next)).is_finite()
            }
        }
    }

    /// Checks the prices; infinite ones are allowed for jumps alone.
    pub(crate) fn check(&self, stages: usize) -> Checked {
        check(self.stages() == stages, "the prices do not fit the stages")?;
        match self {
            Self::Stage(price) => {
                check(price.iter().all(|c| c.is_finite() && *c >= 0.0), "a price is not finite and at least 0")
            }
            Self::Jump { stages, jump } => {
                check(jump.len() == stages * stages, "the prices of jumps are not one per pair of stages")?;
                check(jump.iter().all(|c| *c >= 0.0), "a price of a jump is not at least 0")
            }
        }
    }
}
