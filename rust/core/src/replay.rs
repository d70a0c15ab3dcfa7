//! A whole recorded trace at once, on all cores.

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::policy::Policy;
use crate::rules::{NO_LABEL, Rule, signed, stage_number, with_rule};

/// Rows that one task works on; smaller traces are replayed on the calling thread.
const CHUNK: usize = 4096;

/// What a policy does on every row of a trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Replay {
    /// Stage whose answer is returned, −1 for none (n,).
    pub answer: Vec<i32>,
    /// Stage run last, −1 for none (n,).
    pub last: Vec<i32>,
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
            let message = format!(
                "`prediction` must have the shape of `signal`, got {} entries for {}",
                label.len(),
                signal.len()
            );
            return Err(Error::invalid(message));
        }
        Ok(with_rule!(self.rules(), rule => replay_rule(self, rule, k, signal, label)))
    }
}

/// The rows that one task replays.
struct Chunk<'a> {
    signal: &'a [f64],
    label: Option<&'a [i64]>,
    answer: &'a mut [i32],
    last: &'a mut [i32],
    consulted: &'a mut [bool],
    cost: &'a mut [f64],
}

fn replay_rule<R: Rule>(policy: &Policy, rule: &R, k: usize, signal: &[f64], label: Option<&[i64]>) -> Replay {
    let n = signal.len() / k;
    let mut replay = Replay { answer: vec![0; n], last: vec![0; n], consulted: vec![false; n * k], cost: vec![0.0; n] };
    let mut chunks = Vec::with_capacity(n.div_ceil(CHUNK));
    let ends = replay.answer.chunks_mut(CHUNK).zip(replay.last.chunks_mut(CHUNK));
    let outputs = ends.zip(replay.consulted.chunks_mut(CHUNK * k));
    let mut labels = label.map(|label| label.chunks(CHUNK * k));
    for ((signal, ((answer, last), consulted)), cost) in
        signal.chunks(CHUNK * k).zip(outputs).zip(replay.cost.chunks_mut(CHUNK))
    {
        let label = labels.as_mut().and_then(Iterator::next);
        chunks.push(Chunk { signal, label, answer, last, consulted, cost });
    }
    if chunks.len() < 2 {
        for chunk in chunks {
            replay_chunk(policy, rule, k, chunk);
        }
    } else {
        chunks.into_par_iter().for_each(|chunk| replay_chunk(policy, rule, k, chunk));
    }
    replay
}

fn replay_chunk<R: Rule>(policy: &Policy, rule: &R, k: usize, chunk: Chunk) {
    let mut labels = chunk.label.map(|label| label.chunks_exact(k));
    let ends = chunk.answer.iter_mut().zip(chunk.last);
    let outputs = ends.zip(chunk.cost).zip(chunk.consulted.chunks_exact_mut(k));
    let (begin, _) = rule.begin();
    for ((((answer, last), cost), consulted), signal) in outputs.zip(chunk.signal.chunks_exact(k)) {
        let label = labels.as_mut().and_then(Iterator::next);
        if let Some(first) = stage_number(begin.next) {
            let label = label.and_then(|label| label.get(first).copied()).unwrap_or(NO_LABEL);
            let signal = signal.get(first).copied().unwrap_or(f64::NAN);
            if rule.ends_at_once(signal, label) {
                (*answer, *last) = (first as i32, first as i32);
                *cost = policy.price().of(begin.last, first);
                if let Some(mark) = consulted.get_mut(first) {
                    *mark = true;
                }
                continue;
            }
        }
        let (mut flat, mut memory) = rule.begin();
        while let Some(stage) = stage_number(flat.next) {
            if let Some(mark) = consulted.get_mut(stage) {
                *mark = true;
            }
            let signal = signal.get(stage).copied().unwrap_or(f64::NAN);
            let label = label.and_then(|label| label.get(stage).copied()).unwrap_or(NO_LABEL);
            rule.step(&mut flat, &mut memory, signal, label, policy.price());
        }
        (*answer, *last) = (signed(flat.answer), signed(flat.last));
        *cost = flat.cost;
    }
}
