//! Deterministic choices of rows: the same trace gives the same rows, whatever the order of work.

use crate::random::mix64;

/// About `most` of `rows` rows, ascending: one from each of equally long pieces; all of them if they are no more.
pub fn spread(rows: usize, most: usize) -> Vec<u32> {
    let piece = rows.div_ceil(most.max(1)).max(1);
    (0..rows.div_ceil(piece))
        .map(|at| {
            let first = at * piece;
            let length = piece.min(rows - first) as u64;
            (first as u64 + mix64(at as u64) % length) as u32
        })
        .collect()
}

/// Up to `count + 1` distinct order statistics at the ranks ⌈q·n / count⌉, q = 0, …, count.
pub fn knots(sorted: &[f64], count: usize) -> Vec<f64> {
    let mut knots: Vec<f64> =
        (0..=count).filter_map(|q| sorted.get((q * sorted.len()).div_ceil(count).saturating_sub(1))).copied().collect();
    knots.dedup_by(|b, a| *b <= *a);
    knots
}

/// In ascending order.
pub fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
}

/// Up to `count` distinct order statistics at evenly spaced ranks, the smallest and largest among them.
pub fn quantiles(values: &[f64], count: usize) -> Vec<f64> {
    let sorted = sorted(values);
    let Some(last) = sorted.len().checked_sub(1) else { return Vec::new() };
    let mut knots: Vec<f64> = (0..count).map(|q| sorted[q * last / (count - 1)]).collect();
    knots.dedup_by(|b, a| *b <= *a);
    knots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_sample_covers_the_rows() {
        assert_eq!(spread(5, 10), [0, 1, 2, 3, 4]);
        let rows = spread(1003, 100);
        assert!(rows.len() <= 100 && rows.is_sorted() && rows.iter().all(|row| *row < 1003));
        assert!(spread(0, 10).is_empty());
    }

    #[test]
    fn knots_are_distinct_order_statistics() {
        assert_eq!(knots(&[1.0, 2.0, 3.0, 4.0], 2), [1.0, 2.0, 4.0]);
        assert_eq!(knots(&[7.0, 7.0, 7.0], 15), [7.0]);
        assert!(knots(&[], 15).is_empty());
    }
}
