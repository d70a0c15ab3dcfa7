//! Stored heuristics.

use serde::{Deserialize, Serialize};

use crate::rules::{self, PatienceRule, ThresholdRule};

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Walk {
    entry: i32,
    successor: Vec<i32>,
    mean_loss: Vec<f64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Threshold {
    walk: Walk,
    threshold: Vec<f64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Patience {
    walk: Walk,
    patience: u16,
}

impl From<&rules::Walk> for Walk {
    fn from(walk: &rules::Walk) -> Self {
        Self { entry: walk.entry, successor: walk.successor.clone(), mean_loss: walk.mean_loss.clone() }
    }
}

impl From<Walk> for rules::Walk {
    fn from(stored: Walk) -> Self {
        Self { entry: stored.entry, successor: stored.successor, mean_loss: stored.mean_loss }
    }
}

impl From<&ThresholdRule> for Threshold {
    fn from(rule: &ThresholdRule) -> Self {
        Self { walk: (&rule.walk).into(), threshold: rule.threshold.clone() }
    }
}

impl From<Threshold> for ThresholdRule {
    fn from(stored: Threshold) -> Self {
        Self { walk: stored.walk.into(), threshold: stored.threshold }
    }
}

impl From<&PatienceRule> for Patience {
    fn from(rule: &PatienceRule) -> Self {
        Self { walk: (&rule.walk).into(), patience: rule.patience }
    }
}

impl From<Patience> for PatienceRule {
    fn from(stored: Patience) -> Self {
        Self { walk: stored.walk.into(), patience: stored.patience }
    }
}
