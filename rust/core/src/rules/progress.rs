//! The fixed-size state of one request.

/// The prediction of a stage that gave none; it is equal to no other prediction, not even to itself.
pub const NO_PREDICTION: i64 = i64::MIN;

/// The stage number that means "none".
pub const NO_STAGE: u16 = u16::MAX;

/// `Some(stage)` unless `stage` is [`NO_STAGE`].
#[inline]
pub fn stage_number(stage: u16) -> Option<usize> {
    if stage == NO_STAGE { None } else { Some(usize::from(stage)) }
}

/// The stage number as in arrays: −1 for none.
#[inline]
pub fn signed(stage: u16) -> i32 {
    if stage == NO_STAGE { crate::plan::STOP } else { i32::from(stage) }
}

/// What every request carries: 32 bytes, copied freely.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// The best loss in hand, in the rule's own scale; infinite while there is none. (Belief, after the first report:
    /// its raw signal.)
    pub best: f64,
    /// Summed price of the stages run.
    pub cost: f64,
    /// The rule's own memory: prediction of the last stage (patience), prediction of the first report, then number of incomplete
    /// reports (belief), situation (general graphs).
    pub memo: i64,
    /// The stage to run now, or [`NO_STAGE`].
    pub next: u16,
    /// The stage whose answer is the best in hand, or [`NO_STAGE`] while there is none.
    pub answer: u16,
    /// The stage run last, or [`NO_STAGE`].
    pub last: u16,
    /// The rule's own mark: length of the run of equal predictions (patience), node that is entered next (belief).
    pub mark: u16,
}

impl Progress {
    /// Nothing has run; `next` is the stage to begin with (−1: none), `best` the loss of answering with nothing.
    pub const fn new(next: i32, best: f64) -> Self {
        Self { best, cost: 0.0, memo: 0, next: next as u16, answer: NO_STAGE, last: NO_STAGE, mark: 0 }
    }

    /// Whether a stage waits for its signal.
    #[inline]
    pub fn is_waiting(&self) -> bool {
        self.next != NO_STAGE
    }

    /// Books the price of the stage that now reports; returns that stage.
    #[inline]
    pub(crate) fn pay(&mut self, price: f64) -> usize {
        self.cost += price;
        self.last = self.next;
        usize::from(self.next)
    }

    /// Books the price of the stage that now reports, as `price` has it; returns that stage.
    #[inline]
    pub(crate) fn pay_from(&mut self, price: &crate::Price) -> usize {
        self.pay(price.of(self.last, usize::from(self.next)))
    }
}
