//! The rows that a stage said something about.

use super::knots::Knots;
use crate::learn::sample;
use crate::learn::tuning::Tuning;
use crate::random::mix64;

/// Rows with a signal.
pub struct Signalled {
    /// Finite (n,).
    pub signal: Vec<f64>,
    /// Loss in [0, 1] (n,).
    pub target: Vec<f64>,
    /// How much each row counts (n,).
    pub weight: Vec<f64>,
    /// Prediction of each row (n,), if there are predictions.
    pub prediction: Option<Vec<i64>>,
    /// Group of each row (n,), if there are groups.
    pub group: Option<Vec<i64>>,
}

/// Rows of one class, one fold and nearly the same signal.
#[derive(Clone, Copy, Default)]
pub struct Cell {
    /// Place of the class among those that may have a curve of their own; `None`: of no such class.
    pub class: Option<usize>,
    /// The part that these rows are held back in.
    pub fold: usize,
    /// The knot to the left of the mean signal, and the share of the way to the next one.
    pub left: usize,
    pub share: f64,
    pub rows: f64,
    pub weight: f64,
    /// Weighted means.
    pub signal: f64,
    pub target: f64,
    /// Sums of w², w²y and w²y².
    pub squares: [f64; 3],
}

impl Cell {
    fn add(&mut self, weight: f64, signal: f64, target: f64) {
        self.rows += 1.0;
        if weight > 0.0 {
            self.weight += weight;
            let share = weight / self.weight;
            // Halves keep the difference of two huge signals finite.
            let half = (signal / 2.0 - self.signal / 2.0) * share;
            self.signal = self.signal + half + half;
            self.target += (target - self.target) * share;
            let square = weight * weight;
            self.squares[0] += square;
            self.squares[1] += square * target;
            self.squares[2] += square * target * target;
        }
    }
}

/// Gathers rows in cells of the signal, of one class each, where `classes` may have curves of their own. O(n log n).
pub fn gather(known: &Signalled, sorted: &[f64], knots: &Knots, classes: &[usize], tuning: &Tuning) -> Vec<Cell> {
    let cells = if classes.is_empty() { tuning.curve_cells } else { tuning.curve_cells.min(tuning.class_cells) };
    let mut edges = sample::knots(sorted, cells);
    // No cell goes across a value that has a level of its own.
    edges.extend_from_slice(&knots.at);
    edges.sort_unstable_by(f64::total_cmp);
    edges.dedup_by(|b, a| *b <= *a);
    let folds = if classes.is_empty() { 1 } else { tuning.class_folds };
    let mut place = vec![None; tuning.class_numbers];
    for (at, class) in classes.iter().enumerate() {
        place[*class] = Some(at);
    }
    let class_of = |row: usize| {
        let prediction = known.prediction.as_ref()?[row];
        place.get(usize::try_from(prediction).ok()?).copied().flatten()
    };
    let mut cells = vec![Cell::default(); (classes.len() + 1) * edges.len() * folds];
    for row in 0..known.signal.len() {
        let class = class_of(row);
        let at = edges.partition_point(|edge| *edge < known.signal[row]).min(edges.len() - 1);
        // A group stays on one side; without groups every row is one.
        let unit = known.group.as_ref().map_or(row as u64, |group| group[row] as u64);
        let fold = mix64(unit) as usize % folds;
        let cell = &mut cells[(class.map_or(0, |class| class + 1) * edges.len() + at) * folds + fold];
        (cell.class, cell.fold) = (class, fold);
        cell.add(known.weight[row], known.signal[row], known.target[row]);
    }
    cells.retain(|cell| cell.weight > 0.0);
    for cell in &mut cells {
        (cell.left, cell.share) = knots.place(cell.signal);
    }
    cells
}
