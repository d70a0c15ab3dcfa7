//! What running a stage costs, given the stage run before it.

use serde::{Deserialize, Serialize};

use crate::rules::stage_number;

/// Prices of stages, in the unit of the trace (or as weighted in an exact model).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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

    /// Price of running `next` after `last` ([`NO_STAGE`](crate::rules::NO_STAGE): nothing yet); 0 for what is out of range.
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

    /// Why these prices are not valid, if so.
    pub fn problem(&self) -> Option<&'static str> {
        match self {
            Self::Stage(price) if price.iter().all(|c| c.is_finite() && *c >= 0.0) => None,
            Self::Jump { stages, jump } if jump.len() == stages * stages && jump.iter().all(|c| *c >= 0.0) => None,
            _ => Some("a cost is not valid"),
        }
    }
}
