//! Posterior belief with recall (theory, section 4): calibrate, weigh all answers against each other, compare the
//! best with the index.

use serde::{Deserialize, Serialize};

use super::sensor::LOGIT_LIMIT;
use super::{FlatState, NO_LABEL, Rule, Sensor};
use crate::plan::{Intervals, STOP};

/// Answers that are weighed against each other; on a longer path the oldest is let go.
pub const SLOTS: usize = 8;

/// What one stage said.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// Calibrated logit of its expected loss; infinite if its signal was not a number.
    pub logit: f64,
    /// Its label.
    pub label: i64,
}

impl Seen {
    /// Nothing.
    pub const NONE: Self = Self { logit: f64::INFINITY, label: NO_LABEL };

    /// Whether its signal was a number.
    #[inline]
    pub fn is_known(&self) -> bool {
        self.logit < f64::INFINITY
    }
}

/// `offset + slope · logit`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Constant term.
    pub offset: f64,
    /// Factor of the logit.
    pub slope: f64,
}

/// What another answer says about one: a line in its logit for labels that differ, are equal, or are not known.
pub type Witness = [Line; 3];

/// A set of stages that have run, in order: how to weigh their answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// The stage in each slot, in the order of slots; at most [`SLOTS`].
    pub members: Vec<u16>,
    /// The slot of the stage that ran last.
    pub slot: u8,
    /// Own part of each member's posterior (m,).
    pub own: Vec<Line>,
    /// `witness[j * m + i]`: what member i says about member j; zero for i = j.
    pub witness: Vec<Witness>,
}

impl Node {
    fn is_valid(&self, stages: usize) -> bool {
        let m = self.members.len();
        let lines = self.own.iter().chain(self.witness.iter().flatten());
        (1..=SLOTS).contains(&m)
            && self.members.iter().all(|stage| usize::from(*stage) < stages)
            && usize::from(self.slot) < m
            && self.own.len() == m
            && self.witness.len() == m * m
            && lines.map(|line| line.offset + line.slope).all(f64::is_finite)
    }

    /// The stage that runs when this node is entered.
    #[inline]
    pub fn stage(&self) -> i16 {
        self.members.get(usize::from(self.slot)).map_or(STOP as i16, |stage| *stage as i16)
    }

    /// Posterior logit of member `j`.
    #[inline]
    fn posterior(&self, j: usize, seen: &[Seen; SLOTS]) -> f64 {
        let m = self.members.len();
        let (Some(own), Some(me), Some(witnesses)) =
            (self.own.get(j), seen.get(j), self.witness.get(j * m..(j + 1) * m))
        else {
            return f64::INFINITY;
        };
        let mut logit = own.offset + own.slope * me.logit;
        for (witness, other) in witnesses.iter().zip(seen) {
            let [differ, equal, unknown] = witness;
            let line = if me.label == NO_LABEL || other.label == NO_LABEL {
                unknown
            } else if me.label == other.label {
                equal
            } else {
                differ
            };
            logit += line.offset + line.slope * other.logit;
        }
        logit.clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
    }
}

/// Calibration, weights and indices of a fitted policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BeliefRule {
    /// Whether an earlier answer may be returned.
    pub recall: bool,
    /// Losses are `scale · sigmoid(belief)`.
    pub scale: f64,
    /// Calibration, one per stage (k,).
    pub sensor: Vec<Sensor>,
    /// The sets of stages that a request can pass through; it begins at node 0.
    pub nodes: Vec<Node>,
    /// Stop or go to which node, one row per node, on the belief in hand.
    pub decide: Intervals,
}

/// The shared state and what each stage in hand said.
#[derive(Clone, Copy, Debug)]
pub struct BeliefState {
    /// The part all rules share; `mark` is the node that the waiting stage leads to.
    pub flat: FlatState,
    /// By slot of the node.
    pub seen: [Seen; SLOTS],
}

impl BeliefRule {
    /// The node that a request is about to enter.
    #[inline]
    pub fn node(&self, flat: &FlatState) -> Option<&Node> {
        self.nodes.get(usize::from(flat.mark))
    }

    /// Weighs the answers in hand; updates the best of them.
    #[inline]
    fn assess(&self, node: &Node, flat: &mut FlatState, seen: &[Seen; SLOTS]) {
        if node.members.len() == 1 {
            let [first, ..] = seen;
            flat.best = first.logit;
            flat.answer = node.stage();
        } else if seen.iter().take(node.members.len()).all(Seen::is_known) {
            self.weigh(node, flat, seen, seen);
        } else {
            let mut filled = *seen;
            for (seen, stage) in filled.iter_mut().zip(&node.members).filter(|(seen, _)| !seen.is_known()) {
                seen.logit = self.sensor.get(usize::from(*stage)).map_or(0.0, |sensor| sensor.mean_logit);
            }
            self.weigh(node, flat, seen, &filled);
        }
    }

    /// Posterior of every member whose own signal is known (of the last one alone without recall); `filled` has a
    /// logit in every slot.
    #[inline]
    fn weigh(&self, node: &Node, flat: &mut FlatState, seen: &[Seen; SLOTS], filled: &[Seen; SLOTS]) {
        let slot = usize::from(node.slot);
        if self.recall {
            flat.best = f64::INFINITY;
            for (j, (stage, seen)) in node.members.iter().zip(seen).enumerate() {
                let logit = if seen.is_known() { node.posterior(j, filled) } else { f64::INFINITY };
                if logit < flat.best {
                    flat.best = logit;
                    flat.answer = *stage as i16;
                }
            }
        } else if seen.get(slot).is_some_and(Seen::is_known) {
            flat.best = node.posterior(slot, filled);
            flat.answer = node.stage();
        }
    }

    /// Without any known signal: the answer to fall back on is the one with the least mean loss.
    fn fall_back(&self, flat: &mut FlatState, stage: i16) {
        let mean = |stage: i16| {
            let sensor = usize::try_from(stage).ok().and_then(|stage| self.sensor.get(stage));
            sensor.map_or(f64::INFINITY, |sensor| sensor.mean_loss)
        };
        if flat.answer == STOP as i16 || mean(stage) <= mean(flat.answer) {
            flat.answer = stage;
        }
    }

    /// The stage of `node` reports: remember and weigh, without deciding.
    #[inline]
    pub fn report(&self, node: &Node, flat: &mut FlatState, seen: &mut [Seen; SLOTS], signal: f64, label: i64) {
        let stage = node.stage();
        let sensor = usize::try_from(stage).ok().and_then(|stage| self.sensor.get(stage));
        let logit = sensor.map_or(f64::INFINITY, |sensor| sensor.read(signal, label));
        if let Some(slot) = seen.get_mut(usize::from(node.slot)) {
            *slot = Seen { logit, label };
        }
        if logit < f64::INFINITY || flat.best < f64::INFINITY {
            self.assess(node, flat, seen);
        } else {
            self.fall_back(flat, stage);
        }
    }

    /// The stage of the node ahead reports: remember, weigh, decide.
    #[inline]
    pub fn enter(&self, flat: &mut FlatState, seen: &mut [Seen; SLOTS], signal: f64, label: i64, price: f64) {
        let Some(node) = self.node(flat) else { return };
        flat.pay(price);
        self.report(node, flat, seen, signal, label);
        let child = self.decide.action(usize::from(flat.mark), flat.best);
        flat.next = STOP as i16;
        if let Some(node) = usize::try_from(child).ok().and_then(|child| self.nodes.get(child)) {
            flat.mark = child as u16;
            flat.next = node.stage();
        }
    }

    /// Why this rule could not be executed, if so.
    pub fn problem(&self, stages: usize) -> Option<&'static str> {
        if self.sensor.len() != stages || !self.sensor.iter().all(Sensor::is_valid) || !self.scale.is_finite() {
            Some("a calibration is not valid")
        } else if self.nodes.is_empty() || self.nodes.len() > usize::from(u16::MAX) {
            Some("there must be 1..=65535 nodes")
        } else if !self.nodes.iter().all(|node| node.is_valid(stages)) {
            Some("a node is not valid")
        } else if self.decide.rows() != self.nodes.len()
            || self.nodes.first().is_none_or(|node| node.members.len() != 1)
        {
            Some("the decisions do not fit the nodes")
        } else {
            None
        }
    }
}

impl Rule for BeliefRule {
    type State = BeliefState;

    fn begin(&self) -> BeliefState {
        let first = self.nodes.first().map_or(STOP as i16, Node::stage);
        BeliefState { flat: FlatState::new(first, f64::INFINITY), seen: [Seen::NONE; SLOTS] }
    }

    #[inline]
    fn step(&self, state: &mut BeliefState, signal: f64, label: i64, price: f64) {
        self.enter(&mut state.flat, &mut state.seen, signal, label, price);
    }

    fn expected_loss(&self, flat: &FlatState) -> f64 {
        match usize::try_from(flat.answer) {
            Err(_) => f64::INFINITY,
            Ok(held) if flat.best == f64::INFINITY => {
                self.sensor.get(held).map_or(f64::INFINITY, |sensor| sensor.mean_loss)
            }
            Ok(_) => self.scale / (1.0 + (-flat.best).exp()),
        }
    }

    #[inline]
    fn flat(state: &BeliefState) -> &FlatState {
        &state.flat
    }
}
