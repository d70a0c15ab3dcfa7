//! Posterior belief with recall (theory, section 4): calibrate, weigh all answers against each other, compare the
//! best with the index.

use serde::{Deserialize, Serialize};

use super::sensor::LOGIT_LIMIT;
use super::{EntryCuts, FlatState, NO_LABEL, NO_STAGE, Rule, Sensor, stage_number};
use crate::plan::{Intervals, STOP};
use crate::price::Price;

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
    fn is_known(&self) -> bool {
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

/// A set of stages that have run: how to weigh their answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// The stage that runs when this node is entered.
    pub stage: u16,
    /// The slot that its report goes to.
    pub slot: u8,
    /// What running it costs.
    pub price: f64,
    /// The stage in each slot; at most [`SLOTS`].
    pub members: Vec<u16>,
    /// `witness[j * m + i]`: what member i says about member j; a member is a witness of itself.
    pub witness: Vec<Witness>,
}

impl Node {
    fn is_valid(&self, stages: usize) -> bool {
        let m = self.members.len();
        (1..=SLOTS).contains(&m)
            && self.members.iter().all(|stage| usize::from(*stage) < stages)
            && self.members.get(usize::from(self.slot)) == Some(&self.stage)
            && self.price >= 0.0
            && self.witness.len() == m * m
            && self.witness.iter().flatten().map(|line| line.offset + line.slope).all(f64::is_finite)
    }
}

/// Posterior logit of a member with this label, where every signal and label is known.
#[inline]
fn posterior(label: i64, witnesses: &[Witness], seen: &[Seen]) -> f64 {
    let mut logit = 0.0;
    for ([differ, equal, _], other) in witnesses.iter().zip(seen) {
        let line = if label == other.label { equal } else { differ };
        logit += line.offset + line.slope * other.logit;
    }
    logit.clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
}

/// The same where labels may be missing.
fn posterior_of_some(label: i64, witnesses: &[Witness], seen: &[Seen]) -> f64 {
    let mut logit = 0.0;
    for ([differ, equal, unknown], other) in witnesses.iter().zip(seen) {
        let known = if label == other.label { equal } else { differ };
        let line = if label == NO_LABEL || other.label == NO_LABEL { unknown } else { known };
        logit += line.offset + line.slope * other.logit;
    }
    logit.clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
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
    /// The same for node 0, on its raw signal.
    #[serde(skip)]
    pub entry: EntryCuts,
}

impl BeliefRule {
    /// Derives the decisions of node 0 on its raw signal.
    pub(crate) fn prepare(&mut self) {
        let sensor = self.nodes.first().and_then(|node| self.sensor.get(usize::from(node.stage)));
        self.entry = sensor.map_or_else(EntryCuts::default, |sensor| EntryCuts::new(sensor, &self.decide));
    }

    /// Books the first report of a request that it ends.
    pub fn enter_first(&self, flat: &mut FlatState) {
        if let Some(node) = self.nodes.first() {
            flat.pay(node.price);
            flat.answer = node.stage;
            flat.next = NO_STAGE;
        }
    }

    /// The stage that runs on entering a node; none for [`STOP`].
    #[inline]
    pub fn stage_of(&self, node: i32) -> u16 {
        usize::try_from(node).ok().and_then(|node| self.nodes.get(node)).map_or(NO_STAGE, |node| node.stage)
    }

    /// What follows the first report.
    #[inline]
    pub fn first_action(&self, signal: f64, label: i64) -> i32 {
        if signal.is_nan() { self.decide.action(0, f64::INFINITY) } else { self.entry.action(signal, label) }
    }

    /// The node that a request is about to enter.
    #[inline]
    pub fn node(&self, flat: &FlatState) -> Option<&Node> {
        self.nodes.get(usize::from(flat.mark))
    }

    /// The stage of `node` reports: remember and weigh, without deciding.
    #[inline]
    pub fn report(&self, node: &Node, flat: &mut FlatState, seen: &mut [Seen; SLOTS], signal: f64, label: i64) {
        let sensor = self.sensor.get(usize::from(node.stage));
        let logit = sensor.map_or(f64::INFINITY, |sensor| sensor.read(signal, label));
        let report = Seen { logit, label };
        if let Some(slot) = seen.get_mut(usize::from(node.slot)) {
            *slot = report;
        }
        flat.memo += i64::from(!report.is_known() || label == NO_LABEL);
        if node.members.len() == 1 && report.is_known() {
            flat.best = logit;
            flat.answer = node.stage;
        } else if flat.memo == 0 {
            self.weigh(node, flat, seen);
        } else if report.is_known() || flat.best < f64::INFINITY {
            self.weigh_some(node, flat, seen);
        } else {
            self.fall_back(flat, node.stage);
        }
    }

    /// Posterior of every member (of the last one alone without recall), where everything is known.
    #[inline]
    fn weigh(&self, node: &Node, flat: &mut FlatState, seen: &[Seen; SLOTS]) {
        let m = node.members.len();
        let Some(seen) = seen.get(..m) else { return };
        if self.recall {
            flat.best = f64::INFINITY;
            for (j, (stage, own)) in node.members.iter().zip(seen).enumerate() {
                let Some(witnesses) = node.witness.get(j * m..(j + 1) * m) else { return };
                let logit = posterior(own.label, witnesses, seen);
                if logit < flat.best {
                    flat.best = logit;
                    flat.answer = *stage;
                }
            }
        } else {
            let j = usize::from(node.slot);
            if let (Some(own), Some(witnesses)) = (seen.get(j), node.witness.get(j * m..(j + 1) * m)) {
                flat.best = posterior(own.label, witnesses, seen);
                flat.answer = node.stage;
            }
        }
    }

    /// The same where signals or labels are missing: an unknown signal counts as the stage's mean, and its answer is
    /// not taken while there is another.
    #[cold]
    fn weigh_some(&self, node: &Node, flat: &mut FlatState, seen: &[Seen; SLOTS]) {
        let mut filled = *seen;
        for (seen, stage) in filled.iter_mut().zip(&node.members).filter(|(seen, _)| !seen.is_known()) {
            seen.logit = self.sensor.get(usize::from(*stage)).map_or(0.0, |sensor| sensor.mean_logit);
        }
        let mut best = f64::INFINITY;
        let members = node.members.iter().zip(seen).zip(node.witness.chunks_exact(node.members.len()));
        for ((stage, own), witnesses) in members {
            if own.is_known() && (self.recall || *stage == node.stage) {
                let logit = posterior_of_some(own.label, witnesses, &filled);
                if logit < best {
                    best = logit;
                    flat.answer = *stage;
                }
            }
        }
        if best < f64::INFINITY {
            flat.best = best;
        }
    }

    /// Without any known signal: the answer to fall back on is the one with the least mean loss.
    #[cold]
    fn fall_back(&self, flat: &mut FlatState, stage: u16) {
        let mean = |stage: u16| self.sensor.get(usize::from(stage)).map_or(f64::INFINITY, |sensor| sensor.mean_loss);
        if flat.answer == NO_STAGE || mean(stage) <= mean(flat.answer) {
            flat.answer = stage;
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
        } else if self.decide.rows() != self.nodes.len() {
            Some("the decisions do not fit the nodes")
        } else {
            // Children come after their parents.
            self.decide.problem(self.nodes.len(), |row| row as i32)
        }
    }
}

impl Rule for BeliefRule {
    /// By slot of the node.
    type Memory = [Seen; SLOTS];

    #[inline]
    fn begin(&self) -> (FlatState, [Seen; SLOTS]) {
        let first = self.nodes.first().map_or(STOP, |node| i32::from(node.stage));
        (FlatState::new(first, f64::INFINITY), [Seen::NONE; SLOTS])
    }

    #[inline]
    fn step(&self, flat: &mut FlatState, seen: &mut [Seen; SLOTS], signal: f64, label: i64, _price: &Price) {
        let Some(node) = self.node(flat) else { return };
        flat.pay(node.price);
        self.report(node, flat, seen, signal, label);
        let child = match flat.mark {
            0 => self.first_action(signal, label),
            mark => self.decide.action(usize::from(mark), flat.best),
        } as u16;
        flat.next = NO_STAGE;
        if let Some(node) = self.nodes.get(usize::from(child)) {
            flat.mark = child;
            flat.next = node.stage;
        }
    }

    #[inline]
    fn ends_at_once(&self, signal: f64, label: i64) -> bool {
        self.first_action(signal, label) == STOP
    }

    fn expected_loss(&self, flat: &FlatState) -> f64 {
        match stage_number(flat.answer) {
            None => f64::INFINITY,
            Some(held) if flat.best == f64::INFINITY => {
                self.sensor.get(held).map_or(f64::INFINITY, |sensor| sensor.mean_loss)
            }
            Some(_) => self.scale / (1.0 + (-flat.best).exp()),
        }
    }
}
