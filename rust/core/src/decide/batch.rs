//! Many requests in step: who waits for which stage, and what their signals decide.

use std::sync::Arc;

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::policy::Policy;
use crate::price::Price;
use crate::rules::{
    BeliefRule, MixtureMemory, MixtureRule, NO_PREDICTION, NO_STAGE, OpenStages, Progress, Reading, Rule, Rules, SLOTS,
    TreeRule, signed, stage_number,
};

/// Lanes that one task works on; below this a batch is decided on the calling thread.
const CHUNK: usize = 16_384;

/// Up to this many stages, counting each in a pass of its own is faster than one pass with a table.
const FEW_STAGES: usize = 16;

/// What each lane's rule remembers besides its progress state.
#[derive(Debug)]
enum Memory {
    /// No stage has run, or the rule remembers nothing.
    None,
    /// What the entry stage said, of the requests that it did not end; states are made when a second stage reports.
    First(Vec<(f64, i64)>),
    /// What was seen, by slot, so that early stages touch little memory.
    Reading(Vec<Vec<Reading>>),
    /// Which stages are open.
    Open(Vec<OpenStages>),
    /// Which rule each follows, and what that remembers.
    Mixture(Vec<MixtureMemory>),
}

/// `n` requests under one policy.
#[derive(Debug)]
pub struct Batch {
    policy: Arc<Policy>,
    next: Vec<u16>,
    waiting: Vec<usize>,
    /// Empty until the first stage has reported.
    lanes: Vec<Progress>,
    memory: Memory,
}

impl Batch {
    /// `n` new requests.
    pub fn new(policy: Arc<Policy>, n: usize) -> Self {
        let first = policy.begin().progress().next;
        let mut waiting = vec![0; policy.stages().len()];
        if let Some(count) = stage_number(first).and_then(|stage| waiting.get_mut(stage)) {
            *count = n;
        }
        Self { next: vec![first; n], waiting, lanes: Vec::new(), memory: Memory::None, policy }
    }

    /// Number of requests.
    pub fn len(&self) -> usize {
        self.next.len()
    }

    /// Whether there are no requests.
    pub fn is_empty(&self) -> bool {
        self.next.is_empty()
    }

    /// The policy.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// The stage each request waits for, −1 once decided (n,).
    pub fn next(&self) -> Vec<i32> {
        self.next.iter().map(|stage| signed(*stage)).collect()
    }

    /// The stage whose answer each request has in hand, −1 while none (n,).
    pub fn answer(&self) -> Vec<i32> {
        self.map(|state| signed(state.answer))
    }

    /// What each request has cost so far (n,).
    pub fn cost(&self) -> Vec<f64> {
        self.map(|state| state.cost)
    }

    fn map<T: Clone>(&self, of: impl Fn(&Progress) -> T) -> Vec<T> {
        let begin = self.policy.begin();
        match (&self.memory, self.policy.rules()) {
            (Memory::First(_), Rules::Belief(rule)) => {
                let mut entered = *begin.progress();
                rule.enter_first(&mut entered);
                vec![of(&entered); self.len()]
            }
            _ if self.lanes.is_empty() => vec![of(begin.progress()); self.len()],
            _ => self.lanes.iter().map(of).collect(),
        }
    }

    /// How many requests wait for `stage`.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is no such stage.
    pub fn waiting(&self, stage: usize) -> Result<usize> {
        self.waiting
            .get(stage)
            .copied()
            .ok_or_else(|| Error::invalid(format!("`stage` must be in 0..{}, got {stage}", self.waiting.len())))
    }

    /// Which requests wait for `stage`, ascending.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is no such stage.
    pub fn rows(&self, stage: usize) -> Result<Vec<i64>> {
        let count = self.waiting(stage)?;
        if count == self.len() {
            return Ok((0..count as i64).collect());
        }
        let mut rows = Vec::with_capacity(count);
        rows.extend(self.next.iter().enumerate().filter(|(_, next)| **next == stage as u16).map(|(row, _)| row as i64));
        Ok(rows)
    }

    /// Signals and predictions of exactly the requests that wait for `stage`, in ascending order of request.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the lengths differ from the number waiting or there is no such stage; nothing is
    /// changed then.
    pub fn observe(&mut self, stage: usize, signal: &[f64], prediction: Option<&[i64]>) -> Result<()> {
        let count = self.waiting(stage)?;
        for (name, len) in [("signal", signal.len()), ("prediction", prediction.map_or(count, <[i64]>::len))] {
            if len != count {
                let message =
                    format!("`{name}` must have {count} entries, one per request waiting for stage {stage}, got {len}");
                return Err(Error::invalid(message));
            }
        }
        if count == 0 {
            return Ok(());
        }
        let policy = Arc::clone(&self.policy);
        let signals = Signals { signal, prediction };
        let price = policy.price();
        match policy.rules() {
            Rules::Belief(rule) => self.observe_beliefs(rule, stage, price, signals),
            Rules::Chain(rule) => self.observe_flat(rule, stage, price, signals),
            Rules::Threshold(rule) => self.observe_flat(rule, stage, price, signals),
            Rules::Patience(rule) => self.observe_flat(rule, stage, price, signals),
            Rules::Dag(rule) => self.observe_flat(rule, stage, price, signals),
            Rules::Tree(rule) => self.observe_open(rule, stage, price, signals),
            Rules::Mixture(rule) => self.observe_mixed(rule, stage, price, signals),
        }
        self.recount();
        Ok(())
    }

    fn observe_flat<R: Rule<Memory = ()>>(&mut self, rule: &R, stage: usize, price: &Price, signals: Signals) {
        if self.lanes.is_empty() {
            self.lanes = vec![rule.begin().0; self.next.len()];
        }
        let mut memory = vec![(); self.next.len()];
        step_waiting(rule, stage, price, signals, &mut self.next, &mut self.lanes, &mut memory);
    }

    fn observe_open(&mut self, rule: &TreeRule, stage: usize, price: &Price, signals: Signals) {
        if self.lanes.is_empty() {
            let (progress, open) = rule.begin();
            self.lanes = vec![progress; self.next.len()];
            self.memory = Memory::Open(vec![open; self.next.len()]);
        }
        if let Memory::Open(open) = &mut self.memory {
            step_waiting(rule, stage, price, signals, &mut self.next, &mut self.lanes, open);
        }
    }

    fn observe_mixed(&mut self, rule: &MixtureRule, stage: usize, price: &Price, signals: Signals) {
        if self.lanes.is_empty() {
            let (progress, mixed) = rule.begin();
            self.lanes = vec![progress; self.next.len()];
            self.memory = Memory::Mixture(vec![mixed; self.next.len()]);
        }
        if let Memory::Mixture(mixed) = &mut self.memory {
            step_waiting(rule, stage, price, signals, &mut self.next, &mut self.lanes, mixed);
        }
    }

    fn observe_beliefs(&mut self, rule: &BeliefRule, stage: usize, price: &Price, signals: Signals) {
        match std::mem::replace(&mut self.memory, Memory::None) {
            Memory::Reading(mut seen) => {
                let entered = rule.nodes.iter().filter(|node| usize::from(node.stage) == stage);
                let slots = entered.map(|node| usize::from(node.slot) + 1).max().unwrap_or(0);
                if seen.len() < slots {
                    seen.resize_with(slots, || vec![Reading::NONE; self.next.len()]);
                }
                step_beliefs(rule, stage, price, signals, &mut self.next, &mut self.lanes, &mut seen);
                self.memory = Memory::Reading(seen);
            }
            Memory::First(kept) => {
                self.enter_kept(rule, price, &kept);
                self.memory = Memory::Reading(Vec::new());
                self.observe_beliefs(rule, stage, price, signals);
            }
            _ => self.memory = Memory::First(first_actions(rule, &mut self.next, signals)),
        }
    }

    /// Makes the states after the entry stage; those that it ended need no signal for it.
    fn enter_kept(&mut self, rule: &BeliefRule, price: &Price, kept: &[(f64, i64)]) {
        let (begin, mut seen) = rule.begin();
        let mut ended = begin;
        rule.enter_first(&mut ended);
        self.lanes = vec![ended; self.next.len()];
        let going_on = self.lanes.iter_mut().zip(&self.next).filter(|(_, next)| **next != NO_STAGE);
        for ((progress, _), (signal, prediction)) in going_on.zip(kept) {
            *progress = begin;
            rule.step(progress, &mut seen, *signal, *prediction, price);
        }
    }

    fn recount(&mut self) {
        if self.waiting.len() <= FEW_STAGES {
            for (stage, count) in self.waiting.iter_mut().enumerate() {
                *count = count_of(&self.next, stage as u16);
            }
        } else {
            self.waiting.fill(0);
            for next in &self.next {
                if let Some(count) = self.waiting.get_mut(usize::from(*next)) {
                    *count += 1;
                }
            }
        }
    }
}

/// How many lanes wait for `stage`; sums of narrow numbers, which the compiler turns into vector code.
fn count_of(next: &[u16], stage: u16) -> usize {
    next.chunks(CHUNK).map(|chunk| usize::from(chunk.iter().map(|next| u16::from(*next == stage)).sum::<u16>())).sum()
}

/// The signals and predictions of the waiting requests, in ascending order of request.
#[derive(Clone, Copy)]
struct Signals<'a> {
    signal: &'a [f64],
    prediction: Option<&'a [i64]>,
}

impl Signals<'_> {
    #[inline]
    fn at(&self, k: usize) -> (f64, i64) {
        let prediction = self.prediction.and_then(|prediction| prediction.get(k).copied());
        (self.signal.get(k).copied().unwrap_or(f64::NAN), prediction.unwrap_or(NO_PREDICTION))
    }
}

/// The first observation of every lane: decides on raw signals, and keeps them of the lanes that go on.
fn first_actions(rule: &BeliefRule, next: &mut [u16], signals: Signals) -> Vec<(f64, i64)> {
    let plain = rule.entry.thresholds().filter(|found| found.onward == rule.first_action(f64::NAN, NO_PREDICTION));
    let with_prediction =
        signals.prediction.map(|prediction| signals.signal.iter().copied().zip(prediction.iter().copied()));
    let without_prediction = signals.signal.iter().map(|signal| (*signal, NO_PREDICTION));
    match (plain, with_prediction) {
        (Some(found), Some(reports)) => {
            let onward = rule.stage_of(found.onward);
            keep_where(
                next,
                reports,
                |signal, prediction| if signal >= found.least(prediction) { NO_STAGE } else { onward },
            )
        }
        (Some(found), None) => {
            let (onward, least) = (rule.stage_of(found.onward), found.least(NO_PREDICTION));
            keep_where(next, without_prediction, |signal, _| if signal >= least { NO_STAGE } else { onward })
        }
        (None, Some(reports)) => {
            keep_where(next, reports, |signal, prediction| rule.stage_of(rule.first_action(signal, prediction)))
        }
        (None, None) => keep_where(next, without_prediction, |signal, prediction| {
            rule.stage_of(rule.first_action(signal, prediction))
        }),
    }
}

/// Sets what is next for every lane, and keeps the reports of those that go on.
#[inline]
fn keep_where(
    next: &mut [u16],
    reports: impl Iterator<Item = (f64, i64)>,
    stage: impl Fn(f64, i64) -> u16,
) -> Vec<(f64, i64)> {
    let mut kept = vec![(0.0, 0); next.len()];
    let mut count = 0;
    for (next, (signal, prediction)) in next.iter_mut().zip(reports) {
        *next = stage(signal, prediction);
        // Written always and advanced by 0 or 1: a branch on the decision would be mispredicted half of the time.
        if let Some(cell) = kept.get_mut(count) {
            *cell = (signal, prediction);
        }
        count += usize::from(*next != NO_STAGE);
    }
    kept.truncate(count);
    kept
}

/// How many lanes wait for `stage` before each chunk of lanes.
fn waiting_before(next: &[u16], stage: u16) -> Vec<usize> {
    let mut before = 0;
    let mut counts = Vec::new();
    for chunk in next.chunks(CHUNK) {
        counts.push(before);
        before += count_of(chunk, stage);
    }
    counts
}

/// Applies `work` to every item, on all cores where there are many.
fn for_each<T: Send>(items: Vec<T>, work: impl Fn(T) + Sync + Send) {
    if items.len() < 2 { items.into_iter().for_each(work) } else { items.into_par_iter().for_each(work) }
}

/// One observation of the lanes that wait for `stage`.
fn step_waiting<R: Rule>(
    rule: &R,
    stage: usize,
    price: &Price,
    signals: Signals,
    next: &mut [u16],
    lanes: &mut [Progress],
    memory: &mut [R::Memory],
) {
    let stage = stage as u16;
    let before = waiting_before(next, stage);
    let lanes = lanes.chunks_mut(CHUNK).zip(memory.chunks_mut(CHUNK));
    let chunks: Vec<_> = next.chunks_mut(CHUNK).zip(lanes).zip(before).collect();
    for_each(chunks, |((next, (lanes, memory)), mut at)| {
        let lanes = lanes.iter_mut().zip(memory);
        for (next, (progress, memory)) in next.iter_mut().zip(lanes).filter(|(next, _)| **next == stage) {
            let (signal, prediction) = signals.at(at);
            at += 1;
            rule.step(progress, memory, signal, prediction, price);
            *next = progress.next;
        }
    });
}

/// The same, with what was seen kept by slot.
fn step_beliefs(
    rule: &BeliefRule,
    stage: usize,
    price: &Price,
    signals: Signals,
    next: &mut [u16],
    lanes: &mut [Progress],
    seen: &mut [Vec<Reading>],
) {
    let stage = stage as u16;
    let before = waiting_before(next, stage);
    let mut columns: Vec<_> = seen.iter_mut().map(|column| column.chunks_mut(CHUNK)).collect();
    let mut chunks = Vec::with_capacity(before.len());
    for ((next, lanes), at) in next.chunks_mut(CHUNK).zip(lanes.chunks_mut(CHUNK)).zip(before) {
        let seen: Vec<&mut [Reading]> = columns.iter_mut().filter_map(Iterator::next).collect();
        chunks.push((next, lanes, seen, at));
    }
    for_each(chunks, |(next, lanes, mut seen, mut at)| {
        let waiting = next.iter_mut().zip(lanes).enumerate().filter(|(_, (next, _))| **next == stage);
        for (lane, (next, progress)) in waiting {
            let mut slots = [Reading::NONE; SLOTS];
            for (slot, column) in slots.iter_mut().zip(&seen) {
                *slot = column.get(lane).copied().unwrap_or(Reading::NONE);
            }
            let written = rule.node(progress).map_or(0, |node| usize::from(node.slot));
            let is_second = rule.node(progress).is_some_and(|node| node.members.len() == 2);
            let (signal, prediction) = signals.at(at);
            at += 1;
            rule.step(progress, &mut slots, signal, prediction, price);
            let cell = seen.get_mut(written).and_then(|column| column.get_mut(lane));
            if let (Some(cell), Some(slot)) = (cell, slots.get(written)) {
                *cell = *slot;
            }
            if let (true, Some(cell)) = (is_second, seen.first_mut().and_then(|column| column.get_mut(lane))) {
                // The first report is worked out when the second comes.
                [*cell, ..] = slots;
            }
            *next = progress.next;
        }
    });
}
