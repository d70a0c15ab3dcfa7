//! From a learner and a goal to a policy, and what is remembered of that.

use super::budget::{Budget, Limited, within};
use super::learner::{Learner, Provenance};
use super::options::{Goal, Recall};
use super::provenance::{listed, provenance, restrictions};
use crate::error::Result;
use crate::policy::Policy;

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
            Goal::Tradeoff(tradeoff) => {
                let known = self.provenance(tradeoff, &format!("tradeoff={tradeoff:?}"));
                self.policy(tradeoff, recall, known)
            }
            Goal::MaxCost(most) => budget(Limited::Cost, most),
            Goal::MaxLoss(most) => budget(Limited::Loss, most),
        }?;
        let mut facts = policy.facts().clone();
        facts.provenance.extend(restrictions(&self.approach, recall));
        let decided = Decided { goal, recall, seed, full_cost: self.learned().full_cost() };
        Ok((policy.with_facts(facts), decided))
    }

    /// What policies say that they are made from.
    pub(super) fn provenance(&self, tradeoff: f64, goal: &str) -> Provenance {
        let mut known = provenance(&self.given, tradeoff, goal);
        known.extend(self.prices.as_ref().map(|prices| ("cost".into(), listed(prices))));
        known
    }
}
