//! How much each row counts.

use super::checks;
use crate::error::Result;

/// Weights (n,) of mean 1, in the ratios given. Dividing by the largest first keeps the sum finite, and makes equal
/// weights exactly 1.
///
/// # Errors
/// [`crate::Error::Invalid`] where there is not one weight per row, one is negative or not finite, or all are 0.
pub fn normalised_weights(weight: &[f64], rows: usize) -> Result<Vec<f64>> {
    checks::weights(weight, rows)?;
    let largest = weight.iter().copied().fold(0.0, f64::max);
    let shares: Vec<f64> = weight.iter().map(|w| w / largest).collect();
    let mean = shares.iter().sum::<f64>() / shares.len() as f64;
    Ok(shares.iter().map(|share| share / mean).collect())
}
