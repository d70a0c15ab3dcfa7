//! What stages cost one request over what they cost the average one.

use std::sync::Arc;

use once_cell::race::OnceBox;

use super::content::Trace;
use super::cost::Cost;
use super::table::Table;

impl Trace {
    /// What all stages of each request cost over what they cost at these prices (k,), incremental, by the stages whose cost
    /// is known of it; 1 where that says nothing, as where all of them are free (n,). O(n k).
    pub fn relative_costs(&self, price: &[f64]) -> Vec<f64> {
        let of_row = |row: usize| {
            let known = price.iter().enumerate().map(|(v, price)| (self.cost.at(row, v), price));
            let sum = |(own, all): (f64, f64), (cost, price): (f64, &f64)| {
                if cost.is_nan() { (own, all) } else { (own + cost, all + price) }
            };
            let (own, all) = known.fold((0.0, 0.0), sum);
            let found = own / all;
            if found.is_finite() { found } else { 1.0 }
        };
        (0..self.rows()).map(of_row).collect()
    }

    /// The same requests as if the stages of each cost as much in sum as those of the average one, and what they cost over
    /// that (n,). What is free is given the mean costs. O(n k).
    pub(crate) fn at_average_cost(&self) -> (Self, Vec<f64>) {
        let relative = self.relative_costs(&self.mean_cost);
        let own = |row: usize, v: usize| {
            let cost = self.cost.at(row, v) / relative[row];
            if cost.is_finite() { cost } else { self.mean_cost[v] }
        };
        let table = Table::from_fn(self.rows(), self.stages(), own);
        (self.costing(table), relative)
    }

    /// The same requests where everything costs so many times as much (n,). O(n k).
    pub(crate) fn dearer(&self, factor: &[f64]) -> Self {
        self.costing(Table::from_fn(self.rows(), self.stages(), |row, v| factor[row] * self.cost.at(row, v)))
    }

    fn costing(&self, cost: Table<f64>) -> Self {
        let cost = Cost::Rows(cost).simplified();
        Self {
            mean_cost: cost.mean(&self.weight),
            cost: Arc::new(cost),
            digest: OnceBox::new(),
            completed: OnceBox::new(),
            repeats: OnceBox::new(),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::trace::{Cost, Kind, Table, Trace};

    fn trace(cost: &[f64]) -> Trace {
        let table = |name| Table::from_rows(name, &[0.5; 6], 2).unwrap_or_else(|_| panic!("no table"));
        let cost = Table::from_rows("cost", cost, 2).unwrap_or_else(|_| panic!("no costs"));
        Trace::new(table("signal"), table("loss"), Cost::Rows(cost), Kind::Models)
            .unwrap_or_else(|_| panic!("no trace"))
    }

    #[test]
    fn rows_are_compared_with_the_average_one() {
        let trace = trace(&[1.0, 3.0, 2.0, 6.0, 0.0, 0.0]);
        assert_eq!(trace.mean_cost(), [1.0, 3.0]);
        let (average, relative) = trace.at_average_cost();
        assert_eq!(relative, [1.0, 2.0, 0.0]);
        assert_eq!(average.cost(), &Cost::Alike(vec![1.0, 3.0]));
        let back = average.dearer(&relative);
        assert_eq!((back.cost(), back.mean_cost()), (trace.cost(), trace.mean_cost()));
    }

    #[test]
    fn what_says_nothing_is_average() {
        let trace = trace(&[1.0, 3.0, 2.0, 6.0, 0.0, 0.0]);
        assert_eq!(trace.relative_costs(&[0.0, 0.0]), [1.0, 1.0, 1.0]);
        assert_eq!(trace.relative_costs(&[2.0, 2.0]), [1.0, 2.0, 0.0]);
    }
}
