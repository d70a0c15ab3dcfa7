//! Numbers of n requests at k stages, stage by stage.

use crate::error::{Error, Result};
use crate::parallel;

/// Rows that are filled in at a time: of as many as fit in a cache next to where they come from.
const BLOCK: usize = 1024;

/// Numbers that are looked through at a time, if they are not one column.
const FEW: usize = 65_536;

/// A table (n, k) whose columns lie one after the other: learning reads one stage at a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Table<T> {
    rows: usize,
    columns: usize,
    /// Column by column.
    cells: Vec<T>,
}

impl<T: Copy + Default + Send + Sync> Table<T> {
    /// From numbers row by row, `columns` in each. O(n k), all cores.
    ///
    /// # Errors
    /// [`Error::Invalid`], naming the argument, unless `cells` are whole rows.
    pub fn from_rows(argument: &str, cells: &[T], columns: usize) -> Result<Self> {
        if columns == 0 || !cells.len().is_multiple_of(columns) {
            let message = format!("`{argument}` must have rows of {columns} entries, got {} in all", cells.len());
            return Err(Error::invalid(message));
        }
        Ok(Self::from_fn(cells.len() / columns, columns, |row, column| cells[row * columns + column]))
    }

    /// The entry of every row and column. O(n k), all cores; a few rows at a time, whatever order entries come from.
    pub fn from_fn(rows: usize, columns: usize, entry: impl Fn(usize, usize) -> T + Sync) -> Self {
        let mut cells = vec![T::default(); rows * columns];
        let mut blocks: Vec<Vec<&mut [T]>> = (0..rows.div_ceil(BLOCK)).map(|_| Vec::with_capacity(columns)).collect();
        for column in cells.chunks_mut(rows.max(1)) {
            for (block, part) in blocks.iter_mut().zip(column.chunks_mut(BLOCK)) {
                block.push(part);
            }
        }
        parallel::for_each(blocks.into_iter().enumerate(), |(block, parts)| {
            for (column, part) in parts.into_iter().enumerate() {
                for (row, cell) in (block * BLOCK..).zip(part) {
                    *cell = entry(row, column);
                }
            }
        });
        Self { rows, columns, cells }
    }

    /// Number of rows n.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns k.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// One column (n,); empty where there is none of this number.
    pub fn column(&self, column: usize) -> &[T] {
        self.cells.get(column * self.rows..(column + 1) * self.rows).unwrap_or_default()
    }

    /// All columns, in their order.
    pub fn iter_columns(&self) -> impl Iterator<Item = &[T]> {
        (0..self.columns).map(|column| self.column(column))
    }

    /// All numbers, column by column (k · n,).
    pub fn cells(&self) -> &[T] {
        &self.cells
    }

    /// The given rows, in that order; each must be below n.
    #[must_use]
    pub fn select(&self, rows: &[u32]) -> Self {
        Self::from_fn(rows.len(), self.columns, |row, column| self.column(column)[rows[row] as usize])
    }

    /// The given columns, in that order; each must be below k.
    #[must_use]
    pub fn of_columns(&self, columns: &[usize]) -> Self {
        let cells = columns.iter().flat_map(|column| self.column(*column)).copied().collect();
        Self { rows: self.rows, columns: columns.len(), cells }
    }

    /// The first entry, row by row, that `is_bad` holds for: its row, its column and itself. O(n k), all cores.
    pub fn first(&self, is_bad: impl Fn(T) -> bool + Sync) -> Option<(usize, usize, T)> {
        let first_of = |column: usize| {
            let cells = self.column(column);
            cells.iter().position(|cell| is_bad(*cell)).map(|row| (row, column, cells[row]))
        };
        let together = (FEW / self.rows.max(1)).max(1);
        let found = parallel::map(parallel::ranges(self.columns, together), |columns| {
            columns.filter_map(first_of).min_by_key(|(row, column, _)| (*row, *column))
        });
        found.into_iter().flatten().min_by_key(|(row, column, _)| (*row, *column))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_columns() {
        let table = Table::from_rows("signal", &[1, 2, 3, 4, 5, 6], 2).ok();
        let table = table.filter(|table| table.rows() == 3 && table.columns() == 2);
        let columns: Vec<Vec<i32>> = table.iter().flat_map(Table::iter_columns).map(<[i32]>::to_vec).collect();
        assert_eq!(columns, [[1, 3, 5], [2, 4, 6]]);
        let picked = table.map(|table| table.select(&[2, 0]).cells().to_vec());
        assert_eq!(picked, Some(vec![5, 1, 6, 2]));
        assert!(Table::from_rows("signal", &[1, 2, 3], 2).is_err() && Table::<f64>::from_rows("x", &[], 0).is_err());
    }

    #[test]
    fn the_first_bad_entry_is_that_of_the_first_row() {
        let table = Table::from_fn(4, 3, |row, column| 10 * row + column);
        assert_eq!(table.first(|x| x >= 12), Some((1, 2, 12)));
        assert_eq!(table.first(|x| x > 32), None);
        assert!(table.column(3).is_empty());
    }
}
