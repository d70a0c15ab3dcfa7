//! The compiled policy: immutable, shared freely between threads, decided from by [`crate::run`], [`crate::batch`]
//! and [`crate::replay`].

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::plan::{Intervals, STOP};
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
        let policy = Self { stages, price, rules, facts };
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
            Rules::Table(rule) => rule.recall,
            Rules::Belief(rule) => rule.recall,
            Rules::Tree(_) => true,
            Rules::Threshold(_) | Rules::Patience(_) => false,
        }
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
            Rules::Table(rule) => rule.problem(k).or_else(|| {
                intervals_problem(&rule.plan.intervals, k, |row| {
                    rule.plan.offset.partition_point(|from| (*from as usize) <= row) as i32 - 1
                })
            }),
            Rules::Belief(rule) => {
                // Children come after their parents, so that each request ends.
                rule.problem(k).or_else(|| intervals_problem(&rule.decide, rule.nodes.len(), |row| row as i32))
            }
            Rules::Tree(rule) => rule.problem(k),
            Rules::Threshold(rule) => rule.problem(k),
            Rules::Patience(rule) => rule.problem(k),
        };
        own.or_else(|| self.price.problem())
    }
}

/// Checks the shape of `intervals` and that every row leads forward, so that each request ends.
fn intervals_problem(intervals: &Intervals, stages: usize, stage_of: impl Fn(usize) -> i32) -> Option<&'static str> {
    let rows = intervals.rows();
    let offsets = &intervals.first;
    let ascending = offsets.iter().zip(offsets.iter().skip(1)).all(|(a, b)| a <= b);
    let end = offsets.last().map(|end| *end as usize);
    let shaped = offsets.len() == rows + 1
        && offsets.first() == Some(&0)
        && end == Some(intervals.limit.len())
        && end == Some(intervals.next.len());
    if !ascending || !shaped || intervals.stop.iter().chain(&intervals.limit).any(|x| x.is_nan()) {
        return Some("the intervals are not sorted rows");
    }
    for row in 0..rows {
        let from = offsets.get(row).map_or(0, |o| *o as usize);
        let to = offsets.get(row + 1).map_or(0, |o| *o as usize);
        let next = intervals.next.get(from..to).unwrap_or_default();
        let stage = stage_of(row);
        if next.iter().any(|j| *j != STOP && (*j <= stage || *j >= stages as i32)) {
            return Some("a decision does not lead forward");
        }
    }
    None
}
