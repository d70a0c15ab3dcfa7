//! Stored belief rules: what does not depend on the trade-off (`beliefs`) apart from what does (`situations` and
//! `decisions`), so that policies for many trade-offs can share the former.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::decisions::Intervals;
use super::misfit::misfit;
use crate::error::{Error, Result};
use crate::rules::{self, BeliefRule, Classes, Curve, Detour, Line, Node, SLOTS};

/// Evidence and shares, which nodes of the same set share.
type Weights = (Arc<[rules::Evidence]>, Arc<[f64]>);

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Belief {
    recall: bool,
    pub(super) beliefs: Beliefs,
    situations: Vec<Situation>,
    decisions: Intervals,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nothing: Option<Nothing>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time: Option<Box<Time>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    without: Option<Box<Without>>,
}

/// Where requests go on that go without some stages: sets are numbers, of which bit i is for the i-th of `stages`; one entry
/// of the others for each pair of a set that is missing and a set that has run.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Without {
    stages: Vec<u16>,
    after_failure: bool,
    missing: Vec<u8>,
    ran: Vec<u8>,
    situation: Vec<u16>,
}

/// What it costs to answer with nothing, and whether requests end so before anything runs.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {
    loss: f64,
    at_once: bool,
}

/// What holds where little time is left: blocks of decisions, like those of all situations, for less than `until`
/// seconds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Time {
    until: Vec<f64>,
    latency: Vec<f64>,
    entries: Vec<u16>,
    decisions: Intervals,
}

/// What signals mean, and how answers are weighed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Beliefs {
    margin: f64,
    scale: f64,
    pub(super) calibration: Vec<Calibration>,
    /// The sets of stages that are weighed together.
    pub(super) sets: Vec<Set>,
    /// Pairs of stages that it matters of which classes they name, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) pairs: Vec<Pair>,
}

/// What to add to the logits of two stages that name certain classes, in sixteenths: a row for each place of the first's
/// classes, a column for each of the second's; for predictions 0, 1, … of each the place, from 1, or 0.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pair {
    stages: [u16; 2],
    class: [Vec<u8>; 2],
    offset: Vec<[i8; 2]>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Calibration {
    /// Signals, ascending, and the logit of the expected loss at each.
    signal: Vec<f64>,
    logit: Vec<f32>,
    /// For predictions 0, 1, …, the number of their curve, from 1; 0: that of all.
    class: Vec<u16>,
    /// The logits of each such curve at the same signals.
    curves: Vec<Vec<f32>>,
    mean_loss: f64,
    missing_logit: f64,
}

/// Stages whose answers are weighed against each other.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Set {
    members: Vec<u16>,
    favoured: u16,
    /// For each pair of members, offset and slope where predictions differ, are equal, or are not known.
    evidence: Vec<[[f64; 2]; 3]>,
    /// For each member, how much of what pairs say counts; empty where they do not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    shares: Vec<f64>,
}

/// A set of stages that have run, entered by running one of them.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Situation {
    /// Number of the set.
    set: u32,
    stage: u16,
    slot: u8,
    places: Vec<u8>,
}

impl From<&BeliefRule> for Belief {
    fn from(rule: &BeliefRule) -> Self {
        let known = rule.beliefs();
        let mut sets: Vec<Set> = Vec::new();
        let mut numbers: BTreeMap<Vec<u64>, usize> = BTreeMap::new();
        let situations = rule.nodes().iter().map(|node| {
            let set = Set::from(node);
            let number = *numbers.entry(set.bits()).or_insert_with(|| {
                sets.push(set);
                sets.len() - 1
            });
            Situation { set: number as u32, stage: node.stage, slot: node.slot, places: node.places.clone() }
        });
        let situations = situations.collect();
        let calibration = known.calibration.iter().map(Into::into).collect();
        let pairs = known.pairs.iter().map(Into::into).collect();
        let beliefs = Beliefs { margin: known.margin, scale: known.scale, calibration, sets, pairs };
        let rules::Nothing { loss, at_once, .. } = *rule.nothing();
        let nothing = (loss < f64::INFINITY).then_some(Nothing { loss, at_once });
        let time = rule.time().map(|time| {
            Box::new(Time {
                until: time.until.clone(),
                latency: time.latency.clone(),
                entries: time.entries.clone(),
                decisions: (&rule.decisions_within()).into(),
            })
        });
        let without = rule.without().map(|without| Box::new(without.into()));
        Self {
            recall: known.recall,
            beliefs,
            situations,
            decisions: (&rule.decisions()).into(),
            nothing,
            time,
            without,
        }
    }
}

impl TryFrom<Belief> for BeliefRule {
    type Error = Error;

    fn try_from(stored: Belief) -> Result<Self> {
        let Beliefs { margin, scale, calibration, sets, pairs } = stored.beliefs;
        let pairs = pairs.into_iter().map(TryInto::try_into).collect::<Result<_>>()?;
        let calibration = calibration.into_iter().map(TryInto::try_into).collect::<Result<_>>()?;
        if stored.situations.len() > usize::from(u16::MAX) {
            return Err(misfit("there must be 1 to 65535 situations"));
        }
        sets.iter().try_for_each(Set::check)?;
        let line = |[offset, slope]: [f64; 2]| Line { offset, slope };
        let weights = |set: &Set| -> Weights {
            (set.evidence.iter().map(|lines| lines.map(line)).collect(), set.shares.as_slice().into())
        };
        let weights: Vec<Weights> = sets.iter().map(weights).collect();
        let node = |situation: Situation| {
            let number = situation.set as usize;
            let (Some(set), Some((evidence, shares))) = (sets.get(number), weights.get(number)) else {
                return Err(misfit("a situation has no set of stages"));
            };
            let mut node = Node::new(&set.members, situation.stage, set.favoured, &[], &[]);
            (node.slot, node.places) = (situation.slot, situation.places);
            (node.evidence, node.shares) = (Arc::clone(evidence), Arc::clone(shares));
            Ok(node)
        };
        let nodes = stored.situations.into_iter().map(node).collect::<Result<_>>()?;
        let beliefs = rules::Beliefs { recall: stored.recall, margin, scale, calibration, pairs };
        let rule = Self::new(beliefs, nodes, stored.decisions.try_into()?);
        let rule = match stored.nothing {
            None => rule,
            Some(Nothing { loss, at_once }) => rule.or_nothing(loss, at_once),
        };
        let rule = match stored.without {
            None => rule,
            Some(without) => rule.with_detours((*without).try_into()?),
        };
        let Some(time) = stored.time else { return Ok(rule) };
        let Time { until, latency, entries, decisions } = *time;
        Ok(rule.within(rules::Time { until, latency, entries }, decisions.try_into()?))
    }
}

impl From<&rules::Without> for Without {
    fn from(known: &rules::Without) -> Self {
        let rules::Without { stages, after_failure, detours } = known;
        Self {
            stages: stages.clone(),
            after_failure: *after_failure,
            missing: detours.iter().map(|detour| detour.missing).collect(),
            ran: detours.iter().map(|detour| detour.ran).collect(),
            situation: detours.iter().map(|detour| detour.node).collect(),
        }
    }
}

impl TryFrom<Without> for rules::Without {
    type Error = Error;

    fn try_from(stored: Without) -> Result<Self> {
        let Without { stages, after_failure, missing, ran, situation } = stored;
        if missing.len() != ran.len() || missing.len() != situation.len() {
            return Err(misfit("the sets of stages that run do not fit those that are missing"));
        }
        let sets = missing.into_iter().zip(ran).zip(situation);
        let detours = sets.map(|((missing, ran), node)| Detour { missing, ran, node }).collect();
        Ok(Self { stages, after_failure, detours })
    }
}

impl Set {
    /// Everything in it: equal sets have equal bits.
    fn bits(&self) -> Vec<u64> {
        let members = [self.members.len() as u64, u64::from(self.favoured)].into_iter();
        let members = members.chain(self.members.iter().map(|member| u64::from(*member)));
        let weights = self.evidence.iter().flatten().flatten().chain(&self.shares);
        members.chain(weights.map(|x| x.to_bits())).collect()
    }

    /// Refuses what no node can have, before it is copied into each of its situations.
    fn check(&self) -> Result<()> {
        let m = self.members.len();
        if !(1..=SLOTS).contains(&m) {
            return Err(misfit("a situation does not have 1 to 8 members"));
        }
        if self.evidence.len() != m * m {
            return Err(misfit("the evidence is not one entry per pair of members"));
        }
        if !self.shares.is_empty() && self.shares.len() != m {
            return Err(misfit("the shares are not one per member"));
        }
        Ok(())
    }
}

impl From<&Node> for Set {
    fn from(node: &Node) -> Self {
        let evidence = node.evidence.iter().map(|lines| lines.map(|Line { offset, slope }| [offset, slope]));
        let (evidence, shares) = (evidence.collect(), node.shares.to_vec());
        Self { members: node.members.clone(), favoured: node.favoured, evidence, shares }
    }
}

impl From<&rules::Pair> for Pair {
    fn from(known: &rules::Pair) -> Self {
        Self { stages: known.stages(), class: known.class().clone(), offset: known.offset().to_vec() }
    }
}

impl TryFrom<Pair> for rules::Pair {
    type Error = Error;

    fn try_from(Pair { stages, class, offset }: Pair) -> Result<Self> {
        Self::new(stages, class, offset).ok_or_else(|| misfit("the offsets of a pair of stages do not fit its classes"))
    }
}

impl From<&rules::Calibration> for Calibration {
    fn from(known: &rules::Calibration) -> Self {
        let (signal, logit): (Vec<f64>, Vec<f32>) = known.curve.points().unzip();
        let curves = known.classes.levels.iter().map(|levels| levels.values().take(signal.len()).collect());
        let (class, curves) = (known.classes.number.clone(), curves.collect());
        Self { signal, logit, class, curves, mean_loss: known.mean_loss, missing_logit: known.missing_logit }
    }
}

impl TryFrom<Calibration> for rules::Calibration {
    type Error = Error;

    fn try_from(stored: Calibration) -> Result<Self> {
        let Calibration { signal, logit, class, curves, mean_loss, missing_logit } = stored;
        let curve = Curve::through(&signal, &logit)
            .ok_or_else(|| misfit("a calibration curve is not one of 1 to 16 ascending signals"))?;
        let levels = curves.iter().map(|logit| curve.levels(logit)).collect::<Option<_>>();
        let levels = levels.ok_or_else(|| misfit("the curve of a class is not one finite logit for each signal"))?;
        Ok(Self { curve, classes: Classes { number: class, levels }, mean_loss, missing_logit })
    }
}
