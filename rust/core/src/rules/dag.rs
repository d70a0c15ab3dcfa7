//! Observed states on a small general graph: every situation has its action.

use serde_json::{Value, json};

use super::checks;
use super::describe::numbers;
use super::hand::Hand;
use super::observation::Observation;
use super::progress::Progress;
use super::reach::avoids;
use super::reader::read_state;
use super::rule::Rule;
use crate::error::{Checked, check};
use crate::plan::{DagPlan, STOP, unsigned};
use crate::price::Price;

/// The compiled plan of a solved general graph.
#[derive(Clone, Debug, PartialEq)]
pub struct DagRule {
    /// Loss of answering with nothing; infinite where a stage has to be run.
    pub default_loss: f64,
    /// `loss[v][s]`.
    pub loss: Vec<Vec<f64>>,
    /// Expected loss of each stage while its state is unknown (k,).
    pub prior: Vec<f64>,
    /// What is next, in every situation.
    pub plan: DagPlan,
}

/// What a request remembers: the loss in hand, and which situation it is in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DagMemory {
    hand: Hand,
    situation: u64,
}

impl DagRule {
    fn action(&self, situation: u64) -> i32 {
        usize::try_from(situation).ok().and_then(|at| self.plan.action.get(at)).copied().unwrap_or(STOP)
    }

    /// `stage` has run and is in `state`: the number of its states, where that is not known.
    #[inline]
    fn enter(&self, memory: &mut DagMemory, stage: usize, state: usize) {
        let stride = self.plan.stride.get(stage).copied().unwrap_or(0);
        memory.situation = memory.situation.wrapping_add((state as u64 + 1).wrapping_mul(u64::from(stride)));
    }

    /// Whether `action` in `situation` stops or runs a stage that has not run: then every request ends.
    fn leads_on(&self, situation: usize, action: i32) -> bool {
        let Ok(stage) = usize::try_from(action) else { return action == STOP };
        match (self.plan.stride.get(stage), self.loss.get(stage)) {
            (Some(stride), Some(losses)) => (situation / *stride as usize).is_multiple_of(losses.len() + 2),
            _ => false,
        }
    }
}

impl Rule for DagRule {
    type Memory = DagMemory;

    fn complete(&mut self, stages: usize, price: &Price) -> Checked {
        checks::priced_in_any_order(price)?;
        let fits = self.loss.len() == stages && self.plan.stride.len() == stages;
        check(fits, "the losses do not fit the stages")?;
        let mut count = 1_usize;
        for (losses, stride) in self.loss.iter().zip(&self.plan.stride) {
            check(*stride as usize == count, "the situations do not fit the states")?;
            count = count.saturating_mul(losses.len() + 2);
        }
        check(self.plan.action.len() == count, "the actions are not one per situation")?;
        check(self.loss.iter().flatten().all(|r| r.is_finite()), "a loss is not finite")?;
        checks::mean_losses(&self.prior, stages)?;
        checks::default_loss(self.default_loss)?;
        let all_lead_on =
            self.plan.action.iter().enumerate().all(|(situation, action)| self.leads_on(situation, *action));
        check(all_lead_on, "an action runs a stage twice, or none that there is")
    }

    fn recall(&self) -> bool {
        true
    }

    fn describe(&self) -> Value {
        json!({
            "type": "dag", "stride": self.plan.stride, "action": self.plan.action, "mean_loss": numbers(&self.prior),
        })
    }

    fn begin(&self, _: f64) -> (Progress, DagMemory) {
        let memory = DagMemory { hand: Hand { loss: self.default_loss }, situation: 0 };
        (Progress::new(unsigned(self.action(0))), memory)
    }

    #[inline]
    fn observe(&self, progress: &mut Progress, memory: &mut DagMemory, observation: Observation, price: &Price) {
        let stage = progress.pay_from(price);
        let losses = self.loss.get(usize::from(stage)).map_or(&[][..], Vec::as_slice);
        let state = read_state(losses.len(), observation.signal);
        memory.hand.take(progress, stage, losses.get(state).copied().unwrap_or(f64::INFINITY));
        self.enter(memory, usize::from(stage), state);
        progress.next = unsigned(self.action(memory.situation));
    }

    fn fail(&self, progress: &mut Progress, memory: &mut DagMemory, _: f64, price: &Price) {
        let stage = usize::from(progress.pay_from(price));
        self.enter(memory, stage, self.loss.get(stage).map_or(0, Vec::len));
        progress.next = unsigned(self.action(memory.situation));
    }

    /// A stage runs after its parents.
    fn alone(&self, _: u16, _: Observation) -> Option<f64> {
        None
    }

    fn is_exact_without(&self, barred: &[u16]) -> bool {
        let stage = |situation: usize| usize::try_from(self.action(situation as u64)).ok();
        let onward = |situation: usize| {
            let next = stage(situation).and_then(|stage| Some((*self.plan.stride.get(stage)?, self.loss.get(stage)?)));
            let (stride, states) = next.map_or((0, 0), |(stride, losses)| (stride as usize, losses.len()));
            (1..=states).map(move |digit| situation.saturating_add(digit.saturating_mul(stride)))
        };
        let asks = |situation: usize| stage(situation).is_some_and(|stage| barred.contains(&(stage as u16)));
        avoids(self.plan.action.len(), [0], asks, onward)
    }

    fn expected_loss(&self, progress: &Progress, memory: &DagMemory) -> f64 {
        memory.hand.expected_loss(progress, &self.prior)
    }

    fn default_loss(&self) -> f64 {
        self.default_loss
    }
}
