//! From decisions in situations to a rule.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::induction::{Decision, Induced};
use super::known::Known;
use super::situations::Situations;
use crate::plan::{Intervals, STOP};
use crate::rules::{BeliefRule, Beliefs, Node, SLOTS};

/// The rule that decides as induced: the situations that a request can get into, as nodes, parents before children.
/// `favoured` names the member of a set that is best by itself.
pub fn assemble(
    beliefs: Beliefs,
    situations: &Situations,
    known: &[Arc<Known>],
    induced: &Induced,
    favoured: impl Fn(&[u16]) -> u16,
) -> BeliefRule {
    let entry = situations.entries[induced.entry];
    let slot_of = slots(situations, entry.stage, beliefs.calibration.len());
    let (mut nodes, mut decisions) = (Vec::new(), Intervals::new());
    let mut number: BTreeMap<(usize, u16), i32> = BTreeMap::from([((entry.to, entry.stage), 0)]);
    let mut queue = VecDeque::from([entry]);
    while let Some(reached) = queue.pop_front() {
        let situation = &situations.list[reached.to];
        let favoured = favoured(&situation.members);
        let evidence = &known[reached.to].evidence;
        nodes.push(Node::new(&situation.members, reached.stage, favoured, evidence, &slot_of));
        let mut target = |action: usize| match action.checked_sub(1).and_then(|c| situation.choices.get(c)) {
            None => STOP,
            Some(choice) => {
                let next = number.len() as i32;
                *number.entry((choice.to, choice.stage)).or_insert_with(|| {
                    queue.push_back(*choice);
                    next
                })
            }
        };
        let decision: &Decision = &induced.decisions[reached.to];
        let (stop, rest) = match decision.split_first() {
            Some(((limit, 0), rest)) => (*limit, rest),
            _ => (f64::NEG_INFINITY, decision.as_slice()),
        };
        let steps: Vec<(f64, i32)> = rest.iter().map(|(limit, action)| (*limit, target(*action))).collect();
        decisions.push(stop, steps);
    }
    BeliefRule::new(beliefs, nodes, decisions)
}

/// Where each of k stages keeps its reading.
fn slots(situations: &Situations, entry: u16, stages: usize) -> Vec<u8> {
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
