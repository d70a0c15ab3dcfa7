//! The mean of a sample, and how far off it may be.

use crate::error::{Error, Result};
use crate::mean::{mean, sum};
use crate::trace::normalised_weights;

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

    /// The same where rows of one `unit` (n,), numbered from 0, say together what one request says: units are independent,
    /// their rows are not. The error sums over units, and the size is that of their weights. O(n).
    pub fn of_units(value: &[f64], weight: &[f64], unit: &[u32]) -> Self {
        let mass = sum(weight.len(), |row| weight[row]);
        if mass <= 0.0 {
            return Self { mean: 0.0, error: 0.0, size: 0.0 };
        }
        let mean = mean(value, weight);
        let count = unit.iter().max().map_or(0, |most| *most as usize + 1);
        let (mut off, mut heavy) = (vec![0.0; count], vec![0.0; count]);
        for ((unit, value), weight) in unit.iter().zip(value).zip(weight) {
            off[*unit as usize] += weight * (value - mean);
            heavy[*unit as usize] += weight;
        }
        let error = sum(count, |unit| off[unit].powi(2)).sqrt() / mass;
        Self { mean, error, size: mass * mass / sum(count, |unit| heavy[unit].powi(2)) }
    }

    /// Of `value` (n,), each counting `weight` (n,) times, on any scale as the weights of a trace are; none: all alike.
    /// With `unit` (n,) as [`Estimate::of_units`].
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] where there is not one weight or unit per value, a weight is negative or not finite, all
    /// are 0, or a unit is not below n.
    pub fn weighted(value: &[f64], weight: Option<&[f64]>, unit: Option<&[u32]>) -> Result<Self> {
        let weight = match weight {
            Some(weight) => normalised_weights(weight, value.len())?,
            None => vec![1.0; value.len()],
        };
        let Some(unit) = unit else { return Ok(Self::new(value, &weight)) };
        if unit.len() != value.len() {
            let message = format!("`unit` must have shape ({},), got ({},)", value.len(), unit.len());
            return Err(Error::invalid(message));
        }
        if let Some(row) = unit.iter().position(|unit| *unit as usize >= value.len()) {
            return Err(Error::invalid(format!("`unit` entry {row} must be below {}, got {}", value.len(), unit[row])));
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
        assert_eq!(Estimate::new(&[], &[]), Estimate { mean: 0.0, error: 0.0, size: 0.0 });
        assert_eq!(Estimate::new(&[4.0], &[2.0]).standard_error(), f64::INFINITY);
    }

    #[test]
    fn rows_of_one_unit_are_one_value() {
        let (value, weight) = ([1.0, 5.0, 2.0, 4.0], [0.5, 2.0, 1.0, 1.5]);
        let alone = Estimate::of_units(&value, &weight, &[0, 1, 2, 3]);
        let plain = Estimate::new(&value, &weight);
        assert!((alone.error - plain.error).abs() < 1e-15 && (alone.size - plain.size).abs() < 1e-12);
        let copies = Estimate::of_units(&[1.0, 3.0, 1.0, 3.0], &[1.0; 4], &[0, 1, 0, 1]);
        assert_eq!(copies, Estimate::new(&[1.0, 3.0], &[1.0; 2]));
        // By hand: mean 3, off by −2 − 1 and 2 + 1 in the two units, of 4 rows.
        let pairs = Estimate::of_units(&[1.0, 5.0, 2.0, 4.0], &[1.0; 4], &[0, 1, 0, 1]);
        assert_eq!((pairs.mean, pairs.size), (3.0, 2.0));
        assert!((pairs.error - 18.0_f64.sqrt() / 4.0).abs() < 1e-15);
        assert!(Estimate::weighted(&[1.0, 2.0], None, Some(&[0])).is_err());
        assert!(Estimate::weighted(&[1.0, 2.0], None, Some(&[0, 2])).is_err());
    }
}
