//! Sums of floats without rounding.

/// Words of a total: every float is a whole number of 2^−1074 below 2^2098, and 2^64 of them fit.
pub const WORDS: usize = 34;
/// Bits of the fraction of a float.
const FRACTION: u32 = 52;

/// A sum of floats that are finite and not negative, in units of 2^−1074, lowest word first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Total {
    words: [u64; WORDS],
}

impl Total {
    /// Nothing yet.
    pub const ZERO: Self = Self { words: [0; WORDS] };

    /// With these words, lowest first.
    pub fn of_words(words: [u64; WORDS]) -> Self {
        Self { words }
    }

    /// Its words, lowest first.
    pub fn words(&self) -> &[u64; WORDS] {
        &self.words
    }

    /// Adds `x`, finite and not negative, so many times. O(1).
    #[inline]
    pub fn add(&mut self, x: f64, times: u64) {
        let bits = x.to_bits();
        let exponent = bits >> FRACTION & 0x7FF;
        let fraction = bits & ((1 << FRACTION) - 1);
        let (whole, shift) =
            if exponent == 0 { (fraction, 0) } else { (fraction | 1 << FRACTION, exponent as usize - 1) };
        let product = u128::from(whole) * u128::from(times);
        self.add_word(product as u64, shift);
        if product >> 64 != 0 {
            self.add_word((product >> 64) as u64, shift + 64);
        }
    }

    /// Adds another total.
    pub fn add_total(&mut self, other: &Self) {
        for (at, word) in other.words.iter().enumerate() {
            self.carry(at, *word);
        }
    }

    fn add_word(&mut self, word: u64, shift: usize) {
        let (at, by) = (shift / 64, shift % 64);
        self.carry(at, word << by);
        if by > 0 {
            self.carry(at + 1, word >> (64 - by));
        }
    }

    fn carry(&mut self, at: usize, word: u64) {
        let mut carried = word;
        for own in self.words.iter_mut().skip(at) {
            if carried == 0 {
                return;
            }
            let (sum, is_over) = own.overflowing_add(carried);
            *own = sum;
            carried = u64::from(is_over);
        }
    }
}

/// Sums over all requests, kept or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Losses by stage (k,), each as often as its request counts; those that are infinite or not known are left out.
    pub loss: Vec<Total>,
    /// Costs by stage (k,), likewise.
    pub cost: Vec<Total>,
    /// How much the requests count together.
    pub weight: Total,
    /// How much those count of which a loss is not known, by stage (k,).
    pub unknown: Vec<Total>,
}

impl Totals {
    /// Nothing yet.
    pub(super) fn zero(stages: usize) -> Self {
        let none = vec![Total::ZERO; stages];
        Self { loss: none.clone(), cost: none.clone(), weight: Total::ZERO, unknown: none }
    }

    /// Adds a request that counts `weight` times, or once.
    #[inline]
    pub(super) fn add(&mut self, loss: &[f64], cost: &[f64], weight: Option<f64>) {
        let w = weight.unwrap_or(1.0);
        self.weight.add(w, 1);
        for ((total, unknown), loss) in self.loss.iter_mut().zip(&mut self.unknown).zip(loss) {
            if loss.is_finite() {
                total.add((loss * w).min(f64::MAX), 1);
            } else if loss.is_nan() {
                unknown.add(w, 1);
            }
        }
        for (total, cost) in self.cost.iter_mut().zip(cost) {
            total.add((cost * w).min(f64::MAX), 1);
        }
    }

    /// Adds those of other requests.
    pub(super) fn add_all(&mut self, other: &Self) {
        let columns = self.loss.iter_mut().zip(&other.loss).chain(self.cost.iter_mut().zip(&other.cost));
        let columns = columns.chain(self.unknown.iter_mut().zip(&other.unknown));
        for (own, other) in columns {
            own.add_total(other);
        }
        self.weight.add_total(&other.weight);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(numbers: &[(f64, u64)]) -> Total {
        let mut total = Total::ZERO;
        for (x, times) in numbers {
            total.add(*x, *times);
        }
        total
    }

    #[test]
    fn sums_do_not_depend_on_the_order() {
        let numbers = [(1e300, 3), (0.1, 1), (5e-324, 7), (1e-310, 2), (0.0, 9), (f64::MAX, 1 << 40), (1.0, u64::MAX)];
        let mut back = numbers;
        back.reverse();
        assert_eq!(total(&numbers), total(&back));
        let (mut left, right) = (total(&numbers[..3]), total(&numbers[3..]));
        left.add_total(&right);
        assert_eq!(left, total(&numbers));
        assert_eq!(Total::of_words(*left.words()), left);
    }

    #[test]
    fn many_times_is_one_by_one() {
        let mut one = Total::ZERO;
        for _ in 0..1000 {
            one.add(0.3, 1);
        }
        assert_eq!(one, total(&[(0.3, 1000)]));
        assert_eq!(total(&[(5e-324, 3)]).words()[0], 3);
        assert_eq!(total(&[(1.0, 1)]).words()[1074 / 64], 1 << (1074 % 64));
        assert_eq!(total(&[(1.0, 2), (3.0, 1)]), total(&[(5.0, 1)]));
    }
}
