//! Who is right where two stages name different classes, by which classes they are.

use std::collections::BTreeMap;

use super::calibrate;
use super::evidence::Sample;
use super::logistic::sigmoid;
use super::tuning::Tuning;
use crate::random::mix64;
use crate::rules::{LOGIT_LIMIT, PARTS, Pair};

/// One row on which two stages name different classes.
#[derive(Clone, Copy)]
struct Row {
    fold: usize,
    weight: f64,
    /// Of each stage: the logit of its loss if it does not matter which classes they are, and its target.
    logit: [f64; 2],
    target: [f64; 2],
}

/// The rows on which two stages name certain different classes, by the places of these.
type Cells = BTreeMap<(usize, usize), Vec<Row>>;

/// What it says about two stages, ascending, which classes they name where they differ; `logit` has for each stage the
/// logit of its loss on every row if it does not matter. `None` where that is not clearly better on rows held back.
///
/// O(rows) per strength that is tried.
pub fn pair(sample: &Sample, stages: [u16; 2], logit: [&[f64]; 2], tuning: &Tuning) -> Option<Pair> {
    let [one, other] = stages.map(usize::from);
    let (first, second) = (sample.trace.prediction(one)?, sample.trace.prediction(other)?);
    let classes = [first, second].map(|prediction| {
        let mut classes = calibrate::frequent(prediction, tuning);
        classes.truncate(tuning.pair_classes);
        classes
    });
    let place = classes.each_ref().map(|classes| places(classes));
    let is_known = |row: &usize| sample.is_known[one][*row] && sample.is_known[other][*row];
    let mut cells = Cells::new();
    for row in (0..first.len()).filter(is_known).filter(|row| first[*row] != second[*row]) {
        let of = |place: &[u8], said: i64| place.get(said as usize).copied().filter(|place| *place > 0);
        let (Some(a), Some(b)) = (of(&place[0], first[row]), of(&place[1], second[row])) else { continue };
        // A group stays on one side; without groups every row is one.
        let unit = sample.trace.group().map_or(row as u64, |group| group[row] as u64);
        cells.entry((usize::from(a), usize::from(b))).or_default().push(Row {
            fold: mix64(unit) as usize % tuning.class_folds,
            weight: sample.weight[row],
            logit: logit.map(|logit| logit[row]),
            target: [one, other].map(|stage| sample.target[stage][row]),
        });
    }
    cells.retain(|_, rows| rows.len() as f64 >= tuning.pair_rows);
    let mut best = (tuning.pair_gain, None);
    for ridge in tuning.pair_ridges {
        let (gain, error) = gain(&cells, ridge, tuning);
        if gain > tuning.pair_errors * error && gain > best.0 {
            best = (gain, Some(ridge));
        }
    }
    let ridge = best.1?;
    let width = classes[1].len();
    let mut offset = vec![[0_i8; 2]; classes[0].len() * width];
    for ((a, b), rows) in &cells {
        // Beyond what a part can count, it is limited.
        offset[(a - 1) * width + b - 1] = offsets(rows, ridge, tuning).map(|offset| (offset * PARTS).round() as i8);
    }
    Pair::new(stages, place, offset)
}

/// The place, from 1, of each class in a list of them; 0: not there.
fn places(classes: &[usize]) -> Vec<u8> {
    let mut place = vec![0; classes.iter().max().map_or(0, |class| class + 1)];
    for (at, class) in classes.iter().enumerate() {
        place[*class] = at as u8 + 1;
    }
    place
}

/// Derivatives of the log loss of one stage, of the rows of each fold.
fn derivatives(rows: &[Row], side: usize, offset: f64, tuning: &Tuning) -> Vec<[f64; 2]> {
    let mut sums = vec![[0.0; 2]; tuning.class_folds];
    for row in rows {
        let mean = sigmoid(row.logit[side] + offset);
        let [gradient, curvature] = &mut sums[row.fold];
        *gradient += row.weight * (mean - row.target[side]);
        *curvature += row.weight * mean * (1.0 - mean);
    }
    sums
}

/// The offset after a step of Newton's method.
fn step(offset: f64, sums: impl Iterator<Item = [f64; 2]>, ridge: f64) -> f64 {
    let [gradient, curvature] =
        sums.fold([ridge * offset, ridge], |[g, c], [gradient, curvature]| [g + gradient, c + curvature]);
    // Far from the end, a step may be much too long.
    offset - (gradient / curvature).clamp(-2.0, 2.0)
}

/// What to add to the logits of both stages, pulled to nothing by so many rows.
fn offsets(rows: &[Row], ridge: f64, tuning: &Tuning) -> [f64; 2] {
    std::array::from_fn(|side| {
        let next = |offset, _| step(offset, derivatives(rows, side, offset, tuning).into_iter(), ridge);
        (0..tuning.pair_steps).fold(0.0, next)
    })
}

/// The same without the rows of each fold in turn, a step from what all rows say (approximate cross-validation).
fn without_folds(rows: &[Row], offsets: [f64; 2], ridge: f64, tuning: &Tuning) -> Vec<[f64; 2]> {
    let sums = [0, 1].map(|side| derivatives(rows, side, offsets[side], tuning));
    let of = |held: usize, side: usize| {
        let others = sums[side].iter().enumerate().filter(|(fold, _)| *fold != held).map(|(_, sums)| *sums);
        step(offsets[side], others, ridge)
    };
    (0..tuning.class_folds).map(|held| [of(held, 0), of(held, 1)]).collect()
}

/// Decrease of the log loss out of sample, summed over rows and both stages, and its standard error.
fn gain(cells: &Cells, ridge: f64, tuning: &Tuning) -> (f64, f64) {
    let (mut sum, mut squares) = (0.0, 0.0);
    for rows in cells.values() {
        let held = without_folds(rows, offsets(rows, ridge, tuning), ridge, tuning);
        for row in rows {
            let loss = |z: f64, target: f64| {
                let z = z.clamp(-LOGIT_LIMIT, LOGIT_LIMIT);
                z.max(0.0) + (-z.abs()).exp().ln_1p() - target * z
            };
            let of = |side: usize| {
                let (z, target) = (row.logit[side], row.target[side]);
                loss(z, target) - loss(z + held[row.fold][side], target)
            };
            let gained = row.weight * (of(0) + of(1));
            sum += gained;
            squares += gained * gained;
        }
    }
    (sum, squares.sqrt())
}
