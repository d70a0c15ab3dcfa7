//! What a stage's calibration becomes on other rows: a line on top of each of its curves.

use super::logistic::{self, Design, Prior, logit};
use super::tuning::Tuning;
use crate::rules::{Calibration, LOGIT_LIMIT, NO_PREDICTION, Tilt};
use crate::trace::Trace;

/// `calibration` of `stage` on other rows, whose losses over `unit` are `target` (n,): the logit of every class becomes a
/// line in what it was, all of them pulled to the identity, and those of classes to that of all. O(n) for each class.
pub fn tilted(
    calibration: &Calibration,
    trace: &Trace,
    stage: usize,
    target: &[f64],
    unit: f64,
    tuning: &Tuning,
) -> Calibration {
    let (signal, prediction, weight) = (trace.signal(stage), trace.prediction(stage), trace.weight());
    let said = |row: usize| prediction.map_or(NO_PREDICTION, |prediction| prediction[row]);
    let (known, dark): (Vec<usize>, Vec<usize>) = (0..trace.rows()).partition(|row| !signal[*row].is_nan());
    let class = frequent(known.iter().map(|row| said(*row)), tuning);
    let width = 2 + 2 * class.len();
    let mut features = vec![0.0; known.len() * width];
    for (row, x) in known.iter().zip(features.chunks_exact_mut(width)) {
        let z = calibration.read(signal[*row], said(*row));
        (x[0], x[1]) = (1.0, z);
        if let Ok(at) = class.binary_search(&said(*row)) {
            (x[2 + 2 * at], x[3 + 2 * at]) = (1.0, z);
        }
    }
    let mut penalty = logistic::ridge(width, tuning.tilt_class_ridge);
    for own in 0..2 {
        penalty[own * width + own] = tuning.tilt_ridge;
    }
    let mut centre = vec![0.0; width];
    centre[1] = 1.0;
    let of = |column: &[f64]| known.iter().map(|row| column[*row]).collect::<Vec<f64>>();
    let (target_known, weight_known) = (of(target), of(weight));
    let design = Design { features: &features, target: &target_known, weight: &weight_known, offset: None };
    let found = logistic::fit(&design, &Prior { centre: &centre, penalty: &penalty }, tuning);
    let line = |offset: f64, slope: f64| Tilt { offset, slope: slope.max(tuning.tilt_least) };
    let all = line(found[0], found[1]);
    let own = found[2..].chunks_exact(2).map(|own| line(found[0] + own[0], found[1] + own[1]));
    let of_class: Vec<(usize, Tilt)> = class.iter().map(|class| *class as usize).zip(own).collect();
    let sum = |rows: &[usize], of: &dyn Fn(usize) -> f64| rows.iter().map(|row| of(*row)).sum::<f64>();
    let mass = sum(&dark, &|row| weight[row]);
    let lost = sum(&dark, &|row| weight[row] * target[row]);
    let before = logistic::sigmoid(all.of(calibration.missing_logit));
    let missing = (lost + before * tuning.prior_rows) / (mass + tuning.prior_rows);
    let mean = trace.mean(target) * unit;
    Calibration {
        mean_loss: if calibration.is_probe() { calibration.mean_loss } else { mean },
        missing_logit: logit(missing).clamp(-LOGIT_LIMIT, LOGIT_LIMIT),
        ..calibration.tilted(all, &of_class)
    }
}

/// The classes with enough rows to say something of their own, ascending; none where there is only one.
fn frequent(said: impl Iterator<Item = i64>, tuning: &Tuning) -> Vec<i64> {
    let mut count = std::collections::BTreeMap::new();
    for class in said.filter(|class| (0..tuning.class_numbers as i64).contains(class)) {
        *count.entry(class).or_insert(0_usize) += 1;
    }
    let mut class: Vec<(usize, i64)> = count.into_iter().map(|(class, rows)| (rows, class)).collect();
    if class.len() < 2 {
        return Vec::new();
    }
    class.retain(|(rows, _)| *rows as f64 >= tuning.class_rows);
    class.sort_unstable_by_key(|(rows, class)| (std::cmp::Reverse(*rows), *class));
    class.truncate(tuning.tilt_classes);
    let mut class: Vec<i64> = class.into_iter().map(|(_, class)| class).collect();
    class.sort_unstable();
    class
}
