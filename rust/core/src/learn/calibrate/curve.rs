//! Expected loss as a function of the signal.

use std::iter::repeat_n;

use super::rows::Signalled;
use crate::learn::logistic::{self, Design, Prior, logit};
use crate::learn::sample;
use crate::learn::tuning::Tuning;
use crate::rules::{Curve, KNOTS};

/// Sums over the rows of a cell.
#[derive(Clone, Copy, Default)]
struct Cell {
    weight: f64,
    signal: f64,
    target: f64,
}

impl Cell {
    fn add(&mut self, weight: f64, signal: f64, target: f64) {
        if weight > 0.0 {
            self.weight += weight;
            let share = weight / self.weight;
            // Halves keep the difference of two huge signals finite.
            let half = (signal / 2.0 - self.signal / 2.0) * share;
            self.signal = self.signal + half + half;
            self.target += (target - self.target) * share;
        }
    }
}

/// A curve through quantiles of the signal, smooth on the scale of ranks; `None` without any signal.
pub fn curve(known: &Signalled, tuning: &Tuning) -> Option<Curve> {
    let prior = tuning.prior_rows;
    let sorted = sample::sorted(&known.signal);
    let knots = sample::knots(&sorted, KNOTS - 1);
    let (mass, lost) =
        known.weight.iter().zip(&known.target).fold((0.0, 0.0), |(w, wy), (weight, y)| (w + weight, wy + weight * y));
    let base = logit((lost + 0.5 * prior) / (mass + prior));
    let m = knots.len();
    if m < 2 {
        return (m == 1).then(|| Curve::constant(base));
    }
    let edges = sample::knots(&sorted, tuning.curve_cells);
    let mut cells = vec![Cell::default(); edges.len()];
    for ((x, y), w) in known.signal.iter().zip(&known.target).zip(&known.weight) {
        let cell = edges.partition_point(|edge| edge < x).min(edges.len() - 1);
        cells[cell].add(*w, *x, *y);
    }
    cells.retain(|cell| cell.weight > 0.0);
    let mut features = vec![0.0; cells.len() * m];
    for (cell, row) in cells.iter().zip(features.chunks_exact_mut(m)) {
        let x = cell.signal;
        let left = knots.partition_point(|knot| *knot <= x).clamp(1, m - 1) - 1;
        let share = (x / 2.0 - knots[left] / 2.0) / (knots[left + 1] / 2.0 - knots[left] / 2.0);
        let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
        row[left] = 1.0 - share;
        row[left + 1] = share;
    }
    let mut penalty = logistic::ridge(m, tuning.curve_ridge);
    for left in 0..m.saturating_sub(2) {
        let second = [(left, 1.0), (left + 1, -2.0), (left + 2, 1.0)];
        for (a, wa) in second {
            for (b, wb) in second {
                penalty[a * m + b] += tuning.curve_smoothness * wa * wb;
            }
        }
    }
    let target: Vec<f64> = cells.iter().map(|cell| cell.target).collect();
    let weight: Vec<f64> = cells.iter().map(|cell| cell.weight).collect();
    let design = Design { features: &features, target: &target, weight: &weight, offset: None };
    let values = logistic::fit(&design, &Prior { centre: &vec![base; m], penalty: &penalty }, tuning);
    let values = falling(&design, values, tuning);
    Curve::through(&knots, &values).or_else(|| Some(Curve::constant(base)))
}

/// The same values at the knots, pooled so that they never rise (more confidence, no more loss), unless that is much less
/// likely.
fn falling(design: &Design, values: Vec<f64>, tuning: &Tuning) -> Vec<f64> {
    let mut mass = vec![f64::MIN_POSITIVE; values.len()];
    for (row, w) in design.features.chunks_exact(values.len()).zip(design.weight) {
        for (mass, x) in mass.iter_mut().zip(row) {
            *mass += w * x;
        }
    }
    // Pairs of neighbours that rise become one block with their mean.
    let mut blocks: Vec<(f64, f64, usize)> = Vec::new();
    for (value, mass) in values.iter().zip(&mass) {
        blocks.push((*value, *mass, 1));
        while let [.., (left, a, p), (right, b, q)] = blocks.as_slice()
            && left < right
        {
            let joined = ((left * a + right * b) / (a + b), a + b, p + q);
            blocks.truncate(blocks.len() - 2);
            blocks.push(joined);
        }
    }
    let pooled: Vec<f64> = blocks.iter().flat_map(|(value, _, knots)| repeat_n(*value, *knots)).collect();
    let worse = logistic::loss(design, &pooled, tuning) - logistic::loss(design, &values, tuning);
    if worse <= tuning.curve_rise { pooled } else { values }
}
