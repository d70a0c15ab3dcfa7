//! Observed states on a small general graph: every situation has its action.

use serde_json::{Value, json};

use super::checks;
use super::describe::{clock, numbers};
use super::given::Given;
use super::hand::Hand;
use super::observation::{Observation, look_at_clock};
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
    /// Seconds left, as was said last; infinite without a deadline.
    remaining: f64,
}

impl DagRule {
    /// What is next in `situation`, with so many seconds left.
    fn action(&self, situation: u64, remaining: f64) -> i32 {
        let at = usize::try_from(situation).ok().filter(|at| *at < self.plan.action.len());
        match (&self.plan.time, at) {
            (_, None) => STOP,
            (Some(time), Some(at)) if remaining < f64::INFINITY => time.action(self.plan.action.len(), at, remaining),
            (_, Some(at)) => self.plan.action.get(at).copied().unwrap_or(STOP),
        }
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
        if let Some(time) = &self.plan.time {
            time.clock.check(stages)?;
            let fits = Some(time.action.len()) == count.checked_mul(time.clock.edges.len());
            check(fits, "the actions do not fit the remaining times")?;
        }
        let within = self.plan.time.iter().flat_map(|time| &time.action);
        let mut all = self.plan.action.iter().chain(within).enumerate();
        // As many actions as situations without a deadline, then as many for each remaining time.
        let all_lead_on = all.all(|(at, action)| self.leads_on(at % count, *action));
        check(all_lead_on, "an action runs a stage twice, or none that there is")
    }

    fn recall(&self) -> bool {
        true
    }

    fn latency(&self) -> Option<&[f64]> {
        self.plan.time.as_ref().map(|time| time.clock.latency.as_slice())
    }

    fn describe(&self) -> Value {
        let mut map = json!({
            "type": "dag", "stride": self.plan.stride, "action": self.plan.action, "mean_loss": numbers(&self.prior),
        });
        if let (Value::Object(map), Some(time)) = (&mut map, &self.plan.time) {
            map.insert("time".into(), clock(&time.clock, "action", &time.action));
        }
        map
    }

    fn begin(&self, Given { remaining, .. }: Given) -> (Progress, DagMemory) {
        let memory = DagMemory { hand: Hand { loss: self.default_loss }, situation: 0, remaining };
        (Progress::new(unsigned(self.action(0, remaining))), memory)
    }

    #[inline]
    fn observe(&self, progress: &mut Progress, memory: &mut DagMemory, observation: Observation, price: &Price) {
        let stage = progress.pay_from(price);
        let losses = self.loss.get(usize::from(stage)).map_or(&[][..], Vec::as_slice);
        let state = read_state(losses.len(), observation.signal);
        memory.hand.take(progress, stage, losses.get(state).copied().unwrap_or(f64::INFINITY));
        self.enter(memory, usize::from(stage), state);
        look_at_clock(&mut memory.remaining, observation.remaining);
        progress.next = unsigned(self.action(memory.situation, memory.remaining));
    }

    fn fail(&self, progress: &mut Progress, memory: &mut DagMemory, _: &[u16], remaining: f64, price: &Price) {
        let stage = usize::from(progress.pay_from(price));
        self.enter(memory, stage, self.loss.get(stage).map_or(0, Vec::len));
        look_at_clock(&mut memory.remaining, remaining);
        progress.next = unsigned(self.action(memory.situation, memory.remaining));
    }

    /// A stage runs after its parents.
    fn alone(&self, _: u16, _: Observation) -> Option<f64> {
        None
    }

    fn is_exact_without(&self, barred: &[u16]) -> bool {
        let situations = self.plan.action.len().max(1);
        let within = self.plan.time.as_ref().map_or(&[][..], |time| time.action.as_slice());
        let stages = |situation: usize| {
            let later = within.iter().skip(situation).step_by(situations);
            self.plan.action.get(situation).into_iter().chain(later).filter_map(|action| usize::try_from(*action).ok())
        };
        let onward = |situation: usize| {
            let next =
                stages(situation).filter_map(|stage| Some((*self.plan.stride.get(stage)?, self.loss.get(stage)?)));
            next.flat_map(move |(stride, losses)| {
                (1..=losses.len()).map(move |digit| situation.saturating_add(digit.saturating_mul(stride as usize)))
            })
        };
        let asks = |situation: usize| stages(situation).any(|stage| barred.contains(&(stage as u16)));
        avoids(self.plan.action.len(), [0], asks, onward)
    }

    fn expected_loss(&self, progress: &Progress, memory: &DagMemory) -> f64 {
        memory.hand.expected_loss(progress, &self.prior)
    }

    fn default_loss(&self) -> f64 {
        self.default_loss
    }
}
