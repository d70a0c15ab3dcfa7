//! From decisions in situations to a rule.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::clock::Clock;
use super::induction::{Decision, Induced};
use super::known::Known;
use super::logistic::sigmoid;
use super::situations::{Choice, Situation, Situations};
use crate::plan::{Intervals, NO_STAGE, STOP};
use crate::rules::{BeliefRule, Beliefs, Node, SLOTS, Time};

/// The rule that decides as induced: the situations that a request can get into, as nodes, parents before children.
/// `favoured` names the member of a set that is best by itself.
pub fn assemble(
    beliefs: Beliefs,
    situations: &Situations,
    known: &[Arc<Known>],
    induced: &Induced,
    within: Option<(&Clock, &[Induced])>,
    favoured: impl Fn(&[u16]) -> u16,
) -> BeliefRule {
    let entry = |induced: &Induced| situations.entries[induced.entry];
    let slot_of = slots(situations, entry(induced).stage, beliefs.calibration.len());
    let blocks = within.map_or(&[][..], |(_, blocks)| blocks);
    let mut reached = Reached::default();
    reached.number(&entry(induced));
    let mut begin = |block: &Induced| if block.at_once { NO_STAGE } else { reached.number(&entry(block)) as u16 };
    let entries: Vec<u16> = blocks.iter().map(&mut begin).collect();
    let (mut nodes, mut timeless) = (Vec::new(), Intervals::new());
    let mut timed = vec![Intervals::new(); blocks.len()];
    while let Some(choice) = reached.queue.pop_front() {
        let situation = &situations.list[choice.to];
        let favoured = favoured(&situation.members);
        let weights = &known[choice.to].weights;
        let node = Node::new(&situation.members, choice.stage, favoured, &weights.evidence, &slot_of);
        nodes.push(node.sharing(&weights.shares));
        reached.decide(&mut timeless, situation, &induced.decisions[choice.to]);
        for (decisions, block) in timed.iter_mut().zip(blocks) {
            reached.decide(decisions, situation, &block.decisions[choice.to]);
        }
    }
    let rule = BeliefRule::new(beliefs, nodes, timeless);
    let Some((clock, _)) = within else { return rule };
    let mut decisions = Intervals::new();
    for block in &timed {
        decisions.extend(block);
    }
    rule.within(Time { until: clock.until.clone(), latency: clock.latency.clone(), entries }, decisions)
}

/// Index of each of k stages where stages form a line, as an expected loss in the unit of the trace.
pub fn index_of(situations: &Situations, induced: &Induced, k: usize, beliefs: &Beliefs) -> Vec<Vec<f64>> {
    let mut index = vec![Vec::new(); k];
    if situations.line.is_some() {
        for (situation, decision) in situations.list.iter().zip(&induced.decisions) {
            for choice in &situation.choices {
                index[usize::from(choice.stage)] = vec![beliefs.scale * sigmoid(limits_of(decision).0)];
            }
        }
    }
    index
}

/// The nodes that have been found, and those of them that have not been made yet.
#[derive(Default)]
struct Reached {
    numbers: BTreeMap<(usize, u16), i32>,
    queue: VecDeque<Choice>,
}

impl Reached {
    /// The number of the node that a choice enters.
    fn number(&mut self, choice: &Choice) -> i32 {
        let next = self.numbers.len() as i32;
        *self.numbers.entry((choice.to, choice.stage)).or_insert_with(|| {
            self.queue.push_back(*choice);
            next
        })
    }

    /// Appends a row: what is decided in a situation.
    fn decide(&mut self, rows: &mut Intervals, situation: &Situation, decision: &Decision) {
        let (stop, rest) = limits_of(decision);
        let mut target = |action: usize| match action.checked_sub(1).and_then(|c| situation.choices.get(c)) {
            None => STOP,
            Some(choice) => self.number(choice),
        };
        let steps: Vec<(f64, i32)> = rest.iter().map(|(limit, action)| (*limit, target(*action))).collect();
        rows.push(stop, steps);
    }
}

/// Up to which limit a decision stops, and what it does beyond.
pub fn limits_of(decision: &Decision) -> (f64, &[(f64, usize)]) {
    match decision.split_first() {
        Some(((limit, 0), rest)) => (*limit, rest),
        _ => (f64::NEG_INFINITY, decision.as_slice()),
    }
}

/// Where each of k stages keeps its reading.
pub fn slots(situations: &Situations, entry: u16, stages: usize) -> Vec<u8> {
    let mut slot_of = vec![0_u8; stages];
    if let Some(line) = &situations.line {
        for (at, stage) in line.iter().enumerate() {
            slot_of[usize::from(*stage)] = (at % SLOTS) as u8;
        }
    } else {
        // The first stage writes to slot 0, the others follow.
        let others: BTreeSet<u16> = situations.entries.iter().map(|e| e.stage).filter(|s| *s != entry).collect();
        for (at, stage) in others.into_iter().enumerate() {
            slot_of[usize::from(stage)] = at as u8 + 1;
        }
    }
    slot_of
}
