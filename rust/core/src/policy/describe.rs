//! A policy as JSON, for people and tools. Infinite numbers are the strings `inf` and `-inf`.

use serde_json::{Map, Value, json};

use super::compiled::Policy;
use super::facts::Candidate;
use crate::error::{Error, Result};
use crate::price::Price;
use crate::rules::{Rule, number, numbers};

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
        let mut rule = self.rule().describe();
        if let Value::Object(map) = &mut rule {
            map.insert("recall".into(), json!(self.recall()));
        }
        let cost = match self.price() {
            Price::Stage(price) => numbers(price),
            Price::Jump { stages, jump, .. } => jump.chunks(*stages).map(numbers).collect(),
        };
        let provenance: Map<String, Value> =
            facts.provenance.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
        let index: Vec<Value> = facts.index.iter().map(|index| numbers(index)).collect();
        let report: Vec<Value> = facts.candidates.iter().map(candidate).collect();
        let whole = json!({
            "method": facts.method, "graph": facts.graph, "recall": self.recall(), "stages": self.stages(),
            "value": number(facts.value), "index": index, "index_error": facts.index_error, "cost": cost,
            "rule": rule, "provenance": provenance, "report": report,
        });
        serde_json::to_string(&whole).map_err(|e| Error::format(format!("cannot describe the policy: {e}")))
    }
}

fn candidate(found: &Candidate) -> Value {
    json!({
        "name": found.name, "loss": number(found.loss), "cost": number(found.cost),
        "objective": number(found.objective), "difference": number(found.difference),
        "standard_error": number(found.error), "chosen": found.is_chosen,
    })
}
