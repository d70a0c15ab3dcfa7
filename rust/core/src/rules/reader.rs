//! From a signal to the number of a state.

use crate::error::{Checked, check};

/// How a signal becomes a state number.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum StateReader {
    /// The signal is the state itself.
    State,
    /// State = number of edges at or below the signal; ascending edges, one list per stage.
    Bins(Vec<Vec<f64>>),
}

impl StateReader {
    /// The state of `stage` (it has `states`) that `signal` means; `states` itself where it cannot be read.
    #[inline]
    pub fn read(&self, stage: usize, states: usize, signal: f64) -> usize {
        match self {
            Self::State => read_state(states, signal),
            Self::Bins(edges) => match edges.get(stage) {
                Some(edges) if !signal.is_nan() => edges.partition_point(|edge| *edge <= signal).min(states),
                _ => states,
            },
        }
    }

    /// Checks that bins lead to `states[v]` states at each stage.
    pub(super) fn check(&self, states: &[usize]) -> Checked {
        let Self::Bins(edges) = self else { return Ok(()) };
        let fits =
            edges.len() == states.len() && edges.iter().zip(states).all(|(edges, states)| edges.len() + 1 == *states);
        check(fits, "the bins do not fit the states")?;
        let is_ascending = |edges: &Vec<f64>| edges.iter().zip(edges.iter().skip(1)).all(|(a, b)| a < b);
        let is_number = |edges: &Vec<f64>| edges.iter().all(|edge| !edge.is_nan());
        check(edges.iter().all(|edges| is_number(edges) && is_ascending(edges)), "the edges of a bin do not ascend")
    }
}

/// The state that is the signal itself; `states` where it is none of them.
#[inline]
pub(super) fn read_state(states: usize, signal: f64) -> usize {
    // A cast saturates: NaN and negatives become 0, which then differs from the signal.
    let state = signal as usize;
    if state < states && state as f64 == signal { state } else { states }
}
