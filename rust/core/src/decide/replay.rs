//! A whole recorded trace at once, on all cores.

use crate::error::{Error, Result};
use crate::parallel;
use crate::plan::signed;
use crate::policy::Policy;
use crate::price::Price;
use crate::rules::{Observations, Rule, Visitor};

/// Rows that one task works on; smaller traces are replayed on the calling thread.
const CHUNK: usize = 4096;

/// What a policy does on every row of a trace.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Replay {
    /// Stage whose answer is returned, −1 for none (n,).
    pub answer: Vec<i32>,
    /// Stage run last, −1 for none (n,).
    pub last: Vec<i32>,
    /// Whether each stage was run (n, k), row by row.
    pub consulted: Vec<bool>,
    /// Summed price of the stages run, in the unit of the trace (n,).
    pub cost: Vec<f64>,
    /// Whether the stage run last was cut off by the deadline (n,).
    pub late: Vec<bool>,
}

impl Policy {
    /// Replays a recorded trace: `signal` and `prediction` are (n, k), row by row.
    ///
    /// O(n·k) time, all cores. Decisions are those of [`Policy::start`] on each row.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the lengths are not multiples of the number of stages, or differ.
    pub fn replay(&self, signal: &[f64], prediction: Option<&[i64]>) -> Result<Replay> {
        self.replayed(signal, prediction, None)
    }

    /// The same where each request has `deadline` seconds, and stages take those of `latency` (n, k), row by row; of
    /// exits, since the exit before. A stage that takes longer than what is left is cut off: it has run and is paid for,
    /// its report is lost, and the request ends with what it has in hand.
    ///
    /// # Errors
    /// As [`Policy::replay`]; and for latencies that are no numbers of seconds.
    pub fn replay_within(
        &self,
        signal: &[f64],
        prediction: Option<&[i64]>,
        latency: &[f64],
        deadline: f64,
    ) -> Result<Replay> {
        if latency.len() != signal.len() {
            let (got, wanted) = (latency.len(), signal.len());
            return Err(Error::invalid(format!(
                "`latency` must have the shape of `signal`, got {got} entries for {wanted}"
            )));
        }
        let bad = latency.iter().enumerate().find(|(_, seconds)| !(0.0..f64::INFINITY).contains(*seconds));
        if let Some((at, seconds)) = bad {
            let k = self.stages().len();
            let (row, stage) = (at / k, at % k);
            return Err(Error::invalid(format!("`latency[{row}, {stage}]` must be 0 or more seconds, got {seconds}")));
        }
        if deadline.is_nan() || deadline < 0.0 {
            return Err(Error::invalid(format!("`deadline` must be 0 or more seconds, got {deadline}")));
        }
        self.replayed(signal, prediction, (deadline < f64::INFINITY).then_some((latency, deadline)))
    }

    fn replayed(&self, signal: &[f64], prediction: Option<&[i64]>, within: Option<(&[f64], f64)>) -> Result<Replay> {
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
        let n = signal.len() / k;
        let mut replay = Replay {
            answer: vec![0; n],
            last: vec![0; n],
            consulted: vec![false; n * k],
            cost: vec![0.0; n],
            late: vec![false; n],
        };
        self.rule().visit(Work { price: self.price(), k, chunks: replay.chunks(k, signal, prediction, within) });
        Ok(replay)
    }
}

impl Replay {
    /// Rows in pieces that are replayed independently.
    fn chunks<'a>(
        &'a mut self,
        k: usize,
        signal: &'a [f64],
        prediction: Option<&'a [i64]>,
        within: Option<(&'a [f64], f64)>,
    ) -> Vec<Chunk<'a>> {
        let mut chunks = Vec::with_capacity(self.answer.len().div_ceil(CHUNK));
        let ends = self.answer.chunks_mut(CHUNK).zip(self.last.chunks_mut(CHUNK));
        let costs = self.cost.chunks_mut(CHUNK).zip(self.late.chunks_mut(CHUNK));
        let outputs = ends.zip(self.consulted.chunks_mut(CHUNK * k)).zip(costs);
        let mut predictions = prediction.map(|prediction| prediction.chunks(CHUNK * k));
        let mut latencies = within.map(|(latency, deadline)| (latency.chunks(CHUNK * k), deadline));
        for (signal, (((answer, last), consulted), (cost, late))) in signal.chunks(CHUNK * k).zip(outputs) {
            let prediction = predictions.as_mut().and_then(Iterator::next);
            let within = latencies.as_mut().and_then(|(latency, deadline)| Some((latency.next()?, *deadline)));
            chunks.push(Chunk { signal, prediction, within, answer, last, consulted, cost, late });
        }
        chunks
    }
}

/// The rows that one task replays.
struct Chunk<'a> {
    signal: &'a [f64],
    prediction: Option<&'a [i64]>,
    /// How long stages take, and how long a request may.
    within: Option<(&'a [f64], f64)>,
    answer: &'a mut [i32],
    last: &'a mut [i32],
    consulted: &'a mut [bool],
    cost: &'a mut [f64],
    late: &'a mut [bool],
}

/// Replaying all rows under one concrete rule.
struct Work<'a> {
    price: &'a Price,
    k: usize,
    chunks: Vec<Chunk<'a>>,
}

impl Visitor for Work<'_> {
    type Output = ();

    fn visit<R: Rule>(self, rule: &R) {
        let Self { price, k, chunks } = self;
        parallel::for_each(chunks, |chunk| match chunk.within {
            None => replay_chunk(rule, price, k, chunk),
            Some((latency, deadline)) => replay_chunk_within(rule, price, k, chunk, latency, deadline),
        });
    }
}

fn replay_chunk<R: Rule>(rule: &R, price: &Price, k: usize, chunk: Chunk) {
    let mut predictions = chunk.prediction.map(|prediction| prediction.chunks_exact(k));
    let ends = chunk.answer.iter_mut().zip(chunk.last);
    let outputs = ends.zip(chunk.cost).zip(chunk.consulted.chunks_exact_mut(k));
    let (mut progress, mut memory) = rule.begin(f64::INFINITY);
    for ((((answer, last), cost), consulted), signal) in outputs.zip(chunk.signal.chunks_exact(k)) {
        let row = Observations::new(signal, predictions.as_mut().and_then(Iterator::next));
        rule.begin_again(&mut progress, &mut memory, f64::INFINITY);
        while let Some(stage) = progress.next_stage() {
            mark(consulted, stage);
            rule.observe(&mut progress, &mut memory, row.at(stage), price);
        }
        (*answer, *last) = (signed(rule.answer(&progress, &memory)), signed(progress.last));
        *cost = progress.cost;
    }
}

fn replay_chunk_within<R: Rule>(rule: &R, price: &Price, k: usize, chunk: Chunk, latency: &[f64], deadline: f64) {
    let mut predictions = chunk.prediction.map(|prediction| prediction.chunks_exact(k));
    let ends = chunk.answer.iter_mut().zip(chunk.last).zip(chunk.late);
    let outputs = ends.zip(chunk.cost).zip(chunk.consulted.chunks_exact_mut(k));
    let inputs = chunk.signal.chunks_exact(k).zip(latency.chunks_exact(k));
    let (mut progress, mut memory) = rule.begin(deadline);
    for (((((answer, last), late), cost), consulted), (signal, latency)) in outputs.zip(inputs) {
        let row = Observations::new(signal, predictions.as_mut().and_then(Iterator::next));
        rule.begin_again(&mut progress, &mut memory, deadline);
        let mut left = deadline;
        while let Some(stage) = progress.next_stage() {
            mark(consulted, stage);
            let run = latency.get(price.run_from(progress.last, stage)..=stage).unwrap_or_default();
            let seconds: f64 = run.iter().sum();
            if seconds > left {
                *late = true;
                rule.stop(&mut progress, &mut memory, price);
            } else {
                left -= seconds;
                rule.observe(&mut progress, &mut memory, row.at(stage).within(left), price);
            }
        }
        (*answer, *last) = (signed(rule.answer(&progress, &memory)), signed(progress.last));
        *cost = progress.cost;
    }
}

#[inline]
fn mark(consulted: &mut [bool], stage: usize) {
    if let Some(mark) = consulted.get_mut(stage) {
        *mark = true;
    }
}
