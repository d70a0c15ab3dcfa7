//! Many requests in step: who waits for which stage, and what their signals decide.

use std::sync::Arc;

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::policy::Policy;
use crate::rules::{BeliefRule, FlatState, NO_LABEL, Rule, Rules, SLOTS, Seen, TreeState, signed, stage_number};

/// Lanes that one task works on; below this a batch is decided on the calling thread.
const CHUNK: usize = 16_384;

/// What the lanes carry.
#[derive(Debug)]
enum Lanes {
    /// No stage has run; every lane is in the state that the policy begins with.
    Fresh,
    Flat(Vec<FlatState>),
    /// What was seen is kept by slot, so that early stages touch little memory.
    Belief(Vec<FlatState>, Vec<Vec<Seen>>),
    Tree(Vec<TreeState>),
}

/// `n` requests under one policy.
#[derive(Debug)]
pub struct Batch {
    policy: Arc<Policy>,
    next: Vec<u16>,
    waiting: Vec<usize>,
    lanes: Lanes,
}

impl Batch {
    /// `n` new requests.
    pub fn new(policy: Arc<Policy>, n: usize) -> Self {
        let first = policy.begin().flat().next;
        let mut waiting = vec![0; policy.stages().len()];
        if let Some(count) = stage_number(first).and_then(|stage| waiting.get_mut(stage)) {
            *count = n;
        }
        Self { next: vec![first; n], waiting, lanes: Lanes::Fresh, policy }
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

    fn map<T: Clone>(&self, of: impl Fn(&FlatState) -> T) -> Vec<T> {
        match &self.lanes {
            Lanes::Fresh => vec![of(self.policy.begin().flat()); self.len()],
            Lanes::Flat(states) | Lanes::Belief(states, _) => states.iter().map(of).collect(),
            Lanes::Tree(states) => states.iter().map(|state| of(state.flat())).collect(),
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

    /// Signals and labels of exactly the requests that wait for `stage`, in ascending order of request.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the lengths differ from the number waiting or there is no such stage; nothing is
    /// changed then.
    pub fn observe(&mut self, stage: usize, signal: &[f64], label: Option<&[i64]>) -> Result<()> {
        let count = self.waiting(stage)?;
        for (name, len) in [("signal", signal.len()), ("prediction", label.map_or(count, <[i64]>::len))] {
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
        let signals = Signals { signal, label };
        match policy.rules() {
            Rules::Belief(rule) => self.observe_belief(&policy, rule, stage, signals),
            Rules::Table(rule) => self.observe_flat(&policy, rule, stage, signals),
            Rules::Threshold(rule) => self.observe_flat(&policy, rule, stage, signals),
            Rules::Patience(rule) => self.observe_flat(&policy, rule, stage, signals),
            Rules::Tree(rule) => {
                if matches!(self.lanes, Lanes::Fresh) {
                    self.lanes = Lanes::Tree(vec![rule.begin(); self.next.len()]);
                }
                if let Lanes::Tree(states) = &mut self.lanes {
                    step_waiting(&policy, rule, stage, &mut self.next, states, signals);
                }
            }
        }
        self.recount();
        Ok(())
    }

    fn observe_flat<R: Rule<State = FlatState>>(&mut self, policy: &Policy, rule: &R, stage: usize, signals: Signals) {
        if let Lanes::Flat(states) = &mut self.lanes {
            step_waiting(policy, rule, stage, &mut self.next, states, signals);
        } else {
            let begin = rule.begin();
            let states = map_rows(self.next.len(), |row| {
                let mut state = begin;
                let (signal, label) = signals.at(row);
                rule.step(&mut state, signal, label, policy.price());
                state
            });
            copy_next(&states, &mut self.next);
            self.lanes = Lanes::Flat(states);
        }
    }

    fn observe_belief(&mut self, policy: &Policy, rule: &BeliefRule, stage: usize, signals: Signals) {
        let begin = rule.begin();
        let n = self.next.len();
        if let Lanes::Belief(states, seen) = &mut self.lanes {
            let slots =
                rule.nodes.iter().filter(|node| usize::from(node.stage) == stage).map(|node| usize::from(node.slot));
            let needed = slots.max().map_or(0, |slot| slot + 1);
            while seen.len() < needed {
                seen.push(vec![Seen::NONE; n]);
            }
            step_beliefs(rule, stage, &mut self.next, states, seen, signals);
        } else {
            let (mut states, mut first) = (Vec::new(), Vec::new());
            let lane = |row: usize| {
                let mut state = begin;
                let (signal, label) = signals.at(row);
                rule.step(&mut state, signal, label, policy.price());
                let [seen, ..] = state.seen;
                (state.flat, seen)
            };
            if n < 2 * CHUNK {
                (states, first) = (0..n).map(lane).unzip();
            } else {
                (0..n).into_par_iter().with_min_len(CHUNK).map(lane).unzip_into_vecs(&mut states, &mut first);
            }
            copy_next(&states, &mut self.next);
            self.lanes = Lanes::Belief(states, vec![first]);
        }
    }

    fn recount(&mut self) {
        self.waiting.fill(0);
        for next in &self.next {
            if let Some(count) = stage_number(*next).and_then(|stage| self.waiting.get_mut(stage)) {
                *count += 1;
            }
        }
    }
}

/// The signals and labels of the waiting requests, in ascending order of request.
#[derive(Clone, Copy)]
struct Signals<'a> {
    signal: &'a [f64],
    label: Option<&'a [i64]>,
}

impl Signals<'_> {
    #[inline]
    fn at(&self, k: usize) -> (f64, i64) {
        let label = self.label.and_then(|label| label.get(k).copied());
        (self.signal.get(k).copied().unwrap_or(f64::NAN), label.unwrap_or(NO_LABEL))
    }
}

fn map_rows<T: Send>(n: usize, of: impl Fn(usize) -> T + Sync + Send) -> Vec<T> {
    if n < 2 * CHUNK { (0..n).map(of).collect() } else { (0..n).into_par_iter().with_min_len(CHUNK).map(of).collect() }
}

fn copy_next(states: &[FlatState], next: &mut [u16]) {
    for (next, state) in next.iter_mut().zip(states) {
        *next = state.next;
    }
}

/// How many lanes wait for `stage` before each chunk of lanes.
fn waiting_before(next: &[u16], stage: u16) -> Vec<usize> {
    let mut before = 0;
    let mut counts = Vec::new();
    for chunk in next.chunks(CHUNK) {
        counts.push(before);
        before += chunk.iter().filter(|next| **next == stage).count();
    }
    counts
}

/// Applies `work` to every item, on all cores where there are many.
fn for_each<T: Send>(items: Vec<T>, work: impl Fn(T) + Sync + Send) {
    if items.len() < 2 { items.into_iter().for_each(work) } else { items.into_par_iter().for_each(work) }
}

/// One observation of the lanes that wait for `stage`.
fn step_waiting<R: Rule>(
    policy: &Policy,
    rule: &R,
    stage: usize,
    next: &mut [u16],
    states: &mut [R::State],
    signals: Signals,
) {
    let stage = stage as u16;
    let before = waiting_before(next, stage);
    let chunks: Vec<_> = next.chunks_mut(CHUNK).zip(states.chunks_mut(CHUNK)).zip(before).collect();
    for_each(chunks, |((next, states), mut at)| {
        for (next, state) in next.iter_mut().zip(states).filter(|(next, _)| **next == stage) {
            let (signal, label) = signals.at(at);
            at += 1;
            rule.step(state, signal, label, policy.price());
            *next = R::flat(state).next;
        }
    });
}

/// One observation of the lanes that wait for `stage`, with what was seen kept by slot.
fn step_beliefs(
    rule: &BeliefRule,
    stage: usize,
    next: &mut [u16],
    states: &mut [FlatState],
    seen: &mut [Vec<Seen>],
    signals: Signals,
) {
    let waiting = stage as u16;
    let before = waiting_before(next, waiting);
    let mut columns: Vec<_> = seen.iter_mut().map(|column| column.chunks_mut(CHUNK)).collect();
    let mut chunks = Vec::with_capacity(before.len());
    for ((next, states), at) in next.chunks_mut(CHUNK).zip(states.chunks_mut(CHUNK)).zip(before) {
        let seen: Vec<&mut [Seen]> = columns.iter_mut().filter_map(Iterator::next).collect();
        chunks.push((next, states, seen, at));
    }
    for_each(chunks, |(next, states, mut seen, mut at)| {
        for (lane, (next, flat)) in next.iter_mut().zip(states).enumerate() {
            if *next != waiting {
                continue;
            }
            let mut slots = [Seen::NONE; SLOTS];
            for (slot, column) in slots.iter_mut().zip(&seen) {
                *slot = column.get(lane).copied().unwrap_or(Seen::NONE);
            }
            let written = rule.node(flat).map_or(0, |node| usize::from(node.slot));
            let (signal, label) = signals.at(at);
            at += 1;
            rule.enter(flat, &mut slots, signal, label);
            if let (Some(cell), Some(slot)) = (seen.get_mut(written).and_then(|c| c.get_mut(lane)), slots.get(written))
            {
                *cell = *slot;
            }
            *next = flat.next;
        }
    });
}
