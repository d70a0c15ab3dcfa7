//! From a raw signal and a prediction to the logit of the expected loss of one stage alone.

use serde_json::{Value, json};

use super::super::checks;
use super::super::describe::number;
use super::curve::{Curve, Levels};
use crate::error::{Checked, check};

/// Beliefs stay within ± this many logits.
pub const LOGIT_LIMIT: f64 = 9.0;

/// Curves of some classes, at the knots of the curve of all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Classes {
    /// Which of the curves is that of predictions 0, 1, …, counted from 1; 0, and predictions beyond: the curve of all.
    pub number: Vec<u16>,
    /// Logits at the knots; classes may share a curve.
    pub levels: Vec<Levels>,
}

impl Classes {
    /// The logits at the knots for a prediction, if its class has its own.
    #[inline]
    pub(super) fn of(&self, prediction: i64) -> Option<&Levels> {
        // Negative predictions turn into numbers beyond every class.
        let number = *self.number.get(prediction as usize)?;
        self.levels.get(usize::from(number).wrapping_sub(1))
    }
}

/// Calibration of one stage.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    /// Signal to logit, whatever the prediction.
    pub curve: Curve,
    /// The curves of classes that have their own.
    pub classes: Classes,
    /// Mean loss of the stage, in the unit of the losses; infinite: it informs about others and never answers.
    pub mean_loss: f64,
    /// Logit of the expected loss where the signal is not a number.
    pub missing_logit: f64,
}

impl Calibration {
    /// The calibrated logit, as exact as 32 bits are; infinite where the signal is not a number.
    #[inline]
    pub fn read(&self, signal: f64, prediction: i64) -> f64 {
        if signal.is_nan() {
            return f64::INFINITY;
        }
        self.known(signal, prediction).into()
    }

    /// The same of a signal that is a number.
    #[expect(clippy::inline_always, reason = "two hot callers; the call itself is a tenth of the work")]
    #[inline(always)]
    pub(super) fn known(&self, signal: f64, prediction: i64) -> f32 {
        let own = self.curve.place(signal).rounded(self.classes.of(prediction).unwrap_or(self.curve.own()));
        own.clamp(-LOGIT_LIMIT as f32, LOGIT_LIMIT as f32)
    }

    /// The same, linear between the points of the curve because it has no limits; `signal` must not be NaN.
    #[inline]
    pub(super) fn line(&self, signal: f64, prediction: i64) -> f64 {
        self.curve.place(signal).of(self.classes.of(prediction).unwrap_or(self.curve.own()))
    }

    /// Whether the stage informs about others and never answers.
    pub fn is_probe(&self) -> bool {
        self.mean_loss == f64::INFINITY
    }

    /// Checks that every number is usable.
    pub(crate) fn check(&self) -> Checked {
        check(self.mean_loss > f64::NEG_INFINITY, "a mean loss is not a number")?;
        check(checks::is_summable(self.missing_logit), "the logit of a missing signal is not within 1e100 of 0")?;
        let classes = &self.classes;
        check(classes.levels.iter().flat_map(Levels::values).all(f32::is_finite), "a logit of a class is not finite")?;
        let is_there = |number: &u16| usize::from(*number) <= classes.levels.len();
        check(classes.number.iter().all(is_there), "a class has a curve that is not there")
    }

    /// The curve as pairs of a signal and the `expected` loss of its logit, and what else there is to know.
    pub(super) fn describe(&self, expected: impl Fn(f64) -> f64) -> Value {
        let curve: Vec<[f64; 2]> = self.curve.points().map(|(x, z)| [x, expected(z.into())]).collect();
        json!({"curve": curve, "classes": self.classes.number.iter().filter(|number| **number > 0).count(), "mean_loss": number(self.mean_loss)})
    }
}
