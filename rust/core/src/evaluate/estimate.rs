//! The mean of a sample, and how far off it may be.

use crate::error::Result;
use crate::mean::{mean, sum};
use crate::trace::{by_unit, normalised_weights};

/// Weighted mean of independent values, its standard error, and how much they say.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
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

    /// The same where only values of different units (n,) are independent: `√(Σ (Σ w (x − mean) of a unit)²) / Σ w`, and
    /// `(Σ w)² / Σ (w of a unit)²`; none: every value by itself. O(n log n).
    pub fn of_units(value: &[f64], weight: &[f64], unit: Option<&[i64]>) -> Self {
        let alone = Self::new(value, weight);
        let Some(unit) = unit.filter(|_| alone.size > 0.0) else { return alone };
        let mass = sum(weight.len(), |row| weight[row]);
        let away: Vec<f64> = value.iter().zip(weight).map(|(x, w)| w * (x - alone.mean)).collect();
        let squares = |value: &[f64]| by_unit(unit, value).map(|sum| sum * sum).sum::<f64>();
        Self { mean: alone.mean, error: squares(&away).sqrt() / mass, size: mass * mass / squares(weight) }
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

    #[test]
    fn values_of_one_unit_are_one_value() {
        let value = [1.0, 3.0, 3.0, 5.0];
        let alone = Estimate::of_units(&value, &[1.0; 4], None);
        assert_eq!(alone, Estimate::new(&value, &[1.0; 4]));
        assert_eq!(Estimate::of_units(&value, &[1.0; 4], Some(&[0, 1, 2, 3])), alone);
        let doubled: Vec<f64> = value.iter().flat_map(|x| [*x, *x]).collect();
        assert_eq!(Estimate::of_units(&doubled, &[1.0; 8], Some(&[4, 4, 1, 1, 7, 7, 0, 0])), alone);
        // Values of one unit that differ in opposite directions cancel out.
        assert_eq!(Estimate::of_units(&value, &[1.0; 4], Some(&[0, 1, 1, 0])).error, 0.0);
        assert_eq!(Estimate::of_units(&[], &[], Some(&[])), Estimate { mean: 0.0, error: 0.0, size: 0.0 });
    }
}
