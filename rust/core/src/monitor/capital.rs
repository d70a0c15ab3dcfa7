//! A capital that bets on the cells drawn from a Pólya urn: a test martingale while draws come from that urn.

use super::bets::{BETS, Book, CELLS, Cells, KEPT, LEARNED, PRIOR, Shares, TILTS};

/// Draws after which bets are placed anew.
pub const BLOCK: u32 = 32;
/// After block n a share 1 / (n + `PATIENCE`) of a capital is spread anew: early on a winning bet is left alone.
const PATIENCE: f64 = 20.0;
/// What a strategy that has lost everything keeps.
const LEAST: f64 = 1e-300;

/// What a capital knows of its draws; the rest of it follows from this.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Draws {
    /// What is in the urn, a cell each.
    pub urn: Cells,
    /// What has been drawn since bets were placed.
    pub fresh: Cells,
    /// What the histograms remember of the blocks before.
    pub learned: [Cells; LEARNED],
    /// Draws since bets were placed.
    pub in_block: u32,
    /// Blocks before this one.
    pub blocks: u64,
    /// Capital in each strategy, over exp(scale).
    pub wealth: Shares,
    /// The same when bets were placed.
    pub opened: Shares,
    /// See `wealth`.
    pub scale: f64,
    /// Logarithm of the largest capital so far, as of the ends of blocks and the alarm.
    pub peak: f64,
    /// How far each strategy has climbed since it was last at its lowest, a logarithm, as of the start of the block.
    pub climb: Shares,
    /// Requests that had been taken in when each climb began.
    pub began: [u64; BETS],
}

impl Draws {
    /// Before anything is drawn from an urn that holds `gap`.
    pub fn new(gap: &Cells, book: &Book) -> Self {
        Self {
            urn: *gap,
            fresh: [0.0; CELLS],
            learned: [[0.0; CELLS]; LEARNED],
            in_block: 0,
            blocks: 0,
            wealth: book.start,
            opened: book.start,
            scale: 0.0,
            peak: 0.0,
            climb: [0.0; BETS],
            began: [0; BETS],
        }
    }

    /// Whether a capital can go on from here.
    pub fn is_sound(&self) -> bool {
        let counts = self.urn.iter().chain(&self.fresh).chain(self.learned.iter().flatten());
        let shares = self.wealth.iter().chain(&self.opened);
        counts.chain(&self.climb).all(|x| x.is_finite() && *x >= 0.0)
            && shares.into_iter().all(|x| x.is_finite() && *x > 0.0)
            && self.urn.iter().zip(&self.fresh).all(|(urn, fresh)| urn - fresh >= 1.0)
            && self.in_block < BLOCK
            && self.scale.is_finite()
            && self.peak.is_finite()
    }
}

/// One capital, of 1 at the start, spread over strategies that all bet against the urn.
#[derive(Clone, Debug)]
pub struct Capital {
    draws: Draws,
    /// What is in the urn in all.
    total: f64,
    /// The chance that each strategy gives a cell; that of cash is not used.
    bet: [Shares; CELLS],
    /// Logarithm of the capital that alarms.
    limit: f64,
    /// The wealth that alarms, over exp(scale).
    enough: f64,
}

impl Capital {
    /// Goes on where `draws` are, which must be sound; alarmed when it reaches exp(limit).
    pub fn new(draws: Draws, book: &Book, limit: f64) -> Self {
        let total = draws.urn.iter().sum();
        let mut capital = Self { draws, total, bet: [[0.0; BETS]; CELLS], limit, enough: 0.0 };
        capital.place(book);
        capital
    }

    /// What it knows.
    pub fn draws(&self) -> &Draws {
        &self.draws
    }

    /// Logarithm of the capital that alarms.
    pub fn limit(&self) -> f64 {
        self.limit
    }

    /// Logarithm of the largest capital so far.
    pub fn peak(&self) -> f64 {
        self.draws.peak.max(self.log_capital())
    }

    /// Logarithm of the capital now.
    pub fn log_capital(&self) -> f64 {
        self.draws.wealth.iter().sum::<f64>().ln() + self.draws.scale
    }

    /// Takes in the next draw, of the request after so many `requests`; whether the capital is then at the limit.
    #[inline]
    pub fn draw(&mut self, cell: usize, book: &Book, requests: u64) -> bool {
        let draws = &mut self.draws;
        let (Some(urn), Some(fresh), Some(bet)) =
            (draws.urn.get_mut(cell), draws.fresh.get_mut(cell), self.bet.get(cell))
        else {
            return false;
        };
        let fair = self.total / *urn;
        *urn += 1.0;
        *fresh += 1.0;
        self.total += 1.0;
        let mut whole = draws.wealth[0];
        for (wealth, bet) in draws.wealth.iter_mut().zip(bet).skip(1) {
            *wealth *= bet * fair;
            whole += *wealth;
        }
        draws.in_block += 1;
        let reached = whole >= self.enough;
        if reached {
            draws.peak = draws.peak.max(whole.ln() + draws.scale);
        }
        if draws.in_block == BLOCK {
            self.settle(whole, book, requests + 1);
        }
        reached
    }

    /// Between blocks: histograms learn, capital is moved between strategies, bets are placed.
    fn settle(&mut self, whole: f64, book: &Book, requests: u64) {
        let draws = &mut self.draws;
        draws.peak = draws.peak.max(whole.ln() + draws.scale);
        for (bet, climb) in draws.climb.iter_mut().enumerate() {
            *climb += (draws.wealth[bet] / draws.opened[bet]).ln();
            if *climb <= 0.0 {
                (*climb, draws.began[bet]) = (0.0, requests);
            }
        }
        for (learned, kept) in draws.learned.iter_mut().zip(KEPT) {
            for (learned, fresh) in learned.iter_mut().zip(draws.fresh) {
                *learned = kept * *learned + fresh;
            }
        }
        draws.fresh = [0.0; CELLS];
        draws.in_block = 0;
        let moved = 1.0 / (draws.blocks as f64 + PATIENCE);
        draws.blocks += 1;
        for (wealth, start) in draws.wealth.iter_mut().zip(book.start) {
            *wealth = ((1.0 - moved) * *wealth / whole + moved * start).max(LEAST);
        }
        draws.scale += whole.ln();
        draws.opened = draws.wealth;
        self.place(book);
    }

    /// Places the bets, from what was known when the block began.
    fn place(&mut self, book: &Book) {
        let draws = &self.draws;
        let mut urn = draws.urn;
        for (urn, fresh) in urn.iter_mut().zip(draws.fresh) {
            *urn -= fresh;
        }
        let urn = normalised(urn);
        for (bet, tilt) in book.tilt.iter().enumerate() {
            self.set(1 + bet, &normalised(std::array::from_fn(|cell| tilt[cell] * urn[cell])));
        }
        for bet in 0..LEARNED {
            let learned = &self.draws.learned[bet];
            self.set(1 + TILTS + bet, &normalised(std::array::from_fn(|cell| learned[cell] + PRIOR * urn[cell])));
        }
        self.enough = (self.limit - self.draws.scale).exp();
    }

    fn set(&mut self, bet: usize, chance: &Cells) {
        for (row, chance) in self.bet.iter_mut().zip(chance) {
            row[bet] = *chance;
        }
    }

    /// How many requests had been taken in when the strategy that has climbed most began to.
    pub fn since(&self) -> u64 {
        let draws = &self.draws;
        let climbed = |bet: usize| draws.climb[bet] + (draws.wealth[bet] / draws.opened[bet]).ln();
        let best = (1..BETS).max_by(|a, b| climbed(*a).total_cmp(&climbed(*b)));
        best.map_or(0, |bet| draws.began[bet])
    }

    /// How far the mean cell of what was drawn, in all or of late, is above that of the reference `gap`: the clearest, in
    /// standard errors.
    pub fn shift(&self, gap: &Cells) -> f64 {
        let (before, spread, m) = moments(gap);
        let Draws { learned, fresh, .. } = &self.draws;
        let late = learned.iter().map(|learned| std::array::from_fn(|cell| learned[cell] + fresh[cell]));
        late.chain([*fresh]).fold(0.0, |clearest: f64, count| {
            let (now, _, n) = moments(&count);
            let shift = (now - before) / (spread * (1.0 / n.max(1.0) + 1.0 / m)).sqrt();
            if n > 0.0 && shift.abs() > clearest.abs() { shift } else { clearest }
        })
    }
}

fn normalised(mut cells: Cells) -> Cells {
    let total: f64 = cells.iter().sum();
    for cell in &mut cells {
        *cell /= total;
    }
    cells
}

/// Mean and variance of the number of a cell, and how many there are.
fn moments(count: &Cells) -> (f64, f64, f64) {
    let n: f64 = count.iter().sum();
    let of = |power: i32| count.iter().enumerate().map(|(cell, c)| c * (cell as f64).powi(power)).sum::<f64>();
    let mean = of(1) / n;
    (mean, of(2) / n - mean * mean, n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::mix64;

    /// Cells that are nothing like the reference's.
    fn odd_draws(n: u64) -> impl Iterator<Item = usize> {
        (0..n).map(|i| (0..7).filter(|bit| mix64(7 * i + bit) % 10 < 8).count())
    }

    fn after(gap: &Cells, book: &Book, n: u64) -> Capital {
        let mut capital = Capital::new(Draws::new(gap, book), book, f64::INFINITY);
        for (i, cell) in odd_draws(n).enumerate() {
            capital.draw(cell, book, i as u64);
        }
        capital
    }

    #[test]
    fn no_bet_gains_on_average() {
        for book in [Book::any_change(), Book::mostly_upward()] {
            for gap in [[3.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 5.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 90.0]] {
                for seen in [0, 1, 31, 32, 33, 167] {
                    let capital = after(&gap, &book, seen);
                    let (urn, total) = (capital.draws().urn, capital.total);
                    let expected: f64 = (0..CELLS)
                        .map(|cell| {
                            let mut next = capital.clone();
                            next.draw(cell, &book, seen);
                            urn[cell] / total * next.log_capital().exp()
                        })
                        .sum();
                    let before = capital.log_capital().exp();
                    assert!((expected / before - 1.0).abs() < 1e-9, "after {seen}: {expected} for {before}");
                }
            }
        }
    }

    #[test]
    fn the_capital_is_one_at_first_and_grows_on_odd_draws() {
        let (gap, book) = ([20.0; CELLS], Book::any_change());
        assert!(after(&gap, &book, 0).log_capital().abs() < 1e-12);
        let capital = after(&gap, &book, 400);
        assert!(capital.peak() > 20.0);
        assert!(capital.shift(&gap) > 5.0);
        let mut late = Capital::new(Draws::new(&gap, &book), &book, f64::INFINITY);
        (0..3200).for_each(|i| assert!(!late.draw((mix64(i) % 8) as usize, &book, i)));
        (3200..3212).for_each(|i| assert!(!late.draw(0, &book, i)));
        assert!(late.shift(&gap) < -2.0);
        assert_eq!(capital.draws().urn.iter().sum::<f64>(), 560.0);
        assert!(capital.draws().is_sound());
    }

    #[test]
    fn the_limit_is_seen_at_the_draw_that_reaches_it() {
        let (gap, book, limit) = ([20.0; CELLS], Book::mostly_upward(), 1000_f64.ln());
        let mut capital = Capital::new(Draws::new(&gap, &book), &book, limit);
        let mut first = None;
        for (i, cell) in odd_draws(400).enumerate() {
            let reached = capital.draw(cell, &book, i as u64);
            if first.is_none() {
                // At the end of a block capital is moved, which keeps its sum.
                assert!((capital.log_capital() >= limit - 1e-9) == reached, "at {i}");
                first = reached.then_some(i);
            }
        }
        assert!(first.is_some());
    }

    #[test]
    fn a_late_change_is_dated() {
        let (gap, book) = ([200.0; CELLS], Book::any_change());
        let mut capital = Capital::new(Draws::new(&gap, &book), &book, 8.0);
        let calm = (0..4000).map(|i| (mix64(90_000 + i) % 8) as usize);
        let mut since = None;
        for (i, cell) in calm.chain(odd_draws(400)).enumerate() {
            if capital.draw(cell, &book, i as u64) && since.is_none() {
                since = Some(capital.since());
            }
        }
        assert!(since.is_some_and(|since| since.abs_diff(4000) < 300), "{since:?}");
    }

    #[test]
    fn what_has_been_drawn_is_enough_to_go_on() {
        let (gap, book) = ([20.0; CELLS], Book::any_change());
        let (mut one, seen) = (after(&gap, &book, 77), 77);
        let mut two = Capital::new(one.draws().clone(), &book, f64::INFINITY);
        for (i, cell) in odd_draws(200).enumerate() {
            one.draw(cell, &book, seen + i as u64);
            two.draw(cell, &book, seen + i as u64);
        }
        assert_eq!(one.draws(), two.draws());
    }

    #[test]
    fn unsound_draws_are_told() {
        let (gap, book) = ([20.0; CELLS], Book::any_change());
        let sound = Draws::new(&gap, &book);
        assert!(sound.is_sound());
        let mut wrong = vec![sound.clone(); 6];
        wrong[0].urn[3] = f64::NAN;
        wrong[1].urn[3] = 0.0;
        wrong[2].wealth[5] = 0.0;
        wrong[3].in_block = BLOCK;
        wrong[4].scale = f64::INFINITY;
        wrong[5].fresh[0] = 30.0;
        assert!(wrong.iter().all(|draws| !draws.is_sound()));
    }
}
