//! The largest losses: of a few rows that carry much of the loss.

use std::collections::BTreeMap;

use super::content::Trace;

/// Share of the rows with a loss that the tail is made of; at least one of them.
const SHARE: f64 = 0.01;

/// The few rows that lose most.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Tail {
    /// The largest loss outside the tail, in the unit of the losses; 0 where nothing is lost.
    pub most: f64,
    /// How many rows lose more than that at some stage.
    pub rows: usize,
    /// Share of these rows in the loss of all rows and stages, in [0, 1].
    pub share: f64,
}

/// What rows that belong together lose at most, and how much they count.
#[derive(Clone, Copy, Default)]
struct Loser {
    largest: f64,
    weight: f64,
}

impl Trace {
    /// The rows, or groups, that lose most at some stage: one in a hundred of those with a loss, and always one, so that
    /// none can move what is outside the tail. Where losses are all alike it is empty. O(n k + n log n).
    pub fn tail(&self) -> Tail {
        let mut largest = vec![0.0_f64; self.rows()];
        let answering = self.answering();
        for column in answering.iter().map(|stage| self.loss(*stage)) {
            for (largest, loss) in largest.iter_mut().zip(column) {
                *largest = largest.max(*loss);
            }
        }
        let most = self.most_outside(&largest);
        let (mut rows, mut share, mut all) = (0, 0.0, 0.0);
        for (row, (largest, weight)) in largest.iter().zip(self.weight()).enumerate() {
            // Divided first: sums of huge losses stay finite.
            let losses = answering.iter().map(|v| self.loss(*v)[row]).filter(|loss| !loss.is_nan());
            let lost: f64 = losses.map(|loss| loss / most.max(f64::MIN_POSITIVE)).sum();
            all += weight * lost;
            if *largest > most && *weight > 0.0 {
                rows += 1;
                share += weight * lost;
            }
        }
        Tail { most, rows, share: if rows > 0 { share / all } else { 0.0 } }
    }

    /// The largest loss outside the tail, given the largest of each row.
    fn most_outside(&self, largest: &[f64]) -> f64 {
        let top = largest.iter().copied().fold(0.0, f64::max);
        if largest.iter().all(|largest| *largest == 0.0 || *largest == top) {
            return top;
        }
        let mut losers = self.losers(largest);
        losers.sort_unstable_by(|one, other| other.largest.total_cmp(&one.largest));
        let allowed = SHARE * losers.iter().map(|loser| loser.weight).sum::<f64>();
        let mut beyond = 0.0;
        let is_outside = |(at, loser): &(usize, &Loser)| {
            beyond += loser.weight;
            *at > 0 && beyond > allowed
        };
        let outside = losers.iter().enumerate().find(is_outside).map(|(_, loser)| loser.largest);
        outside.or(losers.last().map(|loser| loser.largest)).unwrap_or(top)
    }

    /// Rows that count and lose something; those of a group as one.
    fn losers(&self, largest: &[f64]) -> Vec<Loser> {
        let lost = largest.iter().zip(self.weight()).enumerate().filter(|(_, (lost, w))| **lost > 0.0 && **w > 0.0);
        let Some(group) = self.group() else {
            return lost.map(|(_, (largest, weight))| Loser { largest: *largest, weight: *weight }).collect();
        };
        let mut together: BTreeMap<i64, Loser> = BTreeMap::new();
        for (row, (largest, weight)) in lost {
            let loser = together.entry(group[row]).or_default();
            loser.largest = loser.largest.max(*largest);
            loser.weight += weight;
        }
        together.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Kind;

    /// A trace of two stages: row r loses `loss[r]` at the first one, and half of that at the second.
    fn trace(loss: &[f64]) -> Option<Trace> {
        let both: Vec<f64> = loss.iter().flat_map(|loss| [*loss, 0.5 * loss]).collect();
        Trace::from_rows(&vec![0.5; both.len()], &both, None, &[1.0, 1.0], Kind::Models).ok()
    }

    fn found(trace: Option<Trace>) -> Option<(f64, usize, f64)> {
        trace.map(|trace| trace.tail()).map(|tail| (tail.most, tail.rows, tail.share))
    }

    #[test]
    fn one_row_is_always_in_the_tail() {
        assert_eq!(found(trace(&[1.0, 0.0, 6.0, 1.0])), Some((1.0, 1, 0.75)));
        assert_eq!(found(trace(&[1.0, 0.0, 1.0, 1.0])), Some((1.0, 0, 0.0)));
        assert_eq!(found(trace(&[0.0, 2.0])), Some((2.0, 0, 0.0)));
        assert_eq!(found(trace(&[0.0, 0.0])), Some((0.0, 0, 0.0)));
        assert_eq!(found(trace(&[1e308, 1e308, 1.0])), Some((1e308, 0, 0.0)));
    }

    #[test]
    fn one_in_a_hundred_of_those_with_a_loss_is_in_the_tail() {
        let loss =
            |large: usize| (0..1000).map(move |row| if row < large { 9.0 } else { f64::from(u8::from(row < 300)) });
        for (large, expected) in [(1, (1.0, 1)), (3, (1.0, 3)), (4, (9.0, 0))] {
            let found = found(trace(&loss(large).collect::<Vec<_>>())).map(|(most, rows, _)| (most, rows));
            assert_eq!(found, Some(expected), "{large}");
        }
    }

    #[test]
    fn weights_and_groups_count() {
        let loss = [5.0, 5.0, 1.0, 1.0, 0.0];
        assert_eq!(found(trace(&loss)), Some((5.0, 0, 0.0)));
        let grouped = trace(&loss).and_then(|trace| trace.grouped(Some(vec![3, 3, 1, 2, 4])).ok());
        assert_eq!(found(grouped), Some((1.0, 2, 10.0 / 12.0)));
        let weighted = trace(&loss).and_then(|trace| trace.weighted(Some(vec![1.0, 0.0, 1.0, 2.0, 1.0])).ok());
        assert_eq!(found(weighted), Some((1.0, 1, 0.625)));
    }
}
