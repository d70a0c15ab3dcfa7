//! From decisions with all stages and without some of them to one rule: what requests can come to, each once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::evidence::Weights;
use super::induction::{Decision, Induced};
use super::known::Known;
use super::nodes::{limits_of, slots};
use super::situations::{Choice, Situations};
use crate::plan::{Intervals, NO_STAGE, STOP};
use crate::rules::{BeliefRule, Beliefs, Detour, Evidence, Node, Without};

/// Evidence and shares, which nodes of the same members share.
type Shared = (Arc<[Evidence]>, Arc<[f64]>);

/// What is best without some stages.
pub struct Block {
    /// All sets of the others.
    pub situations: Situations,
    /// What is best in each.
    pub induced: Induced,
}

/// A situation of a block, by their numbers.
type Place = (usize, usize);

/// The rule that decides as induced in the first of `blocks`, where no stage is missing, and in the others where their
/// stages are. `known` is what is known in the situations of the first, `favoured` names the member of a set that is best by
/// itself. With `after_failure` a request whose stage fails goes on in the block without it.
pub fn assemble(
    beliefs: Beliefs,
    blocks: &[Block],
    known: &[Arc<Known>],
    after_failure: bool,
    favoured: impl Fn(&[u16]) -> u16,
) -> BeliefRule {
    let whole = &blocks[0];
    let slot_of = slots(&whole.situations, entry(whole).stage, beliefs.calibration.len());
    let mut stages: Vec<u16> = whole.situations.entries.iter().map(|entry| entry.stage).collect();
    stages.sort_unstable();
    let mut without = Without { stages, after_failure, detours: Vec::new() };
    let reached = Reached::new(blocks, &without);
    let merged = Merged::new(&reached);
    let shared =
        |weights: &Weights| -> Shared { (weights.evidence.as_slice().into(), weights.shares.as_slice().into()) };
    let known = whole.situations.list.iter().zip(known);
    let weights: BTreeMap<&[u16], Shared> = known.map(|(it, known)| (&*it.members, shared(&known.weights))).collect();
    let (mut nodes, mut rows) = (Vec::new(), Intervals::new());
    for state in &merged.first {
        let members = reached.members(*state);
        let mut node = Node::new(members, state.2, favoured(members), &[], &slot_of);
        (node.evidence, node.shares) = weights.get(members).cloned().unwrap_or_default();
        nodes.push(node);
        let (stop, steps) = reached.row(*state, |target| merged.number[&target] as i32);
        rows.push(stop, steps);
    }
    let begins = blocks.iter().enumerate().skip(1).map(|(at, block)| {
        let begun = entry(block);
        let node = if block.induced.at_once { NO_STAGE } else { merged.number[&(at, begun.to, begun.stage)] as u16 };
        Detour { missing: reached.missing[at], ran: 0, node }
    });
    let goes_on = reached.read.iter().map(|place| {
        let members = reached.members((place.0, place.1, 0));
        let states = members.iter().filter_map(|stage| merged.number.get(&(place.0, place.1, *stage)));
        let node = states.min().map_or(NO_STAGE, |number| *number as u16);
        Detour { missing: reached.missing[place.0], ran: without.set_of(members), node }
    });
    without.detours = begins.chain(goes_on).collect();
    without.detours.sort_unstable();
    BeliefRule::new(beliefs, nodes, rows).with_detours(without)
}

/// How requests begin in a block.
fn entry(block: &Block) -> Choice {
    block.situations.entries[block.induced.entry]
}

/// A situation of a block and the stage that ran last in it: what a node is made of.
type State = (usize, usize, u16);

/// What requests can come to.
struct Reached<'a> {
    blocks: &'a [Block],
    /// The stages that are missing in each block.
    missing: Vec<u8>,
    /// In the order in which they are found, those of requests that miss nothing first.
    states: Vec<State>,
    /// Situations whose decisions are read when a stage fails.
    read: BTreeSet<Place>,
}

impl<'a> Reached<'a> {
    fn new(blocks: &'a [Block], without: &Without) -> Self {
        let all = without.set_of(&without.stages);
        let present = |block: &Block| {
            let stages: Vec<u16> = block.situations.entries.iter().map(|entry| entry.stage).collect();
            without.set_of(&stages)
        };
        let missing: Vec<u8> = blocks.iter().map(|block| all & !present(block)).collect();
        let mut places: BTreeMap<(u8, u8), Place> = BTreeMap::new();
        for (block, missing) in missing.iter().enumerate() {
            for (at, situation) in blocks[block].situations.list.iter().enumerate() {
                places.insert((*missing, without.set_of(&situation.members)), (block, at));
            }
        }
        let mut found = Self { blocks, missing, states: Vec::new(), read: BTreeSet::new() };
        let mut search = Search::default();
        search.enter(0, &entry(&blocks[0]));
        found.follow(&mut search);
        for (at, block) in blocks.iter().enumerate().skip(1).filter(|(_, block)| !block.induced.at_once) {
            search.enter(at, &entry(block));
        }
        let mut looked_at = 0;
        while !search.queue.is_empty() || looked_at < found.states.len() {
            found.follow(&mut search);
            let newly = if without.after_failure { looked_at..found.states.len() } else { 0..0 };
            for (block, at, stage) in found.states[newly].iter().copied() {
                let failed = without.set_of(&[stage]);
                let ran = without.set_of(&blocks[block].situations.list[at].members) & !failed;
                let place = places.get(&(found.missing[block] | failed, ran)).filter(|_| ran != 0);
                if let Some(place) = place.filter(|place| found.read.insert(**place)) {
                    search.open(*place);
                }
            }
            looked_at = found.states.len();
        }
        // Decisions that are read alone need a node to stand at.
        for (block, at) in &found.read {
            let members = &blocks[*block].situations.list[*at].members;
            if !members.iter().any(|stage| search.seen.contains(&(*block, *at, *stage))) {
                found.states.push((*block, *at, members[0]));
            }
        }
        found
    }

    /// All that requests come to from what is open.
    fn follow(&mut self, search: &mut Search) {
        while let Some(next) = search.queue.pop_front() {
            let (block, at) = match next {
                Open::State(state) => {
                    self.states.push(state);
                    (state.0, state.1)
                }
                Open::Place(place) => place,
            };
            if search.followed.insert((block, at)) {
                let it = &self.blocks[block];
                for (_, action) in &it.induced.decisions[at] {
                    if let Some(choice) = action.checked_sub(1).and_then(|c| it.situations.list[at].choices.get(c)) {
                        search.enter(block, choice);
                    }
                }
            }
        }
    }

    fn members(&self, (block, at, _): State) -> &'a [u16] {
        &self.blocks[block].situations.list[at].members
    }

    fn decision(&self, (block, at, _): State) -> &'a Decision {
        &self.blocks[block].induced.decisions[at]
    }

    /// What is decided: up to which limit to stop, and beyond it by limits, where states have numbers.
    fn row(&self, state: State, number: impl Fn(State) -> i32) -> (f64, Vec<(f64, i32)>) {
        let (stop, steps) = limits_of(self.decision(state));
        let choices = &self.blocks[state.0].situations.list[state.1].choices;
        let target = |action: usize| match action.checked_sub(1).and_then(|c| choices.get(c)) {
            None => STOP,
            Some(choice) => number((state.0, choice.to, choice.stage)),
        };
        (stop, steps.iter().map(|(limit, action)| (*limit, target(*action))).collect())
    }
}

/// What has been found and not been followed yet.
#[derive(Default)]
struct Search {
    seen: BTreeSet<State>,
    followed: BTreeSet<Place>,
    queue: VecDeque<Open>,
}

enum Open {
    /// It is entered.
    State(State),
    /// Its decisions are read.
    Place(Place),
}

impl Search {
    fn enter(&mut self, block: usize, choice: &Choice) {
        let state = (block, choice.to, choice.stage);
        if self.seen.insert(state) {
            self.queue.push_back(Open::State(state));
        }
    }

    fn open(&mut self, place: Place) {
        self.queue.push_back(Open::Place(place));
    }
}

/// States from which requests go the same ways are one node.
struct Merged {
    /// The number of each state's node.
    number: BTreeMap<State, usize>,
    /// The state of each node that was found first.
    first: Vec<State>,
}

/// All that tells nodes apart: the members, the stage, and the bits of the row.
type Face<'a> = (&'a [u16], u16, u64, Vec<(u64, i32)>);

impl Merged {
    fn new(reached: &Reached) -> Self {
        let depth = |state: &State| reached.members(*state).len();
        // What a state leads to is deeper, and has its class when the state gets one.
        let mut order: Vec<(usize, State)> = reached.states.iter().copied().enumerate().collect();
        order.sort_by_key(|(found, state)| (std::cmp::Reverse(depth(state)), *found));
        let mut classes: BTreeMap<Face, usize> = BTreeMap::new();
        let mut class_of: BTreeMap<State, usize> = BTreeMap::new();
        let mut first: Vec<(usize, State)> = Vec::new();
        for (found, state) in order {
            let (stop, steps) = reached.row(state, |target| class_of[&target] as i32);
            let steps = steps.into_iter().map(|(limit, next)| (limit.to_bits(), next)).collect();
            let class = *classes.entry((reached.members(state), state.2, stop.to_bits(), steps)).or_insert(first.len());
            if class == first.len() {
                first.push((found, state));
            }
            class_of.insert(state, class);
        }
        // Parents before children, and in their order those that miss nothing.
        let mut sorted: Vec<usize> = (0..first.len()).collect();
        sorted.sort_by_key(|class| (depth(&first[*class].1), first[*class].0));
        let mut number = vec![0; sorted.len()];
        for (at, class) in sorted.iter().enumerate() {
            number[*class] = at;
        }
        Self {
            number: class_of.into_iter().map(|(state, class)| (state, number[class])).collect(),
            first: sorted.into_iter().map(|class| first[class].1).collect(),
        }
    }
}
