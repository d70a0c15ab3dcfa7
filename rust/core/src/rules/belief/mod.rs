//! Posterior belief with recall (theory, section 4): calibrate, weigh all answers against each other, compare the
//! best with the index.

mod calibration;
mod curve;
mod entry;

pub use calibration::{Calibration, LOGIT_LIMIT};
pub use curve::{Curve, KNOTS};
pub use entry::EntryCuts;

use serde::{Deserialize, Serialize};

use super::{NO_PREDICTION, NO_STAGE, Progress, Rule};
use crate::plan::{Intervals, Row, STOP};
use crate::price::Price;

/// Answers that are weighed against each other; on a longer path the oldest is let go.
pub const SLOTS: usize = 8;

/// What one stage said.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// Calibrated logit of its expected loss; infinite if its signal was not a number.
    pub logit: f64,
    /// Its prediction.
    pub prediction: i64,
}

impl Reading {
    /// Nothing.
    pub const NONE: Self = Self { logit: f64::INFINITY, prediction: NO_PREDICTION };

    /// Whether it has both a signal and a prediction.
    #[inline]
    pub fn is_complete(&self) -> bool {
        self.is_known() && self.prediction != NO_PREDICTION
    }

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

/// What another answer says about one: a line in its logit for predictions that differ, are equal, or are not known.
pub type Evidence = [Line; 3];

/// A set of stages that have run: how to weigh their answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// The stage that runs when this node is entered.
    pub stage: u16,
    /// The slot that its report goes to.
    pub slot: u8,
    /// What running it costs.
    pub price: f64,
    /// The stages whose answers are weighed, ascending; at most [`SLOTS`].
    pub members: Vec<u16>,
    /// The member whose answer is favoured when answers are compared.
    pub favoured: u16,
    /// The slot of each member; empty where that is 0, 1, ….
    pub places: Vec<u8>,
    /// `evidence[j * m + i]`: what member i says about member j; a member is a evidence of itself.
    pub evidence: Vec<Evidence>,
}

impl Node {
    /// What its members said, in their order.
    #[inline]
    fn hand(&self, seen: &[Reading; SLOTS]) -> [Reading; SLOTS] {
        let mut hand = *seen;
        for (hand, place) in hand.iter_mut().zip(&self.places) {
            *hand = seen.get(usize::from(*place)).copied().unwrap_or(Reading::NONE);
        }
        hand
    }

    fn is_valid(&self, stages: usize) -> bool {
        let m = self.members.len();
        let own = self.members.iter().position(|stage| *stage == self.stage);
        let place =
            own.and_then(|own| if self.places.is_empty() { Some(own as u8) } else { self.places.get(own).copied() });
        (1..=SLOTS).contains(&m)
            && self.members.iter().all(|stage| usize::from(*stage) < stages)
            && self.members.contains(&self.favoured)
            && place == Some(self.slot)
            && (self.places.is_empty() || self.places.len() == m)
            && self.places.iter().all(|place| usize::from(*place) < SLOTS)
            && self.price >= 0.0
            && self.evidence.len() == m * m
            && self.evidence.iter().flatten().map(|line| line.offset + line.slope).all(f64::is_finite)
    }
}

/// Posterior logit of a member with this prediction, not yet limited, where every signal and prediction is known.
#[inline]
fn posterior<const M: usize>(prediction: i64, evidences: &[Evidence; M], seen: &[Reading; M]) -> f64 {
    let mut logit = 0.0;
    for ([differ, equal, _], other) in evidences.iter().zip(seen) {
        let line = if prediction == other.prediction { equal } else { differ };
        logit += line.offset + line.slope * other.logit;
    }
    logit
}

/// The same where signals or predictions may be missing: a stage without a signal agrees with nobody.
fn posterior_of_some(own: &Reading, evidences: &[Evidence], seen: &[Reading], missing: impl Fn(usize) -> f64) -> f64 {
    let mut logit = 0.0;
    for (i, ([differ, equal, unknown], other)) in evidences.iter().zip(seen).enumerate() {
        let line = if !own.is_known() || !other.is_known() {
            differ
        } else if own.prediction == NO_PREDICTION || other.prediction == NO_PREDICTION {
            unknown
        } else if own.prediction == other.prediction {
            equal
        } else {
            differ
        };
        logit += line.offset + line.slope * if other.is_known() { other.logit } else { missing(i) };
    }
    logit
}

/// Calibration, weights and indices of a fitted policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BeliefRule {
    /// Whether an earlier answer may be returned.
    pub recall: bool,
    /// Logits by which the favoured answer of a node is favoured.
    pub margin: f64,
    /// Losses are `scale · sigmoid(belief)`.
    pub scale: f64,
    /// Calibration, one per stage (k,).
    pub calibration: Vec<Calibration>,
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
        let calibration = self.nodes.first().and_then(|node| self.calibration.get(usize::from(node.stage)));
        self.entry =
            calibration.map_or_else(EntryCuts::default, |calibration| EntryCuts::new(calibration, &self.decide));
    }

    /// Books the first report of a request that it ends.
    pub fn enter_first(&self, progress: &mut Progress) {
        if let Some(node) = self.nodes.first() {
            progress.pay(node.price);
            progress.answer = node.stage;
            progress.next = NO_STAGE;
        }
    }

    /// The stage that runs on entering a node; none for [`STOP`].
    #[inline]
    pub fn stage_of(&self, node: i32) -> u16 {
        usize::try_from(node).ok().and_then(|node| self.nodes.get(node)).map_or(NO_STAGE, |node| node.stage)
    }

    /// What follows the first report.
    #[inline]
    pub fn first_action(&self, signal: f64, prediction: i64) -> i32 {
        if signal.is_nan() {
            let stage = self.nodes.first().map_or(0, |node| node.stage);
            self.decide.action(0, self.missing(stage))
        } else {
            self.entry.action(signal, prediction)
        }
    }

    /// The logit after the first report alone, of which `best` and `memo` hold the raw signal and the prediction; `None`
    /// where the signal was not a number.
    #[expect(clippy::inline_always, reason = "one hot caller; the call itself is a tenth of the work")]
    #[inline(always)]
    fn first_logit(&self, progress: &Progress) -> Option<f64> {
        let calibration = self.calibration.get(usize::from(progress.answer))?;
        Some(calibration.read(progress.best, progress.memo)).filter(|logit| *logit < f64::INFINITY)
    }

    /// Works out the first report, which the second is about to join.
    #[inline]
    fn catch_up(&self, progress: &mut Progress, seen: &mut [Reading; SLOTS]) {
        let [first, ..] = seen;
        *first = Reading { logit: self.first_logit(progress).unwrap_or(f64::INFINITY), prediction: progress.memo };
        progress.memo = i64::from(!first.is_complete());
    }

    /// The node that a request is about to enter.
    #[inline]
    pub fn node(&self, progress: &Progress) -> Option<&Node> {
        self.nodes.get(usize::from(progress.mark))
    }

    /// The stage of `node` reports: remember and weigh, without deciding.
    #[inline]
    fn report(&self, node: &Node, progress: &mut Progress, seen: &mut [Reading; SLOTS], signal: f64, prediction: i64) {
        let calibration = self.calibration.get(usize::from(node.stage));
        let logit = calibration.map_or(f64::INFINITY, |calibration| calibration.read(signal, prediction));
        let report = Reading { logit, prediction };
        if let Some(slot) = seen.get_mut(usize::from(node.slot)) {
            *slot = report;
        }
        progress.memo += i64::from(!report.is_complete());
        let is_complete = progress.memo == 0;
        (progress.best, progress.answer) = if node.places.is_empty() {
            self.believe(node, seen, is_complete)
        } else {
            self.believe(node, &node.hand(seen), is_complete)
        };
    }

    /// The belief in the best answer in hand and whose it is; `hand` is what each member of `node` said, and
    /// `is_complete` whether nothing is missing in it.
    #[expect(clippy::inline_always, reason = "one hot caller; the call itself is a tenth of the work")]
    #[inline(always)]
    pub fn believe(&self, node: &Node, hand: &[Reading; SLOTS], is_complete: bool) -> (f64, u16) {
        let [first, ..] = hand;
        if node.members.len() == 1 {
            (if first.is_known() { first.logit } else { self.missing(node.stage) }, node.stage)
        } else if is_complete {
            self.weigh(node, hand)
        } else {
            self.weigh_some(node, hand)
        }
    }

    /// The least posterior logit (that of the last stage without recall) and whose it is, where everything is known;
    /// `hand` is what each member said.
    #[expect(clippy::inline_always, reason = "one hot caller; the call itself is a tenth of the work")]
    #[inline(always)]
    fn weigh(&self, node: &Node, hand: &[Reading; SLOTS]) -> (f64, u16) {
        // One copy of the loops per number of members, so that they are unrolled.
        match node.members.len() {
            2 => self.weigh_members::<2>(node, hand),
            3 => self.weigh_members::<3>(node, hand),
            4 => self.weigh_members::<4>(node, hand),
            5 => self.weigh_members::<5>(node, hand),
            6 => self.weigh_members::<6>(node, hand),
            7 => self.weigh_members::<7>(node, hand),
            _ => self.weigh_members::<SLOTS>(node, hand),
        }
    }

    #[inline]
    fn weigh_members<const M: usize>(&self, node: &Node, hand: &[Reading; SLOTS]) -> (f64, u16) {
        let rows = node.evidence.as_chunks::<M>().0.first_chunk::<M>();
        let (Some(hand), Some(stages), Some(rows)) = (hand.first_chunk::<M>(), node.members.first_chunk::<M>(), rows)
        else {
            return (f64::INFINITY, NO_STAGE);
        };
        let mut best = (f64::INFINITY, node.stage);
        let mut least = f64::INFINITY;
        for ((stage, own), evidences) in stages.iter().zip(hand).zip(rows) {
            let is_last = *stage == node.stage;
            if !self.recall && !is_last {
                continue;
            }
            let logit = posterior(own.prediction, evidences, hand);
            let rank = logit - if *stage == node.favoured { self.margin } else { 0.0 };
            if rank < least {
                least = rank;
                best = (logit, *stage);
            }
        }
        (best.0.clamp(-LOGIT_LIMIT, LOGIT_LIMIT), best.1)
    }

    /// The same where signals or predictions are missing: a stage without a signal answers only if no member has one.
    #[cold]
    fn weigh_some(&self, node: &Node, hand: &[Reading; SLOTS]) -> (f64, u16) {
        let m = node.members.len();
        let hand = hand.get(..m).unwrap_or_default();
        let missing = |i: usize| node.members.get(i).map_or(0.0, |stage| self.missing(*stage));
        let is_dark = !hand.iter().any(Reading::is_known);
        let candidates = || node.members.iter().zip(hand).filter(|(_, own)| is_dark || own.is_known());
        let is_last_one = |stage: u16| {
            let is_candidate = candidates().any(|(stage, _)| *stage == node.stage);
            Some(stage)
                == if is_candidate { Some(node.stage) } else { candidates().map(|(stage, _)| *stage).next_back() }
        };
        let mut best = (f64::INFINITY, NO_STAGE);
        let mut least = f64::INFINITY;
        for ((stage, own), evidences) in node.members.iter().zip(hand).zip(node.evidence.chunks_exact(m)) {
            if (is_dark || own.is_known()) && (self.recall || is_last_one(*stage)) {
                let logit = posterior_of_some(own, evidences, hand, missing);
                let rank = logit - if *stage == node.favoured { self.margin } else { 0.0 };
                if rank < least {
                    least = rank;
                    best = (logit, *stage);
                }
            }
        }
        (best.0.clamp(-LOGIT_LIMIT, LOGIT_LIMIT), best.1)
    }

    /// The logit that an unknown signal of `stage` counts as.
    fn missing(&self, stage: u16) -> f64 {
        self.calibration.get(usize::from(stage)).map_or(0.0, |calibration| calibration.missing_logit)
    }

    /// Why this rule could not be executed, if so.
    pub fn problem(&self, stages: usize) -> Option<&'static str> {
        if self.calibration.len() != stages
            || !self.calibration.iter().all(Calibration::is_valid)
            || !self.scale.is_finite()
            || !self.margin.is_finite()
        {
            Some("a calibration is not valid")
        } else if self.nodes.is_empty() || self.nodes.len() > usize::from(u16::MAX) {
            Some("there must be 1..=65535 nodes")
        } else if !self.nodes.iter().all(|node| node.is_valid(stages)) {
            Some("a node is not valid")
        } else if self.nodes.first().is_some_and(|node| node.slot != 0 || node.members.len() != 1) {
            Some("the first node does not begin")
        } else if self.decide.rows() != self.nodes.len() {
            Some("the decisions do not fit the nodes")
        } else {
            // Children come after their parents.
            self.decide.problem(self.nodes.len(), |row| row as i32).or_else(|| self.growth_problem())
        }
    }

    /// Every node has one member more than the one before it, until all slots are taken.
    fn growth_problem(&self) -> Option<&'static str> {
        let members = |node: usize| self.nodes.get(node).map_or(0, |node| node.members.len());
        let grows = |(at, row): (usize, &Row)| {
            let targets = self.decide.steps(row).map(|(_, next)| next).chain([row.last]);
            let mut children = targets.filter_map(|next| usize::try_from(next).ok());
            children.all(|child| members(child) == (members(at) + 1).min(SLOTS))
        };
        let all_grow = self.decide.table().iter().enumerate().all(grows);
        if all_grow { None } else { Some("a node does not follow from the one before it") }
    }
}

impl Rule for BeliefRule {
    /// By slot of the node.
    type Memory = [Reading; SLOTS];

    #[inline]
    fn begin(&self) -> (Progress, [Reading; SLOTS]) {
        let first = self.nodes.first().map_or(STOP, |node| i32::from(node.stage));
        (Progress::new(first, f64::INFINITY), [Reading::NONE; SLOTS])
    }

    #[inline]
    fn step(&self, progress: &mut Progress, seen: &mut [Reading; SLOTS], signal: f64, prediction: i64, _price: &Price) {
        let Some(node) = self.node(progress) else { return };
        let is_first = node.members.len() == 1;
        if node.members.len() == 2 {
            self.catch_up(progress, seen);
        }
        progress.pay(node.price);
        let child = if is_first {
            // Most requests end here: what the signal means is worked out only if it is asked for.
            (progress.best, progress.memo, progress.answer) = (signal, prediction, node.stage);
            self.first_action(signal, prediction)
        } else {
            self.report(node, progress, seen, signal, prediction);
            self.decide.action(usize::from(progress.mark), progress.best)
        } as u16;
        progress.next = NO_STAGE;
        if let Some(node) = self.nodes.get(usize::from(child)) {
            progress.mark = child;
            progress.next = node.stage;
        }
    }

    #[inline]
    fn ends_at_once(&self, signal: f64, prediction: i64) -> bool {
        self.first_action(signal, prediction) == STOP
    }

    fn expected_loss(&self, progress: &Progress, _: &[Reading; SLOTS]) -> f64 {
        let logit = match self.node(progress) {
            _ if progress.answer == NO_STAGE => return f64::INFINITY,
            Some(node) if node.members.len() == 1 || (progress.is_waiting() && node.members.len() == 2) => {
                self.first_logit(progress).unwrap_or_else(|| self.missing(progress.answer))
            }
            _ => progress.best,
        };
        self.scale / (1.0 + (-logit).exp())
    }
}
