//! The mean of a sample, and how far off it may be.

use crate::error::{Error, Result};
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
    /// `Σ w / max w`: how many values that count as the heaviest does weigh as much; at most `size`.
    pub heavy: f64,
}

impl Estimate {
    /// Of `value` (n,), each counting `weight` (n,) times, at least 0. O(n).
    pub fn new(value: &[f64], weight: &[f64]) -> Self {
        let mass = sum(weight.len(), |row| weight[row]);
        if mass <= 0.0 {
            return Self { mean: 0.0, error: 0.0, size: 0.0, heavy: 0.0 };
        }
        let mean = mean(value, weight);
        let squares = sum(value.len(), |row| (weight[row] * (value[row] - mean)).powi(2));
        let size = mass * mass / sum(weight.len(), |row| weight[row] * weight[row]);
        let heaviest = weight.iter().copied().fold(0.0, f64::max);
        Self { mean, error: squares.sqrt() / mass, size, heavy: mass / heaviest }
    }

    /// The same where only values of different units (n,) are independent: `√(Σ (Σ w (x − mean) of a unit)²) / Σ w`, and
    /// `(Σ w)² / Σ (w of a unit)²`, `Σ w / max (w of a unit)`; none: every value by itself. O(n log n).
    pub fn of_units(value: &[f64], weight: &[f64], unit: Option<&[i64]>) -> Self {
        let alone = Self::new(value, weight);
        let Some(unit) = unit.filter(|_| alone.size > 0.0) else { return alone };
        let mass = sum(weight.len(), |row| weight[row]);
        let away: Vec<f64> = value.iter().zip(weight).map(|(x, w)| w * (x - alone.mean)).collect();
        let squares = |value: &[f64]| by_unit(unit, value).map(|sum| sum * sum).sum::<f64>();
        Self {
            mean: alone.mean,
            error: squares(&away).sqrt() / mass,
            size: mass * mass / squares(weight),
            heavy: mass / by_unit(unit, weight).fold(0.0, f64::max),
        }
    }

    /// Of `value` (n,), each counting `weight` (n,) times, on any scale as the weights of a trace are; none: all alike.
    /// With `unit` (n,) as [`Estimate::of_units`].
    ///
    /// # Errors
    /// [`Error::Invalid`] where there is not one weight or unit per value, a weight is negative or not finite, or all
    /// are 0.
    pub fn weighted(value: &[f64], weight: Option<&[f64]>, unit: Option<&[i64]>) -> Result<Self> {
        let weight = match weight {
            Some(weight) => normalised_weights(weight, value.len())?,
            None => vec![1.0; value.len()],
        };
        if let Some(unit) = unit.filter(|unit| unit.len() != value.len()) {
            let message = format!("`unit` must have shape ({},), got ({},)", value.len(), unit.len());
            return Err(Error::invalid(message));
        }
        Ok(Self::of_units(value, &weight, unit))
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
        assert_eq!(Estimate::new(&[], &[]), Estimate { mean: 0.0, error: 0.0, size: 0.0, heavy: 0.0 });
        let skewed = Estimate::new(&[1.0, 3.0, 0.0], &[4.0, 2.0, 2.0]);
        assert_eq!((skewed.size, skewed.heavy), (64.0 / 24.0, 2.0));
        assert_eq!(Estimate::new(&[4.0], &[2.0]).standard_error(), f64::INFINITY);
    }

    #[test]
    fn rows_of_one_unit_are_one_value() {
        let (value, weight) = ([1.0, 5.0, 2.0, 4.0], [0.5, 2.0, 1.0, 1.5]);
        let alone = Estimate::of_units(&value, &weight, Some(&[7, 1, -2, 3]));
        let plain = Estimate::new(&value, &weight);
        assert!((alone.error - plain.error).abs() < 1e-15 && (alone.size - plain.size).abs() < 1e-12);
        let copies = Estimate::of_units(&[1.0, 3.0, 1.0, 3.0], &[1.0; 4], Some(&[0, 1, 0, 1]));
        assert_eq!(copies, Estimate::new(&[1.0, 3.0], &[1.0; 2]));
        // By hand: mean 3, off by −2 − 1 and 2 + 1 in the two units, of 4 rows.
        let pairs = Estimate::of_units(&[1.0, 5.0, 2.0, 4.0], &[1.0; 4], Some(&[0, 1, 0, 1]));
        assert_eq!((pairs.mean, pairs.size), (3.0, 2.0));
        assert!((pairs.error - 18.0_f64.sqrt() / 4.0).abs() < 1e-15);
        assert!(Estimate::weighted(&[1.0, 2.0], None, Some(&[0])).is_err());
    }
}
