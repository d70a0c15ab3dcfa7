//! What a report touches of a situation: one line of the cache, and the cells that it names.

use super::super::progress::Progress;
use super::memory::BeliefMemory;
use super::reading::SLOTS;
use crate::plan::NO_STAGE;

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
pub(super) struct Least(pub(super) Box<[f64]>);

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

const _: () = assert!(size_of::<Hot>() == 64, "a node is one line of the cache");
