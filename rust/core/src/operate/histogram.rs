//! How numbers are distributed: how many lie between fixed bounds, and their sum.

use std::sync::atomic::{AtomicU64, Ordering};

use super::sum::Sum;
use crate::error::{Error, Result};

/// Bounds of a histogram at most.
const MOST_BOUNDS: usize = 1000;

/// Counts numbers by the least bound that they do not exceed.
#[derive(Debug)]
pub struct Histogram {
    bounds: Box<[f64]>,
    /// One for each bound, and one for what exceeds all of them.
    counts: Box<[AtomicU64]>,
    sum: Sum,
}

/// What a histogram has counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    /// How many numbers are at most a bound and above the one before; last, those above all bounds.
    pub counts: Vec<u64>,
    /// Of all numbers.
    pub sum: f64,
}

impl Histogram {
    /// Of nothing yet; `argument` names the bounds in messages.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the bounds do not ascend, or are not finite, or too many.
    pub fn new(argument: &str, bounds: &[f64]) -> Result<Self> {
        if bounds.len() > MOST_BOUNDS {
            let given = bounds.len();
            return Err(Error::invalid(format!("`{argument}` must have at most {MOST_BOUNDS} entries, got {given}")));
        }
        let mut before = f64::NEG_INFINITY;
        for (at, bound) in bounds.iter().enumerate() {
            if !bound.is_finite() || *bound <= before {
                let allowed = "must be finite and larger than the one before";
                return Err(Error::invalid(format!("`{argument}[{at}]` {allowed}, got {bound}")));
            }
            before = *bound;
        }
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Ok(Self { bounds: bounds.into(), counts, sum: Sum::default() })
    }

    /// Takes in a number, so many times; what is not finite is left out. O(log bounds).
    #[inline]
    pub fn add(&self, number: f64, times: u64) {
        if number.is_finite() {
            self.count(number, times);
            self.sum.add(number * times as f64);
        }
    }

    /// Takes in many numbers, each once.
    pub fn add_all(&self, numbers: &[f64]) {
        let mut sum = 0.0;
        for number in numbers.iter().copied().filter(|number| number.is_finite()) {
            self.count(number, 1);
            sum += number;
        }
        self.sum.add(sum);
    }

    fn count(&self, number: f64, times: u64) {
        let place = self.bounds.partition_point(|bound| *bound < number);
        if let Some(count) = self.counts.get(place) {
            count.fetch_add(times, Ordering::Relaxed);
        }
    }

    /// What has been counted so far.
    pub fn read(&self) -> Distribution {
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        Distribution { counts, sum: self.sum.get() }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "these bounds are allowed")]

    use super::*;

    #[test]
    fn a_number_belongs_to_the_least_bound_that_it_does_not_exceed() {
        let histogram = Histogram::new("bounds", &[0.0, 1.0, 2.5]).unwrap();
        for number in [-1.0, -0.0, 0.0, 0.5, 1.0, 2.0, 2.5, 2.6, f64::MAX] {
            histogram.add(number, 1);
        }
        histogram.add(0.5, 3);
        assert_eq!(histogram.read().counts, [3, 5, 2, 2]);
    }

    #[test]
    fn what_is_not_finite_is_left_out() {
        let histogram = Histogram::new("bounds", &[]).unwrap();
        histogram.add_all(&[f64::NAN, 1.5, f64::INFINITY, 2.0, f64::NEG_INFINITY]);
        histogram.add(f64::NAN, 4);
        assert_eq!(histogram.read(), Distribution { counts: vec![2], sum: 3.5 });
    }

    #[test]
    fn many_at_once_are_one_after_the_other() {
        let [many, single] = [(); 2].map(|()| Histogram::new("bounds", &[1.0, 2.0]).unwrap());
        let numbers = [0.25, 1.5, 3.0, f64::NAN, 1.0];
        many.add_all(&numbers);
        for number in numbers {
            single.add(number, 1);
        }
        assert_eq!(many.read(), single.read());
    }

    #[test]
    fn bounds_ascend() {
        let said = |bounds: &[f64]| Histogram::new("bounds", bounds).unwrap_err().to_string();
        let allowed = "must be finite and larger than the one before";
        assert_eq!(said(&[1.0, 1.0]), format!("`bounds[1]` {allowed}, got 1"));
        assert_eq!(said(&[f64::NAN]), format!("`bounds[0]` {allowed}, got NaN"));
        assert_eq!(said(&[0.0, f64::INFINITY]), format!("`bounds[1]` {allowed}, got inf"));
        assert_eq!(said(&vec![0.0; 1001]), "`bounds` must have at most 1000 entries, got 1001");
    }
}
