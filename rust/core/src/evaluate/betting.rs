//! The mean of bounded values, tested by betting: what is found holds at whatever time one looks.
//!
//! Against "the mean is at least m" a bet λ multiplies its capital by 1 + λ (m − x) at every value x. With λ ≥ 0 fixed
//! beforehand and no value able to ruin it, the capital is a non-negative supermartingale that starts at 1 while the mean
//! is at least m, so it *ever* reaches 1 / α with probability at most α (Ville 1939). The mean of the capitals of many
//! bets is one too. It is one side of the hedged capital process of Waudby-Smith and Ramdas (2024, arXiv 2010.09686,
//! section 4), with bets from a grid in place of bets that learn: the capital then does not depend on the order of the
//! values, and who looks again with more values goes on with the same process.

use crate::error::{Error, Result, number};
use crate::parallel;

/// Bets in the mixture.
const BETS: usize = 32;
/// The largest bet, as a share of what one value could lose.
const BOLDEST: f64 = 0.999;
/// The smallest: best for ln 20 nats after about 10⁶ values of a standard deviation half as large as their bound.
const SHIEST: f64 = 1.0 / 400.0;
/// Means this close to the upper bound, as a share of the range, are tested as if they were so far from it.
pub(super) const NEAREST: f64 = 1e-9;
/// Factors that are multiplied before a logarithm is taken: each is from 1 − `BOLDEST` to 1 / `NEAREST`.
const FACTORS: usize = 16;
/// Width, as a share of the range, at which an end of an interval is found.
const PRECISE: f64 = 1e-12;
/// Values times bets from which on bets are followed on all cores.
const MANY: usize = 1 << 18;

/// What independent values of one mean, or any values that each have at least (at most) that mean given those before,
/// say of it at any time.
#[derive(Clone, Debug)]
pub struct BoundedMean {
    /// In ascending order, so that sums do not depend on theirs.
    values: Vec<f64>,
    low: f64,
    high: f64,
}

impl BoundedMean {
    /// Of values (n,) that could not have been below `low` or above `high`. O(n log n).
    ///
    /// # Errors
    /// [`Error::Invalid`] unless `low < high`, both finite, and every value is between them.
    pub fn new(values: &[f64], low: f64, high: f64) -> Result<Self> {
        checked_values("values", values, low, high)?;
        let mut values = values.to_vec();
        values.sort_unstable_by(f64::total_cmp);
        Ok(Self { values, low, high })
    }

    /// Number of values n.
    pub fn rows(&self) -> usize {
        self.values.len()
    }

    /// Their mean; that of the bounds without values.
    pub fn mean(&self) -> f64 {
        let n = self.rows();
        if n == 0 {
            return 0.5 * (self.low + self.high);
        }
        (crate::mean::sum(n, |row| self.values[row]) / n as f64).clamp(self.low, self.high)
    }

    /// Logarithm of the capital, 1 at the start, against "the mean is at least `m`": it is ever as large as 1 / α with
    /// probability at most α if that is true. It does not fall as m rises, and is 0 without values. O(n).
    ///
    /// # Errors
    /// [`Error::Invalid`] where `m` is no number.
    pub fn log_capital(&self, m: f64) -> Result<f64> {
        self.checked(m).map(|m| mixed(&self.log_bets(m)))
    }

    /// The same against "the mean is at most `m`".
    ///
    /// # Errors
    /// As [`BoundedMean::log_capital`].
    pub fn log_capital_below(&self, m: f64) -> Result<f64> {
        self.mirrored().log_capital(-m)
    }

    /// The interval of the means that neither capital rejects at `error` / 2: it covers the mean at every time one looks,
    /// with probability 1 − `error` for all of them together. The bounds without values. O(n).
    ///
    /// # Errors
    /// [`Error::Invalid`] unless `error` is above 0 and below 1.
    pub fn interval(&self, error: f64) -> Result<(f64, f64)> {
        let enough = checked_error("error", error)? + 2.0_f64.ln();
        Ok((-self.mirrored().upper(enough), self.upper(enough)))
    }

    /// How many values there would have to be, about, for the capital against "the mean is at least `m`" to reach
    /// 1 / `error`, if those to come are like those that are here; none where they never would. At most n where it has.
    ///
    /// # Errors
    /// As [`BoundedMean::log_capital`] and [`BoundedMean::interval`].
    pub fn rows_needed(&self, m: f64, error: f64) -> Result<Option<f64>> {
        let (m, enough, n) = (self.checked(m)?, checked_error("error", error)?, self.rows() as f64);
        let log_bets = self.log_bets(m);
        let fastest = log_bets.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if n == 0.0 || fastest <= 0.0 {
            return Ok(None);
        }
        let after = |share: f64| mixed(&log_bets.map(|log_bet| share * log_bet));
        // The fastest bet alone has made up for its share of the mixture by then.
        let most = (enough + (BETS as f64).ln()) / fastest;
        Ok(Some((n * bisected(0.0, most, most * 1e-9, |share| after(share) >= enough)).ceil()))
    }

    fn checked(&self, m: f64) -> Result<f64> {
        if m.is_nan() {
            return Err(Error::invalid("`m` must be a number, got NaN"));
        }
        Ok(m.clamp(self.low, self.high - NEAREST * (self.high - self.low)))
    }

    /// The same values with the other sign.
    fn mirrored(&self) -> Self {
        let values = self.values.iter().rev().map(|x| -x).collect();
        Self { values, low: -self.high, high: -self.low }
    }

    /// The least mean whose capital is at least exp(enough), from above.
    fn upper(&self, enough: f64) -> f64 {
        let range = self.high - self.low;
        let rejects = |m: f64| mixed(&self.log_bets(m)) >= enough;
        let most = self.high - NEAREST * range;
        if self.rows() == 0 || !rejects(most) {
            return self.high;
        }
        // No bet gains against the mean of the values: logarithms are concave.
        bisected(self.mean().min(most), most, PRECISE * range, rejects)
    }

    /// Logarithm of what each bet has made of 1 against a mean of at least `m`.
    fn log_bets(&self, m: f64) -> [f64; BETS] {
        let unit = 1.0 / (self.high - m);
        if self.rows() * BETS < MANY {
            return std::array::from_fn(|bet| log_product(&self.values, m, unit * share_of(bet)));
        }
        let found = parallel::map(0..BETS, |bet| log_product(&self.values, m, unit * share_of(bet)));
        let mut all = [0.0; BETS];
        all.copy_from_slice(&found);
        all
    }
}

/// What each bet puts at stake, of what one value could lose: from `BOLDEST` down to `SHIEST`, in equal ratios.
fn share_of(bet: usize) -> f64 {
    BOLDEST * (SHIEST / BOLDEST).powf(bet as f64 / (BETS - 1) as f64)
}

/// Σ ln(1 + bet · (m − x)).
fn log_product(values: &[f64], m: f64, bet: f64) -> f64 {
    let (whole, rest) = values.as_chunks::<FACTORS>();
    let product = |values: &[f64]| values.iter().fold(1.0, |product, x| product * (1.0 + bet * (m - x)));
    whole.iter().map(|values| product(values).ln()).sum::<f64>() + product(rest).ln()
}

/// Logarithm of the mean of numbers given by their logarithms.
fn mixed(logs: &[f64; BETS]) -> f64 {
    let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    largest + (logs.iter().map(|log| (log - largest).exp()).sum::<f64>() / BETS as f64).ln()
}

/// Where `holds` begins to hold, between a number where it does not and one where it does: the upper end of what is left.
pub(super) fn bisected(mut without: f64, mut with: f64, width: f64, holds: impl Fn(f64) -> bool) -> f64 {
    while with - without > width {
        let middle = 0.5 * (without + with);
        if middle <= without || middle >= with {
            break;
        }
        if holds(middle) {
            with = middle;
        } else {
            without = middle;
        }
    }
    with
}

/// Refuses bounds that are none, and values that are not between them.
pub(super) fn checked_values(name: &str, values: &[f64], low: f64, high: f64) -> Result<()> {
    if !(low < high && (high - low).is_finite()) {
        let message = format!("`low` must be below `high`, both finite, got {} and {}", number(low), number(high));
        return Err(Error::invalid(message));
    }
    if let Some(row) = values.iter().position(|x| !(low..=high).contains(x)) {
        let (low, high, given) = (number(low), number(high), number(values[row]));
        return Err(Error::invalid(format!("`{name}` row {row} must be between {low} and {high}, got {given}")));
    }
    Ok(())
}

/// Logarithm of the capital that rejects at this error.
pub(super) fn checked_error(name: &str, error: f64) -> Result<f64> {
    if error > 0.0 && error < 1.0 {
        return Ok(-error.ln());
    }
    Err(Error::invalid(format!("`{name}` must be above 0 and below 1, got {}", number(error))))
}
