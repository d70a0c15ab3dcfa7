//! The signals that a curve is linear between.

use crate::learn::logistic;
use crate::learn::sample;
use crate::learn::tuning::Tuning;
use crate::rules::KNOTS;

/// Most values that get a level of their own: each takes three knots, and a few have to be left.
const MOST_TIES: usize = 4;

/// Knots of a curve, ascending.
#[derive(Debug, PartialEq)]
pub struct Knots {
    /// Where they are.
    pub at: Vec<f64>,
    /// Whether so many rows have just this signal that the level there is its own.
    pub is_tied: Vec<bool>,
    /// Share of the rows below, those at it counting half, less ½.
    pub rank: Vec<f64>,
}

impl Knots {
    /// Of ascending signals: every value of a few; else order statistics, and values that a large share of the rows
    /// have, with their neighbours, so that nothing is interpolated across them.
    pub fn new(sorted: &[f64], tuning: &Tuning) -> Self {
        let runs = runs(sorted);
        let tied = if runs.len() <= KNOTS { Vec::new() } else { tied(&runs, tuning.curve_tie * sorted.len() as f64) };
        let at = if runs.len() <= KNOTS {
            runs.iter().map(|(value, _)| *value).collect()
        } else {
            let mut at: Vec<f64> = tied
                .iter()
                .flat_map(|i| &runs[i.saturating_sub(1)..(i + 2).min(runs.len())])
                .map(|run| run.0)
                .collect();
            at.sort_unstable_by(f64::total_cmp);
            at.dedup();
            let others: Vec<f64> = sorted.iter().copied().filter(|x| tied.iter().all(|i| runs[*i].0 != *x)).collect();
            at.extend(sample::knots(&others, KNOTS - 1 - at.len()));
            at.sort_unstable_by(f64::total_cmp);
            at.dedup_by(|b, a| *b <= *a);
            at
        };
        let is_tied = at.iter().map(|x| tied.iter().any(|i| runs[*i].0 == *x)).collect();
        let below = |x: &f64| sorted.partition_point(|y| y < x) + sorted.partition_point(|y| y <= x);
        let rank = at.iter().map(|x| below(x) as f64 / (2 * sorted.len()) as f64 - 0.5).collect();
        Self { at, is_tied, rank }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.at.len()
    }

    /// The knots around a signal, and the share of the way from the one to the other.
    pub fn place(&self, x: f64) -> (usize, f64) {
        let left = self.at.partition_point(|knot| *knot <= x).clamp(1, self.len().max(2) - 1) - 1;
        let Some([from, to]) = self.at.get(left..left + 2) else { return (0, 0.0) };
        // Halves keep the difference of two huge signals finite.
        let share = (x / 2.0 - from / 2.0) / (to / 2.0 - from / 2.0);
        (left, if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 })
    }

    /// The penalty on the values there (m, m): on second differences of those that are not tied, and a slight pull on all;
    /// one that no difference reaches is pulled as if by a few rows.
    pub fn penalty(&self, tuning: &Tuning) -> Vec<f64> {
        let m = self.len();
        let smooth: Vec<usize> = (0..m).filter(|knot| !self.is_tied[*knot]).collect();
        let mut penalty = logistic::ridge(m, tuning.curve_ridge);
        for triple in smooth.windows(3) {
            let second = [(triple[0], 1.0), (triple[1], -2.0), (triple[2], 1.0)];
            for (a, wa) in second {
                for (b, wb) in second {
                    penalty[a * m + b] += tuning.curve_smoothness * wa * wb;
                }
            }
        }
        for knot in (0..m).filter(|knot| self.is_tied[*knot] || smooth.len() < 3) {
            // The curvature of the log loss of so many rows of mean loss ½.
            penalty[knot * m + knot] += 0.25 * tuning.prior_rows;
        }
        penalty
    }
}

/// Distinct values with how often each occurs.
fn runs(sorted: &[f64]) -> Vec<(f64, usize)> {
    sorted.chunk_by(|a, b| a == b).filter_map(|run| Some((*run.first()?, run.len()))).collect()
}

/// The values that at least so many rows have, the most frequent ones.
fn tied(runs: &[(f64, usize)], least: f64) -> Vec<usize> {
    let mut tied: Vec<usize> = (0..runs.len()).filter(|i| runs[*i].1 as f64 >= least).collect();
    tied.sort_by_key(|i| std::cmp::Reverse(runs[*i].1));
    tied.truncate(MOST_TIES);
    tied
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knots(signal: &[f64]) -> Knots {
        Knots::new(&sample::sorted(signal), &Tuning::default())
    }

    #[test]
    fn every_one_of_a_few_values_is_a_knot() {
        let mut signal = vec![0.5; 990];
        signal.extend([0.1, 0.2, 0.9].iter().cycle().take(10));
        let found = knots(&signal);
        assert_eq!(found.at, [0.1, 0.2, 0.5, 0.9]);
        assert_eq!(found.is_tied, [false; 4]);
        assert!((found.rank[2] - 0.002).abs() < 1e-3 && found.rank[0] < -0.49, "{found:?}");
    }

    #[test]
    fn a_value_of_many_rows_stands_between_its_neighbours() {
        let signal: Vec<f64> = (0..1000).map(|i| if i % 5 == 0 { 0.25 } else { f64::from(i) / 1000.0 }).collect();
        let found = knots(&signal);
        let tie = found.at.iter().position(|x| *x == 0.25);
        assert_eq!(tie.map(|at| (found.at[at - 1], found.at[at + 1], found.is_tied[at])), Some((0.249, 0.251, true)));
        assert!(found.len() <= KNOTS && found.is_tied.iter().filter(|is_tied| **is_tied).count() == 1);
        assert_eq!((found.at.first(), found.at.last()), (Some(&0.001), Some(&0.999)));
    }

    #[test]
    fn ties_at_the_ends_and_many_ties_leave_room() {
        for modulus in [3, 4, 7, 12] {
            let tie = |i: u32| if i % modulus < modulus - 1 { f64::from(i % modulus) } else { f64::from(i) + 0.5 };
            let signal: Vec<f64> = (0..2000).map(tie).collect();
            let found = knots(&signal);
            assert!(found.len() <= KNOTS && found.at.is_sorted_by(|a, b| a < b), "{found:?}");
            assert_eq!((found.at.first(), found.at.last().is_some_and(|last| *last > 1900.0)), (Some(&0.0), true));
            assert!(found.is_tied.iter().filter(|is_tied| **is_tied).count() <= MOST_TIES);
        }
    }

    #[test]
    fn places_are_within_the_knots() {
        let found = knots(&[0.0, 1.0, 3.0]);
        assert_eq!(
            [-1.0, 0.0, 0.5, 1.0, 2.0, 3.0, 9.0].map(|x| found.place(x)),
            [(0, 0.0), (0, 0.0), (0, 0.5), (1, 0.0), (1, 0.5), (1, 1.0), (1, 1.0)]
        );
        assert_eq!(knots(&[7.0]).place(3.0), (0, 0.0));
        assert_eq!(knots(&[f64::MIN, f64::MAX]).place(0.0), (0, 0.5));
    }
}
