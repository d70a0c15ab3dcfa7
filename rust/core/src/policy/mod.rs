//! The compiled policy: immutable, shared freely between threads, decided from by [`crate::run`], [`crate::batch`]
//! and [`crate::replay`].

mod codec;
mod describe;
mod exact;
mod mixture;

pub use codec::SCHEMA;
pub(crate) use exact::rules_of;
pub use exact::{compile, verify};
pub use mixture::mixture;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::price::Price;
use crate::rules::Rules;

/// The largest number of stages a policy may have.
pub const MAX_STAGES: usize = i16::MAX as usize;

/// What is known about a policy besides its decisions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// How it was made: `exact`, `pathwise`, `markov`, `static`, `threshold`, …
    pub method: String,
    /// `line`, `skip` or `tree`.
    pub graph: String,
    /// Expected loss + cost: exact for a solved model, the mean on the calibration trace for a fitted policy.
    pub value: f64,
    /// Index of consulting each stage, per state of its parent; empty where there is none.
    pub index: Vec<Vec<f64>>,
    /// How far the reported indices may be from the exact ones (decisions are exact regardless).
    pub index_error: f64,
    /// What it was made from, in order.
    pub provenance: Vec<(String, String)>,
    /// The rules that it was chosen from, if any.
    pub report: Vec<Candidate>,
}

/// How a rule did on rows that it was not learned from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// Its mean loss.
    pub loss: f64,
    /// Its mean cost.
    pub cost: f64,
    /// Its mean objective.
    pub objective: f64,
    /// That less the mean objective of the first candidate.
    pub difference: f64,
    /// Standard error of the difference.
    pub error: f64,
    /// Whether it was taken.
    pub is_chosen: bool,
}

/// A compiled policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    stages: Vec<String>,
    price: Price,
    rules: Rules,
    facts: Facts,
}

impl Policy {
    /// Checks that the parts fit each other, so that executing the policy cannot go wrong.
    ///
    /// # Errors
    /// [`Error::Invalid`] where they do not.
    pub fn new(stages: Vec<String>, price: Price, rules: Rules, facts: Facts) -> Result<Self> {
        let mut policy = Self { stages, price, rules, facts };
        policy.prepare();
        policy.problem().map_or(Ok(policy), |problem| Err(Error::invalid(format!("policy: {problem}"))))
    }

    /// The same decisions, described by other facts.
    ///
    /// # Errors
    /// As [`Policy::new`].
    pub fn with_facts(self, facts: Facts) -> Result<Self> {
        Self::new(self.stages, self.price, self.rules, facts)
    }

    /// Names of the stages (k,).
    pub fn stages(&self) -> &[String] {
        &self.stages
    }

    /// What running a stage costs.
    pub fn price(&self) -> &Price {
        &self.price
    }

    /// The decision rule.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// How the policy was made and what it is worth.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Whether an earlier answer than the last may be returned.
    pub fn recall(&self) -> bool {
        match &self.rules {
            Rules::Chain(rule) => rule.recall,
            Rules::Belief(rule) => rule.recall,
            Rules::Tree(_) | Rules::Dag(_) => true,
            Rules::Threshold(_) | Rules::Patience(_) => false,
            Rules::Mixture(rule) => rule.recall(),
        }
    }

    /// Derives what is not stored.
    pub(crate) fn prepare(&mut self) {
        self.rules.prepare();
    }

    /// Why this policy could not be executed, if so.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        let k = self.stages.len();
        if k == 0 || k > MAX_STAGES {
            return Some("the number of stages is not in 1..=32767");
        }
        if self.price.stages() != k {
            return Some("the costs do not fit the stages");
        }
        let own = match &self.rules {
            Rules::Chain(rule) => rule.problem(k),
            Rules::Belief(rule) => rule.problem(k),
            Rules::Tree(rule) => rule.problem(k),
            Rules::Threshold(rule) => rule.problem(k),
            Rules::Patience(rule) => rule.problem(k),
            Rules::Dag(rule) => rule.problem(k),
            Rules::Mixture(rule) => rule.problem(k),
        };
        own.or_else(|| self.price.problem())
    }
}
