//! Sums and means that do not depend on the number of threads and lose little to rounding.

/// Up to this many numbers are summed in eight strands; more are halved first.
const BLOCK: usize = 128;
const STRANDS: usize = 8;

/// `at(0) + … + at(n − 1)`, pairwise: the rounding error grows with log n. O(n) time, O(log n) stack.
///
/// The order of the additions is that of numpy, so that a sum is the same number in both languages.
pub fn sum(n: usize, at: impl Fn(usize) -> f64) -> f64 {
    sum_from(0, n, &at)
}

fn sum_from(from: usize, n: usize, at: &impl Fn(usize) -> f64) -> f64 {
    if n < STRANDS {
        return (from..from + n).fold(0.0, |sum, i| sum + at(i));
    }
    if n > BLOCK {
        let half = n / 2 - n / 2 % STRANDS;
        return sum_from(from, half, at) + sum_from(from + half, n - half, at);
    }
    let whole = n - n % STRANDS;
    let mut strand: [f64; STRANDS] = std::array::from_fn(|j| at(from + j));
    for i in (STRANDS..whole).step_by(STRANDS) {
        for (j, sum) in strand.iter_mut().enumerate() {
            *sum += at(from + i + j);
        }
    }
    let [a, b, c, d, e, f, g, h] = strand;
    let joined = ((a + b) + (c + d)) + ((e + f) + (g + h));
    (whole..n).fold(joined, |sum, i| sum + at(from + i))
}

/// Mean of `value` (n,) of which each counts `weight` (n,); 0 where nothing counts. O(n).
pub fn mean(value: &[f64], weight: &[f64]) -> f64 {
    let mass = sum(weight.len(), |row| weight[row]);
    if mass > 0.0 { sum(value.len(), |row| value[row] * weight[row]) / mass } else { 0.0 }
}

/// The same of the numbers that are known; NaN where none is, or nothing counts. O(n).
pub fn known_mean(value: &[f64], weight: &[f64]) -> f64 {
    let known = |row: usize| !value[row].is_nan();
    let mass = sum(value.len(), |row| if known(row) { weight[row] } else { 0.0 });
    let total = sum(value.len(), |row| if known(row) { value[row] * weight[row] } else { 0.0 });
    if mass > 0.0 { total / mass } else { f64::NAN }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_numbers_that_add_up_exactly() {
        for n in [0, 1, 7, 8, 9, 127, 128, 129, 1000, 4096, 10_007] {
            assert_eq!(sum(n, |i| i as f64), (n * n.saturating_sub(1) / 2) as f64);
        }
    }

    #[test]
    fn rounding_errors_stay_small() {
        let n = 1_000_000;
        let plain = (0..n).fold(0.0, |sum, _| sum + 0.1);
        let error = |found: f64| (found - 0.1 * f64::from(n)).abs();
        assert!(error(sum(n as usize, |_| 0.1)) < 1e-9 && error(plain) > 1e-7);
    }

    #[test]
    fn means_are_weighted() {
        assert_eq!(mean(&[1.0, 3.0, 100.0], &[1.0, 1.0, 0.0]), 2.0);
        assert_eq!(mean(&[], &[]), 0.0);
        assert_eq!(mean(&[5.0], &[0.0]), 0.0);
    }
}
