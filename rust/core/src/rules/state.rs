//! The fixed-size state of one request.

use crate::plan::STOP;

/// The label of a stage that gave none; it is equal to no other label, not even to itself.
pub const NO_LABEL: i64 = i64::MIN;

/// What one request carries: 32 bytes, copied freely.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FlatState {
    /// The best loss in hand, in the rule's own scale; infinite while there is none.
    pub best: f64,
    /// Label of the answer in hand (of the last stage for rules that compare neighbours).
    pub label: i64,
    /// Summed price of the stages run.
    pub cost: f64,
    /// The stage to run now, or [`STOP`].
    pub next: i16,
    /// The stage whose answer is the best in hand, or [`STOP`] while there is none.
    pub answer: i16,
    /// The stage run last, or [`STOP`].
    pub last: i16,
    /// Length of the run of equal labels (patience).
    pub streak: u16,
}

impl FlatState {
    /// Nothing has run; `next` is the stage to begin with, `best` the loss of answering with nothing.
    pub const fn new(next: i16, best: f64) -> Self {
        Self { best, label: NO_LABEL, cost: 0.0, next, answer: STOP as i16, last: STOP as i16, streak: 0 }
    }

    /// The stage waiting for a signal, if any.
    #[inline]
    pub fn waiting(&self) -> Option<usize> {
        usize::try_from(self.next).ok()
    }

    /// Whether two labels are known and equal.
    #[inline]
    pub(crate) fn same_label(&self, label: i64) -> bool {
        label == self.label && label != NO_LABEL
    }
}
