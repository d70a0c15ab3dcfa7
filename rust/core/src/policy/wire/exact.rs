//! Stored rules of solved models.

use serde::{Deserialize, Serialize};

use super::decisions::Intervals;
use crate::error::{Error, Result};
use crate::plan::{self, ChainPlan, Clock, DagPlan, TreePlan};
use crate::rules::{ChainRule, DagRule, StateReader, TreeRule};

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Chain {
    /// Edges of the bins that a signal falls into, one list a stage; none: the signal is the state itself.
    bins: Option<Vec<Vec<f64>>>,
    recall: bool,
    default_loss: f64,
    unit: f64,
    loss: Vec<f64>,
    mean_loss: Vec<f64>,
    start: i32,
    offset: Vec<u32>,
    decisions: Intervals,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time: Option<Box<ChainTime>>,
}

/// What holds within a deadline: for each remaining time what is first, and as many decisions as without one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChainTime {
    deadline: f64,
    latency: Vec<f64>,
    /// The least seconds left of each.
    from: Vec<f64>,
    start: Vec<i32>,
    decisions: Intervals,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tree {
    default_loss: f64,
    loss: Vec<Vec<f64>>,
    mean_loss: Vec<f64>,
    parent: Vec<i32>,
    index: Vec<Vec<f64>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Dag {
    default_loss: f64,
    loss: Vec<Vec<f64>>,
    mean_loss: Vec<f64>,
    stride: Vec<u32>,
    action: Vec<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time: Option<DagTime>,
}

/// What holds within a deadline: for each remaining time as many actions as without one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DagTime {
    deadline: f64,
    latency: Vec<f64>,
    /// The least seconds left of each.
    from: Vec<f64>,
    action: Vec<i32>,
}

impl From<&ChainRule> for Chain {
    fn from(rule: &ChainRule) -> Self {
        Self {
            bins: match &rule.reader {
                StateReader::State => None,
                StateReader::Bins(edges) => Some(edges.clone()),
            },
            recall: rule.recall,
            default_loss: rule.default_loss,
            unit: rule.unit,
            loss: rule.loss.clone(),
            mean_loss: rule.prior.clone(),
            start: rule.plan.start,
            offset: rule.plan.offset.clone(),
            decisions: (&rule.plan.intervals).into(),
            time: rule.plan.time.as_ref().map(|time| Box::new(time.into())),
        }
    }
}

impl TryFrom<Chain> for ChainRule {
    type Error = Error;

    fn try_from(stored: Chain) -> Result<Self> {
        let intervals = stored.decisions.try_into()?;
        let time = stored.time.map(|time| (*time).try_into()).transpose()?;
        Ok(Self {
            reader: stored.bins.map_or(StateReader::State, StateReader::Bins),
            recall: stored.recall,
            default_loss: stored.default_loss,
            unit: stored.unit,
            loss: stored.loss,
            prior: stored.mean_loss,
            plan: ChainPlan { start: stored.start, offset: stored.offset, intervals, time },
        })
    }
}

impl From<&plan::ChainTime> for ChainTime {
    fn from(time: &plan::ChainTime) -> Self {
        let Clock { deadline, latency, edges } = time.clock.clone();
        Self { deadline, latency, from: edges, start: time.start.clone(), decisions: (&time.intervals).into() }
    }
}

impl TryFrom<ChainTime> for plan::ChainTime {
    type Error = Error;

    fn try_from(stored: ChainTime) -> Result<Self> {
        let ChainTime { deadline, latency, from, start, decisions } = stored;
        Ok(Self { clock: Clock { deadline, latency, edges: from }, start, intervals: decisions.try_into()? })
    }
}

impl From<&TreeRule> for Tree {
    fn from(rule: &TreeRule) -> Self {
        Self {
            default_loss: rule.default_loss(),
            loss: rule.loss().to_vec(),
            mean_loss: rule.prior().to_vec(),
            parent: rule.plan().parent.clone(),
            index: rule.plan().index.clone(),
        }
    }
}

impl From<Tree> for TreeRule {
    fn from(stored: Tree) -> Self {
        let plan = TreePlan { parent: stored.parent, index: stored.index };
        Self::new(stored.default_loss, stored.loss, stored.mean_loss, plan)
    }
}

impl From<&DagRule> for Dag {
    fn from(rule: &DagRule) -> Self {
        Self {
            default_loss: rule.default_loss,
            loss: rule.loss.clone(),
            mean_loss: rule.prior.clone(),
            stride: rule.plan.stride.clone(),
            action: rule.plan.action.clone(),
            time: rule.plan.time.as_ref().map(|time| DagTime {
                deadline: time.clock.deadline,
                latency: time.clock.latency.clone(),
                from: time.clock.edges.clone(),
                action: time.action.clone(),
            }),
        }
    }
}

impl From<Dag> for DagRule {
    fn from(stored: Dag) -> Self {
        let time = stored.time.map(|time| {
            let DagTime { deadline, latency, from, action } = time;
            plan::DagTime { clock: Clock { deadline, latency, edges: from }, action }
        });
        let plan = DagPlan { stride: stored.stride, action: stored.action, time };
        Self { default_loss: stored.default_loss, loss: stored.loss, prior: stored.mean_loss, plan }
    }
}
