//! The mean of bounded values, tested once: by bets that aim at the last of a number of values known beforehand.
//!
//! The capital is that of `betting.rs`: against "the mean is at least m" it is multiplied by 1 + λ (m − x) at every value
//! x, with a bet λ ≥ 0 that is settled before x is seen and that no value can ruin. So it reaches 1 / α with probability
//! at most α if that is true (Ville 1939), *however* λ is chosen. Here it is chosen for the chance to be at 1 / α after
//! the last value, not for growth: that is worth as much as a test at the normal quantile, where growth has to pay for
//! every other time at which one could look.
//!
//! With r values to come of variance v, and b = −ln(α · capital) still to gain, two bets are known for that. √(2 b / (r v))
//! takes the capital to 1 / α with the least drift (Waudby-Smith and Ramdas 2024, arXiv 2010.09686, section 3.3, aimed
//! anew after every value as Voráček and Orabona 2025 do). φ(q) / Φ(q) / √(r v), where Φ(q) = exp(−b), hedges the option
//! that pays 1 / α where a test at the normal quantile rejects. The bet is their mean. v is not the variance that was
//! seen, but that under the hypothesis: values pulled up to the mean m (exponential tilting) have the variance v + (m −
//! mean) · third cumulant / v, to first order.

use super::betting::{NEAREST, bisected, checked_error, checked_values};
use crate::error::{Error, Result};

/// The largest bet, as a share of what one value could lose.
const BOLDEST: f64 = 0.99;
/// Width, as a share of the range, at which a limit is found.
const PRECISE: f64 = 1e-9;

/// Independent values in the order in which they are bet on, and what was known of such values before.
#[derive(Clone, Debug)]
pub struct PlannedMean {
    /// In shares of the range.
    values: Vec<f64>,
    known: Moments,
    low: f64,
    range: f64,
}

impl PlannedMean {
    /// Of values (n,) that could not have been below `low` or above `high`; `known` (any number) are values that are
    /// like them and play no part in the promise, from which the first bets are made. O(n).
    ///
    /// # Errors
    /// [`Error::Invalid`] unless `low < high`, both finite, and every value is between them.
    pub fn new(values: &[f64], known: &[f64], low: f64, high: f64) -> Result<Self> {
        checked_values("values", values, low, high)?;
        checked_values("known", known, low, high)?;
        let range = high - low;
        let share = |x: &f64| ((x - low) / range).clamp(0.0, 1.0);
        let mut moments = Moments::default();
        known.iter().map(share).for_each(|x| moments.add(x));
        Ok(Self { values: values.iter().map(share).collect(), known: moments, low, range })
    }

    /// Number of values n.
    pub fn rows(&self) -> usize {
        self.values.len()
    }

    /// Of "the mean is at least `m`", for a test at the level `error`: it is at most that with probability at most `error`
    /// if that is true, and at most any other number α with probability at most α. O(n).
    ///
    /// # Errors
    /// [`Error::Invalid`] where `m` is no number, or unless `error` is above 0 and below 1.
    pub fn p_value(&self, m: f64, error: f64) -> Result<f64> {
        if m.is_nan() {
            return Err(Error::invalid("`m` must be a number, got NaN"));
        }
        checked_error("error", error)?;
        Ok(self.smallest(((m - self.low) / self.range).clamp(0.0, 1.0 - NEAREST), error))
    }

    /// About the least `m` that has a p-value of at most `error`; `high` where none has. O(n) for each of 30 tests.
    ///
    /// # Errors
    /// As [`PlannedMean::p_value`].
    pub fn least(&self, error: f64) -> Result<f64> {
        checked_error("error", error)?;
        let shown = |m: f64| self.smallest(m, error) <= error;
        let most = 1.0 - NEAREST;
        if !shown(most) {
            return Ok(self.low + self.range);
        }
        Ok(self.low + self.range * bisected(0.0, most, PRECISE, shown))
    }

    fn smallest(&self, m: f64, error: f64) -> f64 {
        let enough = -error.ln();
        let (mut seen, mut log, mut largest) = (self.known, 0.0_f64, 0.0_f64);
        for (row, x) in self.values.iter().enumerate() {
            let short = enough - log;
            let aimed = aim(short) / ((self.values.len() - row) as f64 * seen.variance_at(m)).sqrt();
            let bet = aimed.min(BOLDEST / (1.0 - m));
            log += (bet * (m - x)).ln_1p();
            largest = largest.max(log);
            if log >= enough - 1e-12 {
                return error.min((-log).exp());
            }
            seen.add(*x);
        }
        (-largest).exp()
    }
}

/// The bet that aims at b nats, times √(r v): the mean of √(2 b) and of φ(q) / Φ(q) with Φ(q) = exp(−b), of which
/// 2 b / √(2 b + 2) is within a twentieth between a chance of 1 % and one of 90 %.
fn aim(b: f64) -> f64 {
    0.5 * ((2.0 * b).sqrt() + 2.0 * b / (2.0 * b + 2.0).sqrt())
}

/// Sums of the powers of values in [0, 1], and how many there are.
#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    count: f64,
    sums: [f64; 3],
}

impl Moments {
    fn add(&mut self, x: f64) {
        self.count += 1.0;
        for (sum, power) in self.sums.iter_mut().zip([x, x * x, x * x * x]) {
            *sum += power;
        }
    }

    /// The variance of such values if their mean is `m`: above 0. As long as the values have not moved by about the whole
    /// range in all, what has moved the mean is taken for a value at the upper bound.
    fn variance_at(&self, m: f64) -> f64 {
        let n = self.count;
        if n == 0.0 {
            return 0.25;
        }
        let [one, two, three] = self.sums;
        let mean = one / n;
        let squares = (two - n * mean * mean).max(0.0);
        let cubes = three - 3.0 * mean * two + 2.0 * n * mean.powi(3);
        let variance = (squares / n).max(0.25 / (n * (n + 1.0)));
        let slope = (cubes + 1.0 - mean) / (squares + 1.0);
        (variance + (m - mean).max(0.0) * slope).max(0.5 * variance)
    }
}
