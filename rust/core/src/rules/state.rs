//! The fixed-size state of one request.

use crate::plan::STOP;

/// The label of a stage that gave none; it is equal to no other label, not even to itself.
pub const NO_LABEL: i64 = i64::MIN;

/// What every request carries: 32 bytes, copied freely.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FlatState {
    /// The best loss in hand, in the rule's own scale; infinite while there is none.
    pub best: f64,
    /// Summed price of the stages run.
    pub cost: f64,
    /// Label of the last stage (for rules that compare neighbours).
    pub label: i64,
    /// The stage to run now, or [`STOP`].
    pub next: i16,
    /// The stage whose answer is the best in hand, or [`STOP`] while there is none.
    pub answer: i16,
    /// The stage run last, or [`STOP`].
    pub last: i16,
    /// The rule's own mark: length of the run of equal labels, or number of the node reached next.
    pub mark: u16,
}

impl FlatState {
    /// Nothing has run; `next` is the stage to begin with, `best` the loss of answering with nothing.
    pub const fn new(next: i16, best: f64) -> Self {
        Self { best, cost: 0.0, label: NO_LABEL, next, answer: STOP as i16, last: STOP as i16, mark: 0 }
    }

    /// The stage waiting for a signal, if any.
    #[inline]
    pub fn waiting(&self) -> Option<usize> {
        usize::try_from(self.next).ok()
    }

    /// Books the price of the stage that now reports.
    #[inline]
    pub(crate) fn pay(&mut self, price: f64) {
        self.cost += price;
        self.last = self.next;
    }
}
