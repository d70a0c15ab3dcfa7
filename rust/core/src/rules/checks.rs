//! Checks of parts that several rules have.

use crate::error::{Checked, check};
use crate::price::Price;

/// Numbers that are added and multiplied stay this far below infinity, so that no sum of them is infinite or no number.
const MOST: f64 = 1e100;

/// Whether sums and products of a few such numbers are numbers.
pub(super) fn is_summable(x: f64) -> bool {
    x.abs() <= MOST
}

/// Checks that every step from a stage ([`NO_STAGE`](crate::plan::NO_STAGE): the first) to the next one has a price.
pub(super) fn priced(price: &Price, mut steps: impl Iterator<Item = (u16, usize)>) -> Checked {
    check(steps.all(|(last, next)| price.allows(last, next)), "a decision leads where there is no price")
}

/// Checks that stages cost the same after any other, as in graphs where they run in any order.
pub(super) fn priced_in_any_order(price: &Price) -> Checked {
    check(matches!(price, Price::Stage(_)), "prices of jumps are for stages that run in their order")
}

/// Checks that there is a finite mean loss for each of so many stages.
pub(super) fn mean_losses(mean_loss: &[f64], stages: usize) -> Checked {
    check(mean_loss.len() == stages, "the mean losses do not fit the stages")?;
    check(mean_loss.iter().all(|r| r.is_finite()), "a mean loss is not finite")
}

/// The same where that of a stage that never answers is infinite.
pub(super) fn mean_losses_of_some(mean_loss: &[f64], stages: usize) -> Checked {
    check(mean_loss.len() == stages, "the mean losses do not fit the stages")?;
    check(mean_loss.iter().all(|r| *r > f64::NEG_INFINITY), "a mean loss is not a number")
}

/// Checks the loss of answering with nothing, which may be infinite.
pub(super) fn default_loss(loss: f64) -> Checked {
    check(loss > f64::NEG_INFINITY, "the default loss is not a number")
}
