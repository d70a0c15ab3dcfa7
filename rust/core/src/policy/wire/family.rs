//! Stored families: what all members share is there once, and each says which of it is its own.
//!
//! Calibration and evidence do not depend on the trade-off and make most of a policy. Members refer to them by number.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::take;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::belief::{Beliefs, Calibration, Pair, Set};
use super::facts::{Facts, Usual};
use super::policy::{Policy, Price, Rule};
use crate::error::{Error, Result};
use crate::policy::compiled;
use crate::policy::family;

/// A stored family.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Family {
    stages: Vec<String>,
    price: Price,
    usual: Vec<Usual>,
    held_out: bool,
    /// What signals mean, of all stages: different ones, each once.
    calibrations: Vec<Vec<Calibration>>,
    /// The sets of stages that are weighed together, likewise.
    sets: Vec<Set>,
    /// Which classes stages name, of all pairs that this matters for, likewise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pairs: Vec<Pair>,
    members: Vec<Member>,
}

/// One policy of the family, without what is shared.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Member {
    tradeoff: f64,
    loss: f64,
    cost: f64,
    rule: Rule,
    facts: Facts,
    /// Of each belief rule, in order.
    shared: Vec<Shared>,
}

/// Which of what is shared belongs to a belief rule, by number.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shared {
    calibration: u32,
    sets: Vec<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pairs: Vec<u32>,
}

/// Names what does not fit.
fn misfit(problem: &str) -> Error {
    Error::format(format!("invalid family: {problem}"))
}

/// Different things, numbered as they come.
struct Pool<T> {
    items: Vec<T>,
    number: BTreeMap<Vec<u8>, u32>,
}

impl<T: Serialize> Pool<T> {
    fn new() -> Self {
        Self { items: Vec::new(), number: BTreeMap::new() }
    }

    /// The number of an item; equal ones, bit for bit, have the same.
    fn number(&mut self, item: T) -> Result<u32> {
        let bits = rmp_serde::to_vec(&item).map_err(|e| Error::format(format!("cannot encode the family: {e}")))?;
        let next = self.items.len() as u32;
        let number = *self.number.entry(bits).or_insert(next);
        if number == next {
            self.items.push(item);
        }
        Ok(number)
    }
}

impl Family {
    /// The stored form of a family.
    ///
    /// # Errors
    /// [`Error::Format`] if it cannot be encoded (out of memory).
    pub fn of(known: &family::Family) -> Result<Self> {
        let (mut calibrations, mut sets, mut pairs) = (Pool::new(), Pool::new(), Pool::new());
        let mut shared = |beliefs: &mut Beliefs| {
            let calibration = calibrations.number(take(&mut beliefs.calibration))?;
            let sets = take(&mut beliefs.sets).into_iter().map(|set| sets.number(set)).collect::<Result<_>>()?;
            let pairs = take(&mut beliefs.pairs).into_iter().map(|pair| pairs.number(pair)).collect::<Result<_>>()?;
            Ok(Shared { calibration, sets, pairs })
        };
        let (mut common, mut members) = (None, Vec::new());
        for member in known.members() {
            let Policy { stages, price, mut rule, mut facts } = member.policy.as_ref().into();
            let usual = take(&mut facts.usual);
            let shared = rule.beliefs().into_iter().map(&mut shared).collect::<Result<_>>()?;
            let family::Member { tradeoff, loss, cost, .. } = *member;
            members.push(Member { tradeoff, loss, cost, rule, facts, shared });
            common = Some((stages, price, usual));
        }
        let Some((stages, price, usual)) = common else {
            return Err(misfit("a family has no policies"));
        };
        let (calibrations, sets, pairs) = (calibrations.items, sets.items, pairs.items);
        Ok(Self { stages, price, usual, held_out: known.is_held_out(), calibrations, sets, pairs, members })
    }

    /// One policy as it is stored by itself.
    fn policy(&self, mut rule: Rule, mut facts: Facts, shared: Vec<Shared>) -> Result<Policy> {
        let beliefs = rule.beliefs();
        if beliefs.len() != shared.len() || !facts.usual.is_empty() {
            return Err(misfit("what a policy shares does not fit its rule"));
        }
        for (beliefs, Shared { calibration, sets, pairs }) in beliefs.into_iter().zip(shared) {
            if !(beliefs.calibration.is_empty() && beliefs.sets.is_empty() && beliefs.pairs.is_empty()) {
                return Err(misfit("a policy has beliefs besides those that it shares"));
            }
            beliefs.sets = picked(&self.sets, sets, "a policy shares a set that is not there, or twice")?;
            beliefs.pairs = picked(&self.pairs, pairs, "a policy shares a pair that is not there, or twice")?;
            let calibration = self.calibrations.get(calibration as usize);
            beliefs.calibration =
                calibration.cloned().ok_or_else(|| misfit("a policy shares a calibration that is not there"))?;
        }
        facts.usual.clone_from(&self.usual);
        Ok(Policy { stages: self.stages.clone(), price: self.price.clone(), rule, facts })
    }
}

/// Items by number, each at most once: a policy is not larger than the family's file.
fn picked<T: Clone>(items: &[T], numbers: Vec<u32>, problem: &str) -> Result<Vec<T>> {
    let mut seen = BTreeSet::new();
    let item = |number: u32| {
        let item = items.get(number as usize).filter(|_| seen.insert(number));
        item.cloned().ok_or_else(|| misfit(problem))
    };
    numbers.into_iter().map(item).collect()
}

impl TryFrom<Family> for family::Family {
    type Error = Error;

    fn try_from(mut stored: Family) -> Result<Self> {
        let members = take(&mut stored.members);
        if members.len() > family::MOST_MEMBERS {
            return Err(misfit("a family has more than 64 policies"));
        }
        let policy = |Member { tradeoff, loss, cost, rule, facts, shared }| {
            let policy = compiled::Policy::try_from(stored.policy(rule, facts, shared)?)?;
            Ok(family::Member { tradeoff, loss, cost, policy: Arc::new(policy) })
        };
        let members = members.into_iter().map(policy).collect::<Result<_>>()?;
        Self::new(members, stored.held_out).map_err(|error| Error::format(format!("invalid {error}")))
    }
}
