//! Where what requests cost is cut into ranges, so that decisions can differ by it.

use super::tuning::Tuning;

/// Shares of the requests that are in the first and in the last range at least, where costs are cut evenly.
const TAIL: f64 = 0.01;

/// Ranges of costs, over that of the average request.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranges {
    /// From which cost on each range is, ascending; the first from 0.
    pub from: Vec<f64>,
    /// The mean cost in each.
    pub typical: Vec<f64>,
}

impl Ranges {
    /// Of requests that cost so much (n,), each counting `weight` (n,): every cost by itself where they are few, else ranges
    /// between whose ends are equal ratios. O(n log n).
    pub fn of(cost: &[f64], weight: &[f64], tuning: &Tuning) -> Self {
        let mut sorted: Vec<f64> = cost.iter().zip(weight).filter(|(_, w)| **w > 0.0).map(|(cost, _)| *cost).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let mut distinct = sorted.clone();
        distinct.dedup();
        let cuts: Vec<f64> = if distinct.len() <= tuning.cost_ranges {
            distinct.windows(2).map(|pair| f64::midpoint(pair[0], pair[1])).collect()
        } else {
            even_cuts(&sorted, tuning.cost_ranges)
        };
        let mut ranges = Self { from: vec![0.0], typical: Vec::new() };
        for from in cuts {
            let before = ranges.from.last().copied().unwrap_or(0.0);
            if let Some(typical) = mean_between(cost, weight, before, from) {
                ranges.typical.push(typical);
                ranges.from.push(from);
            }
        }
        let before = ranges.from.last().copied().unwrap_or(0.0);
        match mean_between(cost, weight, before, f64::INFINITY) {
            Some(typical) => ranges.typical.push(typical),
            // Nothing costs so much: the range before has no end.
            None => drop(ranges.from.pop()),
        }
        ranges
    }
}

/// So many ranges of equal ratios, but for the first and the last, which hold the tails.
fn even_cuts(sorted: &[f64], ranges: usize) -> Vec<f64> {
    let positive = &sorted[sorted.partition_point(|cost| *cost <= 0.0)..];
    let at = |share: f64| positive[((positive.len() - 1) as f64 * share).round() as usize].ln();
    let (low, high) = (at(TAIL), at(1.0 - TAIL));
    let cuts = ranges - 1;
    let mut found: Vec<f64> = (0..cuts)
        .map(|cut| (low + (high - low) * cut as f64 / (cuts - 1).max(1) as f64).exp())
        .filter(|cut| cut.is_finite() && *cut > 0.0)
        .collect();
    found.dedup();
    found
}

/// The mean of the costs in `[from, until)`; none where there is no such cost.
fn mean_between(cost: &[f64], weight: &[f64], from: f64, until: f64) -> Option<f64> {
    let inside = cost.iter().zip(weight).filter(|(cost, _)| (from..until).contains(*cost));
    let (mass, total) = inside.fold((0.0, 0.0), |(mass, total), (cost, w)| (mass + w, total + w * cost));
    (mass > 0.0).then(|| total / mass)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_costs_have_ranges_of_their_own() {
        let cost = [0.5, 2.0, 0.5, 0.0, 2.0, 9.0];
        let found = Ranges::of(&cost, &[1.0, 1.0, 1.0, 1.0, 1.0, 0.0], &Tuning::default());
        assert_eq!(found, Ranges { from: vec![0.0, 0.25, 1.25], typical: vec![0.0, 0.5, 2.0] });
        let alike = Ranges::of(&[1.0; 9], &[1.0; 9], &Tuning::default());
        assert_eq!(alike, Ranges { from: vec![0.0], typical: vec![1.0] });
    }

    #[test]
    fn many_costs_are_cut_at_equal_ratios() {
        let cost: Vec<f64> = (0..10_000).map(|at| (f64::from(at) / 10_000.0 * 4.0 - 2.0).exp()).collect();
        let tuning = Tuning::default();
        let Ranges { from, typical } = Ranges::of(&cost, &vec![1.0; cost.len()], &tuning);
        assert_eq!((from.len(), typical.len()), (tuning.cost_ranges, tuning.cost_ranges));
        let ratios: Vec<f64> = from.windows(2).skip(1).map(|pair| pair[1] / pair[0]).collect();
        assert!(ratios.iter().all(|ratio| (ratio / ratios[0] - 1.0).abs() < 1e-9), "{ratios:?}");
        assert!(typical.iter().zip(&from).all(|(typical, from)| typical >= from));
        assert!(typical.is_sorted());
    }
}
