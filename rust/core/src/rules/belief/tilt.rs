//! Beliefs for requests of another domain: a line on top of what each stage's signals meant.

use super::calibration::{Calibration, Classes, LOGIT_LIMIT};
use super::curve::{Curve, Levels};
use super::rule::BeliefRule;

/// What a logit becomes: `offset + slope · logit`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tilt {
    /// Constant term, in logits.
    pub offset: f64,
    /// Factor of the logit.
    pub slope: f64,
}

impl Tilt {
    /// What a logit becomes, within the limits of beliefs.
    pub fn of(self, logit: f64) -> f64 {
        (self.offset + self.slope * logit).clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
    }

    fn of_levels(self, curve: &Curve, levels: &Levels) -> Levels {
        curve.mapped(levels, |level| self.of(level.into()) as f32)
    }
}

impl Calibration {
    /// The same where logits become others: those of each named class by its own tilt, of all others by `all`.
    #[must_use]
    pub fn tilted(&self, all: Tilt, of_class: &[(usize, Tilt)]) -> Self {
        let Classes { number, levels } = &self.classes;
        let (mut number, mut levels) =
            (number.clone(), levels.iter().map(|it| all.of_levels(&self.curve, it)).collect::<Vec<_>>());
        for (class, tilt) in of_class {
            let tilted = tilt.of_levels(&self.curve, self.classes.of(*class as i64).unwrap_or(self.curve.own()));
            number.resize(number.len().max(class + 1), 0);
            let shared = number.clone();
            let Some(number) = number.get_mut(*class) else { continue };
            let is_shared = shared.iter().filter(|other| *other == number).count() > 1;
            if let Some(own) = levels.get_mut(usize::from(*number).wrapping_sub(1)).filter(|_| !is_shared) {
                *own = tilted;
            } else {
                levels.push(tilted);
                *number = levels.len() as u16;
            }
        }
        let mut curve = self.curve.clone();
        curve.levels = all.of_levels(&self.curve, self.curve.own());
        Self { curve, classes: Classes { number, levels }, ..*self }
    }
}

impl BeliefRule {
    /// The same where signals mean something else (k,).
    #[must_use]
    pub fn recalibrated(&self, calibration: Vec<Calibration>) -> Self {
        let mut anew = self.clone();
        anew.beliefs.calibration = calibration;
        anew
    }
}
