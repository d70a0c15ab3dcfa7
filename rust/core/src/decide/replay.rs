//! A whole recorded trace at once, on all cores.

use crate::error::{Error, Result, number};
use crate::parallel;
use crate::plan::signed;
use crate::policy::Policy;
use crate::price::Price;
use crate::rules::{Given, Observations, Rule, Visitor};

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
        self.replayed(signal, prediction, Circumstances::default())
    }

    /// The same where more is known of requests than what stages report. A stage that takes longer than what is left is cut
    /// off: it has run and is paid for, its report is lost, and the request ends with what it has in hand.
    ///
    /// # Errors
    /// As [`Policy::replay`]; for latencies that are no numbers of seconds, and costs that are not finite or negative; and
    /// for a finite deadline without latencies.
    pub fn replay_in(
        &self,
        signal: &[f64],
        prediction: Option<&[i64]>,
        circumstances: &Circumstances,
    ) -> Result<Replay> {
        circumstances.check(signal.len(), self.stages().len())?;
        self.replayed(signal, prediction, *circumstances)
    }

    fn replayed(&self, signal: &[f64], prediction: Option<&[i64]>, circumstances: Circumstances) -> Result<Replay> {
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
        self.rule().visit(Work { price: self.price(), k, chunks: replay.chunks(k, signal, prediction, circumstances) });
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
        circumstances: Circumstances<'a>,
    ) -> Vec<Chunk<'a>> {
        let mut chunks = Vec::with_capacity(self.answer.len().div_ceil(CHUNK));
        let ends = self.answer.chunks_mut(CHUNK).zip(self.last.chunks_mut(CHUNK));
        let costs = self.cost.chunks_mut(CHUNK).zip(self.late.chunks_mut(CHUNK));
        let outputs = ends.zip(self.consulted.chunks_mut(CHUNK * k)).zip(costs);
        let mut predictions = prediction.map(|prediction| prediction.chunks(CHUNK * k));
        for (at, (signal, (((answer, last), consulted), (cost, late)))) in
            signal.chunks(CHUNK * k).zip(outputs).enumerate()
        {
            let prediction = predictions.as_mut().and_then(Iterator::next);
            let circumstances = circumstances.of_chunk(at, k);
            chunks.push(Chunk { signal, prediction, circumstances, answer, last, consulted, cost, late });
        }
        chunks
    }
}

/// What is known of requests besides what stages report.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// Seconds that stages take (n, k), row by row; of exits, since the exit before.
    pub latency: Option<&'a [f64]>,
    /// Seconds that each request has.
    pub deadline: f64,
    /// What stages cost each request, over what they cost the average one (n,).
    pub cost: Option<&'a [f64]>,
}

impl Default for Circumstances<'_> {
    fn default() -> Self {
        Self { latency: None, deadline: f64::INFINITY, cost: None }
    }
}

impl<'a> Circumstances<'a> {
    /// Checks that they fit so many signals of k stages.
    fn check(&self, signals: usize, k: usize) -> Result<()> {
        let Self { latency, deadline, cost } = *self;
        if deadline.is_nan() || deadline < 0.0 {
            return Err(Error::invalid(format!("`deadline` must be 0 or more seconds, got {deadline}")));
        }
        if latency.is_none() && deadline < f64::INFINITY {
            return Err(Error::invalid(format!(
                "`latency` must be given with a `deadline`, got a deadline of {deadline}"
            )));
        }
        if let Some(latency) = latency {
            if latency.len() != signals {
                return Err(Error::invalid(format!(
                    "`latency` must have the shape of `signal`, got {} entries for {signals}",
                    latency.len()
                )));
            }
            let bad = latency.iter().enumerate().find(|(_, seconds)| !(0.0..f64::INFINITY).contains(*seconds));
            if let Some((at, seconds)) = bad {
                let (row, stage) = (at / k, at % k);
                return Err(Error::invalid(format!(
                    "`latency[{row}, {stage}]` must be 0 or more seconds, got {seconds}"
                )));
            }
        }
        let Some(cost) = cost else { return Ok(()) };
        let rows = signals / k;
        if cost.len() != rows {
            return Err(Error::invalid(format!("`cost` must have shape ({rows},), got ({},)", cost.len())));
        }
        match cost.iter().enumerate().find(|(_, cost)| !(0.0..f64::INFINITY).contains(*cost)) {
            Some((row, cost)) => {
                Err(Error::invalid(format!("`cost[{row}]` must be finite and at least 0, got {}", number(*cost))))
            }
            None => Ok(()),
        }
    }

    /// Those of one chunk of rows.
    fn of_chunk(self, at: usize, k: usize) -> Self {
        let part = |all: &'a [f64], size: usize| all.chunks(size).nth(at).unwrap_or_default();
        let latency = self.latency.map(|latency| part(latency, CHUNK * k));
        Self { latency, cost: self.cost.map(|cost| part(cost, CHUNK)), ..self }
    }
}

/// The rows that one task replays.
struct Chunk<'a> {
    signal: &'a [f64],
    prediction: Option<&'a [i64]>,
    circumstances: Circumstances<'a>,
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
        parallel::for_each(chunks, |chunk| match chunk.circumstances {
            Circumstances { latency: Some(latency), deadline, cost } if deadline < f64::INFINITY => {
                replay_chunk_within(rule, price, k, chunk, (latency, deadline), cost);
            }
            Circumstances { cost: Some(cost), .. } => {
                replay_chunk(rule, price, k, chunk, cost.iter().map(|cost| Given::costing(*cost)));
            }
            _ => replay_chunk(rule, price, k, chunk, std::iter::repeat(Given::NOTHING)),
        });
    }
}

fn replay_chunk<R: Rule>(rule: &R, price: &Price, k: usize, chunk: Chunk, given: impl Iterator<Item = Given>) {
    let mut predictions = chunk.prediction.map(|prediction| prediction.chunks_exact(k));
    let ends = chunk.answer.iter_mut().zip(chunk.last);
    let outputs = ends.zip(chunk.cost).zip(chunk.consulted.chunks_exact_mut(k));
    let (mut progress, mut memory) = rule.begin(Given::NOTHING);
    for (((((answer, last), cost), consulted), signal), given) in outputs.zip(chunk.signal.chunks_exact(k)).zip(given) {
        let row = Observations::new(signal, predictions.as_mut().and_then(Iterator::next));
        rule.begin_again(&mut progress, &mut memory, given);
        while let Some(stage) = progress.next_stage() {
            mark(consulted, stage);
            rule.observe(&mut progress, &mut memory, row.at(stage), price);
        }
        (*answer, *last) = (signed(rule.answer(&progress, &memory)), signed(progress.last));
        *cost = rule.cost(&progress, &memory);
    }
}

fn replay_chunk_within<R: Rule>(
    rule: &R,
    price: &Price,
    k: usize,
    chunk: Chunk,
    (latency, deadline): (&[f64], f64),
    cost: Option<&[f64]>,
) {
    let mut predictions = chunk.prediction.map(|prediction| prediction.chunks_exact(k));
    let ends = chunk.answer.iter_mut().zip(chunk.last).zip(chunk.late);
    let outputs = ends.zip(chunk.cost).zip(chunk.consulted.chunks_exact_mut(k));
    let inputs = chunk.signal.chunks_exact(k).zip(latency.chunks_exact(k));
    let (mut progress, mut memory) = rule.begin(Given::within(deadline));
    let mut costs = cost.map(<[f64]>::iter);
    for (((((answer, last), late), cost), consulted), (signal, latency)) in outputs.zip(inputs) {
        let row = Observations::new(signal, predictions.as_mut().and_then(Iterator::next));
        let given = costs.as_mut().and_then(Iterator::next).map_or(Given::NOTHING, |cost| Given::costing(*cost));
        rule.begin_again(&mut progress, &mut memory, Given { remaining: deadline, ..given });
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
        *cost = rule.cost(&progress, &memory);
    }
}

#[inline]
fn mark(consulted: &mut [bool], stage: usize) {
    if let Some(mark) = consulted.get_mut(stage) {
        *mark = true;
    }
}
