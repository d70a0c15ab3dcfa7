//! From a raw signal and a prediction to the logit of the expected loss of one stage alone.

use serde_json::{Value, json};

use super::super::checks;
use super::super::describe::number;
use super::curve::Curve;
use crate::error::{Checked, check};

/// Beliefs stay within ± this many logits.
pub const LOGIT_LIMIT: f64 = 9.0;

/// Calibration of one stage.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    /// Signal to logit, whatever the prediction.
    pub curve: Curve,
    /// `offset, slope` for predictions 0, 1, …: the logit becomes `offset + slope · curve`; other predictions keep the curve.
    pub class: Vec<[f64; 2]>,
    /// Mean loss of the stage, in the unit of the losses; infinite: it informs about others and never answers.
    pub mean_loss: f64,
    /// Logit of the expected loss where the signal is not a number.
    pub missing_logit: f64,
}

impl Calibration {
    /// The calibrated logit; infinite where the signal is not a number.
    #[inline]
    pub fn read(&self, signal: f64, prediction: i64) -> f64 {
        if signal.is_nan() {
            return f64::INFINITY;
        }
        self.line(signal, prediction).clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
    }

    /// The same, linear between the points of the curve because it has no limits; `signal` must not be NaN.
    #[inline]
    pub(super) fn line(&self, signal: f64, prediction: i64) -> f64 {
        let logit = self.curve.at(signal);
        let class = usize::try_from(prediction).ok().and_then(|prediction| self.class.get(prediction));
        class.map_or(logit, |[offset, slope]| offset + slope * logit)
    }

    /// Whether the stage informs about others and never answers.
    pub fn is_probe(&self) -> bool {
        self.mean_loss == f64::INFINITY
    }

    /// Checks that every number is usable.
    pub(crate) fn check(&self) -> Checked {
        check(self.mean_loss > f64::NEG_INFINITY, "a mean loss is not a number")?;
        let mut numbers = self.class.iter().flatten().chain([&self.missing_logit]);
        check(numbers.all(|v| checks::is_summable(*v)), "a number of a calibration is not within 1e100 of 0")
    }

    /// The curve as pairs of a signal and the `expected` loss of its logit, and what else there is to know.
    pub(super) fn describe(&self, expected: impl Fn(f64) -> f64) -> Value {
        let curve: Vec<[f64; 2]> = self.curve.points().map(|(x, z)| [x, expected(z)]).collect();
        json!({"curve": curve, "classes": self.class.len(), "mean_loss": number(self.mean_loss)})
    }
}
