//! The same requests under other prices.

use std::sync::Arc;

use once_cell::race::OnceBox;

use super::checks::none_negative;
use super::content::Trace;
use super::cost::Cost;
use crate::error::{Error, Result};

impl Trace {
    /// That these may be prices of the stages (k,): incremental, in the unit of the trace, at least 0. O(k).
    ///
    /// # Errors
    /// [`Error::Invalid`] where there is not one per stage, or one is negative or not finite.
    pub fn check_prices(&self, cost: &[f64]) -> Result<()> {
        if cost.len() != self.stages() {
            return Err(Error::invalid(format!("`cost` must have shape ({},), got ({},)", self.stages(), cost.len())));
        }
        none_negative("cost", cost)
    }

    /// The same requests at other prices (k,), which are checked. O(k): numbers are shared.
    ///
    /// # Errors
    /// As [`Trace::check_prices`].
    pub fn repriced(&self, cost: &[f64]) -> Result<Self> {
        self.check_prices(cost)?;
        Ok(self.priced(cost))
    }

    /// The same without a check.
    #[must_use]
    pub(crate) fn priced(&self, cost: &[f64]) -> Self {
        // Rows that repeat each other do so under any prices, if they have had the same.
        let repeats = match *self.cost {
            Cost::Alike(_) => self.repeats.clone(),
            Cost::Rows(_) => OnceBox::new(),
        };
        Self {
            cost: Arc::new(Cost::Alike(cost.to_vec())),
            mean_cost: cost.to_vec(),
            digest: OnceBox::new(),
            completed: OnceBox::new(),
            repeats,
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{Kind, Table};

    #[test]
    fn other_prices_share_the_rest() {
        let table = |name| Table::from_rows(name, &[0.1, 0.2, 0.1, 0.2, 0.3, 0.4], 2).ok();
        let rows = Table::from_rows("cost", &[1.0, 2.0, 1.0, 4.0, 1.0, 2.0], 2).ok();
        let made = table("signal").zip(table("loss")).zip(rows);
        let trace =
            made.and_then(|((signal, loss), rows)| Trace::new(signal, loss, Cost::Rows(rows), Kind::Exits).ok());
        let Some(trace) = trace else { panic!("no trace") };
        assert!(trace.units().is_none());
        let priced = trace.priced(&[3.0, 0.0]);
        assert_eq!((priced.mean_cost(), priced.full_cost()), ([3.0, 0.0].as_slice(), 3.0));
        assert_eq!(priced.charge(None, 1).at(1), 3.0);
        assert!(priced.units().is_some() && Arc::ptr_eq(&priced.signal, &trace.signal));
        assert_ne!(priced.digest(), trace.digest());
    }

    #[test]
    fn prices_are_one_per_stage_and_not_negative() {
        let trace = Trace::from_rows(&[0.5; 4], &[0.0; 4], None, &[1.0, 1.0], Kind::Models).ok();
        let refused = |cost: &[f64]| trace.as_ref().and_then(|t| t.check_prices(cost).err()).map(|e| e.to_string());
        assert_eq!(refused(&[1.0]).as_deref(), Some("`cost` must have shape (2,), got (1,)"));
        assert_eq!(refused(&[0.0, -1.0]).as_deref(), Some("`cost` entry 1 must be finite and at least 0, got -1.0"));
        assert!(refused(&[f64::NAN, 1.0]).is_some_and(|text| text.ends_with("got nan")));
        assert_eq!(refused(&[0.0, 0.0]), None);
    }
}
