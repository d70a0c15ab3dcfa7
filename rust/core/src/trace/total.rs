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

/// A sum over the requests in which a number is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    /// The numbers, each as often as its request counts; infinite ones are left out.
    pub known: Total,
    /// How much the requests count together in which it is not known.
    pub unknown: Total,
}

impl Sum {
    const ZERO: Self = Self { known: Total::ZERO, unknown: Total::ZERO };

    /// Adds the number of a request that counts `weight` times.
    #[inline]
    fn add(&mut self, x: f64, weight: f64) {
        if x.is_finite() {
            self.known.add((x * weight).min(f64::MAX), 1);
        } else if x.is_nan() {
            self.unknown.add(weight, 1);
        }
    }

    fn add_sum(&mut self, other: &Self) {
        self.known.add_total(&other.known);
        self.unknown.add_total(&other.unknown);
    }
}

/// Sums over all requests, kept or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Losses by stage (k,).
    pub loss: Vec<Sum>,
    /// Costs by stage (k,).
    pub cost: Vec<Sum>,
    /// How much the requests count together.
    pub weight: Total,
    /// Whether the known losses of each stage (k,) are infinite; none: none is known.
    pub is_probe: Vec<Option<bool>>,
}

impl Totals {
    /// Nothing yet.
    pub(super) fn zero(stages: usize) -> Self {
        let sums = vec![Sum::ZERO; stages];
        Self { loss: sums.clone(), cost: sums, weight: Total::ZERO, is_probe: vec![None; stages] }
    }

    /// Adds a request that counts `weight` times, or once.
    #[inline]
    pub(super) fn add(&mut self, loss: &[f64], cost: &[f64], weight: Option<f64>) {
        let w = weight.unwrap_or(1.0);
        self.weight.add(w, 1);
        for ((sum, is_probe), loss) in self.loss.iter_mut().zip(&mut self.is_probe).zip(loss) {
            sum.add(*loss, w);
            if !loss.is_nan() {
                *is_probe = Some(loss.is_infinite());
            }
        }
        for (sum, cost) in self.cost.iter_mut().zip(cost) {
            sum.add(*cost, w);
        }
    }

    /// Adds those of other requests.
    pub(super) fn add_all(&mut self, other: &Self) {
        let columns = self.loss.iter_mut().zip(&other.loss).chain(self.cost.iter_mut().zip(&other.cost));
        for (own, other) in columns {
            own.add_sum(other);
        }
        self.weight.add_total(&other.weight);
        for (own, other) in self.is_probe.iter_mut().zip(&other.is_probe) {
            *own = own.or(*other);
        }
    }

    /// The first stage whose known losses are infinite here and finite there, or the other way round.
    pub(super) fn first_conflict(&self, other: &Self) -> Option<usize> {
        let is_other = |(own, other): (&Option<bool>, &Option<bool>)| own.is_some() && other.is_some() && own != other;
        self.is_probe.iter().zip(&other.is_probe).position(is_other)
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
