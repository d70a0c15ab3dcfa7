//! Curves for the most frequent classes, where they differ.

use super::curve::{Curves, Regression};
use super::rows::Cell;
use crate::learn::logistic::sigmoid;
use crate::learn::tuning::Tuning;
use crate::rules::{Classes, Curve, LOGIT_LIMIT, Levels};

/// The classes that may have a curve of their own, the most frequent ones first; none where there is only one.
pub fn frequent(prediction: &[i64], tuning: &Tuning) -> Vec<usize> {
    let mut count = vec![0_usize; tuning.class_numbers];
    for prediction in prediction {
        if let Some(count) = usize::try_from(*prediction).ok().and_then(|class| count.get_mut(class)) {
            *count += 1;
        }
    }
    let is_frequent = |class: &usize| count[*class] as f64 >= tuning.class_rows;
    let mut class: Vec<usize> = (0..tuning.class_numbers).filter(is_frequent).collect();
    class.sort_by_key(|class| std::cmp::Reverse(count[*class]));
    class.truncate(tuning.classes);
    if prediction.first().is_none_or(|first| prediction.iter().all(|other| other == first)) {
        Vec::new()
    } else {
        class
    }
}

/// The curves of classes, pulled to that of all as strongly as is best out of sample, the common part first; `None` where
/// they are not clearly better than one curve, of which `all` are the values at the knots.
pub fn apart(regression: &Regression, all: &Curves, cells: &[Cell], classes: usize, tuning: &Tuning) -> Option<Curves> {
    let together = regression.without_folds(all, 0.0);
    let mut best: (f64, Option<Curves>) = (0.0, None);
    let mut last = regression.start(classes);
    last.common.clone_from(&all.common);
    for ridge in tuning.class_ridges {
        last = regression.fit(last, ridge);
        let apart = regression.without_folds(&last, ridge);
        let (gain, error) = gain(cells, |at| [&together, &apart].map(|by| regression.logit(&by[cells[at].fold], at)));
        if gain > tuning.class_errors * error && gain > best.0 {
            best = (gain, Some(last.clone()));
        }
    }
    best.1.map(|curves| regression.falling(curves))
}

/// Mean decrease of the log loss from one logit of each cell to another, and its standard error.
fn gain(cells: &[Cell], logits: impl Fn(usize) -> [f64; 2]) -> (f64, f64) {
    let (mut rows, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for (at, cell) in cells.iter().enumerate() {
        let [before, after] = logits(at).map(|z| sigmoid(z.clamp(-LOGIT_LIMIT, LOGIT_LIMIT)));
        // The decrease is w · (constant + tilt · y) on each row.
        let constant = ((1.0 - after) / (1.0 - before)).ln();
        let tilt = (after / before).ln() - constant;
        let [w2, w2y, w2y2] = cell.squares;
        rows += cell.rows;
        sum += cell.weight * (constant + tilt * cell.target);
        squares += constant * constant * w2 + 2.0 * constant * tilt * w2y + tilt * tilt * w2y2;
    }
    let mean = sum / rows;
    (mean, ((squares / rows - mean * mean).max(0.0) / rows).sqrt())
}

/// The curves of `classes`, as the runtime has them; rarer classes that occur share the common one.
pub fn stored(
    regression: &Regression,
    curves: &Curves,
    curve: &Curve,
    classes: &[usize],
    prediction: &[i64],
    tuning: &Tuning,
) -> Classes {
    let levels = |values: &[f64]| -> Option<Levels> { curve.levels(&rounded(values)) };
    let own = classes.iter().enumerate().map(|(at, _)| levels(&regression.levels(curves, at)));
    let Some(mut levels) = own.chain([levels(&curves.common)]).collect::<Option<Vec<Levels>>>() else {
        return Classes::default();
    };
    let rare = levels.len() as u16;
    let mut number = Vec::new();
    for class in prediction.iter().filter_map(|prediction| usize::try_from(*prediction).ok()) {
        if class < tuning.class_numbers {
            number.resize(number.len().max(class + 1), 0);
            number[class] = rare;
        }
    }
    for (at, class) in classes.iter().enumerate() {
        number[*class] = at as u16 + 1;
    }
    if !number.contains(&rare) {
        levels.pop();
    }
    Classes { number, levels }
}

/// As numbers are kept.
pub fn rounded(values: &[f64]) -> Vec<f32> {
    values.iter().map(|value| *value as f32).collect()
}
