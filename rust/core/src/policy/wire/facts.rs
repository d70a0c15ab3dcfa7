//! Stored facts about a policy.

use serde::{Deserialize, Serialize};

use crate::policy::{facts, usual};

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Facts {
    method: String,
    graph: String,
    value: f64,
    index: Vec<Vec<f64>>,
    index_error: f64,
    provenance: Vec<(String, String)>,
    candidates: Vec<Candidate>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) usual: Vec<Usual>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Usual {
    low: f64,
    high: f64,
    predictions: Option<(i64, i64)>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Candidate {
    name: String,
    loss: f64,
    cost: f64,
    objective: f64,
    difference: f64,
    error: f64,
    is_chosen: bool,
}

impl From<&facts::Facts> for Facts {
    fn from(known: &facts::Facts) -> Self {
        let facts::Facts { method, graph, value, index, index_error, provenance, candidates, usual } = known.clone();
        let candidates = candidates.into_iter().map(Into::into).collect();
        let usual = usual.into_iter().map(Into::into).collect();
        Self { method, graph, value, index, index_error, provenance, candidates, usual }
    }
}

impl From<Facts> for facts::Facts {
    fn from(stored: Facts) -> Self {
        let Facts { method, graph, value, index, index_error, provenance, candidates, usual } = stored;
        let candidates = candidates.into_iter().map(Into::into).collect();
        let usual = usual.into_iter().map(Into::into).collect();
        Self { method, graph, value, index, index_error, provenance, candidates, usual }
    }
}

impl From<facts::Candidate> for Candidate {
    fn from(known: facts::Candidate) -> Self {
        let facts::Candidate { name, loss, cost, objective, difference, error, is_chosen } = known;
        Self { name, loss, cost, objective, difference, error, is_chosen }
    }
}

impl From<Candidate> for facts::Candidate {
    fn from(stored: Candidate) -> Self {
        let Candidate { name, loss, cost, objective, difference, error, is_chosen } = stored;
        Self { name, loss, cost, objective, difference, error, is_chosen }
    }
}

impl From<usual::Usual> for Usual {
    fn from(known: usual::Usual) -> Self {
        let usual::Usual { low, high, predictions } = known;
        Self { low, high, predictions }
    }
}

impl From<Usual> for usual::Usual {
    fn from(stored: Usual) -> Self {
        let Usual { low, high, predictions } = stored;
        Self { low, high, predictions }
    }
}
