//! Rules for requests of which it is known before they begin what their stages cost: one rule for each range of costs.

use serde_json::{Value, json};

use super::component::{Component, ComponentMemory};
use super::describe::numbers;
use super::given::Given;
use super::observation::Observation;
use super::progress::Progress;
use super::rule::{Entry, Rule};
use crate::error::{Checked, check};
use crate::price::Price;

/// Ranges of costs, at most: a bound on what a file can ask for.
pub const MOST_RANGES: usize = 256;

/// Each request follows the rule of the range that its cost is in, over that of the average request.
#[derive(Clone, Debug, PartialEq)]
pub struct PricedRule {
    cheapest: Component,
    /// The other rules, each from which cost on, ascending.
    dearer: Vec<(f64, Component)>,
}

/// What a request carries: which rule it follows, and what that remembers.
#[derive(Clone, Debug)]
pub struct PricedMemory {
    /// How many ranges are cheaper than its own.
    range: u16,
    /// What its stages cost, over what they cost the average request.
    cost: f64,
    memory: ComponentMemory,
}

impl PricedRule {
    /// The rule for the cheapest requests, and those for dearer ones, each from which cost on, ascending.
    pub fn new(cheapest: Component, dearer: Vec<(f64, Component)>) -> Self {
        Self { cheapest, dearer }
    }

    /// From which costs on the rules hold, but the first.
    pub fn from(&self) -> impl Iterator<Item = f64> + '_ {
        self.dearer.iter().map(|(from, _)| *from)
    }

    /// The rules, that for the cheapest requests first.
    pub fn components(&self) -> impl Iterator<Item = &Component> {
        std::iter::once(&self.cheapest).chain(self.dearer.iter().map(|(_, component)| component))
    }

    #[inline]
    fn range(&self, cost: f64) -> u16 {
        self.dearer.partition_point(|(from, _)| *from <= cost) as u16
    }

    #[inline]
    fn component(&self, range: u16) -> &Component {
        let dearer = usize::from(range).checked_sub(1).and_then(|at| self.dearer.get(at));
        dearer.map_or(&self.cheapest, |(_, component)| component)
    }
}

impl Rule for PricedRule {
    type Memory = PricedMemory;

    fn complete(&mut self, stages: usize, price: &Price) -> Checked {
        check(self.dearer.len() < MOST_RANGES, "there must be 1 to 256 ranges of costs")?;
        let is_positive = self.from().all(|from| from.is_finite() && from > 0.0);
        check(is_positive && self.from().is_sorted_by(|a, b| a < b), "the ranges of costs do not ascend from 0")?;
        self.cheapest.complete(stages, price)?;
        for (_, component) in &mut self.dearer {
            component.complete(stages, price)?;
        }
        let default_loss = self.cheapest.default_loss().to_bits();
        let is_alike = self.components().all(|component| component.default_loss().to_bits() == default_loss);
        check(is_alike, "nothing does not lose the same in all ranges of costs")
    }

    fn recall(&self) -> bool {
        self.components().any(Rule::recall)
    }

    fn latency(&self) -> Option<&[f64]> {
        self.components().find_map(Rule::latency)
    }

    fn knows_cost(&self) -> bool {
        true
    }

    fn describe(&self) -> Value {
        let components: Vec<Value> = self.components().map(Rule::describe).collect();
        json!({"type": "priced", "from": numbers(&self.from().collect::<Vec<_>>()), "components": components})
    }

    fn begin(&self, given: Given) -> (Progress, PricedMemory) {
        let range = self.range(given.cost);
        let (progress, memory) = self.component(range).begin(given);
        (progress, PricedMemory { range, cost: given.cost, memory })
    }

    fn begin_again(&self, progress: &mut Progress, memory: &mut PricedMemory, given: Given) {
        (memory.range, memory.cost) = (self.range(given.cost), given.cost);
        self.component(memory.range).begin_again(progress, &mut memory.memory, given);
    }

    #[inline(never)]
    fn observe(&self, progress: &mut Progress, memory: &mut PricedMemory, observation: Observation, price: &Price) {
        self.component(memory.range).observe(progress, &mut memory.memory, observation, price);
    }

    fn observe_without(
        &self,
        progress: &mut Progress,
        memory: &mut PricedMemory,
        observation: Observation,
        price: &Price,
    ) {
        self.component(memory.range).observe_without(progress, &mut memory.memory, observation, price);
    }

    fn fail(&self, progress: &mut Progress, memory: &mut PricedMemory, missing: &[u16], remaining: f64, price: &Price) {
        self.component(memory.range).fail(progress, &mut memory.memory, missing, remaining, price);
    }

    fn stop(&self, progress: &mut Progress, memory: &mut PricedMemory, price: &Price) {
        self.component(memory.range).stop(progress, &mut memory.memory, price);
    }

    fn alone(&self, stage: u16, observation: Observation) -> Option<f64> {
        // A stage that never answers under one of them does not under the others.
        self.components().map(|component| component.alone(stage, observation)).last().flatten()
    }

    fn expected_loss(&self, progress: &Progress, memory: &PricedMemory) -> f64 {
        self.component(memory.range).expected_loss(progress, &memory.memory)
    }

    fn cost(&self, progress: &Progress, memory: &PricedMemory) -> f64 {
        memory.cost * progress.cost
    }

    fn is_exact_without(&self, barred: &[u16]) -> bool {
        self.components().all(|component| component.is_exact_without(barred))
    }

    /// Where those of average cost begin: none where some range has no decisions of its own.
    fn entry_without(&self, barred: &[u16]) -> Option<Entry> {
        let entries: Option<Vec<Entry>> = self.components().map(|component| component.entry_without(barred)).collect();
        entries?.get(usize::from(self.range(Given::NOTHING.cost))).copied()
    }

    fn begin_without(&self, barred: &[u16], given: Given) -> Option<(Progress, PricedMemory)> {
        let range = self.range(given.cost);
        let (progress, memory) = self.component(range).begin_without(barred, given)?;
        Some((progress, PricedMemory { range, cost: given.cost, memory }))
    }

    fn begin_at(&self, entry: Entry) -> (Progress, PricedMemory) {
        let Given { cost, .. } = Given::NOTHING;
        let range = self.range(cost);
        let (progress, memory) = self.component(range).begin_at(entry);
        (progress, PricedMemory { range, cost, memory })
    }

    #[inline]
    fn answer(&self, progress: &Progress, memory: &PricedMemory) -> u16 {
        self.component(memory.range).answer(progress, &memory.memory)
    }

    fn default_loss(&self) -> f64 {
        self.cheapest.default_loss()
    }

    fn may_decline(&self) -> bool {
        self.components().any(Rule::may_decline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{NO_STAGE, STOP};
    use crate::rules::{ThresholdRule, Walk};

    /// Runs two stages unless the first is at least so confident.
    fn confident(threshold: f64, default_loss: f64) -> Component {
        let walk = Walk { entry: 0, successor: vec![1, STOP], mean_loss: vec![0.5, 0.25], default_loss };
        ThresholdRule { walk, threshold: vec![threshold, f64::NEG_INFINITY], reject: f64::NEG_INFINITY }.into()
    }

    fn priced(dearer: Vec<(f64, Component)>) -> PricedRule {
        PricedRule::new(confident(0.9, f64::INFINITY), dearer)
    }

    #[test]
    fn requests_follow_the_rule_of_their_cost_and_pay_their_own() {
        let price = Price::Stage(vec![1.0, 2.0]);
        let mut rule = priced(vec![(1.5, confident(0.5, f64::INFINITY))]);
        assert_eq!(rule.complete(2, &price), Ok(()));
        let ran = |cost: f64| {
            let (mut progress, mut memory) = rule.begin(Given::costing(cost));
            rule.observe(&mut progress, &mut memory, Observation::new(0.7, 0), &price);
            (progress.next, rule.cost(&progress, &memory))
        };
        assert_eq!([1.0, 1.4, 1.5, 4.0].map(ran), [(1, 1.0), (1, 1.4), (NO_STAGE, 1.5), (NO_STAGE, 4.0)]);
        let (mut progress, mut memory) = rule.begin(Given::costing(0.5));
        rule.begin_again(&mut progress, &mut memory, Given::costing(2.0));
        rule.observe(&mut progress, &mut memory, Observation::new(0.7, 0), &price);
        assert_eq!((progress.next, rule.cost(&progress, &memory)), (NO_STAGE, 2.0));
    }

    #[test]
    fn ranges_ascend_and_nothing_loses_alike() {
        let price = Price::Stage(vec![1.0, 2.0]);
        let other = || confident(0.5, f64::INFINITY);
        let complete = |dearer| priced(dearer).complete(2, &price).is_ok();
        assert!(complete(vec![]) && complete(vec![(0.5, other()), (0.75, other())]));
        for from in [[0.5, 0.5], [0.7, 0.6], [0.0, 1.0], [-1.0, 1.0], [1.0, f64::INFINITY], [f64::NAN, 1.0]] {
            assert!(!complete(from.map(|from| (from, other())).to_vec()), "{from:?}");
        }
        assert!(!complete((0..MOST_RANGES).map(|at| (1.0 + at as f64, other())).collect()));
        assert!(!complete(vec![(2.0, confident(0.5, 1.0))]));
    }
}
