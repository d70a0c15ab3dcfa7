//! What a report touches of a situation: one line of the cache, and the cells that it names.

use std::collections::BTreeMap;

use super::super::progress::Progress;
use super::cells;
use super::memory::BeliefMemory;
use super::node::Node;
use super::reading::SLOTS;
use super::rule::BeliefRule;
use crate::plan::{NO_STAGE, Row, unsigned};

/// Where a request goes: a node and the stage that it runs, none of either at the end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Step {
    pub(super) node: u16,
    pub(super) stage: u16,
}

impl Step {
    /// The request ends.
    pub(super) const END: Self = Self { node: NO_STAGE, stage: NO_STAGE };
}

/// A node as reports meet it. All of it follows from other parts of the rule.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(align(64))]
pub(super) struct Hot {
    /// What running the stage costs.
    pub(super) price: f64,
    /// Up to which belief to stop.
    pub(super) stop: f64,
    /// Where to go beyond; after the first report, below the least signal that stops. Where requests end there, the node
    /// is this one.
    pub(super) onward: Step,
    /// Where its cells begin among those of all nodes; with one member, where its least signals that stop do.
    pub(super) cells: u32,
    /// With one member, the number of its least signals but one: that of predictions without their own.
    pub(super) classes: u32,
    /// The stage that runs when the node is entered.
    pub(super) stage: u16,
    /// How many answers are weighed.
    pub(super) count: u8,
    /// The slot that the report goes to.
    pub(super) slot: u8,
    /// Whether this line decides where time does not matter and nothing is missing: with one member, by least signals; else
    /// by `stop`, on answers that are weighed where they are, whatever classes they name.
    pub(super) is_plain: bool,
    /// The stages whose answers are weighed.
    pub(super) members: [u16; SLOTS],
}

/// The least signals that stop; NaN for none.
#[derive(Clone, Debug, Default)]
pub(super) struct Least(Box<[f64]>);

impl PartialEq for Least {
    /// Rules are compared by what these are derived from: no NaN is equal to another.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Hot {
    /// The request goes on.
    #[inline]
    pub(super) fn go_on(&self, progress: &mut Progress, memory: &mut BeliefMemory) {
        progress.next = self.onward.stage;
        memory.node = self.onward.node;
    }

    /// The stage of a member.
    #[inline]
    #[expect(clippy::indexing_slicing, reason = "masked to the number of slots")]
    pub(super) fn member(&self, at: usize) -> u16 {
        self.members[at & (SLOTS - 1)]
    }
}

impl BeliefRule {
    /// Lays the nodes out as reports meet them.
    pub(super) fn lay_out(&mut self) {
        let mut cells = Vec::new();
        // Nodes that weigh the same answers in the same way share their cells.
        let mut known: BTreeMap<(Vec<u16>, u8, Vec<u64>), u32> = BTreeMap::new();
        let timeless = self.row(self.timeless(), 0);
        let rows = self.decisions.table().get(timeless..).unwrap_or_default();
        let mut least = Vec::new();
        let mut hot = Vec::with_capacity(self.nodes.len());
        for ((at, node), row) in self.nodes.iter().enumerate().zip(rows) {
            let mut line = self.hot_of(at as u16, node, row);
            if node.members.len() > 1 {
                let last = if self.beliefs.recall { 0 } else { node.last };
                let stages = node.members.iter().copied().chain([node.favoured, last]).collect();
                let lines = node.evidence.iter().flatten();
                let bits = lines.flat_map(|line| [line.offset.to_bits(), line.slope.to_bits()]).collect();
                let key = (stages, node.mute, bits);
                line.cells = *known.entry(key).or_insert_with(|| {
                    let first = cells.len() as u32;
                    cells::push(node, &self.beliefs, &mut cells);
                    first
                });
            } else if let Some(found) = self.thresholds(self.timeless(), at) {
                (line.is_plain, line.onward) = (true, self.onward(at as u16, found.onward));
                (line.cells, line.classes) = (least.len() as u32, found.all().len() as u32 - 1);
                least.extend(found.all());
            }
            hot.push(line);
        }
        (self.hot, self.cells, self.least) = (hot.into(), cells.into(), Least(least.into()));
    }

    fn hot_of(&self, at: u16, node: &Node, row: &Row) -> Hot {
        let mut members = [NO_STAGE; SLOTS];
        for (to, from) in members.iter_mut().zip(&node.members) {
            *to = *from;
        }
        // On a line, what a stage says follows what others have said.
        let is_last = usize::from(node.slot) + 1 == node.members.len();
        let is_weighed = is_last && node.slot > 0 && node.places.is_empty() && node.disputes.is_empty();
        Hot {
            price: node.price,
            stop: row.stop,
            onward: self.onward(at, row.last),
            cells: 0,
            classes: 0,
            stage: node.stage,
            count: node.members.len() as u8,
            slot: node.slot,
            is_plain: is_weighed && row.len == 0,
            members,
        }
    }

    /// The least signal that stops a request at a plain node of one member; NaN for none.
    #[inline]
    pub(super) fn least_of(&self, hot: &Hot, prediction: i64) -> f64 {
        // Negative predictions turn into numbers beyond every class.
        let class = (prediction as u64).min(hot.classes.into()) as usize;
        self.least.0.get(hot.cells as usize + class).copied().unwrap_or(f64::NAN)
    }

    /// Where an action leads from a node; it stays where the request ends.
    fn onward(&self, at: u16, action: i32) -> Step {
        let step = self.step_to(action);
        if step == Step::END { Step { node: at, ..step } } else { step }
    }

    /// Where an action leads.
    #[inline]
    pub(super) fn step_to(&self, action: i32) -> Step {
        match self.stage_of(action) {
            NO_STAGE => Step::END,
            stage => Step { node: unsigned(action), stage },
        }
    }

    /// The cells of a node.
    #[inline]
    pub(super) fn cells_of(&self, hot: &Hot) -> &[f32] {
        self.cells.get(hot.cells as usize..).unwrap_or_default()
    }
}

const _: () = assert!(size_of::<Hot>() == 64, "a node is one line of the cache");
