//! What happens to requests in step, under one concrete rule: reports, stages that give nothing, ends.

use std::collections::BTreeMap;

use super::barred::Barred;
use super::failure::Failures;
use super::known::{First, Known};
use crate::parallel;
use crate::price::Price;
use crate::rules::{Given, Observation, Observations, Progress, Rule, UNTOLD, Visitor};

/// Requests that one task works on; below this a batch is decided on the calling thread.
pub(super) const CHUNK: usize = 16_384;

/// What becomes of a request that its stage does not report to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Turn<'a> {
    /// The stage gave nothing; seconds that each of them has left, where that is said.
    Fail(Option<&'a [f64]>),
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
pub(super) struct Step<'a, 'r> {
    pub(super) known: &'a mut Known,
    pub(super) next: &'a mut [u16],
    pub(super) stage: u16,
    pub(super) price: &'a Price,
    pub(super) observations: Observations<'r>,
}

impl Visitor for Step<'_, '_> {
    type Output = ();

    fn visit<R: Rule>(self, rule: &R) {
        let Self { known, next, stage, price, observations } = self;
        let is_first = matches!(known, Known::Nothing) && observations.remaining.is_none();
        if is_first && let Some(first) = First::told(rule, observations, next) {
            *known = Known::First(first);
            return;
        }
        known.make_states(rule, price, next);
        let Known::States { rows, progress, memory, failures } = known else { return };
        let Some(memory) = memory.downcast_mut::<Vec<R::Memory>>() else { return };
        if failures.is_empty() {
            step(rule, stage, price, observations, progress, memory);
        } else {
            let others = after_failures(rule, stage, price, observations, progress, memory, failures);
            step(rule, stage, price, others.as_observations(), progress, memory);
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
    pub(super) turn: Turn<'a>,
}

impl Visitor for Leave<'_> {
    type Output = ();

    fn visit<R: Rule>(self, rule: &R) {
        let Self { known, next, price, rows: leaving, turn } = self;
        known.make_states(rule, price, next);
        let Known::States { rows, progress, memory, failures } = known else { return };
        let Some(memory) = memory.downcast_mut::<Vec<R::Memory>>() else { return };
        for (place, row) in leaving.iter().enumerate() {
            let Ok(at) = rows.as_ref().map_or(Ok(*row), |(rows, _)| rows.binary_search(row)) else { continue };
            let (Some(progress), Some(memory)) = (progress.get_mut(at), memory.get_mut(at)) else { continue };
            match (turn, failures.get_mut(&at)) {
                (Turn::Fail(remaining), _) => {
                    let remaining = remaining.and_then(|remaining| remaining.get(place).copied()).unwrap_or(UNTOLD);
                    failures.entry(at).or_default().fail(rule, price, progress, memory, remaining);
                }
                (Turn::Bar, _) => failures.entry(at).or_default().bar(rule, price, progress, memory),
                (Turn::Stop, Some(failures)) => failures.stop(rule, price, progress, memory),
                (Turn::Stop, None) => rule.stop(progress, memory, price),
            }
        }
        publish(next, rows.as_ref(), progress);
    }
}

/// All requests go without some stages.
pub(super) struct PassOver<'a> {
    pub(super) known: &'a mut Known,
    pub(super) next: &'a mut [u16],
    pub(super) price: &'a Price,
    pub(super) barred: &'a Barred,
    /// What is known of each request; none: nothing.
    pub(super) given: Option<&'a [Given]>,
}

impl Visitor for PassOver<'_> {
    type Output = ();

    fn visit<R: Rule>(self, rule: &R) {
        let Self { known, next, price, barred, given } = self;
        known.make_states(rule, price, next);
        let Known::States { rows, progress, memory, failures } = known else { return };
        let Some(memory) = memory.downcast_mut::<Vec<R::Memory>>() else { return };
        for (at, (progress, memory)) in progress.iter_mut().zip(memory).enumerate() {
            let given = given.and_then(|given| given.get(at).copied()).unwrap_or(Given::NOTHING);
            failures.entry(at).or_default().go_without(barred, given, rule, price, progress, memory);
        }
        publish(next, rows.as_ref(), progress);
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

/// Reports, gathered one by one.
#[derive(Default)]
struct Gathered {
    signal: Vec<f64>,
    prediction: Vec<i64>,
    remaining: Vec<f64>,
}

impl Gathered {
    fn push(&mut self, observation: Observation) {
        self.signal.push(observation.signal);
        self.prediction.push(observation.prediction);
        self.remaining.push(observation.remaining);
    }

    fn as_observations(&self) -> Observations<'_> {
        Observations::new(&self.signal, Some(&self.prediction)).within(Some(&self.remaining))
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
) -> Gathered {
    let mut others = Gathered::default();
    let states = progress.iter_mut().zip(memory).enumerate();
    let waiting = states.filter(|(_, (progress, _))| progress.next == stage);
    for (report, (at, (progress, memory))) in waiting.enumerate() {
        let observation = observations.at(report);
        if let Some(failures) = failures.get_mut(&at) {
            failures.observe(rule, price, progress, memory, observation);
        } else {
            others.push(observation);
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
