//! What is known of the requests of a batch.

use std::any::Any;
use std::collections::BTreeMap;

use super::failure::Failures;
use crate::plan::NO_STAGE;
use crate::price::Price;
use crate::rules::{Given, Kept, Observations, Progress, Rule, Visitor};

/// What is known of the requests.
#[derive(Debug)]
pub(super) enum Known {
    /// No stage has reported.
    Nothing,
    /// The entry stage has reported, which each request has in hand: states are made when a second stage reports.
    First(First),
    /// Each request that is followed, in ascending order. The others ended with the entry stage's report.
    States {
        /// Their numbers, and what the entry stage said of all requests; none where all are followed.
        rows: Option<(Vec<usize>, First)>,
        /// How far each has come.
        progress: Vec<Progress>,
        /// What each remembers: a vector of the rule's own memories.
        memory: Box<dyn Any + Send + Sync>,
        /// Of those that a stage gave nothing, by their place among the followed.
        failures: BTreeMap<usize, Failures>,
    },
}

/// Makes the states of requests of each of which something is known, before any stage has reported.
pub(super) struct Begin<'a> {
    pub(super) given: &'a [Given],
}

impl Visitor for Begin<'_> {
    type Output = Known;

    fn visit<R: Rule>(self, rule: &R) -> Known {
        let states = self.given.iter().map(|given| rule.begin(*given));
        Known::of_states::<R>(None, states.unzip())
    }
}

/// What the entry stage said, of each request.
#[derive(Debug)]
pub(super) struct First(Kept);

impl Known {
    /// Of requests that are followed: all, or those of `rows`.
    fn of_states<R: Rule>(
        rows: Option<(Vec<usize>, First)>,
        (progress, memory): (Vec<Progress>, Vec<R::Memory>),
    ) -> Self {
        Self::States { rows, progress, memory: Box::new(memory), failures: BTreeMap::new() }
    }

    /// Makes the states of the requests that are followed, where that has not been done.
    pub(super) fn make_states<R: Rule>(&mut self, rule: &R, price: &Price, next: &[u16]) {
        let (rows, states) = match std::mem::replace(self, Known::Nothing) {
            known @ Known::States { .. } => {
                *self = known;
                return;
            }
            Known::Nothing => {
                let (progress, memory) = rule.begin(Given::NOTHING);
                (None, (vec![progress; next.len()], vec![memory; next.len()]))
            }
            Known::First(first) => {
                let going_on = next.iter().enumerate().filter(|(_, next)| **next != NO_STAGE);
                let rows: Vec<usize> = going_on.map(|(row, _)| row).collect();
                let states = first.states(rule, price, &rows);
                (Some((rows, first)), states)
            }
        };
        *self = Self::of_states::<R>(rows, states);
    }
}

impl First {
    /// What the entry stage says of each request, and what is `next` then; none where that takes states to tell.
    pub(super) fn told<R: Rule>(rule: &R, said: Observations, next: &mut [u16]) -> Option<Self> {
        let mut kept = Kept::with_room(next.len(), said.prediction.is_some());
        let (mut signals, mut predictions) = (Vec::new(), Vec::new());
        for (piece, next) in next.chunks_mut(Kept::PIECE).enumerate() {
            let rows = piece * Kept::PIECE..piece * Kept::PIECE + next.len();
            let signal = said.signal.piece(0, rows.clone(), &mut signals);
            let prediction = said.prediction.as_ref().map(|said| said.piece(0, rows, &mut predictions));
            if !rule.after_first_of_many(signal, prediction, next) {
                return None;
            }
            kept.push(signal, prediction);
        }
        Some(Self(kept))
    }

    /// The state of a request after that.
    pub(super) fn state<R: Rule>(&self, rule: &R, price: &Price, row: usize) -> (Progress, R::Memory) {
        let (mut progress, mut memory) = rule.begin(Given::NOTHING);
        rule.observe(&mut progress, &mut memory, self.0.at(row), price);
        (progress, memory)
    }

    /// Those of some requests.
    fn states<R: Rule>(&self, rule: &R, price: &Price, rows: &[usize]) -> (Vec<Progress>, Vec<R::Memory>) {
        let (progress, memory) = rule.begin(Given::NOTHING);
        let mut states = (vec![progress; rows.len()], vec![memory; rows.len()]);
        for (row, (progress, memory)) in rows.iter().zip(states.0.iter_mut().zip(&mut states.1)) {
            rule.observe(progress, memory, self.0.at(*row), price);
        }
        states
    }
}
