//! The same beliefs under other prices, decided anew.

use std::sync::Arc;

use super::learner::{Learner, Way};
use super::options::Goal;
use super::reach::Decided;
use crate::error::{Error, Result};
use crate::policy::Policy;
use crate::trace::Trace;

/// What of a policy depends on its goal and its prices: the names of these in its provenance.
const DECIDED: [&str; 8] =
    ["goal", "tradeoff", "mixed_tradeoff", "mixed_share", "seed", "cost", "repriced_from", "repriced_rows"];

impl Learner {
    /// The same under other prices of the stages (k,), incremental, in the unit of the trace, in place of the costs of
    /// the trace. Beliefs do not depend on them: they are shared, whichever of the two finds them. O(k).
    ///
    /// # Errors
    /// [`Error::Invalid`] where there is not one per stage, or one is negative or not finite.
    pub fn repriced(&self, cost: &[f64]) -> Result<Self> {
        self.given.check_prices(cost)?;
        let way = match &self.way {
            Way::Calibrated(calibrated) => Way::Calibrated(Arc::new(calibrated.repriced(cost))),
            Way::Markov => Way::Markov,
            Way::Heuristic(heuristic) => Way::Heuristic(*heuristic),
        };
        Ok(Self {
            given: Arc::clone(&self.given),
            trace: self.costed(&self.trace, cost),
            condensed: self.condensed.as_ref().map(|condensed| self.costed(condensed, cost)),
            way,
            approach: self.approach.clone(),
            default_loss: self.default_loss,
            tuning: self.tuning.clone(),
            usual: Arc::clone(&self.usual),
            prices: Some(cost.to_vec()),
        })
    }

    /// A trace of these rows at prices (k,): those of the average request, where it is known what each costs over that.
    fn costed(&self, trace: &Trace, cost: &[f64]) -> Trace {
        let priced = trace.priced(cost);
        if self.approach.known_cost { priced.dearer(&trace.relative_costs(trace.mean_cost())) } else { priced }
    }

    /// `policy`, which was decided so, under other prices (k,): the trade-off at which a loss is worth as much cost as
    /// before, or the same budget. And how that was decided.
    ///
    /// # Errors
    /// [`Error::Invalid`] as for [`Learner::repriced`] and [`Learner::reach`]; where a trade-off has to weigh losses
    /// against costs, and all of these are 0, now or before.
    pub fn redecided(&self, policy: &Policy, decided: &Decided, cost: &[f64]) -> Result<(Policy, Decided)> {
        let learner = self.repriced(cost)?;
        let Decided { recall, seed, .. } = *decided;
        let goal = match decided.goal {
            Goal::Tradeoff(tradeoff) => {
                Goal::Tradeoff(worth_as_much(tradeoff, decided.full_cost, learner.learned().full_cost())?)
            }
            budget => budget,
        };
        let (found, decided_now) = learner.reach(goal, recall, seed)?;
        let mut facts = found.facts().clone();
        let is_decided = |entry: &&(String, String)| DECIDED.contains(&entry.0.as_str());
        let known = policy.facts().provenance.iter().filter(|entry| !is_decided(entry));
        let mut provenance: Vec<(String, String)> = facts.provenance.iter().filter(is_decided).cloned().collect();
        provenance.extend(known.cloned());
        provenance.push(("repriced_from".into(), policy.digest()?.into()));
        let rows = self.given.rows().to_string();
        if provenance.iter().any(|(name, found)| name == "rows" && *found != rows) {
            provenance.push(("repriced_rows".into(), rows));
        }
        facts.provenance = provenance;
        Ok((found.with_facts(facts), decided_now))
    }
}

/// λ at which a loss is worth as much where every stage together costs `now`, as it is at `tradeoff` where they cost
/// `before`: (1 − λ) / (λ now) is the same.
fn worth_as_much(tradeoff: f64, before: f64, now: f64) -> Result<f64> {
    if tradeoff <= 0.0 || tradeoff >= 1.0 || before.to_bits() == now.to_bits() {
        return Ok(tradeoff);
    }
    if before <= 0.0 {
        let message = format!(
            "`cost` must not be given where every stage was free: what a loss is worth at the trade-off {tradeoff} is \
             not known; fit or calibrate with a new trade-off"
        );
        return Err(Error::invalid(message));
    }
    if now <= 0.0 {
        let message = format!(
            "`cost` must have a positive entry, so that the trade-off {tradeoff} keeps what a loss is worth, got zeros only"
        );
        return Err(Error::invalid(message));
    }
    let dearer = now / before;
    Ok(tradeoff / (tradeoff + (1.0 - tradeoff) * dearer))
}
