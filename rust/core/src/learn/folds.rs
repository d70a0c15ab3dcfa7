//! The same learned from fewer rows: parts that leave others to judge on, and samples.

use std::sync::{Arc, OnceLock};

use super::calibrated::{Calibrated, Fold};
use super::parts;
use crate::parallel;
use crate::trace::Trace;

impl Calibrated {
    /// The same on some rows, without time.
    fn on(&self, rows: &[u32]) -> Self {
        let trace = self.trace.select(rows);
        let made = Self::build(trace, self.shape, self.order.clone(), self.default_loss, Arc::clone(&self.tuning));
        match &self.relative {
            Some(relative) => made.knowing_cost(rows.iter().map(|row| relative[*row as usize]).collect()),
            None => made,
        }
    }

    /// Some rows, with the costs that they have.
    fn held(&self, rows: &[u32]) -> Trace {
        let held = self.trace.select(rows);
        match &self.relative {
            Some(relative) => held.dearer(&rows.iter().map(|row| relative[*row as usize]).collect::<Vec<f64>>()),
            None => held,
        }
    }

    /// The same on a sample of at most `most` rows, made once; this one where it has no more. `of` is what gives it.
    fn on_some<'a>(&'a self, most: usize, made: &'a OnceLock<Box<Self>>, of: fn(&Self) -> &Self) -> &'a Self {
        let Some(rows) = parts::spread(&self.trace, most) else { return self };
        let make = || match &self.original {
            Some(original) => of(original).priced(self.trace.mean_cost()),
            None => self.on(&rows),
        };
        made.get_or_init(|| Box::new(make()))
    }

    /// The one that rules are held against each other with.
    pub fn checked(&self) -> &Self {
        self.on_some(self.tuning.checked_rows, &self.checked, Self::checked)
    }

    /// The one that stages are chosen with.
    pub fn scout(&self) -> &Self {
        self.on_some(self.tuning.scouted_rows, &self.scout, Self::scout)
    }

    /// The rows in some parts, each once held back; none where a part would be empty. The same for every call.
    pub fn folds(&self) -> &[Fold] {
        self.folds.get_or_init(|| match &self.original {
            Some(original) => original.folds().iter().map(|fold| fold.priced(self.trace.mean_cost())).collect(),
            None => parallel::map(parts::parts(&self.trace, self.tuning.folds), |[rest, held]| Fold {
                calibrated: self.on(&rest),
                held: self.held(&held),
            }),
        })
    }
}
