//! Penalised logistic regression on fractional targets, by Newton's method.

use super::tuning::Tuning;
use crate::parallel;

/// 1 / (1 + e^−z).
pub fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

/// The inverse of [`sigmoid`].
pub fn logit(p: f64) -> f64 {
    (p / (1.0 - p)).ln()
}

/// Rows of features with their targets and weights, stored in some way.
pub trait Rows {
    /// How many there are.
    fn count(&self) -> usize;

    /// The log loss around `t`.
    fn at(&self, t: &[f64], tuning: &Tuning) -> Local;

    /// What `find` makes of one of every `thinning` rows.
    fn some(&self, thinning: usize, find: &mut dyn FnMut(&dyn Rows) -> Vec<f64>) -> Vec<f64>;
}

/// `Σ weight · logloss` and its derivatives.
pub struct Local {
    /// The sum itself.
    pub loss: f64,
    /// (d,)
    pub gradient: Vec<f64>,
    /// (d, d), row by row.
    pub hessian: Vec<f64>,
}

/// Rows of features with their targets.
pub struct Design<'a> {
    /// (n, d), row by row.
    pub features: &'a [f64],
    /// In [0, 1] (n,).
    pub target: &'a [f64],
    /// Weight of each row, at least 0 (n,).
    pub weight: &'a [f64],
    /// Known part of the logit (n,), if any.
    pub offset: Option<&'a [f64]>,
}

/// A quadratic pull towards `centre`.
pub struct Prior<'a> {
    /// Where the search begins, too (d,).
    pub centre: &'a [f64],
    /// (d, d), row by row, symmetric and positive definite.
    pub penalty: &'a [f64],
}

impl Prior<'_> {
    /// `½ (t − centre)ᵀ P (t − centre)` and its gradient.
    fn pull(&self, t: &[f64]) -> (f64, Vec<f64>) {
        let away: Vec<f64> = t.iter().zip(self.centre).map(|(t, centre)| t - centre).collect();
        let rows = self.penalty.chunks_exact(t.len());
        let gradient: Vec<f64> = rows.map(|row| row.iter().zip(&away).map(|(p, a)| p * a).sum()).collect();
        (0.5 * away.iter().zip(&gradient).map(|(a, g)| a * g).sum::<f64>(), gradient)
    }
}

/// Minimises `Σ weight · logloss + ½ (t − centre)ᵀ P (t − centre)`. O(n·d²) per iteration.
///
/// A step is taken only if the objective does not rise: collinear features would diverge otherwise.
pub fn fit(rows: &dyn Rows, prior: &Prior, tuning: &Tuning) -> Vec<f64> {
    let is_warm = rows.count() >= tuning.newton_warm_rows.max(tuning.newton_thinning);
    // A start close to the end.
    let mut t = if is_warm {
        rows.some(tuning.newton_thinning, &mut |some| fit(some, prior, tuning))
    } else {
        prior.centre.to_vec()
    };
    let around = |t: &[f64]| {
        let Local { loss, mut gradient, mut hessian } = rows.at(t, tuning);
        let (pulled, pull) = prior.pull(t);
        for (g, pull) in gradient.iter_mut().zip(pull) {
            *g += pull;
        }
        for (h, penalty) in hessian.iter_mut().zip(prior.penalty) {
            *h += penalty;
        }
        Local { loss: loss + pulled, gradient, hessian }
    };
    let mut here = around(&t);
    for _ in 0..tuning.newton_steps {
        parallel::check();
        let step = solve(here.hessian, &here.gradient);
        let along = |share: f64| t.iter().zip(&step).map(|(t, step)| t - share * step).collect::<Vec<f64>>();
        let promised = 0.5 * here.gradient.iter().zip(&step).map(|(g, step)| g * step).sum::<f64>();
        if promised < tuning.newton_tolerance {
            return along(1.0);
        }
        let mut share = 1.0;
        let accepted = (0..tuning.newton_halvings).find_map(|_| {
            let trial = along(share);
            share *= 0.5;
            let there = around(&trial);
            (there.loss <= here.loss + 1e-12 * here.loss.abs()).then_some((trial, there))
        });
        let Some(found) = accepted else { break };
        (t, here) = found;
    }
    t
}

/// A diagonal penalty.
pub fn ridge(d: usize, strength: f64) -> Vec<f64> {
    let mut penalty = vec![0.0; d * d];
    for a in 0..d {
        penalty[a * d + a] = strength;
    }
    penalty
}

impl Rows for Design<'_> {
    fn count(&self) -> usize {
        self.target.len()
    }

    fn at(&self, t: &[f64], tuning: &Tuning) -> Local {
        let mut mean = vec![0.0; self.target.len()];
        let loss = self.loss(t, &mut mean, tuning);
        let (gradient, hessian) = self.derivatives(t.len(), &mean, tuning);
        Local { loss, gradient, hessian }
    }

    fn some(&self, thinning: usize, find: &mut dyn FnMut(&dyn Rows) -> Vec<f64>) -> Vec<f64> {
        let some = |column: &[f64]| column.iter().step_by(thinning).copied().collect::<Vec<f64>>();
        let d = self.features.len() / self.target.len().max(1);
        let features: Vec<f64> = self.features.chunks_exact(d).step_by(thinning).flatten().copied().collect();
        let (target, weight, offset) = (some(self.target), some(self.weight), self.offset.map(some));
        find(&Design { features: &features, target: &target, weight: &weight, offset: offset.as_deref() })
    }
}

impl Design<'_> {
    /// The log loss at `t`; leaves the predicted means in `mean`.
    fn loss(&self, t: &[f64], mean: &mut [f64], tuning: &Tuning) -> f64 {
        let clip = tuning.newton_clip;
        let mut sum = 0.0;
        let rows = self.features.chunks_exact(t.len()).zip(self.target).zip(self.weight).zip(mean);
        for (row, (((x, y), w), mean)) in rows.enumerate() {
            let known = self.offset.map_or(0.0, |offset| offset[row]);
            let z = (known + x.iter().zip(t).map(|(x, t)| x * t).sum::<f64>()).clamp(-clip, clip);
            let e = (-z.abs()).exp();
            *mean = if z < 0.0 { e / (1.0 + e) } else { 1.0 / (1.0 + e) };
            sum += w * (z.max(0.0) + (1.0 + e).ln() - y * z);
        }
        sum
    }

    /// Gradient and Hessian of the log loss where the predicted means are `mean`.
    fn derivatives(&self, d: usize, mean: &[f64], tuning: &Tuning) -> (Vec<f64>, Vec<f64>) {
        let mut gradient = vec![0.0; d];
        let mut hessian = vec![0.0; d * d];
        let residual = |row: usize| self.weight[row] * (mean[row] - self.target[row]);
        let curvature = |row: usize| self.weight[row] * (mean[row] * (1.0 - mean[row])).max(tuning.newton_curvature);
        // Four rows at a time: the Hessian is read and written a quarter as often.
        let blocks = self.features.chunks_exact(4 * d);
        let rest = blocks.remainder();
        let done = self.target.len() - rest.len() / d;
        for (block, first) in blocks.zip((0..).step_by(4)) {
            let (near, far) = block.split_at(2 * d);
            let ((p, q), (r, s)) = (near.split_at(d), far.split_at(d));
            let u = [residual(first), residual(first + 1), residual(first + 2), residual(first + 3)];
            let v = [curvature(first), curvature(first + 1), curvature(first + 2), curvature(first + 3)];
            for a in 0..d {
                gradient[a] += u[0] * p[a] + u[1] * q[a] + u[2] * r[a] + u[3] * s[a];
                let v = [v[0] * p[a], v[1] * q[a], v[2] * r[a], v[3] * s[a]];
                let x = p[a..].iter().zip(&q[a..]).zip(r[a..].iter().zip(&s[a..]));
                for (h, ((p, q), (r, s))) in hessian[a * d + a..(a + 1) * d].iter_mut().zip(x) {
                    *h += (v[0] * p + v[1] * q) + (v[2] * r + v[3] * s);
                }
            }
        }
        for (x, row) in rest.chunks_exact(d).zip(done..) {
            for a in 0..d {
                gradient[a] += residual(row) * x[a];
                let scaled = curvature(row) * x[a];
                for (h, x) in hessian[a * d + a..(a + 1) * d].iter_mut().zip(&x[a..]) {
                    *h += scaled * x;
                }
            }
        }
        for a in 0..d {
            for b in 0..a {
                hessian[a * d + b] = hessian[b * d + a];
            }
        }
        (gradient, hessian)
    }
}

/// Solves the symmetric positive definite system by Cholesky decomposition; a pivot that is not positive (a direction
/// without information) leaves its coordinate unchanged.
pub fn solve(mut a: Vec<f64>, b: &[f64]) -> Vec<f64> {
    let d = b.len();
    let mut b = b.to_vec();
    for j in 0..d {
        for k in 0..j {
            let factor = a[j * d + k];
            for i in j..d {
                a[i * d + j] -= a[i * d + k] * factor;
            }
        }
        let pivot = a[j * d + j];
        let inverse = if pivot > f64::EPSILON { pivot.sqrt().recip() } else { 0.0 };
        for i in j..d {
            a[i * d + j] *= inverse;
        }
    }
    let divide = |x: f64, pivot: f64| if pivot > 0.0 { x / pivot } else { 0.0 };
    for i in 0..d {
        let known: f64 = (0..i).map(|k| a[i * d + k] * b[k]).sum();
        b[i] = divide(b[i] - known, a[i * d + i]);
    }
    for i in (0..d).rev() {
        let known: f64 = (i + 1..d).map(|k| a[k * d + i] * b[k]).sum();
        b[i] = divide(b[i] - known, a[i * d + i]);
    }
    b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solves_a_symmetric_system() {
        let x = solve(vec![4.0, 2.0, 2.0, 3.0], &[10.0, 8.0]);
        assert!((x[0] - 1.75).abs() < 1e-12 && (x[1] - 1.5).abs() < 1e-12, "{x:?}");
    }

    /// Until nothing is left to gain.
    fn exact() -> Tuning {
        Tuning { newton_tolerance: 1e-12, ..Tuning::default() }
    }

    fn constant(target: &[f64], weight: &[f64], centre: f64, strength: f64) -> f64 {
        let features = vec![1.0; target.len()];
        let design = Design { features: &features, target, weight, offset: None };
        fit(&design, &Prior { centre: &[centre], penalty: &ridge(1, strength) }, &exact())[0]
    }

    #[test]
    fn finds_the_log_odds() {
        let target: Vec<f64> = (0..100).map(|i| f64::from(u8::from(i < 20))).collect();
        let found = constant(&target, &[1.0; 100], 0.0, 1e-9);
        assert!((found - logit(0.2)).abs() < 1e-5, "{found}");
    }

    #[test]
    fn weights_count_rows() {
        let found = constant(&[1.0, 0.0, 0.5], &[1.0, 3.0, 0.0], 0.0, 1e-9);
        assert!((found - logit(0.25)).abs() < 1e-5, "{found}");
    }

    #[test]
    fn a_strong_penalty_keeps_the_prior() {
        let found = constant(&[1.0; 50], &[1.0; 50], -2.0, 1e9);
        assert!((found + 2.0).abs() < 1e-6, "{found}");
    }

    #[test]
    fn collinear_features_do_not_diverge() {
        let features: Vec<f64> = (0..400).flat_map(|i| [1.0, f64::from(i - 200), 3.0 * f64::from(i - 200)]).collect();
        let target: Vec<f64> = (0..400).map(|i| f64::from(u8::from(i >= 200))).collect();
        let design = Design { features: &features, target: &target, weight: &[1.0; 400], offset: None };
        let t = fit(&design, &Prior { centre: &[0.0, 1.0, 0.0], penalty: &ridge(3, 1.0) }, &Tuning::default());
        assert!(t.iter().all(|t| t.is_finite() && t.abs() < 50.0), "{t:?}");
    }
}
