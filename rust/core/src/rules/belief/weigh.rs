//! What signals mean, and answers weighed against each other: whose expected loss is the least, all things considered.

use std::sync::Arc;

use super::super::observation::Observation;
use super::super::prediction::NO_PREDICTION;
use super::calibration::{Calibration, LOGIT_LIMIT};
use super::cells;
use super::node::{Evidence, Node};
use super::pairs::Pair;
use super::reading::{Reading, Readings, SLOTS};
use crate::plan::NO_STAGE;

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
        Reading {
            logit: calibration.map_or(Reading::FAILED.logit, |it| it.read(signal, prediction) as f32),
            prediction,
        }
    }

    /// What a signal of `stage` means that is a number.
    #[expect(clippy::inline_always, reason = "two hot callers; the call itself is a tenth of the work")]
    #[inline(always)]
    pub(super) fn known(&self, stage: u16, signal: f64, prediction: i64) -> f32 {
        let calibration = self.calibration.get(usize::from(stage));
        calibration.map_or(Reading::FAILED.logit, |it| it.known(signal, prediction))
    }

    /// The logit of one stage's answer by itself.
    pub(super) fn alone(&self, stage: u16, reading: &Reading) -> f64 {
        if reading.is_known() { reading.logit.into() } else { self.missing(stage) }
    }

    /// The logit that an unknown signal of `stage` counts as.
    pub(super) fn missing(&self, stage: u16) -> f64 {
        self.calibration.get(usize::from(stage)).map_or(0.0, |calibration| calibration.missing_logit)
    }

    /// The weights of a node, as [`Beliefs::believe`] takes them; none where it has one member.
    pub fn cells(&self, node: &Node) -> Vec<f32> {
        let mut found = Vec::new();
        if node.members.len() > 1 {
            cells::push(node, self.recall, self.margin, &mut found);
        }
        found
    }

    /// The belief in the best answer in hand and whose it is; `cells` are those of `node`, `hand` is what each of its members
    /// said, and `is_complete` whether nothing is missing in it.
    #[inline]
    pub fn believe(&self, node: &Node, cells: &[f32], hand: &Readings, is_complete: bool) -> (f64, u16) {
        let m = node.members.len();
        if m == 1 {
            return (self.alone(node.stage, &hand.get(0)), node.stage);
        }
        if !is_complete {
            return self.weigh_some(node, hand);
        }
        let offsets = (!node.disputes.is_empty()).then(|| node.offsets(&self.pairs, hand).map(|offset| offset as f32));
        let (logit, at) = cells::best(cells, m, hand, offsets.as_ref());
        (limited(logit), node.members.get(at).copied().unwrap_or(node.stage))
    }

    /// The same where signals or predictions are missing: a stage without a signal answers only if no member has one, a
    /// stage that failed never does, nor does one that only informs, unless there is no other.
    #[cold]
    fn weigh_some(&self, node: &Node, hand: &Readings) -> (f64, u16) {
        let m = node.members.len();
        let offsets = node.offsets(&self.pairs, hand);
        let mut said = [Reading::FAILED; SLOTS];
        said.iter_mut().zip(hand.iter()).for_each(|(to, from)| *to = from);
        let hand = said.get(..m).unwrap_or_default();
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

/// A belief within its limits.
#[inline]
pub(super) fn limited(logit: f32) -> f64 {
    f64::from(logit.clamp(-LOGIT_LIMIT as f32, LOGIT_LIMIT as f32))
}

/// Posterior logit of a member, not yet limited, where signals or predictions may be missing: a stage without a signal
/// agrees with nobody, and of one that failed nothing is known but what it says on average.
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
        logit += line.offset + line.slope * if other.is_known() { other.logit.into() } else { missing(i) };
    }
    logit
}
