//! Who is right where two stages name different classes: it depends on which.

/// Offsets are counted in so many parts of a logit: finer than they are known.
pub const PARTS: f64 = 16.0;

/// What it says about two stages that they name certain classes.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    stages: [u16; 2],
    class: [Vec<u8>; 2],
    offset: Vec<[i8; 2]>,
    /// Columns of the table.
    width: usize,
}

impl Pair {
    /// About two stages, ascending. `class` has for each the place in the table, from 1, of its predictions 0, 1, …; 0, and
    /// predictions beyond: none. `offset` has a row for each place of the first and a column for each of the second: what to
    /// add to the logits of the two stages' losses, in sixteenths. `None` where these do not fit.
    pub fn new(stages: [u16; 2], class: [Vec<u8>; 2], offset: Vec<[i8; 2]>) -> Option<Self> {
        let [rows, width] = class.each_ref().map(|class| class.iter().copied().max().map_or(0, usize::from));
        let fits = stages.is_sorted_by(|one, other| one < other) && offset.len() == rows * width;
        fits.then_some(Self { stages, class, offset, width })
    }

    /// The two stages.
    pub fn stages(&self) -> [u16; 2] {
        self.stages
    }

    /// Of each stage, the places of its predictions 0, 1, … in the table, from 1.
    pub fn class(&self) -> &[Vec<u8>; 2] {
        &self.class
    }

    /// The table, row by row, in sixteenths.
    pub fn offset(&self) -> &[[i8; 2]] {
        &self.offset
    }

    /// What to add to the logits of two stages that say this.
    #[inline]
    pub fn of(&self, said: [i64; 2]) -> [f64; 2] {
        let [rows, columns] = &self.class;
        let [one, other] = said;
        // Negative predictions turn into numbers beyond every class.
        let place = |class: &[u8], said: i64| class.get(said as usize).map_or(0, |place| usize::from(*place));
        match (place(rows, one), place(columns, other)) {
            (0, _) | (_, 0) => [0.0; 2],
            (row, column) => {
                let found = self.offset.get((row - 1) * self.width + column - 1);
                found.map_or([0.0; 2], |offset| offset.map(|parts| f64::from(parts) / PARTS))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> Pair {
        let class = [vec![1, 0, 2], vec![2, 1]];
        let made = Pair::new([3, 7], class, vec![[1, 2], [3, 4], [5, 6], [-128, 127]]);
        made.unwrap_or_else(|| panic!("not a pair"))
    }

    #[test]
    fn cells_are_found_by_class() {
        let parts = |said: [i64; 2]| pair().of(said).map(|offset| (offset * PARTS) as i32);
        assert_eq!([[0, 1], [0, 0], [2, 1], [2, 0]].map(parts), [[1, 2], [3, 4], [5, 6], [-128, 127]]);
        for nothing in [[1, 0], [0, 2], [-1, 0], [0, -1], [i64::MIN, i64::MIN], [i64::MAX, 0], [3, 0]] {
            assert_eq!(pair().of(nothing), [0.0, 0.0], "{nothing:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_no_pair() {
        assert!(Pair::new([0, 1], [vec![], vec![]], vec![]).is_some());
        assert!(Pair::new([1, 1], [vec![1], vec![1]], vec![[0, 0]]).is_none());
        assert!(Pair::new([2, 1], [vec![1], vec![1]], vec![[0, 0]]).is_none());
        assert!(Pair::new([0, 1], [vec![2], vec![1]], vec![[0, 0]]).is_none());
        assert!(Pair::new([0, 1], [vec![1], vec![]], vec![[0, 0]]).is_none());
    }
}
