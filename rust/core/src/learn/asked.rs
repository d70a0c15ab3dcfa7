//! What rules are made for: among which stages, for what, whether with recall; for each range of costs where these are
//! known of each request.

use super::calibrated::Calibrated;
use super::subset::chosen_stages;
use super::whole::whole_rule;
use crate::evaluate::Objective;
use crate::rules::{AnyRule, BeliefRule, Component, PricedRule};

/// What a rule that weighs beliefs is made for.
#[derive(Clone, Debug)]
pub struct Asked {
    recall: bool,
    /// One for each range of costs, at least one; one for all where costs are no part of decisions.
    parts: Vec<Part>,
    is_priced: bool,
}

/// What it is made for in one range of costs.
#[derive(Clone, Debug)]
struct Part {
    /// From which cost on, over that of the average request.
    from: f64,
    stages: Vec<usize>,
    objective: Objective,
}

/// A rule, and what it says about itself.
pub struct Answered {
    /// The rule.
    pub rule: AnyRule,
    /// Index of each stage where stages form a line, as an expected loss in the unit of the trace.
    pub index: Vec<Vec<f64>>,
    /// The kind of graph.
    pub graph: &'static str,
}

impl Asked {
    /// For one objective. O(1), but where stages have to be chosen.
    pub fn of(calibrated: &Calibrated, objective: Objective, recall: bool) -> Self {
        let part = |from: f64, objective: Objective| Part {
            from,
            stages: chosen_stages(calibrated, objective, recall),
            objective,
        };
        let parts = match calibrated.ranges() {
            None => vec![part(0.0, objective)],
            Some(ranges) => {
                let dearer = |cost: &f64| Objective { cost: cost * objective.cost, ..objective };
                ranges.from.iter().zip(&ranges.typical).map(|(from, cost)| part(*from, dearer(cost))).collect()
            }
        };
        Self { recall, parts, is_priced: calibrated.ranges().is_some() }
    }

    /// The rule for it, by what `calibrated` knows.
    pub fn answered(&self, calibrated: &Calibrated) -> Answered {
        let mut learned: Vec<_> =
            self.parts.iter().map(|part| calibrated.rule_among(&part.stages, part.objective, self.recall)).collect();
        // It is described as requests of average cost are decided.
        let average = self.parts.iter().rposition(|part| part.from <= 1.0).unwrap_or(0);
        let (index, graph) = (std::mem::take(&mut learned[average].index), learned[average].graph);
        let rules = learned.into_iter().map(|learned| learned.rule);
        Answered { rule: self.joined(rules), index, graph }
    }

    /// The same with decisions of their own for requests that go without some stages, where some rule has them.
    pub fn whole(&self, calibrated: &Calibrated) -> Option<AnyRule> {
        let whole = |part: &Part| whole_rule(calibrated, &part.stages, part.objective, self.recall);
        let found: Vec<Option<BeliefRule>> = self.parts.iter().map(whole).collect();
        if found.iter().all(Option::is_none) {
            return None;
        }
        let rules = found.into_iter().zip(&self.parts).map(|(found, part)| {
            found.unwrap_or_else(|| calibrated.rule_among(&part.stages, part.objective, self.recall).rule)
        });
        Some(self.joined(rules))
    }

    fn joined(&self, rules: impl Iterator<Item = BeliefRule>) -> AnyRule {
        let mut rules: Vec<Component> = rules.map(Component::from).collect();
        let cheapest = rules.remove(0);
        if !self.is_priced {
            return AnyRule::Component(cheapest);
        }
        let from = self.parts.iter().skip(1).map(|part| part.from);
        AnyRule::Priced(PricedRule::new(cheapest, from.zip(rules).collect()))
    }
}
