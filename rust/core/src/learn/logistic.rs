//! Penalised logistic regression on fractional targets, by Newton's method.

/// A step never moves a coefficient further than this.
const MAX_STEP: f64 = 4.0;
/// Steps smaller than this end the iteration.
const TOLERANCE: f64 = 1e-6;
const ITERATIONS: usize = 12;
/// Rows at extreme beliefs keep at least this curvature.
const MIN_CURVATURE: f64 = 1e-6;

/// 1 / (1 + e^−z).
pub fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

/// The inverse of [`sigmoid`].
pub fn logit(p: f64) -> f64 {
    (p / (1.0 - p)).ln()
}

/// Rows of features with their targets.
pub struct Design<'a> {
    /// (n, d), row by row.
    pub features: &'a [f64],
    /// In [0, 1] (n,).
    pub target: &'a [f64],
    /// Known part of the logit (n,), if any.
    pub offset: Option<&'a [f64]>,
}

/// Minimises `Σ logloss + ½ (t − prior)ᵀ P (t − prior)`; `penalty` is (d, d), row by row. O(n·d²) per iteration.
pub fn fit(design: &Design, prior: &[f64], penalty: &[f64]) -> Vec<f64> {
    let d = prior.len();
    let mut t = prior.to_vec();
    for _ in 0..ITERATIONS {
        let (mut gradient, mut hessian) = derivatives(design, &t);
        for a in 0..d {
            for b in 0..d {
                gradient[a] += penalty[a * d + b] * (t[b] - prior[b]);
                hessian[a * d + b] += penalty[a * d + b];
            }
        }
        let step = solve(hessian, gradient);
        let largest = step.iter().fold(0.0_f64, |m, s| m.max(s.abs()));
        if !largest.is_finite() {
            break;
        }
        let shrink = if largest > MAX_STEP { MAX_STEP / largest } else { 1.0 };
        for (t, step) in t.iter_mut().zip(&step) {
            *t -= shrink * step;
        }
        if largest < TOLERANCE {
            break;
        }
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

fn derivatives(design: &Design, t: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let d = t.len();
    let mut gradient = vec![0.0; d];
    let mut hessian = vec![0.0; d * d];
    for (row, (x, y)) in design.features.chunks_exact(d).zip(design.target).enumerate() {
        let known = design.offset.map_or(0.0, |offset| offset[row]);
        let mean = sigmoid(known + x.iter().zip(t).map(|(x, t)| x * t).sum::<f64>());
        let curvature = (mean * (1.0 - mean)).max(MIN_CURVATURE);
        for a in 0..d {
            gradient[a] += (mean - y) * x[a];
            let scaled = curvature * x[a];
            if scaled != 0.0 {
                for (h, x) in hessian[a * d + a..(a + 1) * d].iter_mut().zip(&x[a..]) {
                    *h += scaled * x;
                }
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

/// Solves the symmetric positive definite system by Cholesky decomposition; a pivot that is not positive (a direction
/// without information) leaves its coordinate unchanged.
fn solve(mut a: Vec<f64>, mut b: Vec<f64>) -> Vec<f64> {
    let d = b.len();
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
        let x = solve(vec![4.0, 2.0, 2.0, 3.0], vec![10.0, 8.0]);
        assert!((x[0] - 1.75).abs() < 1e-12 && (x[1] - 1.5).abs() < 1e-12, "{x:?}");
    }

    #[test]
    fn finds_the_log_odds() {
        let target: Vec<f64> = (0..100).map(|i| f64::from(u8::from(i < 20))).collect();
        let design = Design { features: &[1.0; 100], target: &target, offset: None };
        let t = fit(&design, &[0.0], &ridge(1, 1e-9));
        assert!((t[0] - logit(0.2)).abs() < 1e-6, "{t:?}");
    }

    #[test]
    fn a_strong_penalty_keeps_the_prior() {
        let target = [1.0; 50];
        let design = Design { features: &[1.0; 50], target: &target, offset: None };
        let t = fit(&design, &[-2.0], &ridge(1, 1e9));
        assert!((t[0] + 2.0).abs() < 1e-6, "{t:?}");
    }
}
