//! Stages of a policy and stages of what it is shown, matched by their names.

use std::sync::Arc;

use once_cell::race::OnceBox;

use super::content::{Kind, Trace, default_name};
use crate::error::{Error, Result};

/// For each of the `wanted` stages, which of the `given` ones it is: the one of its name; the one in its place where
/// there are as many and either side has no names but `stage 0`, `stage 1`, …
///
/// # Errors
/// [`Error::Invalid`], naming `argument` and both lists, where there is no such stage, or one that is not wanted.
pub fn in_order(argument: &str, wanted: &[String], given: &[String]) -> Result<Vec<usize>> {
    if wanted.len() == given.len() {
        let found: Option<Vec<usize>> = wanted.iter().map(|name| given.iter().position(|one| one == name)).collect();
        if let Some(found) = found {
            return Ok(found);
        }
        if is_unnamed(wanted) || is_unnamed(given) {
            return Ok((0..wanted.len()).collect());
        }
    }
    let message = format!("`{argument}` must have the stages {}, got {}", listed(wanted), listed(given));
    Err(Error::invalid(message))
}

fn is_unnamed(names: &[String]) -> bool {
    names.iter().enumerate().all(|(stage, name)| *name == default_name(stage))
}

/// Names as Python lists them.
fn listed(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
    format!("[{}]", quoted.join(", "))
}

impl Trace {
    /// The same requests as seen by a policy of these stages and this kind: stages in its order, under its names.
    /// Numbers are copied only where the order differs, O(n k).
    ///
    /// # Errors
    /// As [`in_order`].
    pub fn matching(&self, argument: &str, names: &[String], kind: Kind) -> Result<Self> {
        let order = in_order(argument, names, self.names())?;
        if kind == self.kind && names == self.names() {
            return Ok(self.clone());
        }
        let renamed = Self {
            kind,
            names: Arc::new(names.to_vec()),
            digest: OnceBox::new(),
            completed: OnceBox::new(),
            ..self.clone()
        };
        if order.iter().enumerate().all(|(place, stage)| place == *stage) {
            return Ok(renamed);
        }
        let cost = self.cost.of_columns(&order);
        Ok(Self {
            signal: Arc::new(self.signal.of_columns(&order)),
            loss: Arc::new(self.loss.of_columns(&order)),
            prediction: self.prediction.as_ref().map(|prediction| Arc::new(prediction.of_columns(&order))),
            latency: self.latency.as_ref().map(|latency| Arc::new(latency.of_columns(&order))),
            propensity: self.propensity.as_ref().map(|propensity| Arc::new(propensity.of_columns(&order))),
            expected_latency: OnceBox::new(),
            mean_cost: cost.mean(&self.weight),
            cost: Arc::new(cost),
            ..renamed
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{Cost, Table};

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn stages_are_found_by_name_or_without_names_by_place() {
        let wanted = names(&["a", "b"]);
        assert_eq!(in_order("x", &wanted, &names(&["b", "a"])).ok(), Some(vec![1, 0]));
        assert_eq!(in_order("x", &wanted, &names(&["stage 0", "stage 1"])).ok(), Some(vec![0, 1]));
        assert_eq!(in_order("x", &names(&["stage 0", "stage 1"]), &wanted).ok(), Some(vec![0, 1]));
        assert_eq!(
            in_order("x", &names(&["stage 0", "stage 1"]), &names(&["stage 1", "stage 0"])).ok(),
            Some(vec![1, 0])
        );
        for other in [names(&["a", "c"]), names(&["a", "a"]), names(&["a"]), names(&["b", "a", "c"])] {
            let message = in_order("x", &wanted, &other).map_err(|error| error.to_string());
            let expected = format!("`x` must have the stages ['a', 'b'], got {}", listed(&other));
            assert_eq!(message, Err(expected));
        }
    }

    #[test]
    fn every_column_of_a_trace_goes_with_its_name() -> Result<()> {
        let table = |scale: f64| Table::from_fn(3, 2, |row, column| scale * (10 * row + column) as f64);
        let cost = Cost::Rows(table(2.0));
        let trace = Trace::new(table(1.0), table(3.0), cost, Kind::Exits)?
            .predicted(Table::from_fn(3, 2, |row, column| (row * 7 + column) as i64))?
            .timed(table(0.5))?
            .named(names(&["b", "a"]))?
            .weighted(Some(vec![1.0, 0.0, 3.0]))?
            .grouped(Some(vec![4, 5, 4]))?;
        let seen = trace.matching("trace", &names(&["a", "b"]), Kind::Models)?;
        assert_eq!((seen.kind(), seen.names()), (Kind::Models, names(&["a", "b"]).as_slice()));
        for (mine, its) in [(0, 1), (1, 0)] {
            assert_eq!((seen.signal(mine), seen.loss(mine)), (trace.signal(its), trace.loss(its)));
            assert_eq!((seen.prediction(mine), seen.latency(mine)), (trace.prediction(its), trace.latency(its)));
            assert_eq!(seen.mean_cost()[mine], trace.mean_cost()[its]);
            assert_eq!(seen.charge(None, mine).at(2), trace.cost().of_stages(its, its + 1).at(2));
        }
        assert_eq!((seen.given_weight(), seen.group()), (trace.given_weight(), trace.group()));
        assert_ne!(seen.digest(), trace.digest());
        let back = seen.matching("trace", &names(&["b", "a"]), Kind::Exits)?;
        assert_eq!(back.digest(), trace.digest());
        Ok(())
    }
}
