//! What the reports of a stage looked like where the policy was made, and what differs from that.

use crate::rules::{NO_PREDICTION, Observation};

/// The usual reports of one stage.
#[derive(Clone, Debug, PartialEq)]
pub struct Usual {
    /// The least signal; infinite where there was none.
    pub low: f64,
    /// The largest signal; minus infinity where there was none.
    pub high: f64,
    /// The least and the largest prediction, where most reports had one.
    pub predictions: Option<(i64, i64)>,
}

/// How a report differs from the usual ones so much that one of it is enough to tell.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Oddity {
    /// It has no prediction, where the others had.
    NoPrediction,
    /// Its prediction is of another kind: text where there were small numbers.
    OtherPrediction,
    /// Its signal is beyond the usual ones by more than they differ among themselves.
    OtherScale,
}

impl Usual {
    /// Of the states 0, 1, … of an exact model.
    pub fn of_states(count: usize) -> Self {
        Self { low: 0.0, high: count.saturating_sub(1) as f64, predictions: None }
    }

    /// Of recorded reports. O(n).
    pub fn of_reports(signal: &[f64], prediction: Option<&[i64]>) -> Self {
        let finite = || signal.iter().copied().filter(|signal| signal.is_finite());
        let said = || prediction.into_iter().flatten().copied().filter(|said| *said != NO_PREDICTION);
        let is_usual = 2 * said().count() > signal.len();
        let predictions = said().min().zip(said().max()).filter(|_| is_usual);
        Self {
            low: finite().fold(f64::INFINITY, f64::min),
            high: finite().fold(f64::NEG_INFINITY, f64::max),
            predictions,
        }
    }

    /// How much the signals differ; infinite where there were none.
    fn width(&self) -> f64 {
        if self.low <= self.high { self.high - self.low } else { f64::INFINITY }
    }

    /// Whether a signal is beyond all usual ones. NaN is not.
    pub fn is_outside(&self, signal: f64) -> bool {
        self.low <= self.high && (signal < self.low || signal > self.high)
    }

    /// What is odd about a report, if anything.
    pub fn oddity(&self, report: Observation) -> Option<Oddity> {
        let width = self.width();
        if let Some((least, most)) = self.predictions {
            let margin = most.saturating_sub(least).max(1 << 20);
            if report.prediction == NO_PREDICTION {
                return Some(Oddity::NoPrediction);
            }
            if report.prediction < least.saturating_sub(margin) || report.prediction > most.saturating_add(margin) {
                return Some(Oddity::OtherPrediction);
            }
        }
        let is_far = report.signal < self.low - width || report.signal > self.high + width;
        is_far.then_some(Oddity::OtherScale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_like_those_recorded_are_usual() {
        let usual = Usual::of_reports(&[0.2, f64::NAN, 1.0, f64::INFINITY], Some(&[3, NO_PREDICTION, 7, 3]));
        assert_eq!(usual, Usual { low: 0.2, high: 1.0, predictions: Some((3, 7)) });
        for signal in [0.2, 1.0, -0.6, 1.8, f64::NAN] {
            assert_eq!(usual.oddity(Observation::new(signal, 12)), None, "{signal}");
        }
        for prediction in [3 - (1 << 20), 7 + (1 << 20)] {
            assert_eq!(usual.oddity(Observation::new(0.5, prediction)), None, "{prediction}");
        }
        assert_eq!(Usual::of_reports(&[0.2; 2], Some(&[3, NO_PREDICTION])).predictions, None);
        assert!(usual.is_outside(1.1) && usual.is_outside(0.1) && !usual.is_outside(f64::NAN));
        assert!(!usual.is_outside(0.2) && !usual.is_outside(1.0));
    }

    #[test]
    fn what_differs_is_said() {
        let usual = Usual::of_reports(&[0.2, 1.0], Some(&[3, 7]));
        assert_eq!(usual.oddity(Observation::new(97.0, 3)), Some(Oddity::OtherScale));
        assert_eq!(usual.oddity(Observation::new(-4.0, 3)), Some(Oddity::OtherScale));
        assert_eq!(usual.oddity(Observation::new(0.5, NO_PREDICTION)), Some(Oddity::NoPrediction));
        assert_eq!(usual.oddity(Observation::new(0.5, i64::MAX / 3)), Some(Oddity::OtherPrediction));
        assert_eq!(usual.oddity(Observation::new(0.5, -(1 << 40))), Some(Oddity::OtherPrediction));
    }

    #[test]
    fn far_is_beyond_as_much_as_the_usual_ones_differ() {
        let usual = Usual::of_reports(&[0.5, 1.0], None);
        for signal in [0.0, 1.5] {
            assert_eq!(usual.oddity(Observation::new(signal, 1)), None);
        }
        for signal in [-0.01, 1.51] {
            assert_eq!(usual.oddity(Observation::new(signal, 1)), Some(Oddity::OtherScale));
        }
        let constant = Usual::of_reports(&[0.5; 2], None);
        assert_eq!(constant.oddity(Observation::new(0.51, 1)), Some(Oddity::OtherScale));
        assert!(constant.is_outside(0.51) && !constant.is_outside(0.5));
    }

    #[test]
    fn nothing_is_odd_where_nothing_was_recorded() {
        let silent = Usual::of_reports(&[f64::NAN; 3], Some(&[1, NO_PREDICTION, NO_PREDICTION]));
        assert_eq!(silent.oddity(Observation::new(1e300, NO_PREDICTION)), None);
        assert!(!silent.is_outside(0.5));
        let hashes = Usual::of_reports(&[0.5; 2], Some(&[i64::MAX, -i64::MAX]));
        assert_eq!(hashes.oddity(Observation::new(0.5, 0)), None);
    }

    #[test]
    fn states_are_numbered_from_zero() {
        let states = Usual::of_states(2);
        assert!(states.is_outside(2.0) && !states.is_outside(0.0) && !states.is_outside(1.0));
        assert_eq!(states.oddity(Observation::new(7.0, NO_PREDICTION)), Some(Oddity::OtherScale));
        assert_eq!(states.oddity(Observation::new(1.0, 5)), None);
    }
}
