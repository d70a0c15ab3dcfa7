//! What happens to requests in step, under one concrete rule: reports, stages that give nothing, ends.

use std::collections::BTreeMap;

use super::failure::Failures;
use super::known::{First, Known};
use crate::parallel;
use crate::price::Price;
use crate::rules::{Observations, Progress, Rule, Visitor};

/// Requests that one task works on; below this a batch is decided on the calling thread.
pub(super) const CHUNK: usize = 16_384;

/// What becomes of a request that its stage does not report to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Turn {
    /// The stage gave nothing.
    Fail,
    /// The stage cannot be tried.
    Bar,
    /// The request ends.
    Stop,
}

/// How many entries are `wanted`; sums of narrow numbers, which the compiler turns into vector code.
pub(super) fn count_where<T>(items: &[T], wanted: impl Fn(&T) -> bool) -> usize {
    items.chunks(CHUNK).map(|chunk| usize::from(chunk.iter().map(|item| u16::from(wanted(item))).sum::<u16>())).sum()
}

/// One observation of the requests that wait for a stage.
pub(super) struct Step<'a> {
    pub(super) known: &'a mut Known,
    pub(super) next: &'a mut [u16],
    pub(super) stage: u16,
    pub(super) price: &'a Price,
    pub(super) observations: Observations<'a>,
}

impl Visitor for Step<'_> {
    type Output = ();

    fn visit<R: Rule>(self, rule: &R) {
        let Self { known, next, stage, price, observations } = self;
        if matches!(known, Known::Nothing) && rule.after_first_of_many(observations, next) {
            *known = Known::First(First::new(observations));
            return;
        }
        known.make_states(rule, price, next);
        let Known::States { rows, progress, memory, failures } = known else { return };
        let Some(memory) = memory.downcast_mut::<Vec<R::Memory>>() else { return };
        if failures.is_empty() {
            step(rule, stage, price, observations, progress, memory);
        } else {
            let (signal, prediction) = after_failures(rule, stage, price, observations, progress, memory, failures);
            step(rule, stage, price, Observations::new(&signal, Some(&prediction)), progress, memory);
        }
        publish(next, rows.as_ref(), progress);
    }
}

/// Some requests go on without the stage they wait for, or end.
pub(super) struct Leave<'a> {
    pub(super) known: &'a mut Known,
    pub(super) next: &'a mut [u16],
    pub(super) price: &'a Price,
    pub(super) rows: &'a [usize],
    pub(super) turn: Turn,
}

impl Visitor for Leave<'_> {
    type Output = ();

    fn visit<R: Rule>(self, rule: &R) {
        let Self { known, next, price, rows: leaving, turn } = self;
        known.make_states(rule, price, next);
        let Known::States { rows, progress, memory, failures } = known else { return };
        let Some(memory) = memory.downcast_mut::<Vec<R::Memory>>() else { return };
        for row in leaving {
            let Ok(at) = rows.as_ref().map_or(Ok(*row), |(rows, _)| rows.binary_search(row)) else { continue };
            let (Some(progress), Some(memory)) = (progress.get_mut(at), memory.get_mut(at)) else { continue };
            match (turn, failures.get_mut(&at)) {
                (Turn::Fail, _) => failures.entry(at).or_default().fail(rule, price, progress, memory),
                (Turn::Bar, _) => failures.entry(at).or_default().bar(rule, price, progress, memory),
                (Turn::Stop, Some(failures)) => failures.stop(rule, price, progress, memory),
                (Turn::Stop, None) => rule.stop(progress, memory, price),
            }
        }
        publish(next, rows.as_ref(), progress);
    }
}

/// What each request expects to lose with the answer in hand.
pub(super) struct Losses<'a> {
    pub(super) known: &'a Known,
    pub(super) len: usize,
    pub(super) price: &'a Price,
}

impl Visitor for Losses<'_> {
    type Output = Vec<f64>;

    fn visit<R: Rule>(self, rule: &R) -> Vec<f64> {
        let Self { known, len, price } = self;
        let after = |(progress, memory): &(Progress, R::Memory)| rule.expected_loss(progress, memory);
        let after_first = |first: &First| (0..len).map(|row| after(&first.state(rule, price, row))).collect();
        match known {
            Known::Nothing => vec![after(&rule.begin()); len],
            Known::First(first) => after_first(first),
            Known::States { rows, progress, memory, failures } => {
                let mut all = rows.as_ref().map_or_else(|| vec![f64::INFINITY; len], |(_, first)| after_first(first));
                let memory = memory.downcast_ref::<Vec<R::Memory>>().into_iter().flatten();
                for (at, (progress, memory)) in progress.iter().zip(memory).enumerate() {
                    let row = rows.as_ref().map_or(Some(at), |(rows, _)| rows.get(at).copied());
                    if let Some(cell) = row.and_then(|row| all.get_mut(row)) {
                        let resort = failures.get(&at).and_then(Failures::expected_loss);
                        *cell = resort.unwrap_or_else(|| rule.expected_loss(progress, memory));
                    }
                }
                all
            }
        }
    }
}

/// Writes down what is next for each request that is followed.
fn publish(next: &mut [u16], rows: Option<&(Vec<usize>, First)>, progress: &[Progress]) {
    match rows {
        None => next.iter_mut().zip(progress).for_each(|(next, progress)| *next = progress.next),
        Some((rows, _)) => {
            for (row, progress) in rows.iter().zip(progress) {
                if let Some(next) = next.get_mut(*row) {
                    *next = progress.next;
                }
            }
        }
    }
}

/// Hands their reports to the requests that a stage gave nothing; returns those of the others.
fn after_failures<R: Rule>(
    rule: &R,
    stage: u16,
    price: &Price,
    observations: Observations,
    progress: &mut [Progress],
    memory: &mut [R::Memory],
    failures: &mut BTreeMap<usize, Failures>,
) -> (Vec<f64>, Vec<i64>) {
    let mut others = (Vec::new(), Vec::new());
    let states = progress.iter_mut().zip(memory).enumerate();
    let waiting = states.filter(|(_, (progress, _))| progress.next == stage);
    for (report, (at, (progress, memory))) in waiting.enumerate() {
        let observation = observations.at(report);
        if let Some(failures) = failures.get_mut(&at) {
            failures.observe(rule, price, progress, memory, observation);
        } else {
            others.0.push(observation.signal);
            others.1.push(observation.prediction);
        }
    }
    others
}

/// Hands the waiting requests their reports, on all cores where there are many.
fn step<R: Rule>(
    rule: &R,
    stage: u16,
    price: &Price,
    observations: Observations,
    progress: &mut [Progress],
    memory: &mut [R::Memory],
) {
    let mut before = 0;
    let mut chunks = Vec::with_capacity(progress.len().div_ceil(CHUNK));
    for (progress, memory) in progress.chunks_mut(CHUNK).zip(memory.chunks_mut(CHUNK)) {
        let first = before;
        before += count_where(progress, |progress| progress.next == stage);
        chunks.push((progress, memory, first));
    }
    let work = |(progress, memory, mut at): (&mut [Progress], &mut [R::Memory], usize)| {
        let waiting = progress.iter_mut().zip(memory).filter(|(progress, _)| progress.next == stage);
        for (progress, memory) in waiting {
            rule.observe(progress, memory, observations.at(at), price);
            at += 1;
        }
    };
    parallel::for_each(chunks, work);
}
