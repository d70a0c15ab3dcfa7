//! The answer "nothing": its loss is known, and it is in hand from the start.

use super::super::checks;
use crate::error::{Checked, check};

/// What it costs to answer with nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nothing {
    /// Its loss, in the unit of the losses; infinite: some stage has to answer.
    pub loss: f64,
    /// Whether it is better than running anything: requests end before they begin.
    pub at_once: bool,
    /// The belief above which it is better than the answer in hand.
    limit: f64,
}

impl Nothing {
    /// Some stage has to answer.
    pub const NEVER: Self = Self { loss: f64::INFINITY, at_once: false, limit: f64::INFINITY };

    /// Nothing at this loss, where losses are `scale · sigmoid(belief)`.
    pub fn new(loss: f64, at_once: bool, scale: f64) -> Self {
        let share = loss / scale;
        let limit = if share < 1.0 { (share / (1.0 - share)).ln() } else { f64::INFINITY };
        Self { loss, at_once, limit }
    }

    /// Whether it is better than an answer of this belief.
    #[inline]
    pub fn beats(&self, belief: f64) -> bool {
        belief > self.limit
    }

    /// The belief above which it is better than the answer in hand; infinite where it never is.
    #[inline]
    pub fn limit(&self) -> f64 {
        self.limit
    }

    pub(super) fn check(&self) -> Checked {
        checks::default_loss(self.loss)?;
        check(self.loss >= 0.0, "the default loss is negative")?;
        check(!self.at_once || self.loss < f64::INFINITY, "requests end before they begin, and nothing may not be said")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_better_than_a_belief_in_a_larger_loss() {
        let nothing = Nothing::new(0.5, false, 2.0);
        assert!((nothing.limit() - (1.0_f64 / 3.0).ln()).abs() < 1e-15);
        assert!(nothing.beats(-1.0) && !nothing.beats(-1.1) && !nothing.beats(nothing.limit()));
        assert!(Nothing::new(0.0, false, 1.0).beats(-9.0));
    }

    #[test]
    fn a_loss_that_no_belief_reaches_is_never_better() {
        for (loss, scale) in [(1.0, 1.0), (2.0, 1.0), (f64::INFINITY, 1.0), (0.5, 0.0), (0.0, 0.0)] {
            assert!(!Nothing::new(loss, false, scale).beats(f64::MAX), "{loss} of {scale}");
        }
        assert!(!Nothing::NEVER.beats(f64::INFINITY));
    }
}
