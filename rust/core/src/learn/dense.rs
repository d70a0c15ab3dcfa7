//! Rows with all their features side by side: what other ways to store them are held against.

use super::logistic::{Local, Rows, sigmoid};
use super::tuning::Tuning;

/// Rows of features with their targets.
pub struct Dense<'a> {
    /// (n, d), row by row.
    pub features: &'a [f64],
    /// In [0, 1] (n,).
    pub target: &'a [f64],
    /// Weight of each row, at least 0 (n,).
    pub weight: &'a [f64],
}

impl Rows for Dense<'_> {
    fn count(&self) -> usize {
        self.target.len()
    }

    fn at(&self, t: &[f64], tuning: &Tuning) -> Local {
        let d = t.len();
        let mut here = Local { loss: 0.0, gradient: vec![0.0; d], hessian: vec![0.0; d * d] };
        for ((x, y), w) in self.features.chunks_exact(d).zip(self.target).zip(self.weight) {
            let z: f64 = x.iter().zip(t).map(|(x, t)| x * t).sum();
            let z = z.clamp(-tuning.newton_clip, tuning.newton_clip);
            let mean = sigmoid(z);
            here.loss += w * (z.max(0.0) + (-z.abs()).exp().ln_1p() - y * z);
            for a in 0..d {
                here.gradient[a] += w * (mean - y) * x[a];
                for b in 0..d {
                    here.hessian[a * d + b] += w * (mean * (1.0 - mean)).max(tuning.newton_curvature) * x[a] * x[b];
                }
            }
        }
        here
    }

    fn some(&self, thinning: usize, find: &mut dyn FnMut(&dyn Rows) -> Vec<f64>) -> Vec<f64> {
        let some = |column: &[f64]| column.iter().step_by(thinning).copied().collect::<Vec<f64>>();
        let d = self.features.len() / self.target.len().max(1);
        let features: Vec<f64> = self.features.chunks_exact(d).step_by(thinning).flatten().copied().collect();
        find(&Dense { features: &features, target: &some(self.target), weight: &some(self.weight) })
    }
}
