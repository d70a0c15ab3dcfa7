//! The first decision of a request, made on the raw signal.
//!
//! Before anything else has run, belief is a function of one signal and one prediction, so that the decision is a step
//! function of the signal: one comparison, without calibrating first.

use super::super::prediction::NO_PREDICTION;
use super::calibration::Calibration;
use crate::parallel;
use crate::plan::{Intervals, NO_STAGE, Row, STOP};

/// Most pairs of a class and a limit that the cuts of one policy are worked out for: beyond, they would take more time
/// and memory than the policy itself, and signals are calibrated one by one instead.
pub const MOST_PAIRS: usize = 1 << 18;

/// Actions by signal, one row per class and one more for every other prediction.
#[derive(Clone, Debug)]
pub enum EntryCuts {
    /// The common case: whatever the prediction, confident signals stop and all others go to the same place.
    Plain(Thresholds),
    /// Over the *negated* signal: confident requests, which stop, come first.
    Steps(Intervals),
    /// What to calibrate and decide with where there are too many cuts.
    Uncut(Box<(Calibration, Intervals)>),
}

impl PartialEq for EntryCuts {
    /// Rules are compared by what the cuts are derived from.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// The signals up from which requests stop.
#[derive(Clone, Debug)]
pub struct Thresholds {
    /// Least signal that stops, per class, NaN for none; the last entry is for every other prediction.
    least: Box<[f64]>,
    /// The action below it; [`STOP`] where every signal stops.
    pub onward: i32,
}

impl Thresholds {
    /// The least signal that stops, per class and for every other prediction.
    pub(super) fn all(&self) -> &[f64] {
        &self.least
    }

    /// The least signal that stops a request with this prediction; NaN for none.
    #[inline]
    pub fn least(&self, prediction: i64) -> f64 {
        let other = self.least.len().saturating_sub(1);
        // Negative predictions turn into numbers beyond every class.
        let row = (prediction as usize).min(other);
        self.least.get(row).copied().unwrap_or(f64::INFINITY)
    }

    /// What is next for each of many requests: no stage where its signal stops, else `onward`.
    pub fn after_many(&self, signal: &[f64], prediction: Option<&[i64]>, onward: u16, next: &mut [u16]) {
        let after = |signal: f64, least: f64| if signal >= least { NO_STAGE } else { onward };
        let Some(prediction) = prediction else {
            let least = self.least(NO_PREDICTION);
            return next.iter_mut().zip(signal).for_each(|(next, signal)| *next = after(*signal, least));
        };
        let reports = next.iter_mut().zip(signal.iter().zip(prediction));
        // Of few classes, a row is chosen without being looked up.
        match *self.least {
            [other] => reports.for_each(|(next, (signal, _))| *next = after(*signal, other)),
            [zero, other] => reports.for_each(|(next, (signal, said))| {
                *next = after(*signal, if *said == 0 { zero } else { other });
            }),
            [zero, one, other] => reports.for_each(|(next, (signal, said))| {
                let beyond = if *said == 1 { one } else { other };
                *next = after(*signal, if *said == 0 { zero } else { beyond });
            }),
            _ => reports.for_each(|(next, (signal, said))| *next = after(*signal, self.least(*said))),
        }
    }
}

impl EntryCuts {
    /// How many pairs of a class and a limit there are in row 0 of `decide`.
    pub fn pairs(calibration: &Calibration, decide: &Intervals) -> usize {
        let limits = decide.table().first().map_or(0, |row| row.len as usize);
        (calibration.classes.number.len() + 1).saturating_mul(limits + 1)
    }

    /// The decisions of row 0 of `decide`, where signals are calibrated one by one.
    pub fn uncut(calibration: &Calibration, decide: Intervals) -> Self {
        Self::Uncut(Box::new((calibration.clone(), decide)))
    }

    /// The decisions of row 0 of `decide`, as a function of the signal that `calibration` calibrates.
    pub fn new(calibration: &Calibration, decide: &Intervals) -> Self {
        let mut intervals = Intervals::new();
        for class in 0..=calibration.classes.number.len() {
            parallel::check();
            let (stop, steps) = steps_of(calibration, class as i64, decide);
            intervals.push(stop, steps);
        }
        thresholds_of(&intervals).map_or(Self::Steps(intervals), Self::Plain)
    }

    /// The action for a signal that is a number.
    #[inline]
    pub fn action(&self, signal: f64, prediction: i64) -> i32 {
        match self {
            Self::Plain(found) => {
                if signal >= found.least(prediction) {
                    STOP
                } else {
                    found.onward
                }
            }
            Self::Uncut(uncut) => {
                let (calibration, decide) = &**uncut;
                decide.action(0, calibration.read(signal, prediction))
            }
            Self::Steps(intervals) => {
                let other = intervals.rows().saturating_sub(1);
                let row = (prediction as usize).min(other);
                // An infinite signal must not meet the limit of a row that never stops.
                intervals.action(row, (-signal).max(f64::MIN))
            }
        }
    }

    /// The thresholds, where that is all there is to it.
    #[inline]
    pub fn thresholds(&self) -> Option<&Thresholds> {
        if let Self::Plain(found) = self { Some(found) } else { None }
    }
}

fn thresholds_of(intervals: &Intervals) -> Option<Thresholds> {
    let rows = intervals.table();
    let always_stops = |row: &Row| row.stop == f64::INFINITY;
    let going_on = rows.iter().find(|row| !always_stops(row));
    let onward = going_on.map_or(STOP, |row| row.last);
    let is_plain = |row: &Row| always_stops(row) || (row.len == 0 && row.last == onward);
    if (onward == STOP && going_on.is_some()) || !rows.iter().all(is_plain) {
        return None;
    }
    // No signal, not even an infinite one, is at or above NaN: such a row never stops.
    let least = |row: &Row| if row.stop == f64::NEG_INFINITY { f64::NAN } else { -row.stop };
    Some(Thresholds { least: rows.iter().map(least).collect(), onward })
}

/// The step function for one class: limit up to which the negated signal stops, and `(limit, action)` beyond it.
fn steps_of(calibration: &Calibration, class: i64, decide: &Intervals) -> (f64, Vec<(f64, i32)>) {
    let logit = |x: f64| calibration.line(x, class);
    let action = |x: f64| decide.action_sought(0, calibration.read(x, class));
    let knots: Vec<f64> = calibration.curve.points().map(|(x, _)| x).collect();
    let limits = decide.table().first().map_or_else(Vec::new, |row| {
        decide.steps(row).map(|(limit, _)| limit).chain([row.stop]).filter(|limit| limit.is_finite()).collect()
    });
    let mut cuts = knots.clone();
    for (left, right) in knots.iter().zip(knots.iter().skip(1)) {
        // The logit is linear in between, so that each limit is crossed at most once.
        let (from, to) = (logit(*left), logit(*left + 0.5 * (right - left)));
        for limit in &limits {
            let crossing = left + 0.5 * (right - left) * ((limit - from) / (to - from));
            if crossing > *left && crossing < *right {
                cuts.push(crossing);
            }
        }
    }
    cuts.sort_unstable_by(|a, b| b.total_cmp(a));
    cuts.dedup();
    // From the most confident signal down: between two cuts, and on each of them, which may belong to either side.
    let mut pieces: Vec<(f64, i32)> = Vec::new();
    let mut push = |limit: f64, action: i32| match pieces.last_mut() {
        Some(last) if last.1 == action => last.0 = limit,
        _ => pieces.push((limit, action)),
    };
    for (at, cut) in cuts.iter().enumerate() {
        let inside =
            at.checked_sub(1).and_then(|above| cuts.get(above)).map_or(*cut, |above| cut + 0.5 * (above - cut));
        push(-cut.next_up(), action(inside));
        push(-cut, action(*cut));
    }
    push(f64::INFINITY, cuts.last().map_or(STOP, |lowest| action(*lowest)));
    match pieces.split_first() {
        Some(((limit, STOP), rest)) => (*limit, rest.to_vec()),
        _ => (f64::NEG_INFINITY, pieces),
    }
}

#[cfg(test)]
mod tests {
    use super::super::calibration::Classes;
    use super::super::curve::Curve;
    use super::*;

    /// Classes have this offset and slope on the curve of all.
    fn calibration(x: &[f64], z: &[f32], class: &[[f32; 2]]) -> Calibration {
        let curve = Curve::through(x, z).unwrap_or_else(|| panic!("not a curve"));
        let levels = class.iter().map(|[offset, slope]| z.iter().map(|z| offset + slope * z).collect::<Vec<f32>>());
        let levels: Vec<_> = levels.filter_map(|z| curve.levels(&z)).collect();
        let classes = Classes { number: (1..=levels.len() as u16).collect(), levels };
        Calibration { curve, classes, mean_loss: 0.5, missing_logit: 0.0 }
    }

    fn intervals(stop: f64, steps: &[(f64, i32)]) -> Intervals {
        let mut intervals = Intervals::new();
        intervals.push(stop, steps.iter().copied());
        intervals
    }

    #[test]
    fn agrees_with_calibrating_first() {
        let wavy = calibration(
            &[0.0, 0.2, 0.5, 0.8, 1.0],
            &[2.0, 3.0, -1.0, 0.5, -4.0],
            &[[0.0, 1.0], [1.0, 0.5], [0.3, -1.0]],
        );
        for decide in [
            intervals(-0.7, &[(f64::INFINITY, 1)]),
            intervals(-2.0, &[(0.2, 1), (1.5, 2), (f64::INFINITY, STOP)]),
            intervals(f64::NEG_INFINITY, &[(f64::INFINITY, 3)]),
            intervals(f64::INFINITY, &[]),
        ] {
            let cuts = EntryCuts::new(&wavy, &decide);
            for prediction in [-5, 0, 1, 2, 3, 99] {
                for i in -20..=1220 {
                    let x = f64::from(i) / 1000.0 + 1e-7;
                    assert_eq!(
                        cuts.action(x, prediction),
                        decide.action(0, wavy.read(x, prediction)),
                        "at {x}, prediction {prediction}"
                    );
                }
                for x in [f64::INFINITY, f64::NEG_INFINITY, 1e308, -1e308] {
                    assert_eq!(
                        cuts.action(x, prediction),
                        decide.action(0, wavy.read(x, prediction)),
                        "at {x}, prediction {prediction}"
                    );
                }
            }
        }
    }

    #[test]
    fn many_are_decided_as_one_is() {
        let signals = [f64::NEG_INFINITY, -1.0, 0.0, 0.3, 0.5, 0.75, 0.9, 1.0, 2.0, f64::INFINITY, f64::NAN];
        let classes = [[0.0, 1.0], [1.0, 0.5], [-1.0, 1.0], [9.0, 1.0]];
        for (count, limit) in (0..=classes.len()).flat_map(|count| [(count, -1.0), (count, 5.0), (count, -7.0)]) {
            let some: Vec<[f32; 2]> = classes.into_iter().take(count).collect();
            let falling = calibration(&[0.0, 0.5, 1.0], &[2.0, 0.0, -2.0], &some);
            let cuts = EntryCuts::new(&falling, &intervals(limit, &[(f64::INFINITY, 1)]));
            let Some(found) = cuts.thresholds() else { panic!("no thresholds at {limit}") };
            let after = |action: i32| if action == STOP { NO_STAGE } else { 7 };
            let onward = after(found.onward);
            for prediction in [-3, 0, 1, 2, 3, 4, 99, NO_PREDICTION] {
                let mut next = [5; 11];
                found.after_many(&signals, Some(&[prediction; 11]), onward, &mut next);
                // What is not a number is below every threshold.
                let expected = signals.map(|x| if x.is_nan() { onward } else { after(cuts.action(x, prediction)) });
                assert_eq!(next, expected, "{count} classes, limit {limit}, prediction {prediction}");
                if prediction == NO_PREDICTION {
                    found.after_many(&signals, None, onward, &mut next);
                    assert_eq!(next, expected);
                }
            }
        }
    }

    #[test]
    fn where_everything_stops_there_is_a_threshold_too() {
        let falling = calibration(&[0.0, 1.0], &[2.0, -2.0], &[[0.0, 1.0]]);
        let cuts = EntryCuts::new(&falling, &intervals(f64::INFINITY, &[]));
        assert_eq!(cuts.thresholds().map(|found| (found.least(0), found.onward)), Some((f64::NEG_INFINITY, STOP)));
        assert_eq!([cuts.action(f64::NEG_INFINITY, 0), cuts.action(0.5, 7)], [STOP; 2]);
    }

    #[test]
    fn too_many_cuts_are_not_worked_out() {
        let many: Vec<(f64, i32)> = (0..600).map(|i| (f64::from(i) / 100.0 - 3.0, i % 2)).collect();
        let classes: Vec<[f32; 2]> = (0..600).map(|i| [0.0, i as f32 / 300.0]).collect();
        let calibration = calibration(&[0.0, 0.5, 1.0], &[3.0, -1.0, -4.0], &classes);
        let decide = intervals(-3.5, &many);
        assert!(EntryCuts::pairs(&calibration, &decide) > MOST_PAIRS);
        let cuts = EntryCuts::uncut(&calibration, decide.clone());
        assert!(cuts.thresholds().is_none());
        for i in 0..2000 {
            let (x, class) = (f64::from(i) / 1000.0 - 0.5, i64::from(i % 700));
            assert_eq!(cuts.action(x, class), decide.action(0, calibration.read(x, class)));
        }
    }

    #[test]
    fn a_cut_is_on_the_side_of_its_own_belief() {
        let rising_then_falling = calibration(&[0.0, 1.0, 2.0, 4.0], &[0.0, 2.0, 2.0, -2.0], &[]);
        let decide = intervals(1.0, &[(1.5, 1), (f64::INFINITY, 2)]);
        let cuts = EntryCuts::new(&rising_then_falling, &decide);
        for (x, action) in [(0.5, STOP), (0.75, 1), (2.25, 1), (2.5, STOP)] {
            assert_eq!(
                (cuts.action(x, 0), decide.action(0, rising_then_falling.read(x, 0))),
                (action, action),
                "at {x}"
            );
        }
        // Signals are compared to the last bit, though logits are not as exact.
        assert_eq!((cuts.action(0.5_f64.next_up(), 0), cuts.action(0.75_f64.next_up(), 0)), (1, 2));
    }

    #[test]
    fn limits_are_crossed_where_the_curve_crosses_them_though_it_leaves_the_limits_of_belief() {
        let steep = calibration(&[0.0, 1.0], &[16.0, -16.0], &[[0.0, 2.0]]);
        let cuts = EntryCuts::new(&steep, &intervals(4.0, &[(f64::INFINITY, 1)]));
        for (prediction, least) in [(-1, 0.375), (0, 0.4375)] {
            assert_eq!(cuts.action(least, prediction), STOP);
            assert_eq!(cuts.action(least - 1e-9, prediction), 1);
        }
    }

    #[test]
    fn a_valley_of_belief_gives_no_threshold() {
        let valley = calibration(&[0.0, 1.0, 2.0, 3.0], &[2.0, -2.0, 2.0, -2.0], &[[0.0, 1.0], [4.0, 0.0]]);
        let decide = intervals(0.0, &[(3.0, 1), (f64::INFINITY, 2)]);
        let cuts = EntryCuts::new(&valley, &decide);
        assert!(cuts.thresholds().is_none());
        for (x, action) in [(0.25, 1), (0.75, STOP), (1.25, STOP), (1.75, 1), (2.25, 1), (2.75, STOP)] {
            assert_eq!((cuts.action(x, -1), cuts.action(x, 0), cuts.action(x, 1)), (action, action, 2), "at {x}");
        }
    }

    #[test]
    fn a_flat_piece_crosses_nothing() {
        let flat = calibration(&[0.0, 1.0, 2.0], &[-1.0, -1.0, -2.0], &[]);
        for limit in [-3.0, -1.0, 3.0] {
            let decide = intervals(limit, &[(0.0, 1), (f64::INFINITY, 2)]);
            let cuts = EntryCuts::new(&flat, &decide);
            for x in [f64::NEG_INFINITY, -5.0, 0.0, 0.5, 1.0, 1.5, 2.0, 7.0, f64::INFINITY] {
                assert_eq!(cuts.action(x, 0), decide.action(0, flat.read(x, 0)), "at {x}, limit {limit}");
            }
        }
    }

    #[test]
    fn a_falling_curve_gives_one_threshold() {
        let falling = calibration(&[0.0, 0.5, 1.0], &[2.0, 0.0, -2.0], &[]);
        let cuts = EntryCuts::new(&falling, &intervals(-1.0, &[(f64::INFINITY, 1)]));
        let found = cuts.thresholds().map(|found| (found.least(0), found.least(-3), found.onward));
        assert_eq!(found, Some((0.75, 0.75, 1)));
    }
}
