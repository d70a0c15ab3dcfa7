//! A policy as JSON, for people and tools. Infinite numbers are the strings `inf` and `-inf`.

use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::plan::{Intervals, Row, STOP};
use crate::policy::Policy;
use crate::price::Price;
use crate::rules::{BeliefRule, ChainRule, Component, MixtureRule, PatienceRule, Rules, ThresholdRule};

fn number(x: f64) -> Value {
    if x.is_finite() { json!(x) } else { json!(if x > 0.0 { "inf" } else { "-inf" }) }
}

fn numbers(xs: &[f64]) -> Value {
    xs.iter().map(|x| number(*x)).collect()
}

impl Policy {
    /// Everything about the policy.
    ///
    /// `decisions` lists, for every situation (after which stages, in which state of the last), up to which loss in
    /// hand to stop (`stop`) and which stage is next below each further limit (`next`: pairs of limit and stage).
    ///
    /// # Errors
    /// [`Error::Format`] if it cannot be written (out of memory).
    pub fn describe(&self) -> Result<String> {
        let facts = self.facts();
        let mut rule = match self.rules() {
            Rules::Belief(rule) => describe_belief(rule),
            Rules::Chain(rule) => describe_table(rule),
            Rules::Tree(rule) => {
                let index: Vec<Value> = rule.plan.index.iter().map(|index| numbers(index)).collect();
                json!({"type": "tree", "parent": rule.plan.parent, "index": index, "mean_loss": rule.prior})
            }
            Rules::Dag(rule) => {
                json!({"type": "dag", "stride": rule.plan.stride, "action": rule.plan.action, "mean_loss": rule.prior})
            }
            Rules::Threshold(rule) => describe_threshold(rule),
            Rules::Patience(rule) => describe_patience(rule),
            Rules::Mixture(rule) => describe_mixed(rule),
        };
        if let Value::Object(map) = &mut rule {
            map.insert("recall".into(), json!(self.recall()));
        }
        let cost = match self.price() {
            Price::Stage(price) => numbers(price),
            Price::Jump { stages, jump } => jump.chunks(*stages).map(numbers).collect(),
        };
        let provenance: Map<String, Value> =
            facts.provenance.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
        let index: Vec<Value> = facts.index.iter().map(|index| numbers(index)).collect();
        let report: Vec<Value> = facts
            .report
            .iter()
            .map(|found| {
                json!({
                    "name": found.name, "loss": number(found.loss), "cost": number(found.cost),
                    "objective": number(found.objective), "difference": number(found.difference),
                    "standard_error": number(found.error), "chosen": found.is_chosen,
                })
            })
            .collect();
        let whole = json!({
            "method": facts.method, "graph": facts.graph, "recall": self.recall(), "stages": self.stages(),
            "value": number(facts.value), "index": index, "index_error": facts.index_error, "cost": cost,
            "rule": rule, "provenance": provenance, "report": report,
        });
        serde_json::to_string(&whole).map_err(|e| Error::format(format!("cannot describe the policy: {e}")))
    }
}

/// One row of decisions, with limits and stages mapped to what the reader knows.
fn decision(
    intervals: &Intervals,
    row: &Row,
    loss: impl Fn(f64) -> f64,
    stage: impl Fn(i32) -> i32,
) -> Map<String, Value> {
    let last = (row.last != STOP).then_some((f64::INFINITY, row.last));
    let steps = intervals.steps(row).chain(last);
    let steps: Vec<Value> = steps.map(|(x, j)| json!([number(loss(x)), stage(j)])).collect();
    let mut map = Map::new();
    map.insert("stop".into(), number(loss(row.stop)));
    map.insert("next".into(), json!(steps));
    map
}

fn describe_belief(rule: &BeliefRule) -> Value {
    let expected = |z: f64| if z.is_finite() { rule.scale / (1.0 + (-z).exp()) } else { z };
    let calibrations: Vec<Value> = rule
        .calibration
        .iter()
        .map(|calibration| {
            let curve: Vec<[f64; 2]> = calibration.curve.points().map(|(x, z)| [x, expected(z)]).collect();
            json!({"curve": curve, "classes": calibration.class.len(), "mean_loss": calibration.mean_loss})
        })
        .collect();
    let stage = |node: i32| {
        let node = usize::try_from(node).ok().and_then(|node| rule.nodes.get(node));
        node.map_or(STOP, |node| i32::from(node.stage))
    };
    let decisions: Vec<Value> = rule
        .nodes
        .iter()
        .zip(rule.decide.table())
        .map(|(node, row)| {
            let mut map = decision(&rule.decide, row, expected, stage);
            map.insert("stage".into(), json!(node.stage));
            map.insert("after".into(), json!(node.members));
            Value::Object(map)
        })
        .collect();
    json!({"type": "belief", "scale": rule.scale, "calibrations": calibrations, "decisions": decisions})
}

fn describe_table(rule: &ChainRule) -> Value {
    let mut decisions = Vec::new();
    let bounds = rule.plan.offset.iter().zip(rule.plan.offset.iter().skip(1));
    for (stage, (from, to)) in bounds.enumerate() {
        let rows = rule.plan.intervals.table().get(*from as usize..*to as usize).unwrap_or_default();
        for (state, row) in rows.iter().enumerate() {
            let mut map = decision(&rule.plan.intervals, row, |x| x * rule.unit, |j| j);
            let known = state + 1 < rows.len();
            let loss = rule.loss.get(*from as usize + state).map_or(f64::INFINITY, |r| r * rule.unit);
            map.insert("stage".into(), json!(stage));
            map.insert("state".into(), if known { json!(state) } else { Value::Null });
            map.insert("loss".into(), number(loss));
            decisions.push(Value::Object(map));
        }
    }
    json!({"type": "table", "start": rule.plan.start, "decisions": decisions})
}

fn describe_threshold(rule: &ThresholdRule) -> Value {
    json!({
        "type": "threshold", "entry": rule.entry, "threshold": numbers(&rule.threshold),
        "successor": rule.successor, "mean_loss": rule.prior,
    })
}

fn describe_patience(rule: &PatienceRule) -> Value {
    json!({
        "type": "patience", "entry": rule.entry, "patience": rule.patience,
        "successor": rule.successor, "mean_loss": rule.prior,
    })
}

fn describe_mixed(rule: &MixtureRule) -> Value {
    let part = |part: &Component| match part {
        Component::Belief(rule) => describe_belief(rule),
        Component::Chain(rule) => describe_table(rule),
        Component::Threshold(rule) => describe_threshold(rule),
        Component::Patience(rule) => describe_patience(rule),
    };
    let parts: Vec<Value> = rule.parts.iter().map(part).collect();
    json!({"type": "mixed", "seed": rule.seed, "share": rule.share, "parts": parts})
}
