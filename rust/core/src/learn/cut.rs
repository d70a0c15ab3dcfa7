//! One threshold between stopping and going on: what the simple rules are tuned by.

use super::sample::quantiles;
use super::tuning::Tuning;
use crate::parallel;

/// Rows summed by one task.
const CHUNK: usize = 65_536;

/// The threshold on `belief` that minimises `Σ (belief <= threshold ? stop : go)` over rows; infinite where always or
/// never stopping is best. O(n log n) at worst.
pub fn threshold(belief: &[f64], stop: &[f64], go: &[f64], tuning: &Tuning) -> f64 {
    let stride = belief.len().div_ceil(tuning.cut_rows).max(1);
    let sample: Vec<f64> = belief.iter().step_by(stride).copied().collect();
    let edges = quantiles(&sample, tuning.stage_cuts + 1);
    let bucket_gains = |rows: std::ops::Range<usize>| {
        let mut gains = vec![0.0; edges.len() + 1];
        for row in rows {
            gains[edges.partition_point(|edge| *edge < belief[row])] += stop[row] - go[row];
        }
        gains
    };
    let chunks = parallel::map(parallel::ranges(belief.len(), CHUNK), bucket_gains);
    // Bucket q holds the rows in (edges[q − 1], edges[q]]: stopping at threshold edges[q] costs the sum up to q.
    let mut best = (0.0, f64::NEG_INFINITY);
    let mut sum = 0.0;
    for q in 0..=edges.len() {
        sum += chunks.iter().map(|gains| gains[q]).sum::<f64>();
        let threshold = match (edges.get(q), edges.get(q + 1)) {
            (Some(here), Some(above)) => between(*here, *above),
            _ => f64::INFINITY,
        };
        if sum <= best.0 {
            best = (sum, threshold);
        }
    }
    best.1
}

/// A number at or above `here` and below `above`, about half-way where both are finite.
fn between(here: f64, above: f64) -> f64 {
    let middle = 0.5 * here.max(f64::MIN) + 0.5 * above.min(f64::MAX);
    if middle < above { middle.max(here) } else { here }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separates_where_stopping_pays() {
        let belief: Vec<f64> = (0..1000).map(f64::from).collect();
        let go = vec![0.0; 1000];
        let stop: Vec<f64> = belief.iter().map(|x| if *x < 400.0 { -1.0 } else { 1.0 }).collect();
        let found = threshold(&belief, &stop, &go, &Tuning::default());
        assert!((found - 400.0).abs() < 8.0, "{found}");
    }

    #[test]
    fn never_and_always() {
        let belief: Vec<f64> = (0..100).map(f64::from).collect();
        assert_eq!(threshold(&belief, &[1.0; 100], &[0.0; 100], &Tuning::default()), f64::NEG_INFINITY);
        assert_eq!(threshold(&belief, &[0.0; 100], &[1.0; 100], &Tuning::default()), f64::INFINITY);
    }

    #[test]
    fn infinite_beliefs_have_a_threshold_too() {
        let infinite = [f64::NEG_INFINITY, f64::INFINITY];
        for (here, above) in
            [(infinite[0], 1.0), (1.0, infinite[1]), (infinite[0], infinite[1]), (1.0, 1.0_f64.next_up())]
        {
            let found = between(here, above);
            assert!(here <= found && found < above, "{found} is not in [{here}, {above})");
        }
        let found = threshold(&infinite, &[0.0, 2.0], &[1.0, 1.0], &Tuning::default());
        assert!(found.is_finite(), "{found}");
    }

    #[test]
    fn ties_stay_together() {
        let belief = [1.0, 1.0, 1.0, 2.0];
        let found = threshold(&belief, &[0.0, 0.0, 3.0, 5.0], &[2.0; 4], &Tuning::default());
        assert!((1.0..2.0).contains(&found), "{found}");
    }
}
