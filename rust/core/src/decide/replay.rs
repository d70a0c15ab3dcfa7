//! A whole recorded trace at once, on all cores.

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::policy::Policy;
use crate::rules::{NO_PREDICTION, Rule, signed, stage_number, with_rule};

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
    /// Replays a recorded trace: `signal` and `prediction` are (n, k), row by row.
    ///
    /// O(n·k) time, all cores. Decisions are those of [`Policy::start`] on each row.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the lengths are not multiples of the number of stages, or differ.
    pub fn replay(&self, signal: &[f64], prediction: Option<&[i64]>) -> Result<Replay> {
        let k = self.stages().len();
        if !signal.len().is_multiple_of(k) {
            return Err(Error::invalid(format!("`signal` must have {k} columns, one per stage")));
        }
        if let Some(prediction) = prediction.filter(|prediction| prediction.len() != signal.len()) {
            let message = format!(
                "`prediction` must have the shape of `signal`, got {} entries for {}",
                prediction.len(),
                signal.len()
            );
            return Err(Error::invalid(message));
        }
        Ok(with_rule!(self.rules(), rule => replay_rule(self, rule, k, signal, prediction)))
    }
}

/// The rows that one task replays.
struct Chunk<'a> {
    signal: &'a [f64],
    prediction: Option<&'a [i64]>,
    answer: &'a mut [i32],
    last: &'a mut [i32],
    consulted: &'a mut [bool],
    cost: &'a mut [f64],
}

fn replay_rule<R: Rule>(policy: &Policy, rule: &R, k: usize, signal: &[f64], prediction: Option<&[i64]>) -> Replay {
    let n = signal.len() / k;
    let mut replay = Replay { answer: vec![0; n], last: vec![0; n], consulted: vec![false; n * k], cost: vec![0.0; n] };
    let mut chunks = Vec::with_capacity(n.div_ceil(CHUNK));
    let ends = replay.answer.chunks_mut(CHUNK).zip(replay.last.chunks_mut(CHUNK));
    let outputs = ends.zip(replay.consulted.chunks_mut(CHUNK * k));
    let mut predictions = prediction.map(|prediction| prediction.chunks(CHUNK * k));
    for ((signal, ((answer, last), consulted)), cost) in
        signal.chunks(CHUNK * k).zip(outputs).zip(replay.cost.chunks_mut(CHUNK))
    {
        let prediction = predictions.as_mut().and_then(Iterator::next);
        chunks.push(Chunk { signal, prediction, answer, last, consulted, cost });
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
    let mut predictions = chunk.prediction.map(|prediction| prediction.chunks_exact(k));
    let ends = chunk.answer.iter_mut().zip(chunk.last);
    let outputs = ends.zip(chunk.cost).zip(chunk.consulted.chunks_exact_mut(k));
    let (begin, _) = rule.begin();
    for ((((answer, last), cost), consulted), signal) in outputs.zip(chunk.signal.chunks_exact(k)) {
        let prediction = predictions.as_mut().and_then(Iterator::next);
        if let Some(first) = stage_number(begin.next) {
            let prediction = prediction.and_then(|prediction| prediction.get(first).copied()).unwrap_or(NO_PREDICTION);
            let signal = signal.get(first).copied().unwrap_or(f64::NAN);
            if rule.ends_at_once(signal, prediction) {
                (*answer, *last) = (first as i32, first as i32);
                *cost = policy.price().of(begin.last, first);
                if let Some(mark) = consulted.get_mut(first) {
                    *mark = true;
                }
                continue;
            }
        }
        let (mut progress, mut memory) = rule.begin();
        while let Some(stage) = stage_number(progress.next) {
            if let Some(mark) = consulted.get_mut(stage) {
                *mark = true;
            }
            let signal = signal.get(stage).copied().unwrap_or(f64::NAN);
            let prediction = prediction.and_then(|prediction| prediction.get(stage).copied()).unwrap_or(NO_PREDICTION);
            rule.step(&mut progress, &mut memory, signal, prediction, policy.price());
        }
        (*answer, *last) = (signed(progress.answer), signed(progress.last));
        *cost = progress.cost;
    }
}
