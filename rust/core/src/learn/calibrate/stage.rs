//! One stage: a curve over its signal, one for each class, and a logit for no signal.

use super::classes::{self, rounded};
use super::curve::Regression;
use super::knots::Knots;
use super::rows::{Signalled, gather};
use crate::learn::logistic::logit;
use crate::learn::sample;
use crate::learn::tuning::Tuning;
use crate::rules::{Calibration, Classes, Curve, LOGIT_LIMIT};

/// What one stage said, and what its answers cost.
pub struct Column<'a> {
    /// NaN: unknown (n,).
    pub signal: &'a [f64],
    /// Loss in [0, 1] (n,).
    pub target: &'a [f64],
    /// How much each row counts (n,).
    pub weight: &'a [f64],
    /// Predictions (n,), if there are any.
    pub prediction: Option<&'a [i64]>,
    /// Group of each row (n,), if there are groups.
    pub group: Option<&'a [i64]>,
}

/// Calibrates one stage; `scale` is what the losses were divided by, in their unit. O(n log n).
pub fn calibration(column: &Column, scale: f64, tuning: &Tuning) -> Calibration {
    let prior = tuning.prior_rows;
    let mass = |rows: &mut dyn Iterator<Item = usize>| {
        rows.fold((0.0, 0.0), |(w, wy), row| (w + column.weight[row], wy + column.weight[row] * column.target[row]))
    };
    let is_known = |row: &usize| !column.signal[*row].is_nan();
    let n = column.signal.len();
    let (all, lost) = mass(&mut (0..n));
    let (dark, lost_dark) = mass(&mut (0..n).filter(|row| !is_known(row)));
    let share = (lost + 0.5 * prior) / (all + prior);
    let limited = |p: f64| logit(p).clamp(-LOGIT_LIMIT, LOGIT_LIMIT);
    let missing_logit = limited((lost_dark + share * prior) / (dark + prior));
    let rows: Vec<usize> = (0..n).filter(is_known).collect();
    let known = Signalled {
        signal: rows.iter().map(|row| column.signal[*row].clamp(f64::MIN, f64::MAX)).collect(),
        target: rows.iter().map(|row| column.target[*row]).collect(),
        weight: rows.iter().map(|row| column.weight[*row]).collect(),
        prediction: column.prediction.map(|prediction| rows.iter().map(|row| prediction[*row]).collect()),
        group: column.group.map(|group| rows.iter().map(|row| group[*row]).collect()),
    };
    let (curve, classes) =
        curves(&known, tuning).unwrap_or_else(|| (Curve::constant(missing_logit as f32), Classes::default()));
    let mean_loss = if all > 0.0 { lost / all * scale } else { 0.0 };
    Calibration { curve, classes, mean_loss, missing_logit }
}

/// The curve of all signals, and those of classes; `None` without any signal.
fn curves(known: &Signalled, tuning: &Tuning) -> Option<(Curve, Classes)> {
    let sorted = sample::sorted(&known.signal);
    let knots = Knots::new(&sorted, tuning);
    let (mass, lost) =
        known.weight.iter().zip(&known.target).fold((0.0, 0.0), |(w, wy), (weight, y)| (w + weight, wy + weight * y));
    let base = logit((lost + 0.5 * tuning.prior_rows) / (mass + tuning.prior_rows));
    let prediction = known.prediction.as_deref().unwrap_or_default();
    let frequent = classes::frequent(prediction, tuning);
    sorted.first()?;
    let cells = gather(known, &sorted, &knots, &frequent, tuning);
    let regression = Regression::new(&cells, &knots, base, tuning);
    let all = regression.fit(regression.start(0), 0.0);
    let apart =
        if frequent.is_empty() { None } else { classes::apart(&regression, &all, &cells, frequent.len(), tuning) };
    let all = regression.falling(all);
    let curve = Curve::through(&knots.at, &rounded(&all.common)).unwrap_or_else(|| Curve::constant(base as f32));
    let classes = apart.map(|apart| classes::stored(&regression, &apart, &curve, &frequent, prediction, tuning));
    Some((curve, classes.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::logistic::sigmoid;
    use crate::random::mix64;

    fn fitted(signal: &[f64], target: &[f64], prediction: Option<&[i64]>) -> Calibration {
        let weight = vec![1.0; target.len()];
        calibration(&Column { signal, target, weight: &weight, prediction, group: None }, 1.0, &Tuning::default())
    }

    #[test]
    fn recovers_a_logistic_curve() {
        let n = 20_000;
        let signal: Vec<f64> = (0..n).map(|i| (f64::from(i) + 0.5) / f64::from(n)).collect();
        let target: Vec<f64> = signal.iter().map(|x| sigmoid(2.0 - 4.0 * x)).collect();
        let calibration = fitted(&signal, &target, None);
        for x in [0.05, 0.3, 0.5, 0.77, 0.95] {
            assert!((calibration.read(x, 0) - (2.0 - 4.0 * x)).abs() < 0.05, "at {x}: {}", calibration.read(x, 0));
        }
    }

    #[test]
    fn curves_fall_unless_rows_say_clearly_that_they_rise() {
        let signal: Vec<f64> = (0..400).map(|i| f64::from(i) / 400.0).collect();
        let noise = |i: usize| (mix64(i as u64) % 100) as f64 / 100.0;
        let drawn = |chance: fn(f64) -> f64| -> Vec<f64> {
            signal.iter().enumerate().map(|(i, x)| f64::from(u8::from(noise(i) < chance(*x)))).collect()
        };
        let values =
            |target: &[f64]| -> Vec<f32> { fitted(&signal, target, None).curve.points().map(|p| p.1).collect() };
        assert!(values(&drawn(|_| 0.1)).is_sorted_by(|a, b| a >= b));
        let rising = values(&drawn(|x| 0.1 + 0.8 * x));
        assert!(rising.is_sorted_by(|a, b| a <= b) && rising[15] - rising[0] > 2.0, "{rising:?}");
    }

    #[test]
    fn one_distinct_signal_gives_the_mean() {
        let calibration = fitted(&[0.5; 40], &[0.25; 40], None);
        let read = sigmoid(calibration.read(0.7, 3));
        assert!((read - 0.25).abs() < 0.02, "{read}");
    }

    #[test]
    fn classes_differ_where_they_do() {
        let prediction: Vec<i64> = (0..2000).map(|i| i % 2).collect();
        let target: Vec<f64> = prediction.iter().map(|l| if *l == 0 { 0.1 } else { 0.6 }).collect();
        let calibration = fitted(&[0.5; 2000], &target, Some(&prediction));
        assert!((sigmoid(calibration.read(0.5, 0)) - 0.1).abs() < 0.02);
        assert!((sigmoid(calibration.read(0.5, 1)) - 0.6).abs() < 0.02);
    }

    #[test]
    fn classes_that_do_not_differ_get_no_lines() {
        let prediction: Vec<i64> = (0..2000).map(|i| i % 7).collect();
        let target: Vec<f64> = (0..2000).map(|i| (mix64(i) % 2) as f64).collect();
        assert!(fitted(&[0.5; 2000], &target, Some(&prediction)).classes.number.is_empty());
    }

    #[test]
    fn a_class_with_one_signal_of_its_own_does_not_bend_the_curve_of_others() {
        // Nothing was found in every fifth row: the signal is 0, the answer class 2, and it is wrong. Else low signals are
        // hardly worse than high ones.
        let n = 4000_u64;
        let draw = |i: u64| (mix64(i) % 1000) as f64 / 1000.0;
        let is_found = |i: u64| !i.is_multiple_of(5);
        let signal: Vec<f64> = (0..n).map(|i| if is_found(i) { draw(n + i).max(1e-3) } else { 0.0 }).collect();
        let prediction: Vec<i64> = (0..n).map(|i| if is_found(i) { (i % 2) as i64 } else { 2 }).collect();
        let chance = |i: u64| if is_found(i) { 0.2 - 0.1 * signal[i as usize] } else { 0.97 };
        let target: Vec<f64> = (0..n).map(|i| f64::from(u8::from(draw(i) < chance(i)))).collect();
        let with = fitted(&signal, &target, Some(&prediction));
        for (class, x, expected) in [(2, 0.0, 0.97), (0, 0.01, 0.2), (1, 0.05, 0.195), (0, 0.95, 0.105)] {
            let read = sigmoid(with.read(x, class));
            assert!((read - expected).abs() < 0.05, "class {class} at {x}: {read}, not {expected}");
        }
        // Without classes the value that many rows share has a level of its own.
        let without = fitted(&signal, &target, None);
        for (x, expected) in [(0.0, 0.97), (0.004, 0.2), (0.95, 0.105)] {
            let read = sigmoid(without.read(x, 0));
            assert!((read - expected).abs() < 0.05, "at {x}: {read}, not {expected}");
        }
    }

    #[test]
    fn rare_classes_share_a_curve_and_those_never_seen_have_that_of_all() {
        let prediction: Vec<i64> = (0..2000).map(|i| if i % 250 == 0 { 5 } else { i % 2 }).collect();
        let target: Vec<f64> = prediction.iter().map(|l| if *l == 0 { 0.05 } else { 0.6 }).collect();
        let signal: Vec<f64> = (0..2000).map(|i| (mix64(i) % 100) as f64).collect();
        let calibration = fitted(&signal, &target, Some(&prediction));
        let Classes { number, levels } = &calibration.classes;
        assert_eq!((number.as_slice(), levels.len()), (&[2, 1, 0, 0, 0, 3][..], 3));
        assert_eq!(calibration.read(30.0, 3), calibration.curve.at(30.0));
        assert_eq!(calibration.read(30.0, -1), calibration.curve.at(30.0));
        assert_eq!(calibration.read(30.0, i64::MAX), calibration.curve.at(30.0));
    }

    #[test]
    fn unknown_signals_have_a_logit_of_their_own() {
        let signal: Vec<f64> = (0..2000).map(|i| if i % 4 == 0 { f64::NAN } else { 0.5 }).collect();
        let target: Vec<f64> = (0..2000).map(|i| if i % 4 == 0 { 0.9 } else { 0.1 }).collect();
        let calibration = fitted(&signal, &target, None);
        assert!((sigmoid(calibration.missing_logit) - 0.9).abs() < 0.01, "{}", calibration.missing_logit);
        assert!((sigmoid(calibration.read(0.5, 0)) - 0.1).abs() < 0.01);
    }

    #[test]
    fn huge_signals_and_single_rows_stay_finite() {
        for signal in [vec![f64::MAX, f64::MIN, 0.0, f64::INFINITY], vec![f64::NAN; 4], vec![1e308, -1e308, 1.0, 2.0]] {
            assert_eq!(fitted(&signal, &[1.0, 0.0, 0.5, 0.0], Some(&[0, 1, 0, 1])).check(), Ok(()));
        }
        assert_eq!(fitted(&[0.3], &[1.0], Some(&[2])).check(), Ok(()));
    }
}
