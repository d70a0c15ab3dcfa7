//! What is drawn for a request, by its name: the same in every process, whatever else there is.

use super::checksum::checksum;
use crate::random::{mix, mix64, uniform};

/// Keeps requests that are run through apart from those that are sampled with the same seed.
const EXPLORATION: u64 = 0x5851_f42d_4c95_7f2d;

/// Where a request stands in samples: those of the lowest places are kept.
pub fn priority(id: &[u8], seed: u64) -> u64 {
    mix(checksum(id) ^ mix64(seed))
}

/// Whether a request is run through, which so large a share of all are.
pub fn is_explored(id: &[u8], seed: u64, share: f64) -> bool {
    uniform(mix(checksum(id) ^ mix64(seed ^ EXPLORATION))) < share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_kept_and_seeds_differ() {
        let ids: Vec<Vec<u8>> = (0..100_000).map(|i| format!("9f3a66aa-{i}").into_bytes()).collect();
        let drawn = |seed, share| ids.iter().map(|id| is_explored(id, seed, share)).collect::<Vec<_>>();
        let count = |drawn: &[bool]| drawn.iter().filter(|one| **one).count();
        let (one, other) = (drawn(0, 0.1), drawn(1, 0.1));
        assert!([&one, &other].iter().all(|drawn| (9_600..10_400).contains(&count(drawn))));
        let both = one.iter().zip(&other).filter(|(one, other)| **one && **other).count();
        assert!((850..1_150).contains(&both), "{both}");
        assert_eq!([count(&drawn(0, 0.0)), count(&drawn(0, 1.0))], [0, 100_000]);
        let low = |id: &Vec<u8>| priority(id, 0) < u64::MAX / 10;
        let both = ids.iter().zip(&one).filter(|(id, one)| low(id) && **one).count();
        assert!((850..1_150).contains(&both), "{both}");
    }
}
