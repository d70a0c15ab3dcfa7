//! What a request has in hand: a belief, and whether that is in an answer.

use super::super::progress::Progress;
use super::calibration::Calibration;
use super::memory::BeliefMemory;
use super::rule::BeliefRule;
use crate::plan::NO_STAGE;

impl BeliefRule {
    /// The belief in the best answer in hand; infinite while there is none.
    pub(super) fn belief(&self, progress: &Progress, memory: &BeliefMemory) -> f64 {
        match self.nodes.get(usize::from(memory.node)) {
            _ if progress.answer == NO_STAGE => f64::INFINITY,
            Some(node) if node.members.len() == 1 || (progress.is_waiting() && node.members.len() == 2) => {
                self.beliefs.alone(progress.answer, &self.beliefs.read(progress.answer, memory.first()))
            }
            _ => memory.belief,
        }
    }

    /// The belief that decisions are taken on where no stage is in hand after `stage` failed: the worst one, unless
    /// nothing is an answer. Then it is that in `stage`, were it not better than nothing.
    pub(super) fn empty_handed(&self, stage: u16) -> f64 {
        let limit = self.nothing.limit();
        if limit < f64::INFINITY { limit.max(self.beliefs.missing(stage)) } else { limit }
    }

    /// Whether nothing would be answered now: no stage that answers is in hand, or nothing is better.
    pub(super) fn declines(&self, progress: &Progress, memory: &BeliefMemory) -> bool {
        self.is_without_answer(progress) || self.nothing.beats(self.belief(progress, memory))
    }

    /// Whether no stage is in hand but those that inform and never answer.
    pub(super) fn is_without_answer(&self, progress: &Progress) -> bool {
        progress.answer == NO_STAGE || (self.has_probes && self.is_probe(progress.answer))
    }

    /// Whether a stage informs and never answers.
    pub(super) fn is_probe(&self, stage: u16) -> bool {
        self.beliefs.calibration.get(usize::from(stage)).is_some_and(Calibration::is_probe)
    }
}
