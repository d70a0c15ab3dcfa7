//! What a request remembers under a rule of beliefs.

use super::super::observation::Observation;
use super::reading::Readings;
use crate::plan::NO_STAGE;

/// How requests begin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Beginning {
    /// The stage that runs first, or [`NO_STAGE`].
    pub(super) stage: u16,
    /// The node that it enters.
    pub(super) node: u16,
    /// The slot that its report goes to.
    pub(super) slot: u8,
}

impl Beginning {
    /// Requests end before they begin.
    pub(super) const NONE: Self = Self { stage: NO_STAGE, node: NO_STAGE, slot: 0 };
}

/// What a request remembers.
#[derive(Clone, Copy, Debug)]
pub struct BeliefMemory {
    /// What was read, by slot. What the first signal means is worked out when a second stage reports.
    pub(super) readings: Readings,
    /// The first signal.
    pub(super) first: f64,
    /// The belief in the best answer in hand, once a second stage has reported.
    pub(super) belief: f64,
    /// How many of the readings lack a signal or a prediction.
    pub(super) incomplete: u32,
    /// The node that is entered next; that of the last report where none is.
    pub(super) node: u16,
    /// The block of decisions that the time left is in.
    pub(super) block: u16,
    /// The slot of the first report.
    pub(super) first_slot: u8,
}

impl BeliefMemory {
    /// Before a request begins.
    pub(in super::super) const EMPTY: Self = Self::new(0, 0, 0);

    /// Before any stage has run.
    #[inline]
    pub(super) const fn new(node: u16, block: u16, first_slot: u8) -> Self {
        Self { readings: Readings::EMPTY, first: 0.0, belief: 0.0, incomplete: 0, node, block, first_slot }
    }

    /// The first report.
    #[inline]
    pub(super) fn first(&self) -> Observation {
        Observation::new(self.first, self.readings.get(usize::from(self.first_slot)).prediction)
    }
}
