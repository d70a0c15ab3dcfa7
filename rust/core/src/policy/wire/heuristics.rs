//! Stored heuristics.

use serde::{Deserialize, Serialize};

use crate::rules::{self, PatienceRule, ThresholdRule};

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Walk {
    entry: i32,
    successor: Vec<i32>,
    mean_loss: Vec<f64>,
    #[serde(default = "never", skip_serializing_if = "is_never")]
    default_loss: f64,
}

/// The loss of nothing where some stage has to answer.
fn never() -> f64 {
    f64::INFINITY
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_never(loss: &f64) -> bool {
    *loss == never()
}

/// The threshold of a rule that rejects nothing.
fn anything() -> f64 {
    f64::NEG_INFINITY
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_anything(threshold: &f64) -> bool {
    *threshold == anything()
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "names of the stored form")]
pub(super) struct Threshold {
    walk: Walk,
    threshold: Vec<f64>,
    #[serde(default = "anything", skip_serializing_if = "is_anything")]
    reject: f64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "names of the stored form")]
pub(super) struct Patience {
    walk: Walk,
    patience: u16,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    rejects: bool,
}

impl From<&rules::Walk> for Walk {
    fn from(walk: &rules::Walk) -> Self {
        let rules::Walk { entry, successor, mean_loss, default_loss } = walk.clone();
        Self { entry, successor, mean_loss, default_loss }
    }
}

impl From<Walk> for rules::Walk {
    fn from(stored: Walk) -> Self {
        let Walk { entry, successor, mean_loss, default_loss } = stored;
        Self { entry, successor, mean_loss, default_loss }
    }
}

impl From<&ThresholdRule> for Threshold {
    fn from(rule: &ThresholdRule) -> Self {
        Self { walk: (&rule.walk).into(), threshold: rule.threshold.clone(), reject: rule.reject }
    }
}

impl From<Threshold> for ThresholdRule {
    fn from(stored: Threshold) -> Self {
        Self { walk: stored.walk.into(), threshold: stored.threshold, reject: stored.reject }
    }
}

impl From<&PatienceRule> for Patience {
    fn from(rule: &PatienceRule) -> Self {
        Self { walk: (&rule.walk).into(), patience: rule.patience, rejects: rule.rejects }
    }
}

impl From<Patience> for PatienceRule {
    fn from(stored: Patience) -> Self {
        Self { walk: stored.walk.into(), patience: stored.patience, rejects: stored.rejects }
    }
}
