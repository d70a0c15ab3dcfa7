//! What every request carries, whatever its rule.

use crate::plan::{NO_STAGE, stage_number};
use crate::price::Price;

/// How far a request has come: 16 bytes, copied freely.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Summed price of the stages run, in the unit of the trace: what they cost the average request.
    pub cost: f64,
    /// The stage to run now, or [`NO_STAGE`].
    pub next: u16,
    /// The stage whose answer is the best in hand, or [`NO_STAGE`] while there is none.
    pub answer: u16,
    /// The stage run last, or [`NO_STAGE`].
    pub last: u16,
}

impl Progress {
    /// Nothing has run; `next` is the stage to begin with, or [`NO_STAGE`].
    pub const fn new(next: u16) -> Self {
        Self { cost: 0.0, next, answer: NO_STAGE, last: NO_STAGE }
    }

    /// Whether a stage waits for its report.
    #[inline]
    pub fn is_waiting(&self) -> bool {
        self.next != NO_STAGE
    }

    /// The stage to run now.
    #[inline]
    pub fn next_stage(&self) -> Option<usize> {
        stage_number(self.next)
    }

    /// The stage whose answer is the best in hand.
    #[inline]
    pub fn answer_stage(&self) -> Option<usize> {
        stage_number(self.answer)
    }

    /// Books the price of the stage that now reports.
    #[inline]
    pub(crate) fn pay(&mut self, price: f64) {
        self.cost += price;
        self.last = self.next;
    }

    /// Books the price of the stage that now reports, as `price` has it; returns that stage.
    #[inline]
    pub(crate) fn pay_from(&mut self, price: &Price) -> u16 {
        self.pay(price.of(self.last, usize::from(self.next)));
        self.last
    }
}
