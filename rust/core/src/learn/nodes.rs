//! From decisions in situations to the nodes of a rule.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::induction::{Decision, Induced};
use super::known::Known;
use super::situations::Situations;
use crate::plan::STOP;
use crate::rules::{BeliefRule, Evidence, Node, SLOTS};

/// The rule that decides as induced: the situations that a request can get into, as nodes, parents before children.
/// `calibrated` has the calibrations and no nodes yet; `favoured` names the member of a set that is best by itself.
pub fn assemble(
    calibrated: BeliefRule,
    situations: &Situations,
    known: &[Arc<Known>],
    induced: &Induced,
    favoured: impl Fn(&[u16]) -> u16,
) -> BeliefRule {
    let entry = situations.entries[induced.entry];
    let slot_of = slots(situations, entry.stage, calibrated.calibration.len());
    let mut rule = calibrated;
    let mut number: BTreeMap<(usize, u16), i32> = BTreeMap::from([((entry.to, entry.stage), 0)]);
    let mut queue = VecDeque::from([entry]);
    while let Some(reached) = queue.pop_front() {
        let situation = &situations.list[reached.to];
        let favoured = favoured(&situation.members);
        let evidence = &known[reached.to].evidence;
        rule.nodes.push(node(&situation.members, reached.stage, favoured, reached.price, evidence, &slot_of));
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
        rule.decide.push(stop, steps);
    }
    rule
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

/// The node that `stage` enters and in which another may be favoured; `slot_of` is the slot of every stage, empty where
/// that is the place among the members.
pub fn node(members: &[u16], stage: u16, favoured: u16, price: f64, evidence: &[Evidence], slot_of: &[u8]) -> Node {
    let slot = |stage: u16| slot_of.get(usize::from(stage)).copied().unwrap_or(0);
    let mut places: Vec<u8> = members.iter().map(|member| slot(*member)).collect();
    if slot_of.is_empty() || places.iter().enumerate().all(|(at, place)| usize::from(*place) == at) {
        places.clear();
    }
    Node { stage, slot: slot(stage), price, members: members.to_vec(), favoured, places, evidence: evidence.to_vec() }
}
