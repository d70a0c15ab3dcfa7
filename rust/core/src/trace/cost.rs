//! What stages cost: the same for every request, or request by request.

use super::table::Table;
use crate::mean::{known_mean, mean};

/// Incremental costs of k stages, in the unit of the trace.
#[derive(Clone, Debug, PartialEq)]
pub enum Cost {
    /// Those of every request (k,).
    Alike(Vec<f64>),
    /// Those of each request (n, k).
    Rows(Table<f64>),
}

impl Cost {
    /// Number of stages.
    pub fn stages(&self) -> usize {
        match self {
            Self::Alike(cost) => cost.len(),
            Self::Rows(cost) => cost.columns(),
        }
    }

    /// The same costs, kept once if those of all requests are alike. O(n k).
    #[must_use]
    pub fn simplified(self) -> Self {
        let Self::Rows(table) = &self else { return self };
        let first: Option<Vec<f64>> = table.iter_columns().map(|column| column.first().copied()).collect();
        match first {
            Some(first) if table.iter_columns().zip(&first).all(|(column, c)| column.iter().all(|x| x == c)) => {
                Self::Alike(first)
            }
            _ => self,
        }
    }

    /// Mean cost of each stage (k,) where each row counts `weight` (n,), over the rows in which it is known; 0 where it is
    /// known in none.
    pub fn mean(&self, weight: &[f64]) -> Vec<f64> {
        match self {
            Self::Alike(cost) => cost.clone(),
            Self::Rows(cost) => cost
                .iter_columns()
                .map(|column| {
                    let of_all = mean(column, weight);
                    let found = if of_all.is_nan() { known_mean(column, weight) } else { of_all };
                    if found.is_nan() { 0.0 } else { found }
                })
                .collect(),
        }
    }

    /// What one stage costs the request in `row`.
    #[inline]
    pub fn at(&self, row: usize, stage: usize) -> f64 {
        match self {
            Self::Alike(cost) => cost[stage],
            Self::Rows(cost) => cost.column(stage)[row],
        }
    }

    /// Summed cost of the stages `from..to`.
    pub fn of_stages(&self, from: usize, to: usize) -> Charge {
        match self {
            Self::Alike(cost) => Charge::Alike(cost[from..to].iter().sum()),
            Self::Rows(cost) => {
                let mut total = vec![0.0; cost.rows()];
                for column in from..to {
                    for (total, c) in total.iter_mut().zip(cost.column(column)) {
                        *total += c;
                    }
                }
                Charge::Rows(total)
            }
        }
    }

    /// Those of the given stages, in that order.
    #[must_use]
    pub fn of_columns(&self, stages: &[usize]) -> Self {
        match self {
            Self::Alike(cost) => Self::Alike(stages.iter().map(|stage| cost[*stage]).collect()),
            Self::Rows(cost) => Self::Rows(cost.of_columns(stages)),
        }
    }

    /// The given rows, in that order.
    #[must_use]
    pub fn select(&self, rows: &[u32]) -> Self {
        match self {
            Self::Alike(cost) => Self::Alike(cost.clone()),
            Self::Rows(cost) => Self::Rows(cost.select(rows)),
        }
    }
}

/// What one thing costs each request.
#[derive(Clone, Debug, PartialEq)]
pub enum Charge {
    /// The same for all.
    Alike(f64),
    /// For each (n,).
    Rows(Vec<f64>),
}

impl Charge {
    /// What it costs the request in `row`.
    #[inline]
    pub fn at(&self, row: usize) -> f64 {
        match self {
            Self::Alike(cost) => *cost,
            Self::Rows(cost) => cost[row],
        }
    }

    /// The same in another unit.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        match self {
            Self::Alike(cost) => Self::Alike(factor * cost),
            Self::Rows(cost) => Self::Rows(cost.into_iter().map(|c| factor * c).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_rows_are_kept_once() {
        let alike = Cost::Rows(Table::from_fn(3, 2, |_, column| column as f64));
        assert_eq!(alike.simplified(), Cost::Alike(vec![0.0, 1.0]));
        let varied = Cost::Rows(Table::from_fn(3, 2, |row, column| (row * column) as f64));
        assert_eq!(varied.clone().simplified(), varied);
    }

    #[test]
    fn charges_are_summed_row_by_row() {
        let cost = Cost::Rows(Table::from_fn(2, 3, |row, column| (10 * row + column) as f64));
        assert_eq!(cost.of_stages(1, 3), Charge::Rows(vec![3.0, 23.0]));
        assert_eq!(cost.of_stages(0, 2).times(2.0).at(1), 42.0);
        assert_eq!(cost.mean(&[1.0, 3.0]), [7.5, 8.5, 9.5]);
        assert_eq!(Cost::Alike(vec![1.0, 2.0, 4.0]).of_stages(1, 3).at(7), 6.0);
    }
}
