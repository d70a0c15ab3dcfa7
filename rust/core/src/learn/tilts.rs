//! What a stage's calibration becomes on other rows: a line on top of each of its curves.

use super::calibrate;
use super::logistic::{self, Prior, logit};
use super::patterned::Patterned;
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
    let said_known: Vec<i64> = known.iter().map(|row| said(*row)).collect();
    let mut class = calibrate::frequent(&said_known, tuning);
    class.truncate(tuning.tilt_classes);
    let width = 2 + 2 * class.len();
    let of = |row: usize| ([1.0, calibration.read(signal[row], said(row))], target[row], weight[row]);
    let mut rows_of = vec![Vec::new(); class.len() + 1];
    for row in &known {
        let at = usize::try_from(said(*row)).ok().and_then(|said| class.iter().position(|class| *class == said));
        rows_of[at.map_or(0, |at| at + 1)].push(*row);
    }
    let mut design = Patterned::<2>::new();
    for (at, rows) in rows_of.iter().enumerate() {
        // Those of a class have its own line beside that of all.
        let own = |first: usize| if at == 0 { vec![first] } else { vec![first, first + 2 * at] };
        design.add([own(0), own(1)], rows, of);
    }
    let mut penalty = logistic::ridge(width, tuning.tilt_class_ridge);
    for own in 0..2 {
        penalty[own * width + own] = tuning.tilt_ridge;
    }
    let mut centre = vec![0.0; width];
    centre[1] = 1.0;
    let found = logistic::fit(&design, &Prior { centre: &centre, penalty: &penalty }, tuning);
    let line = |offset: f64, slope: f64| Tilt { offset, slope: slope.max(tuning.tilt_least) };
    let all = line(found[0], found[1]);
    let own = found[2..].chunks_exact(2).map(|own| line(found[0] + own[0], found[1] + own[1]));
    let of_class: Vec<(usize, Tilt)> = class.iter().copied().zip(own).collect();
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
