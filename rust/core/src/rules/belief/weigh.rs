//! What signals mean, and answers weighed against each other: whose expected loss is the least, all things considered.

use std::sync::Arc;

use super::super::observation::Observation;
use super::super::prediction::NO_PREDICTION;
use super::calibration::{Calibration, LOGIT_LIMIT};
use super::node::{Evidence, Node};
use super::pairs::Pair;
use super::reading::{Reading, SLOTS};
use crate::plan::NO_STAGE;

/// Where it does not matter which classes are named.
const NO_OFFSETS: [f64; SLOTS] = [0.0; SLOTS];

/// How beliefs are formed; nothing in it depends on the trade-off.
#[derive(Clone, Debug, PartialEq)]
pub struct Beliefs {
    /// Whether an earlier answer may be returned.
    pub recall: bool,
    /// Logits by which the favoured answer of a node is favoured.
    pub margin: f64,
    /// Losses are `scale · sigmoid(belief)`, in the unit of the losses.
    pub scale: f64,
    /// Calibration, one per stage (k,).
    pub calibration: Vec<Calibration>,
    /// What it says about two stages which classes they name; of each two at most one.
    pub pairs: Arc<[Pair]>,
}

impl Beliefs {
    /// The expected loss, in the unit of the losses, that a logit stands for.
    #[inline]
    pub fn loss_of(&self, logit: f64) -> f64 {
        self.scale / (1.0 + (-logit).exp())
    }

    /// What the report of `stage` means; no stage has failed.
    #[inline]
    pub fn read(&self, stage: u16, observation: Observation) -> Reading {
        let Observation { signal, prediction, .. } = observation;
        let calibration = self.calibration.get(usize::from(stage));
        Reading { logit: calibration.map_or(Reading::FAILED.logit, |it| it.read(signal, prediction)), prediction }
    }

    /// The logit of one stage's answer by itself.
    pub(super) fn alone(&self, stage: u16, reading: &Reading) -> f64 {
        if reading.is_known() { reading.logit } else { self.missing(stage) }
    }

    /// The logit that an unknown signal of `stage` counts as.
    pub(super) fn missing(&self, stage: u16) -> f64 {
        self.calibration.get(usize::from(stage)).map_or(0.0, |calibration| calibration.missing_logit)
    }

    /// The belief in the best answer in hand and whose it is; `hand` is what each member of `node` said, and
    /// `is_complete` whether nothing is missing in it.
    #[expect(clippy::inline_always, reason = "one hot caller; the call itself is a tenth of the work")]
    #[inline(always)]
    pub fn believe(&self, node: &Node, hand: &[Reading; SLOTS], is_complete: bool) -> (f64, u16) {
        let [first, ..] = hand;
        if node.members.len() == 1 {
            (self.alone(node.stage, first), node.stage)
        } else if is_complete && node.mute == 0 {
            if node.disputes.is_empty() { self.weigh(node, hand) } else { self.weigh_disputed(node, hand) }
        } else {
            self.weigh_some(node, hand)
        }
    }

    /// The least posterior logit (that of the last stage without recall) and whose it is, where everything is known.
    #[expect(clippy::inline_always, reason = "one hot caller; the call itself is a tenth of the work")]
    #[inline(always)]
    fn weigh(&self, node: &Node, hand: &[Reading; SLOTS]) -> (f64, u16) {
        // One copy of the loops per number of members, so that they are unrolled.
        match node.members.len() {
            2 => self.weigh_members::<2, false>(node, hand, &NO_OFFSETS),
            3 => self.weigh_members::<3, false>(node, hand, &NO_OFFSETS),
            4 => self.weigh_members::<4, false>(node, hand, &NO_OFFSETS),
            5 => self.weigh_members::<5, false>(node, hand, &NO_OFFSETS),
            6 => self.weigh_members::<6, false>(node, hand, &NO_OFFSETS),
            7 => self.weigh_members::<7, false>(node, hand, &NO_OFFSETS),
            _ => self.weigh_members::<SLOTS, false>(node, hand, &NO_OFFSETS),
        }
    }

    /// The same where it matters which classes are named.
    #[inline(never)]
    fn weigh_disputed(&self, node: &Node, hand: &[Reading; SLOTS]) -> (f64, u16) {
        let offsets = node.offsets(&self.pairs, hand);
        match node.members.len() {
            2 => self.weigh_members::<2, true>(node, hand, &offsets),
            3 => self.weigh_members::<3, true>(node, hand, &offsets),
            4 => self.weigh_members::<4, true>(node, hand, &offsets),
            5 => self.weigh_members::<5, true>(node, hand, &offsets),
            6 => self.weigh_members::<6, true>(node, hand, &offsets),
            7 => self.weigh_members::<7, true>(node, hand, &offsets),
            _ => self.weigh_members::<SLOTS, true>(node, hand, &offsets),
        }
    }

    #[inline]
    fn weigh_members<const M: usize, const DISPUTED: bool>(
        &self,
        node: &Node,
        hand: &[Reading; SLOTS],
        offsets: &[f64; SLOTS],
    ) -> (f64, u16) {
        let rows = node.evidence.as_chunks::<M>().0.first_chunk::<M>();
        let (Some(hand), Some(stages), Some(rows)) = (hand.first_chunk::<M>(), node.members.first_chunk::<M>(), rows)
        else {
            return (f64::INFINITY, NO_STAGE);
        };
        let mut best = (f64::INFINITY, node.stage);
        let mut least = f64::INFINITY;
        for (((stage, own), evidence), offset) in stages.iter().zip(hand).zip(rows).zip(offsets) {
            let is_last = *stage == node.last;
            if !self.recall && !is_last {
                continue;
            }
            let logit = posterior(own.prediction, evidence, hand);
            let logit = if DISPUTED { logit + offset } else { logit };
            let rank = logit - if *stage == node.favoured { self.margin } else { 0.0 };
            if rank < least {
                least = rank;
                best = (logit, *stage);
            }
        }
        (best.0.clamp(-LOGIT_LIMIT, LOGIT_LIMIT), best.1)
    }

    /// The same where signals or predictions are missing: a stage without a signal answers only if no member has one, a
    /// stage that failed never does, nor does one that only informs, unless there is no other.
    #[cold]
    fn weigh_some(&self, node: &Node, hand: &[Reading; SLOTS]) -> (f64, u16) {
        let m = node.members.len();
        let hand = hand.get(..m).unwrap_or_default();
        let missing = |i: usize| node.members.get(i).map_or(0.0, |stage| self.missing(*stage));
        let can_answer = |(at, own): (usize, &Reading)| node.mute >> at & 1 == 0 && !own.is_failed();
        let mute = if hand.iter().enumerate().any(can_answer) { node.mute } else { 0 };
        let answers = |at: usize| mute >> at & 1 == 0;
        let is_dark = !hand.iter().enumerate().any(|(at, own)| answers(at) && own.is_known());
        let may_answer = |at: usize, own: &Reading| answers(at) && ((is_dark && !own.is_failed()) || own.is_known());
        let candidates = || {
            node.members.iter().zip(hand).enumerate().filter(|(at, (_, own))| may_answer(*at, own)).map(|(_, one)| one)
        };
        let is_last_one = |stage: u16| {
            let is_candidate = candidates().any(|(stage, _)| *stage == node.last);
            Some(stage)
                == if is_candidate { Some(node.last) } else { candidates().map(|(stage, _)| *stage).next_back() }
        };
        let mut best = (f64::INFINITY, NO_STAGE);
        let mut least = f64::INFINITY;
        let offsets = node.offsets(&self.pairs, hand);
        let weighed = node.members.iter().zip(hand).zip(node.evidence.chunks_exact(m)).zip(offsets).enumerate();
        for (at, (((stage, own), evidence), offset)) in weighed {
            if may_answer(at, own) && (self.recall || is_last_one(*stage)) {
                let logit = posterior_of_some(own, evidence, hand, missing) + offset;
                let rank = logit - if *stage == node.favoured { self.margin } else { 0.0 };
                if rank < least {
                    least = rank;
                    best = (logit, *stage);
                }
            }
        }
        (best.0.clamp(-LOGIT_LIMIT, LOGIT_LIMIT), best.1)
    }
}

/// Posterior logit of a member with this prediction, not yet limited, where every signal and prediction is known.
#[inline]
fn posterior<const M: usize>(prediction: i64, evidence: &[Evidence; M], hand: &[Reading; M]) -> f64 {
    let mut logit = 0.0;
    for ([differ, equal, _], other) in evidence.iter().zip(hand) {
        let line = if prediction == other.prediction { equal } else { differ };
        logit += line.offset + line.slope * other.logit;
    }
    logit
}

/// The same where signals or predictions may be missing: a stage without a signal agrees with nobody, and of one that
/// failed nothing is known but what it says on average.
fn posterior_of_some(own: &Reading, evidence: &[Evidence], hand: &[Reading], missing: impl Fn(usize) -> f64) -> f64 {
    let mut logit = 0.0;
    for (i, ([differ, equal, unknown], other)) in evidence.iter().zip(hand).enumerate() {
        let line = if other.is_failed() {
            unknown
        } else if !own.is_known() || !other.is_known() {
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
