//! Strategies that bet against an urn.

use super::watched::Watched;

/// Cells of a watched quantity.
pub const CELLS: usize = 8;
/// Fixed bets: how much likelier than before each cell is thought to be.
pub const TILTS: usize = 10;
/// Histograms that learn from what was drawn.
pub const LEARNED: usize = 3;
/// Strategies of a capital: cash first, then the fixed bets, then the histograms.
pub const BETS: usize = 1 + TILTS + LEARNED;
/// Share that each histogram remembers from one block to the next.
pub const KEPT: [f64; LEARNED] = [1.0, 0.97, 0.75];
/// Draws that the urn counts for in a histogram.
pub const PRIOR: f64 = 8.0;

/// One number a cell.
pub type Cells = [f64; CELLS];
/// One number a strategy.
pub type Shares = [f64; BETS];

/// The bets of every kind of quantity.
#[derive(Clone, Debug)]
pub struct Books {
    any_change: Book,
    mostly_upward: Book,
}

impl Books {
    /// All of them.
    pub fn new() -> Self {
        Self { any_change: Book::any_change(), mostly_upward: Book::mostly_upward() }
    }

    /// Those of one quantity.
    #[inline]
    pub fn of(&self, watched: Watched) -> &Book {
        if watched == Watched::Difficulty { &self.mostly_upward } else { &self.any_change }
    }
}

/// The bets of one kind of quantity.
#[derive(Clone, Debug)]
pub struct Book {
    /// Each fixed bet, cell by cell.
    pub tilt: [Cells; TILTS],
    /// Shares of the capital at the start, and of what is spread anew between blocks. Cash is what is not bet: it is
    /// there when a drift comes late.
    pub start: Shares,
}

impl Book {
    /// For a quantity that may change in any way.
    pub fn any_change() -> Self {
        let mut tilt = [[1.0; CELLS]; TILTS];
        let (slopes, rest) = tilt.split_at_mut(4);
        for (cells, slope) in slopes.iter_mut().zip([0.4, -0.4, 0.9, -0.9]) {
            *cells = shape(|x| 1.0 + slope * x);
        }
        let (spread, ends) = rest.split_at_mut(2);
        for (cells, sign) in spread.iter_mut().zip([1.0, -1.0]) {
            *cells = shape(|x| 1.0 + sign * 0.8 * (2.0 * x.abs() - 1.0));
        }
        for (cells, (low, high)) in ends.iter_mut().zip([(0.4, 1.0), (2.5, 1.0), (1.0, 0.4), (1.0, 2.5)]) {
            *cells = at_ends(low, high);
        }
        Self { tilt, start: shares(0.3, 0.7 * 10.0 / 13.0, 0.7 * 3.0 / 13.0) }
    }

    /// For a quantity that should not grow: nearly all fixed bets are on higher values, on the highest most of all.
    pub fn mostly_upward() -> Self {
        let mut tilt = [[1.0; CELLS]; TILTS];
        let (slopes, rest) = tilt.split_at_mut(5);
        for (cells, slope) in slopes.iter_mut().zip([0.25, 0.5, 0.9, -0.5, -0.9]) {
            *cells = shape(|x| 1.0 + slope * x);
        }
        let (curves, ends) = rest.split_at_mut(2);
        for (cells, rise) in curves.iter_mut().zip([1.0, 2.0]) {
            *cells = shape(|x| 1.0 + rise * ((0.5 + 0.5 * x).powi(3) - 0.25));
        }
        for (cells, high) in ends.iter_mut().zip([1.4, 1.8, 2.5]) {
            *cells = at_ends(1.0, high);
        }
        Self { tilt, start: shares(0.1, 0.7, 0.2) }
    }
}

/// A function of where a cell is, from −1 to 1.
fn shape(of: impl Fn(f64) -> f64) -> Cells {
    std::array::from_fn(|cell| of((cell as f64 + 0.5) / CELLS as f64 * 2.0 - 1.0))
}

fn at_ends(low: f64, high: f64) -> Cells {
    let mut cells = [1.0; CELLS];
    cells[0] = low;
    cells[CELLS - 1] = high;
    cells
}

fn shares(cash: f64, fixed: f64, learned: f64) -> Shares {
    let mut start = [fixed / TILTS as f64; BETS];
    start[0] = cash;
    for share in start.iter_mut().skip(1 + TILTS) {
        *share = learned / LEARNED as f64;
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_sum_to_one_and_no_bet_gives_a_cell_up() {
        for book in [Book::any_change(), Book::mostly_upward()] {
            assert!((book.start.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            assert!(book.tilt.iter().flatten().all(|bet| *bet > 0.0));
            let distinct: Vec<_> = book.tilt.iter().enumerate().filter(|(i, a)| !book.tilt[..*i].contains(a)).collect();
            assert_eq!(distinct.len(), TILTS);
        }
    }
}
