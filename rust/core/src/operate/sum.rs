//! A sum that many threads add to.

use std::sync::atomic::{AtomicU64, Ordering};

/// A sum of floats, as the bits of one.
#[derive(Debug, Default)]
pub(super) struct Sum(AtomicU64);

impl Sum {
    /// Adds a number.
    #[inline]
    pub(super) fn add(&self, number: f64) {
        let mut before = self.0.load(Ordering::Relaxed);
        loop {
            let after = (f64::from_bits(before) + number).to_bits();
            match self.0.compare_exchange_weak(before, after, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(found) => before = found,
            }
        }
    }

    /// What it comes to.
    pub(super) fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel;

    #[test]
    fn threads_lose_nothing() {
        let sum = Sum::default();
        parallel::for_each(0..64, |_: i32| (0..1000).for_each(|_| sum.add(0.25)));
        assert_eq!(sum.get(), 16_000.0);
    }
}
