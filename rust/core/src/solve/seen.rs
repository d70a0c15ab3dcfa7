//! What is known of a convex, rising function of the loss in hand from a few points, for every state.

use ndarray::{Array2, ArrayView2};

/// Part of what a function rises by from one point to the next, on average: states that differ by less are not told
/// apart.
const NARROW: f64 = 0.3;

/// A stage as it is seen from an earlier one: what going there brings, at the points of the earlier one.
pub(crate) enum Seen {
    /// By state, the unknown one last, and point.
    Exact(Array2<f64>),
    /// In any state.
    Range(Bounds),
}

/// Between what bounds a function of several lies, by point.
pub(crate) struct Bounds {
    least: Vec<f64>,
    most: Vec<f64>,
    /// The slopes of chords, from each point to the next.
    flattest: Vec<f64>,
    steepest: Vec<f64>,
}

impl Seen {
    /// All means of the rows of a table. O(its entries).
    pub(crate) fn range(table: &ArrayView2<f64>, point: &[f64]) -> Self {
        let mut least = vec![f64::INFINITY; point.len()];
        let mut most = vec![f64::NEG_INFINITY; point.len()];
        let chords = point.len().saturating_sub(1);
        let (mut flattest, mut steepest) = (vec![f64::INFINITY; chords], vec![f64::NEG_INFINITY; chords]);
        for row in table.rows() {
            for ((least, most), t) in least.iter_mut().zip(&mut most).zip(row) {
                (*least, *most) = (least.min(*t), most.max(*t));
            }
            for (k, (flattest, steepest)) in flattest.iter_mut().zip(&mut steepest).enumerate() {
                let slope = (row[k + 1] - row[k]) / (point[k + 1] - point[k]);
                (*flattest, *steepest) = (flattest.min(slope), steepest.max(slope));
            }
        }
        Self::Range(Bounds { least, most, flattest, steepest })
    }

    /// Whether it hardly matters in which state.
    pub(crate) fn is_narrow(&self) -> bool {
        let Self::Range(bounds) = self else {
            return false;
        };
        let spread: f64 = bounds.most.iter().zip(&bounds.least).map(|(most, least)| most - least).sum();
        spread <= NARROW * bounds.most.last().copied().unwrap_or(0.0)
    }

    /// Whether states are told apart.
    pub(crate) fn is_exact(&self) -> bool {
        matches!(self, Self::Exact(_))
    }

    /// The least that it brings at a point.
    pub(crate) fn least(&self, row: usize, at: usize) -> f64 {
        match self {
            Self::Exact(table) => table[[row, at]],
            Self::Range(bounds) => bounds.least[at],
        }
    }

    /// The most that it brings at a point.
    pub(crate) fn most(&self, row: usize, at: usize) -> f64 {
        match self {
            Self::Exact(table) => table[[row, at]],
            Self::Range(bounds) => bounds.most[at],
        }
    }

    /// The least slope before point `at`; 0 before the first one: no function falls.
    pub(crate) fn slope_before(&self, row: usize, at: usize, point: &[f64]) -> f64 {
        let Some(before) = at.checked_sub(1) else {
            return 0.0;
        };
        match self {
            Self::Exact(table) => (table[[row, at]] - table[[row, before]]) / (point[at] - point[before]),
            Self::Range(bounds) => bounds.flattest[before],
        }
    }

    /// The largest slope behind point `at`; 1 behind the last one: none is steeper.
    pub(crate) fn slope_after(&self, row: usize, at: usize, point: &[f64]) -> f64 {
        if at + 1 == point.len() {
            return 1.0;
        }
        match self {
            Self::Exact(table) => (table[[row, at + 1]] - table[[row, at]]) / (point[at + 1] - point[at]),
            Self::Range(bounds) => bounds.steepest[at],
        }
    }

    /// How far the chord between the least at point `at` and at the next may lie above what is there.
    pub(crate) fn gap(&self, row: usize, at: usize, point: &[f64]) -> f64 {
        let width = point[at + 1] - point[at];
        let slope = (self.least(row, at + 1) - self.least(row, at)) / width;
        let before = (slope - self.slope_before(row, at, point)).max(0.0);
        let after = (self.slope_after(row, at + 1, point) - slope).max(0.0);
        if before == 0.0 { 0.0 } else { before * after / (before + after) * width }
    }
}

/// How far the rows of a table are apart: the sum over its columns of the largest less the least entry.
pub(crate) fn spread(table: &ArrayView2<f64>) -> f64 {
    let extremes = |column: ndarray::ArrayView1<f64>| {
        column.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), x| (least.min(*x), most.max(*x)))
    };
    table.columns().into_iter().map(extremes).map(|(least, most)| most - least).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A convex function of slope at most 1, for each of three states.
    fn value(row: usize, x: f64) -> f64 {
        [0.2, 0.5, 0.9].iter().map(|r| (x - r).max(0.0)).sum::<f64>() * 0.1 * (1 + row) as f64
    }

    #[test]
    fn functions_lie_between_their_bounds() {
        let point = [0.0, 0.3, 0.55, 0.6, 1.0];
        let table = Array2::from_shape_fn((3, point.len()), |(row, k)| value(row, point[k]));
        let range = Seen::range(&table.view(), &point);
        let exact = Seen::Exact(table);
        assert!(exact.is_exact() && !range.is_exact() && !range.is_narrow());
        for seen in [&exact, &range] {
            for row in 0..3 {
                for at in 0..point.len() - 1 {
                    let (a, b) = (point[at], point[at + 1]);
                    for x in (0..=20).map(|k| a + (b - a) * f64::from(k) / 20.0) {
                        let t = value(row, x);
                        let share = (x - a) / (b - a);
                        let chord = |ends: [f64; 2]| ends[0] + (ends[1] - ends[0]) * share;
                        let above = chord([seen.most(row, at), seen.most(row, at + 1)]);
                        let low = chord([seen.least(row, at), seen.least(row, at + 1)]);
                        let left = seen.least(row, at) + seen.slope_before(row, at, &point) * (x - a);
                        let right = seen.least(row, at + 1) - seen.slope_after(row, at + 1, &point) * (b - x);
                        assert!(t <= above + 1e-12 && t >= left.max(right) - 1e-12, "{row} {x}");
                        assert!(left.max(right) >= low - seen.gap(row, at, &point) - 1e-12, "{row} {x}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_all_states_agree_on_is_narrow() {
        let point = [0.0, 0.5, 1.0];
        let table = Array2::from_shape_fn((4, 3), |(_, k)| value(1, point[k]));
        assert!(Seen::range(&table.view(), &point).is_narrow());
    }
}
