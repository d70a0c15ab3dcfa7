//! The stages that can answer, without those that only inform.

use std::sync::Arc;

use once_cell::race::OnceBox;

use super::content::{Kind, Trace};
use super::cost::{Charge, Cost};
use super::table::Table;

impl Trace {
    /// The same requests with the stages that can answer alone, and their numbers; what the others of a network cost is
    /// paid with the next exit that is left. Latencies are left out. None where every stage can answer. O(n k).
    pub fn without_probes(&self) -> Option<(Self, Vec<usize>)> {
        let stages = self.answering();
        if stages.len() == self.stages() {
            return None;
        }
        let cost = match self.kind {
            Kind::Models => self.cost.of_columns(&stages),
            Kind::Exits => self.joined_cost(&stages),
        };
        let part = Self {
            signal: Arc::new(self.signal.of_columns(&stages)),
            loss: Arc::new(self.loss.of_columns(&stages)),
            prediction: self.prediction.as_ref().map(|prediction| Arc::new(prediction.of_columns(&stages))),
            latency: None,
            propensity: self.propensity.as_ref().map(|propensity| Arc::new(propensity.of_columns(&stages))),
            expected_latency: OnceBox::new(),
            names: Arc::new(stages.iter().map(|stage| self.names[*stage].clone()).collect()),
            mean_cost: cost.mean(&self.weight),
            cost: Arc::new(cost),
            digest: OnceBox::new(),
            completed: OnceBox::new(),
            ..self.clone()
        };
        Some((part, stages))
    }

    /// What reaching each of some exits costs beyond the one before it.
    fn joined_cost(&self, stages: &[usize]) -> Cost {
        let from = |at: usize| at.checked_sub(1).map_or(0, |before| stages[before] + 1);
        let charges: Vec<Charge> =
            stages.iter().enumerate().map(|(at, stage)| self.cost.of_stages(from(at), stage + 1)).collect();
        match *self.cost {
            Cost::Alike(_) => Cost::Alike(charges.iter().map(|charge| charge.at(0)).collect()),
            Cost::Rows(_) => Cost::Rows(Table::from_fn(self.rows(), stages.len(), |row, at| charges[at].at(row))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(kind: Kind) -> Option<Trace> {
        let loss = |_, stage: usize| if stage == 1 { f64::INFINITY } else { stage as f64 };
        let cost = Cost::Rows(Table::from_fn(2, 3, |row, stage| ((row + 1) * 10_usize.pow(stage as u32)) as f64));
        Trace::new(Table::from_fn(2, 3, |row, stage| (row + stage) as f64), Table::from_fn(2, 3, loss), cost, kind).ok()
    }

    #[test]
    fn exits_that_are_left_pay_for_those_before_them() {
        for (kind, costs) in [(Kind::Exits, [110.0, 220.0]), (Kind::Models, [100.0, 200.0])] {
            let found = trace(kind).and_then(|trace| trace.without_probes());
            let cost = found.as_ref().map(|(part, stages)| {
                let charge = part.cost().of_stages(1, 2);
                (stages.clone(), [charge.at(0), charge.at(1)], part.mean_loss(), part.names().to_vec())
            });
            let names = vec!["stage 0".to_owned(), "stage 2".to_owned()];
            assert_eq!(cost, Some((vec![0, 2], costs, vec![0.0, 2.0], names)));
        }
        let all = trace(Kind::Models).and_then(|trace| trace.without_probes()).map(|(part, _)| part.without_probes());
        assert!(all.is_some_and(|again| again.is_none()));
    }
}
