//! Expected loss as a function of the signal, of all classes and of each, in one regression.

use std::iter::repeat_n;

use super::knots::Knots;
use super::rows::Cell;
use crate::learn::logistic;
use crate::learn::tuning::Tuning;
use crate::parallel;

/// What a class has of its own: an offset, a slope and a bend in the rank of the signal.
const OWN: usize = 3;

/// Values at the knots of the common curve, and what classes add to it.
#[derive(Clone, Debug)]
pub struct Curves {
    /// Logits at the knots (m,).
    pub common: Vec<f64>,
    /// Factors of the shapes of each class.
    own: Vec<[f64; OWN]>,
}

/// A regression of losses on the signal and the class.
pub struct Regression<'a> {
    /// The rows.
    cells: &'a [Cell],
    /// What a class may add to the values at the knots (m,).
    shape: Vec<[f64; OWN]>,
    /// The same at the mean signal of each cell.
    shapes: Vec<[f64; OWN]>,
    /// Of the values at the knots (m, m).
    penalty: Vec<f64>,
    /// What they are pulled to.
    base: f64,
    tuning: &'a Tuning,
}

/// Derivatives of the log loss, with the classes apart from what all have in common: no row is of two classes.
struct Derivatives {
    gradient: Vec<f64>,
    hessian: Vec<f64>,
    own: Vec<Own>,
}

/// The part of one class.
#[derive(Clone)]
struct Own {
    gradient: [f64; OWN],
    hessian: [[f64; OWN]; OWN],
    /// With the common part (m, `OWN`).
    cross: Vec<[f64; OWN]>,
}

fn dot(a: &[f64; OWN], b: &[f64; OWN]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

impl<'a> Regression<'a> {
    /// Of these rows, whose mean logit is `base`.
    pub fn new(cells: &'a [Cell], knots: &Knots, base: f64, tuning: &'a Tuning) -> Self {
        // All but the offset have a mean of about 0 over the rows, and a standard deviation of about ½.
        let shape = knots.rank.iter().map(|rank| [1.0, 3.0_f64.sqrt() * rank, 6.0 * rank * rank - 0.5]);
        let shape: Vec<[f64; OWN]> = shape.collect();
        let at = |cell: &Cell| {
            let (left, right) = (&shape[cell.left], &shape[(cell.left + 1).min(shape.len() - 1)]);
            std::array::from_fn(|a| left[a] + cell.share * (right[a] - left[a]))
        };
        let shapes = cells.iter().map(at).collect();
        Self { cells, shape, shapes, penalty: knots.penalty(tuning), base, tuning }
    }

    /// Where the search begins, with so many classes.
    pub fn start(&self, classes: usize) -> Curves {
        Curves { common: vec![self.base; self.shape.len()], own: vec![[0.0; OWN]; classes] }
    }

    fn right_of(&self, cell: &Cell) -> usize {
        (cell.left + 1).min(self.shape.len() - 1)
    }

    /// The logit of the rows of a cell.
    pub fn logit(&self, curves: &Curves, at: usize) -> f64 {
        let cell = &self.cells[at];
        let (left, right) = (curves.common[cell.left], curves.common[self.right_of(cell)]);
        let own = cell.class.and_then(|class| curves.own.get(class));
        left + cell.share * (right - left) + own.map_or(0.0, |own| dot(own, &self.shapes[at]))
    }

    /// The values at the knots for a class.
    pub fn levels(&self, curves: &Curves, class: usize) -> Vec<f64> {
        curves.common.iter().zip(&self.shape).map(|(value, shape)| value + dot(shape, &curves.own[class])).collect()
    }

    /// Log loss, summed over rows; leaves the predicted means in `mean`.
    fn loss(&self, curves: &Curves, mean: &mut [f64]) -> f64 {
        let clip = self.tuning.newton_clip;
        let mut sum = 0.0;
        for (at, cell) in self.cells.iter().enumerate() {
            let z = self.logit(curves, at).clamp(-clip, clip);
            let e = (-z.abs()).exp();
            mean[at] = if z < 0.0 { e / (1.0 + e) } else { 1.0 / (1.0 + e) };
            sum += cell.weight * (z.max(0.0) + (1.0 + e).ln() - cell.target * z);
        }
        sum
    }

    fn objective(&self, curves: &Curves, ridge: f64, mean: &mut [f64]) -> f64 {
        let away: Vec<f64> = curves.common.iter().map(|value| value - self.base).collect();
        let rows = self.penalty.chunks_exact(away.len()).zip(&away);
        let smooth: f64 = rows.map(|(row, own)| own * row.iter().zip(&away).map(|(p, a)| p * a).sum::<f64>()).sum();
        let own: f64 = curves.own.iter().map(|own| dot(own, own)).sum();
        self.loss(curves, mean) + 0.5 * (smooth + ridge * own)
    }

    /// At `curves`, where the predicted means are `mean`, without the rows of fold `held`.
    fn derivatives(&self, curves: &Curves, ridge: f64, mean: &[f64], held: Option<usize>) -> Derivatives {
        let m = self.shape.len();
        let (mut gradient, mut hessian) = (vec![0.0; m], self.penalty.clone());
        for (gradient, row) in gradient.iter_mut().zip(self.penalty.chunks_exact(m)) {
            *gradient = row.iter().zip(&curves.common).map(|(p, value)| p * (value - self.base)).sum();
        }
        let own = |own: &[f64; OWN]| Own {
            gradient: own.map(|factor| ridge * factor),
            hessian: std::array::from_fn(|a| std::array::from_fn(|b| if a == b { ridge } else { 0.0 })),
            cross: vec![[0.0; OWN]; m],
        };
        let mut own: Vec<Own> = curves.own.iter().map(own).collect();
        for (at, cell) in self.cells.iter().enumerate().filter(|(_, cell)| Some(cell.fold) != held) {
            let mean = mean[at];
            let residual = cell.weight * (mean - cell.target);
            let curvature = cell.weight * (mean * (1.0 - mean)).max(self.tuning.newton_curvature);
            let ends = [(cell.left, 1.0 - cell.share), (self.right_of(cell), cell.share)];
            for (a, wa) in ends {
                gradient[a] += wa * residual;
                for (b, wb) in ends {
                    hessian[a * m + b] += wa * wb * curvature;
                }
            }
            if let Some(own) = cell.class.and_then(|class| own.get_mut(class)) {
                let shape = &self.shapes[at];
                for a in 0..OWN {
                    own.gradient[a] += shape[a] * residual;
                    for b in 0..OWN {
                        own.hessian[a][b] += shape[a] * shape[b] * curvature;
                    }
                    for (knot, weight) in ends {
                        own.cross[knot][a] += weight * shape[a] * curvature;
                    }
                }
            }
        }
        Derivatives { gradient, hessian, own }
    }

    /// The fits without each fold in turn, a step of Newton's method from the fit to all rows: what a part of them changes is
    /// not much (approximate cross-validation).
    pub fn without_folds(&self, curves: &Curves, ridge: f64) -> Vec<Curves> {
        let mut mean = vec![0.0; self.cells.len()];
        self.loss(curves, &mut mean);
        let fit = |fold| curves.less(&self.derivatives(curves, ridge, &mean, Some(fold)).step(), 1.0);
        (0..self.tuning.class_folds).map(fit).collect()
    }

    /// Newton's method from `curves`; what classes add is pulled to nothing by `ridge` rows.
    ///
    /// A step is taken only if the objective does not rise.
    pub fn fit(&self, mut curves: Curves, ridge: f64) -> Curves {
        let mut mean = vec![0.0; self.cells.len()];
        let mut value = self.objective(&curves, ridge, &mut mean);
        for _ in 0..self.tuning.newton_steps {
            parallel::check();
            let step = self.derivatives(&curves, ridge, &mean, None).step();
            let mut share = 1.0;
            let accepted = (0..self.tuning.newton_halvings).find_map(|_| {
                let trial = curves.less(&step, share);
                share *= 0.5;
                let reached = self.objective(&trial, ridge, &mut mean);
                (reached <= value + 1e-12 * value.abs()).then_some((trial, reached))
            });
            let Some((trial, reached)) = accepted else { break };
            let is_done = value - reached < self.tuning.newton_tolerance * value.abs();
            (curves, value) = (trial, reached);
            if is_done {
                break;
            }
        }
        curves
    }

    /// The same with common values that never rise (more confidence, no more loss), unless that is much less likely.
    pub fn falling(&self, curves: Curves) -> Curves {
        let mut mass = vec![f64::MIN_POSITIVE; curves.common.len()];
        for cell in self.cells {
            mass[cell.left] += cell.weight * (1.0 - cell.share);
            mass[self.right_of(cell)] += cell.weight * cell.share;
        }
        let pooled = Curves { common: pooled(&curves.common, &mass), own: curves.own.clone() };
        let loss = |curves: &Curves| self.loss(curves, &mut vec![0.0; self.cells.len()]);
        let worse = loss(&pooled) - loss(&curves);
        if worse <= self.tuning.curve_rise { pooled } else { curves }
    }
}

impl Curves {
    fn less(&self, step: &Self, share: f64) -> Self {
        let common = self.common.iter().zip(&step.common).map(|(value, step)| value - share * step).collect();
        let less = |(own, step): (&[f64; OWN], &[f64; OWN])| std::array::from_fn(|a| own[a] - share * step[a]);
        Self { common, own: self.own.iter().zip(&step.own).map(less).collect() }
    }
}

impl Derivatives {
    /// Newton's step: what classes have of their own is eliminated first. O(m³ + classes · m²).
    fn step(self) -> Curves {
        let Self { mut gradient, mut hessian, own } = self;
        let m = gradient.len();
        let inverses: Vec<[[f64; OWN]; OWN]> = own.iter().map(|own| inverse(&own.hessian)).collect();
        let times =
            |matrix: &[[f64; OWN]; OWN], x: &[f64; OWN]| -> [f64; OWN] { std::array::from_fn(|a| dot(&matrix[a], x)) };
        for (own, inverse) in own.iter().zip(&inverses) {
            let solved = times(inverse, &own.gradient);
            for (a, cross) in own.cross.iter().enumerate() {
                gradient[a] -= dot(cross, &solved);
                let solved = times(inverse, cross);
                for (b, other) in own.cross.iter().enumerate() {
                    hessian[a * m + b] -= dot(other, &solved);
                }
            }
        }
        let common = logistic::solve(hessian, &gradient);
        let own = own.iter().zip(&inverses).map(|(own, inverse)| {
            let mut rest = own.gradient;
            for (cross, step) in own.cross.iter().zip(&common) {
                for (rest, cross) in rest.iter_mut().zip(cross) {
                    *rest -= cross * step;
                }
            }
            times(inverse, &rest)
        });
        let own = own.collect();
        Curves { common, own }
    }
}

/// The inverse of a positive definite matrix.
fn inverse(matrix: &[[f64; OWN]; OWN]) -> [[f64; OWN]; OWN] {
    let flat: Vec<f64> = matrix.iter().flatten().copied().collect();
    std::array::from_fn(|a| {
        let unit: [f64; OWN] = std::array::from_fn(|b| f64::from(u8::from(a == b)));
        let column = logistic::solve(flat.clone(), &unit);
        std::array::from_fn(|b| column[b])
    })
}

/// Values of which neighbours that rise become one block with their mean.
fn pooled(values: &[f64], mass: &[f64]) -> Vec<f64> {
    let mut blocks: Vec<(f64, f64, usize)> = Vec::new();
    for (value, mass) in values.iter().zip(mass) {
        blocks.push((*value, *mass, 1));
        while let [.., (left, a, p), (right, b, q)] = blocks.as_slice()
            && left < right
        {
            let joined = ((left * a + right * b) / (a + b), a + b, p + q);
            blocks.truncate(blocks.len() - 2);
            blocks.push(joined);
        }
    }
    blocks.iter().flat_map(|(value, _, knots)| repeat_n(*value, *knots)).collect()
}
