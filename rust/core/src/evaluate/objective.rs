//! What is minimised: loss and cost in one unit.

use crate::error::{Error, Result, number};
use crate::trace::Trace;

/// Objective of a trade-off λ: `λ · loss + (1 − λ) · cost / mean cost of running every stage`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Objective {
    /// Of one unit of loss.
    pub loss: f64,
    /// Of one unit of cost.
    pub cost: f64,
}

impl Objective {
    /// For the trade-off `lambda` on `trace`.
    ///
    /// # Errors
    /// [`Error::Invalid`] unless `lambda` is in [0, 1].
    pub fn new(trace: &Trace, lambda: f64) -> Result<Self> {
        if !(0.0..=1.0).contains(&lambda) {
            return Err(Error::invalid(format!("`tradeoff` must be between 0 and 1, got {}", number(lambda))));
        }
        let full = trace.full_cost();
        Ok(Self { loss: lambda, cost: if full > 0.0 { (1.0 - lambda) / full } else { 0.0 } })
    }

    /// The objective of answering with nothing at this loss before anything has run; infinite where that may not be.
    #[inline]
    pub fn of_nothing(self, default_loss: f64) -> f64 {
        if default_loss < f64::INFINITY { self.loss * default_loss } else { f64::INFINITY }
    }

    /// The objective of a loss and a cost, both in the units of the trace.
    #[inline]
    pub fn of(self, loss: f64, cost: f64) -> f64 {
        self.loss * loss + self.cost * cost
    }
}
