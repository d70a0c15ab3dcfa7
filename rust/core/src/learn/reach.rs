//! From a learner and a goal to a policy, and what is remembered of that.

use std::sync::Arc;

use super::budget::{Budget, Limited, within};
use super::learner::{Learner, Provenance};
use super::options::{Goal, Recall};
use super::provenance::{listed, provenance, restrictions};
use super::select::Means;
use crate::error::Result;
use crate::evaluate::Outcome;
use crate::policy::{Member, Policy};

/// What a policy was decided for, and at which prices: enough to decide it anew.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decided {
    /// What it is for.
    pub goal: Goal,
    /// Whether an earlier answer may be returned.
    pub recall: Recall,
    /// Of the coin of a mixture.
    pub seed: u64,
    /// Mean cost of running every stage, which a trade-off counts costs by.
    pub full_cost: f64,
}

impl Learner {
    /// The best policy for a goal, with what it was made from, and what it was decided for. O(n) for each set of stages
    /// that a request can have consulted; what the goal does not change is found once.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] for a goal out of range, or a budget that cannot be met.
    pub fn reach(&self, goal: Goal, recall: Recall, seed: u64) -> Result<(Policy, Decided)> {
        let budget = |limited, most| within(self, Budget { limited, most }, recall, seed);
        let policy = match goal {
            Goal::Tradeoff(tradeoff) => self.policy(tradeoff, recall, self.provenance_of(tradeoff)),
            Goal::MaxCost(most) => budget(Limited::Cost, most),
            Goal::MaxLoss(most) => budget(Limited::Loss, most),
        }?;
        Ok(self.remembered(policy, goal, recall, seed))
    }

    /// The policy for a trade-off, with what it costs and loses on average, as a member of a family; what it was decided
    /// for; and whether that is on rows that were not learned from, as [`Learner::judged_draft`] holds them back, else on
    /// the trace itself.
    ///
    /// # Errors
    /// As [`Learner::reach`].
    pub fn member(&self, tradeoff: f64, recall: Recall, seed: u64) -> Result<(Member, Decided, bool)> {
        let goal = Goal::Tradeoff(tradeoff);
        let (draft, held) = self.judged_draft(tradeoff, recall, self.provenance_of(tradeoff))?;
        let (policy, decided) = self.remembered(self.finished(draft)?, goal, recall, seed);
        let (loss, cost) = if let Some(Means { loss, cost }) = held {
            (loss, cost)
        } else {
            let found = Outcome::of_policy(&policy, &self.trace)?;
            (self.trace.mean(found.loss()), self.trace.mean(found.cost()))
        };
        Ok((Member { tradeoff, loss, cost, policy: Arc::new(policy) }, decided, held.is_some()))
    }

    /// A policy that says how it was restricted, and what it was decided for.
    fn remembered(&self, policy: Policy, goal: Goal, recall: Recall, seed: u64) -> (Policy, Decided) {
        let mut facts = policy.facts().clone();
        facts.provenance.extend(restrictions(&self.approach, recall));
        let decided = Decided { goal, recall, seed, full_cost: self.learned().full_cost() };
        (policy.with_facts(facts), decided)
    }

    fn provenance_of(&self, tradeoff: f64) -> Provenance {
        self.provenance(tradeoff, &format!("tradeoff={tradeoff:?}"))
    }

    /// What policies say that they are made from.
    pub(super) fn provenance(&self, tradeoff: f64, goal: &str) -> Provenance {
        let mut known = provenance(&self.given, tradeoff, goal);
        known.extend(self.prices.as_ref().map(|prices| ("cost".into(), listed(prices))));
        known
    }
}
