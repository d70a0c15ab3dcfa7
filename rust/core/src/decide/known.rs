//! What is known of the requests of a batch.

use std::any::Any;
use std::collections::BTreeMap;

use super::failure::Failures;
use crate::plan::NO_STAGE;
use crate::price::Price;
use crate::rules::{Given, Observations, Progress, Rule, Visitor};

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
        Known::of_states::<R>(None, states.collect())
    }
}

/// What the entry stage said, of each request.
#[derive(Debug)]
pub(super) struct First {
    signal: Vec<f64>,
    prediction: Option<Vec<i64>>,
}

impl Known {
    /// Of requests that are followed: all, or those of `rows`.
    fn of_states<R: Rule>(rows: Option<(Vec<usize>, First)>, states: Vec<(Progress, R::Memory)>) -> Self {
        let (progress, memory): (Vec<Progress>, Vec<R::Memory>) = states.into_iter().unzip();
        Self::States { rows, progress, memory: Box::new(memory), failures: BTreeMap::new() }
    }

    /// Makes the states of the requests that are followed, where that has not been done.
    pub(super) fn make_states<R: Rule>(&mut self, rule: &R, price: &Price, next: &[u16]) {
        let (rows, states) = match std::mem::replace(self, Known::Nothing) {
            known @ Known::States { .. } => {
                *self = known;
                return;
            }
            Known::Nothing => (None, vec![rule.begin(Given::NOTHING); next.len()]),
            Known::First(first) => {
                let going_on = next.iter().enumerate().filter(|(_, next)| **next != NO_STAGE);
                let rows: Vec<usize> = going_on.map(|(row, _)| row).collect();
                let states = rows.iter().map(|row| first.state(rule, price, *row)).collect();
                (Some((rows, first)), states)
            }
        };
        *self = Self::of_states::<R>(rows, states);
    }
}

impl First {
    pub(super) fn new(said: Observations) -> Self {
        Self { signal: said.signal.to_vec(), prediction: said.prediction.map(<[i64]>::to_vec) }
    }

    fn said(&self) -> Observations<'_> {
        Observations::new(&self.signal, self.prediction.as_deref())
    }

    /// The state of a request after that.
    pub(super) fn state<R: Rule>(&self, rule: &R, price: &Price, row: usize) -> (Progress, R::Memory) {
        let (mut progress, mut memory) = rule.begin(Given::NOTHING);
        rule.observe(&mut progress, &mut memory, self.said().at(row), price);
        (progress, memory)
    }
}
