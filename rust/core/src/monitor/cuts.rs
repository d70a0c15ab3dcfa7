//! Where reference values are cut into cells.

use super::bets::CELLS;

/// A value with the random word that orders it among equal ones.
#[derive(Clone, Copy, Debug)]
pub struct Ranked {
    /// The value; never NaN.
    pub value: f64,
    /// Its word.
    pub word: u64,
}

impl Ranked {
    #[inline]
    fn is_below(self, other: Self) -> bool {
        self.value < other.value || (self.value == other.value && self.word < other.word)
    }
}

/// Edges of the cells, equal values being ordered by random words.
#[derive(Clone, Debug)]
pub struct Cuts {
    /// The last of every cell but the last.
    pub edge: [Ranked; CELLS - 1],
    /// Parameters of the Dirichlet law of the cells' masses: whole numbers, their sum is 1 + the reference values.
    pub gap: [f64; CELLS],
}

impl Cuts {
    /// Cuts values at fixed ranks; `None` where there are fewer values than cells. O(n log n).
    pub fn of(mut values: Vec<Ranked>) -> Option<Self> {
        let n = values.len();
        if n < CELLS {
            return None;
        }
        values.sort_unstable_by(|a, b| a.value.total_cmp(&b.value).then(a.word.cmp(&b.word)));
        let rank = |cell: usize| cell * (n + 1) / CELLS;
        let edge = std::array::from_fn(|cell| values[rank(cell + 1) - 1]);
        let gap = std::array::from_fn(|cell| (rank(cell + 1) - rank(cell)) as f64);
        Some(Self { edge, gap })
    }

    /// The cell of a value.
    #[inline]
    pub fn cell(&self, ranked: Ranked) -> usize {
        self.edge.iter().map(|edge| usize::from(edge.is_below(ranked))).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::mix64;

    #[test]
    fn reference_values_are_cut_by_rank() {
        for distinct in [1, 2, 7, 1000] {
            let values: Vec<_> =
                (0..103).map(|i| Ranked { value: (mix64(i) % distinct) as f64, word: mix64(1000 + i) }).collect();
            let Some(cuts) = Cuts::of(values.clone()) else { panic!("enough values") };
            assert_eq!(cuts.gap.iter().sum::<f64>(), 104.0);
            let mut count = [0.0; CELLS];
            for value in values {
                count[cuts.cell(value)] += 1.0;
            }
            // All but the last cell hold their own last value.
            count[CELLS - 1] += 1.0;
            assert_eq!(count, cuts.gap);
        }
        assert!(Cuts::of(vec![Ranked { value: 0.0, word: 0 }; CELLS - 1]).is_none());
    }

    #[test]
    fn zeros_of_both_signs_are_equal() {
        let cuts = Cuts::of((0..16).map(|i| Ranked { value: if i % 2 == 0 { 0.0 } else { -0.0 }, word: i }).collect());
        let Some(cuts) = cuts else { panic!("enough values") };
        let cell = |value| cuts.cell(Ranked { value, word: 8 });
        assert_eq!(cell(0.0), cell(-0.0));
    }
}
