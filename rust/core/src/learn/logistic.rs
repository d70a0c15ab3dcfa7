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
    use super::super::dense::Dense;
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
        let design = Dense { features: &features, target, weight };
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
        let design = Dense { features: &features, target: &target, weight: &[1.0; 400] };
        let t = fit(&design, &Prior { centre: &[0.0, 1.0, 0.0], penalty: &ridge(3, 1.0) }, &Tuning::default());
        assert!(t.iter().all(|t| t.is_finite() && t.abs() < 50.0), "{t:?}");
    }
}
