//! The mean of a sample, and how far off it may be.

use crate::error::Result;
use crate::mean::{mean, sum};
use crate::trace::normalised_weights;

/// Weighted mean of independent values, its standard error, and how much they say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// In the unit of the values; 0 where nothing counts.
    pub mean: f64,
    /// `√(Σ w² (x − mean)²) / Σ w`, in the unit of the values: the standard error for many values.
    pub error: f64,
    /// `(Σ w)² / Σ w²`: how many values that count alike say as much (Kish 1965); 0 where nothing counts.
    pub size: f64,
}

impl Estimate {
    /// Of `value` (n,), each counting `weight` (n,) times, at least 0. O(n).
    pub fn new(value: &[f64], weight: &[f64]) -> Self {
        let mass = sum(weight.len(), |row| weight[row]);
        if mass <= 0.0 {
            return Self { mean: 0.0, error: 0.0, size: 0.0 };
        }
        let mean = mean(value, weight);
        let squares = sum(value.len(), |row| (weight[row] * (value[row] - mean)).powi(2));
        let size = mass * mass / sum(weight.len(), |row| weight[row] * weight[row]);
        Self { mean, error: squares.sqrt() / mass, size }
    }

    /// Of `value` (n,), each counting `weight` (n,) times, on any scale as the weights of a trace are; none: all alike.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] where there is not one weight per value, one is negative or not finite, or all are 0.
    pub fn weighted(value: &[f64], weight: Option<&[f64]>) -> Result<Self> {
        Ok(match weight {
            Some(weight) => Self::new(value, &normalised_weights(weight, value.len())?),
            None => Self::new(value, &vec![1.0; value.len()]),
        })
    }

    /// The standard error for few values too: times `√(m / (m − 1))` for an effective size m, infinite for m ≤ 1. It is
    /// s / √n where n values count alike.
    pub fn standard_error(&self) -> f64 {
        if self.size > 1.0 { self.error * (self.size / (self.size - 1.0)).sqrt() } else { f64::INFINITY }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weighted_means_have_standard_errors() {
        let found = Estimate::new(&[1.0, 3.0, 100.0], &[1.0, 1.0, 0.0]);
        assert_eq!((found.mean, found.size), (2.0, 2.0));
        assert!((found.error - 0.5_f64.sqrt()).abs() < 1e-12 && (found.standard_error() - 1.0).abs() < 1e-12);
        assert_eq!(Estimate::new(&[], &[]), Estimate { mean: 0.0, error: 0.0, size: 0.0 });
        assert_eq!(Estimate::new(&[4.0], &[2.0]).standard_error(), f64::INFINITY);
    }
}
