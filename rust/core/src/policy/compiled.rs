//! The compiled policy: immutable, shared freely between threads, and decided from by [`crate::decide`].

use once_cell::race::OnceBox;

use super::facts::Facts;
use crate::error::{Checked, Error, Result, check};
use crate::price::Price;
use crate::rules::{AnyRule, Given, Observation, Rule};

/// The largest number of stages a policy may have.
pub const MAX_STAGES: usize = i16::MAX as usize;

/// A compiled policy.
#[derive(Clone, Debug)]
pub struct Policy {
    stages: Vec<String>,
    price: Price,
    rule: AnyRule,
    facts: Facts,
    /// Whether requests begin, and what follows a first report can be told without a state.
    tells_first: bool,
    /// Hexadecimal digest of the bytes it is stored as, once somebody has asked; never waited for.
    pub(super) digest: OnceBox<String>,
}

impl PartialEq for Policy {
    fn eq(&self, other: &Self) -> bool {
        (&self.stages, &self.price, &self.rule, &self.facts) == (&other.stages, &other.price, &other.rule, &other.facts)
    }
}

impl Policy {
    /// Checks that the parts fit each other, so that executing the policy cannot go wrong. Nothing else makes a policy.
    ///
    /// # Errors
    /// [`Error::Invalid`] where they do not; names the part.
    pub fn new(stages: Vec<String>, price: Price, rule: impl Into<AnyRule>, facts: Facts) -> Result<Self> {
        let rule = rule.into();
        let mut policy = Self { stages, price, rule, facts, tells_first: false, digest: OnceBox::new() };
        match policy.complete() {
            Ok(()) => Ok(policy),
            Err(problem) => Err(Error::invalid(format!("policy: {problem}"))),
        }
    }

    fn complete(&mut self) -> Checked {
        let k = self.stages.len();
        check((1..=MAX_STAGES).contains(&k), "the number of stages is not in 1..=32767")?;
        self.price.check(k)?;
        check([0, k].contains(&self.facts.usual.len()), "the usual reports do not fit the stages")?;
        self.rule.complete(k, &self.price)?;
        self.tells_first = self.rule.begin(Given::NOTHING).0.is_waiting()
            && !self.rule.may_decline()
            && self.rule.after_first(Observation::EMPTY).is_some();
        Ok(())
    }

    /// The same decisions, described by other facts.
    #[must_use]
    pub fn with_facts(self, facts: Facts) -> Self {
        Self { facts, digest: OnceBox::new(), ..self }
    }

    /// Names of the stages (k,).
    pub fn stages(&self) -> &[String] {
        &self.stages
    }

    /// What running a stage costs, in the unit of the trace.
    pub fn price(&self) -> &Price {
        &self.price
    }

    /// The decision rule.
    #[inline]
    pub fn rule(&self) -> &AnyRule {
        &self.rule
    }

    /// Whether [`Rule::after_first`] tells what becomes of a request, and whose its answer is.
    #[inline]
    pub(crate) fn tells_first(&self) -> bool {
        self.tells_first
    }

    /// How the policy was made and what it is worth.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Whether decisions depend on how many seconds a request has left.
    pub fn knows_time(&self) -> bool {
        self.latency().is_some()
    }

    /// Whether decisions depend on what a request is told that its stages cost.
    pub fn knows_cost(&self) -> bool {
        self.rule.knows_cost()
    }

    /// Expected seconds of each stage (k,), of exits since the exit before; none where the policy knows no time.
    pub fn latency(&self) -> Option<&[f64]> {
        self.rule.latency()
    }

    /// Expected seconds from the end of stage `last` ([`NO_STAGE`](crate::plan::NO_STAGE): from the start) to that of
    /// `next`: of exits, all in between run too. `None` where the policy knows no time.
    pub fn delay(&self, last: u16, next: usize) -> Option<f64> {
        let run = self.price.run_from(last, next)..=next;
        self.latency().map(|latency| latency.get(run).unwrap_or_default().iter().sum())
    }

    /// Loss of answering with nothing, in the unit of the losses; infinite where some stage has to answer.
    pub fn default_loss(&self) -> f64 {
        self.rule.default_loss()
    }

    /// Whether an earlier answer than the last may be returned.
    pub fn recall(&self) -> bool {
        self.rule.recall()
    }
}
