//! Reports: the first, which is compared with thresholds, and the others, which are weighed.

use super::super::observation::Observation;
use super::super::prediction::NO_PREDICTION;
use super::super::progress::Progress;
use super::cells;
use super::hot::Hot;
use super::memory::BeliefMemory;
use super::node::Node;
use super::reading::{Reading, Readings};
use super::rule::BeliefRule;
use super::weigh::limited;
use crate::plan::NO_STAGE;

impl BeliefRule {
    /// The first stage reports. Most requests end here: what the signal means is worked out only if it is asked for.
    #[expect(clippy::inline_always, reason = "one hot caller; the call itself is a tenth of the work")]
    #[inline(always)]
    pub(super) fn observe_first(
        &self,
        hot: &Hot,
        progress: &mut Progress,
        memory: &mut BeliefMemory,
        observation: Observation,
    ) {
        let Observation { signal, prediction, .. } = observation;
        memory.first = signal;
        memory.readings.say(hot.slot, prediction);
        progress.answer = hot.stage;
        if !hot.is_plain || memory.block != self.timeless || signal.is_nan() {
            let action = self.first_action(memory.block, memory.node, observation);
            self.enter(action, progress, memory);
        } else if signal >= self.least_of(hot, prediction) {
            progress.next = NO_STAGE;
        } else {
            hot.go_on(progress, memory);
        }
    }

    /// Another stage reports: remember, weigh, decide.
    #[inline(never)]
    pub(super) fn observe_another(
        &self,
        hot: &Hot,
        progress: &mut Progress,
        memory: &mut BeliefMemory,
        observation: Observation,
    ) {
        let Observation { signal, prediction, .. } = observation;
        let is_plain = hot.is_plain && memory.block == self.timeless;
        if !is_plain || signal.is_nan() || prediction == NO_PREDICTION {
            return self.observe_some(hot, progress, memory, observation);
        }
        let (logit, at) = if hot.count == 2 {
            let [said, ..] = memory.readings.prediction;
            if memory.first.is_nan() || said == NO_PREDICTION {
                return self.observe_some(hot, progress, memory, observation);
            }
            memory.incomplete = 0;
            let first = self.beliefs.known(progress.answer, memory.first, said);
            let own = self.beliefs.known(hot.stage, signal, prediction);
            memory.readings.put(0, Reading { logit: first, prediction: said });
            memory.readings.put(1, Reading { logit: own, prediction });
            cells::few(&self.cells, hot.cells as usize, [first, own], [said, prediction], None)
        } else {
            if memory.incomplete > 0 {
                return self.observe_some(hot, progress, memory, observation);
            }
            let own = self.beliefs.known(hot.stage, signal, prediction);
            memory.readings.put(usize::from(hot.slot), Reading { logit: own, prediction });
            if hot.count == 3 {
                let ([first, second, ..], [one, other, ..]) = (memory.readings.logit, memory.readings.prediction);
                cells::few(&self.cells, hot.cells as usize, [first, second, own], [one, other, prediction], None)
            } else {
                cells::best(self.cells_of(hot), usize::from(hot.count), &memory.readings, None)
            }
        };
        memory.belief = limited(logit);
        progress.answer = hot.member(at);
        if memory.belief <= hot.stop {
            progress.next = NO_STAGE;
        } else {
            hot.go_on(progress, memory);
        }
    }

    /// The same whatever is missing, however answers are weighed, and however much time is left.
    #[inline(never)]
    fn observe_some(&self, hot: &Hot, progress: &mut Progress, memory: &mut BeliefMemory, observation: Observation) {
        if hot.count == 2 {
            self.catch_up(progress, memory);
        }
        let reading = self.beliefs.read(hot.stage, observation);
        memory.readings.put(usize::from(hot.slot), reading);
        memory.incomplete += u32::from(!reading.is_complete());
        (memory.belief, progress.answer) = self.weigh(hot, memory);
        let action = self.decisions.action(self.row(memory.block, usize::from(memory.node)), memory.belief);
        self.enter(action, progress, memory);
    }

    /// The belief in the best answer in hand and whose it is.
    #[inline(never)]
    fn weigh(&self, hot: &Hot, memory: &BeliefMemory) -> (f64, u16) {
        let Some(node) = self.nodes.get(usize::from(memory.node)) else { return (f64::INFINITY, NO_STAGE) };
        let hand = node.hand(&memory.readings);
        let is_complete = memory.incomplete == 0;
        if !is_complete && let Some(found) = self.believe_without_failed(node, &hand) {
            return found;
        }
        self.beliefs.believe(node, self.cells_of(hot), &hand, is_complete)
    }

    /// The same without the members that failed, if some have and it is known how to weigh the others by themselves.
    #[cold]
    fn believe_without_failed(&self, node: &Node, hand: &Readings) -> Option<(f64, u16)> {
        let answered = || node.members.iter().zip(hand.iter()).filter(|(_, reading)| !reading.is_failed());
        if answered().count() == node.members.len() {
            return None;
        }
        let mut others = Readings::EMPTY;
        for (at, (_, reading)) in answered().enumerate() {
            others.put(at, reading);
        }
        let members: Vec<u16> = answered().map(|(member, _)| *member).collect();
        if let [only] = *members {
            return Some((self.beliefs.alone(only, &others.get(0)), only));
        }
        let weighs = |other: &&Node| other.members == members && (self.beliefs.recall || other.stage == node.stage);
        let (at, smaller) = self.nodes.iter().enumerate().find(|(_, other)| weighs(other))?;
        let is_complete = answered().all(|(_, reading)| reading.is_complete());
        Some(self.beliefs.believe(smaller, self.cells_of(self.hot.get(at)?), &others, is_complete))
    }
}
