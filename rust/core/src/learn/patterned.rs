//! Rows that share which of their features are zero: nothing is multiplied by those.

use std::ops::Range;

use super::logistic::{Local, Rows};
use super::tuning::Tuning;
use crate::signals::exponential;

/// Rows of a block.
const ROWS: usize = 8;
/// Sums of products that grow side by side: as many as every processor of 64 bits works on at once.
const LANES: usize = 2;

/// Rows in order of their patterns, each of c columns. Every feature of a row is one of its columns, or 0.
pub struct Patterned<const C: usize> {
    blocks: Vec<Block<C>>,
    patterns: Vec<Pattern<C>>,
    rows: usize,
}

/// Some rows of one pattern; those that are missing to a full block have no weight.
#[derive(Clone)]
struct Block<const C: usize> {
    columns: [[f64; ROWS]; C],
    /// In [0, 1].
    target: [f64; ROWS],
    /// At least 0.
    weight: [f64; ROWS],
}

/// Blocks of which the same features are the same columns.
#[derive(Clone)]
struct Pattern<const C: usize> {
    blocks: Range<usize>,
    /// The features that each column is.
    features: [Vec<usize>; C],
}

/// Sums over the rows of a pattern.
struct Sums<const C: usize> {
    loss: f64,
    slope: [[f64; LANES]; C],
    curvature: [[[f64; LANES]; C]; C],
}

impl<const C: usize> Patterned<C> {
    /// No rows yet.
    pub fn new() -> Self {
        Self { blocks: Vec::new(), patterns: Vec::new(), rows: 0 }
    }

    /// Adds rows of one pattern: the features that each column is, and for each row what is in its columns, its target
    /// in [0, 1] and its weight.
    pub fn add(&mut self, features: [Vec<usize>; C], rows: &[usize], of: impl Fn(usize) -> ([f64; C], f64, f64)) {
        let first = self.blocks.len();
        for rows in rows.chunks(ROWS) {
            let mut block = Block { columns: [[0.0; ROWS]; C], target: [0.0; ROWS], weight: [0.0; ROWS] };
            for (at, row) in rows.iter().enumerate() {
                let (columns, target, weight) = of(*row);
                for (column, x) in block.columns.iter_mut().zip(columns) {
                    column[at] = x;
                }
                (block.target[at], block.weight[at]) = (target, weight);
            }
            self.blocks.push(block);
        }
        self.rows += rows.len();
        self.patterns.push(Pattern { blocks: first..self.blocks.len(), features });
    }
}

impl<const C: usize> Rows for Patterned<C> {
    fn count(&self) -> usize {
        self.rows
    }

    fn at(&self, t: &[f64], tuning: &Tuning) -> Local {
        let d = t.len();
        let (mut loss, mut gradient, mut hessian) = (0.0, vec![0.0; d], vec![0.0; d * d]);
        for Pattern { blocks, features } in &self.patterns {
            let slopes = features.each_ref().map(|of| of.iter().map(|feature| t[*feature]).sum());
            let sums = summed(&self.blocks[blocks.clone()], &slopes, tuning);
            loss += sums.loss;
            for (a, of) in features.iter().enumerate() {
                for feature in of {
                    gradient[*feature] += sums.slope[a].iter().sum::<f64>();
                    for (b, with) in features.iter().enumerate() {
                        for other in with {
                            hessian[feature * d + other] += sums.curvature[a.min(b)][a.max(b)].iter().sum::<f64>();
                        }
                    }
                }
            }
        }
        Local { loss, gradient, hessian }
    }

    fn some(&self, thinning: usize, find: &mut dyn FnMut(&dyn Rows) -> Vec<f64>) -> Vec<f64> {
        let mut some = Self::new();
        for Pattern { blocks, features } in &self.patterns {
            let first = some.blocks.len();
            let kept = blocks.clone().filter(|at| at % thinning == 0);
            some.blocks.extend(kept.map(|at| self.blocks[at].clone()));
            some.patterns.push(Pattern { blocks: first..some.blocks.len(), features: features.clone() });
        }
        some.rows = some.blocks.len() * ROWS;
        find(&some)
    }
}

/// Log loss, its slope and its curvature along every column, where columns have these slopes in the logit.
fn summed<const C: usize>(blocks: &[Block<C>], slopes: &[f64; C], tuning: &Tuning) -> Sums<C> {
    let mut sums = Sums { loss: 0.0, slope: [[0.0; LANES]; C], curvature: [[[0.0; LANES]; C]; C] };
    for Block { columns, target, weight } in blocks {
        let mut logit = [0.0; ROWS];
        for (column, slope) in columns.iter().zip(slopes) {
            for (z, x) in logit.iter_mut().zip(column) {
                *z += slope * x;
            }
        }
        let (mut loss, mut residual, mut bend) = ([0.0; ROWS], [0.0; ROWS], [0.0; ROWS]);
        for at in 0..ROWS {
            let (z, y, w) = (logit[at].max(-tuning.newton_clip).min(tuning.newton_clip), target[at], weight[at]);
            let e = exponential(-z.abs());
            let near = 1.0 / (1.0 + e);
            let mean = if z < 0.0 { e * near } else { near };
            loss[at] = w * (z.max(0.0) + log_of_one_and(e) - y * z);
            residual[at] = w * (mean - y);
            bend[at] = w * (e * near * near).max(tuning.newton_curvature);
        }
        sums.loss += loss.iter().sum::<f64>();
        for a in 0..C {
            add_products(&mut sums.slope[a], &residual, &columns[a]);
            let mut scaled = bend;
            for (scaled, x) in scaled.iter_mut().zip(&columns[a]) {
                *scaled *= x;
            }
            for (sum, other) in sums.curvature[a].iter_mut().zip(columns).skip(a) {
                add_products(sum, &scaled, other);
            }
        }
    }
    sums
}

/// Adds a · b, lane by lane.
#[expect(clippy::inline_always, reason = "most of the time of a fit is spent here, a few instructions at a time")]
#[inline(always)]
fn add_products(sums: &mut [f64; LANES], a: &[f64; ROWS], b: &[f64; ROWS]) {
    let mut found = *sums;
    for at in 0..ROWS {
        found[at % LANES] += a[at] * b[at];
    }
    *sums = found;
}

/// log(1 + e) for e in [0, 1], to 1e-13: twice the series of the inverse hyperbolic tangent.
#[inline]
fn log_of_one_and(e: f64) -> f64 {
    const TERMS: [f64; 13] = {
        let mut terms = [0.0; 13];
        let mut k = 0;
        while k < 13 {
            terms[k] = 2.0 / (2 * (12 - k) + 1) as f64;
            k += 1;
        }
        terms
    };
    let s = e / (2.0 + e);
    s * TERMS.iter().fold(0.0, |sum, term| sum * (s * s) + term)
}

#[cfg(test)]
mod tests {
    use super::super::dense::Dense;
    use super::super::logistic::{self, Prior};
    use super::*;
    use crate::random::{mix64, uniform};

    #[test]
    fn logarithms_are_those_of_the_library() {
        for i in 0..=10_000 {
            let e = f64::from(i) / 1e4;
            assert!((log_of_one_and(e) - e.ln_1p()).abs() < 1e-13, "{e}");
        }
    }

    /// Rows of three patterns, and the same with their zeros, targets and weights.
    fn both(rows: usize) -> (Patterned<3>, [Vec<f64>; 3]) {
        let meanings: [[&[usize]; 3]; 3] = [[&[0], &[1], &[2]], [&[0, 3], &[1], &[4]], [&[0, 3, 5], &[4], &[1, 2]]];
        let ends = [0, rows / 3, rows - 11, rows];
        let draw = |row: usize, c: u64| uniform(mix64((row as u64) << 8 | c));
        let of =
            |row: usize| ([1.0, 4.0 * draw(row, 1) - 2.0, 9.0 * draw(row, 2) - 4.0], draw(row, 3), (row % 4) as f64);
        let mut patterned = Patterned::new();
        let mut dense = vec![0.0; rows * 6];
        for (at, meaning) in meanings.iter().enumerate() {
            let of_pattern: Vec<usize> = (ends[at]..ends[at + 1]).collect();
            for row in &of_pattern {
                for (x, features) in of(*row).0.iter().zip(meaning) {
                    for feature in *features {
                        dense[row * 6 + feature] += x;
                    }
                }
            }
            patterned.add(meaning.map(<[usize]>::to_vec), &of_pattern, of);
        }
        (patterned, [dense, (0..rows).map(|row| of(row).1).collect(), (0..rows).map(|row| of(row).2).collect()])
    }

    #[test]
    fn zeros_change_nothing() {
        for rows in [40, 700, 9000] {
            let (patterned, [features, target, weight]) = both(rows);
            assert_eq!(patterned.count(), rows);
            let dense = Dense { features: &features, target: &target, weight: &weight };
            let tuning = Tuning::default();
            let t = [0.3, -1.0, 0.5, 0.2, 2.0, -0.4];
            let (one, other) = (patterned.at(&t, &tuning), dense.at(&t, &tuning));
            assert!((one.loss / other.loss - 1.0).abs() < 1e-12, "{}, not {}", one.loss, other.loss);
            let near = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9 * (1.0 + b.abs()));
            assert!(near(&one.gradient, &other.gradient) && near(&one.hessian, &other.hessian));
            let prior = Prior { centre: &[0.0; 6], penalty: &logistic::ridge(6, 1.0) };
            let found = [logistic::fit(&patterned, &prior, &tuning), logistic::fit(&dense, &prior, &tuning)];
            assert!(found[0].iter().zip(&found[1]).all(|(a, b)| (a - b).abs() < 1e-3), "{found:?}");
        }
    }
}
