//! A whole recorded trace at once, on all cores.

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::policy::Policy;
use crate::rules::{NO_LABEL, Rule, with_rule};
use crate::run::advance;

/// Rows that one task works on; smaller traces are replayed on the calling thread.
const CHUNK: usize = 4096;

/// What a policy does on every row of a trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Replay {
    /// Stage whose answer is returned, −1 for none (n,).
    pub answer: Vec<i32>,
    /// Whether each stage was run (n, k), row by row.
    pub consulted: Vec<bool>,
    /// Summed cost (n,).
    pub cost: Vec<f64>,
}

impl Policy {
    /// Replays a recorded trace: `signal` and `label` are (n, k), row by row.
    ///
    /// O(n·k) time, all cores. Decisions are those of [`Policy::start`] on each row.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the lengths are not multiples of the number of stages, or differ.
    pub fn replay(&self, signal: &[f64], label: Option<&[i64]>) -> Result<Replay> {
        let k = self.stages().len();
        if !signal.len().is_multiple_of(k) {
            return Err(Error::invalid(format!("`signal` must have {k} columns, one per stage")));
        }
        if let Some(label) = label.filter(|label| label.len() != signal.len()) {
            let message =
                format!("`prediction` must have the shape of `signal`, got {} entries for {}", label.len(), signal.len());
            return Err(Error::invalid(message));
        }
        Ok(with_rule!(self.rules(), rule => replay_rule(self, rule, k, signal, label)))
    }
}

fn replay_rule<R: Rule>(policy: &Policy, rule: &R, k: usize, signal: &[f64], label: Option<&[i64]>) -> Replay {
    let n = signal.len() / k;
    let mut replay = Replay { answer: vec![0; n], consulted: vec![false; n * k], cost: vec![0.0; n] };
    let work = |(chunk, ((answer, consulted), cost)): (usize, ((&mut [i32], &mut [bool]), &mut [f64]))| {
        let from = chunk * CHUNK * k;
        let signal = signal.get(from..from + consulted.len()).unwrap_or_default().chunks_exact(k);
        let mut label = label.and_then(|label| label.get(from..from + consulted.len())).map(|label| label.chunks_exact(k));
        let rows = answer.iter_mut().zip(cost).zip(consulted.chunks_exact_mut(k)).zip(signal);
        for (((answer, cost), consulted), signal) in rows {
            let label = label.as_mut().and_then(Iterator::next);
            let mut state = rule.begin();
            while let Some(stage) = R::flat(&state).waiting() {
                if let Some(mark) = consulted.get_mut(stage) {
                    *mark = true;
                }
                let signal = signal.get(stage).copied().unwrap_or(f64::NAN);
                let label = label.and_then(|label| label.get(stage).copied()).unwrap_or(NO_LABEL);
                advance(policy, rule, &mut state, signal, label);
            }
            *answer = i32::from(R::flat(&state).answer);
            *cost = R::flat(&state).cost;
        }
    };
    let Replay { answer, consulted, cost } = &mut replay;
    if n <= CHUNK {
        work((0, ((answer, consulted), cost)));
    } else {
        let chunks = answer.par_chunks_mut(CHUNK).zip(consulted.par_chunks_mut(CHUNK * k)).zip(cost.par_chunks_mut(CHUNK));
        chunks.enumerate().for_each(work);
    }
    replay
}
