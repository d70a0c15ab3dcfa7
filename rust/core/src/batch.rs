//! Many requests in step: who waits for which stage, and what their signals decide.

use std::sync::Arc;

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::plan::STOP;
use crate::policy::Policy;
use crate::rules::{FlatState, NO_LABEL, Rule, Rules, TreeRule, TreeState};
use crate::run::advance;

/// Lanes that one task works on; below this a batch is decided on the calling thread.
const CHUNK: usize = 16_384;

/// What the lanes carry.
#[derive(Debug)]
enum Lanes {
    /// No stage has run; every lane is in the state that the policy begins with.
    Fresh,
    Flat(Vec<FlatState>),
    Tree(Vec<TreeState>),
}

/// `n` requests under one policy.
#[derive(Debug)]
pub struct Batch {
    policy: Arc<Policy>,
    next: Vec<i16>,
    waiting: Vec<usize>,
    lanes: Lanes,
}

impl Batch {
    /// `n` new requests.
    pub fn new(policy: Arc<Policy>, n: usize) -> Self {
        let first = policy.begin().flat().next;
        let mut waiting = vec![0; policy.stages().len()];
        if let Some(count) = usize::try_from(first).ok().and_then(|stage| waiting.get_mut(stage)) {
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
        self.next.iter().map(|stage| i32::from(*stage)).collect()
    }

    /// The stage whose answer each request has in hand, −1 while none (n,).
    pub fn answer(&self) -> Vec<i32> {
        self.map(|state| i32::from(state.answer))
    }

    /// What each request has cost so far (n,).
    pub fn cost(&self) -> Vec<f64> {
        self.map(|state| state.cost)
    }

    fn map<T: Clone>(&self, of: impl Fn(&FlatState) -> T) -> Vec<T> {
        match &self.lanes {
            Lanes::Fresh => vec![of(self.policy.begin().flat()); self.len()],
            Lanes::Flat(states) => states.iter().map(of).collect(),
            Lanes::Tree(states) => states.iter().map(|state| of(TreeRule::flat(state))).collect(),
        }
    }

    /// How many requests wait for `stage`.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is no such stage.
    pub fn waiting(&self, stage: usize) -> Result<usize> {
        self.waiting.get(stage).copied().ok_or_else(|| {
            Error::invalid(format!("`stage` must be in 0..{}, got {stage}", self.waiting.len()))
        })
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
        rows.extend(self.next.iter().enumerate().filter(|(_, next)| **next == stage as i16).map(|(row, _)| row as i64));
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
                let message = format!("`{name}` must have {count} entries, one per request waiting for stage {stage}, got {len}");
                return Err(Error::invalid(message));
            }
        }
        if count == 0 {
            return Ok(());
        }
        let policy = Arc::clone(&self.policy);
        match policy.rules() {
            Rules::Belief(rule) => self.observe_flat(&policy, rule, stage, signal, label),
            Rules::Table(rule) => self.observe_flat(&policy, rule, stage, signal, label),
            Rules::Threshold(rule) => self.observe_flat(&policy, rule, stage, signal, label),
            Rules::Patience(rule) => self.observe_flat(&policy, rule, stage, signal, label),
            Rules::Tree(rule) => {
                if matches!(self.lanes, Lanes::Fresh) {
                    self.lanes = Lanes::Tree(vec![rule.begin(); self.next.len()]);
                }
                if let Lanes::Tree(states) = &mut self.lanes {
                    step_waiting(&policy, rule, stage, &mut self.next, states, signal, label);
                }
            }
        }
        self.recount();
        Ok(())
    }

    fn observe_flat<R: Rule<State = FlatState>>(
        &mut self,
        policy: &Policy,
        rule: &R,
        stage: usize,
        signal: &[f64],
        label: Option<&[i64]>,
    ) {
        match &mut self.lanes {
            Lanes::Flat(states) => step_waiting(policy, rule, stage, &mut self.next, states, signal, label),
            _ => self.lanes = Lanes::Flat(first_step(policy, rule, &mut self.next, signal, label)),
        }
    }

    fn recount(&mut self) {
        self.waiting.fill(0);
        for next in &self.next {
            if let Some(count) = usize::try_from(*next).ok().and_then(|stage| self.waiting.get_mut(stage)) {
                *count += 1;
            }
        }
    }
}

/// The first observation of all lanes at once: states are made, stepped and written in one pass.
fn first_step<R: Rule<State = FlatState>>(
    policy: &Policy,
    rule: &R,
    next: &mut [i16],
    signal: &[f64],
    label: Option<&[i64]>,
) -> Vec<FlatState> {
    let begin = rule.begin();
    let stepped = |signal: f64, label: i64| {
        let mut state = begin;
        advance(policy, rule, &mut state, signal, label);
        state
    };
    let lane = |row: usize| stepped(signal[row], label.map_or(NO_LABEL, |label| label[row]));
    let mut states = Vec::with_capacity(next.len());
    if next.len() < 2 * CHUNK {
        states.extend((0..next.len()).map(lane));
    } else {
        (0..next.len()).into_par_iter().with_min_len(CHUNK).map(lane).collect_into_vec(&mut states);
    }
    for (next, state) in next.iter_mut().zip(&states) {
        *next = state.next;
    }
    states
}

/// One observation of the lanes that wait for `stage`; `signal` and `label` hold theirs, in order.
fn step_waiting<R: Rule>(
    policy: &Policy,
    rule: &R,
    stage: usize,
    next: &mut [i16],
    states: &mut [R::State],
    signal: &[f64],
    label: Option<&[i64]>,
) {
    let stage = stage as i16;
    let mut from = 0;
    let starts: Vec<usize> = next
        .chunks(CHUNK)
        .map(|chunk| {
            let start = from;
            from += chunk.iter().filter(|next| **next == stage).count();
            start
        })
        .collect();
    let step_chunk = |((next, states), start): ((&mut [i16], &mut [R::State]), usize)| {
        let mut at = start;
        for (next, state) in next.iter_mut().zip(states) {
            if *next != stage {
                continue;
            }
            let signal = signal.get(at).copied().unwrap_or(f64::NAN);
            let label = label.and_then(|label| label.get(at).copied()).unwrap_or(NO_LABEL);
            at += 1;
            advance(policy, rule, state, signal, label);
            *next = R::flat(state).next;
        }
    };
    if next.len() < 2 * CHUNK {
        next.chunks_mut(CHUNK).zip(states.chunks_mut(CHUNK)).zip(starts).for_each(step_chunk);
    } else {
        next.par_chunks_mut(CHUNK).zip(states.par_chunks_mut(CHUNK)).zip(starts).for_each(step_chunk);
    }
}

const _: () = assert!(STOP == -1, "lanes compare against the stage number as i16");
