//! From calibration traces to policies.

mod calibrate;
mod cut;
mod evidence;
mod heuristics;
mod induction;
mod learner;
mod logistic;
mod markov;
mod sample;
mod select;
mod situations;

pub use learner::Learner;

use select::Choice;

use crate::error::Result;
use crate::policy::{Candidate, Facts, Policy};
use crate::rules::{AnyRule, Component};
use crate::trace::{Objective, Trace};

/// Up to this many rows loss and cost are estimated on rows held back.
const ESTIMATED: usize = 100_000;

/// How a policy is learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Posterior belief, indices along recorded paths.
    Pathwise,
    /// Quantile states, exact index of the chain.
    Markov,
    /// The same stage for every request.
    Static,
    /// One confidence threshold for all stages.
    Threshold,
    /// One confidence threshold per stage.
    StageThresholds,
    /// Repetitions of the prediction.
    Patience,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Pathwise, Self::Markov, Self::Static, Self::Threshold, Self::StageThresholds, Self::Patience];

    /// Its name in policies and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pathwise => "pathwise",
            Self::Markov => "markov",
            Self::Static => "static",
            Self::Threshold => "threshold",
            Self::StageThresholds => "stage_thresholds",
            Self::Patience => "patience",
        }
    }
}

/// Which stage may follow which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Exits in their order; models in any order, chosen request by request.
    Auto,
    /// Every stage after the one before it.
    Line,
    /// Any later stage.
    Skip,
}

impl Shape {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Line, Self::Skip];

    /// Its name in arguments and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Line => "line",
            Self::Skip => "skip",
        }
    }
}

/// What to learn.
#[derive(Clone, Debug)]
pub struct FitOptions {
    /// How.
    pub method: Method,
    /// λ: weight of the loss; the cost, as a fraction of running every stage, weighs 1 − λ.
    pub tradeoff: f64,
    /// Whether earlier answers may be returned (rules of heuristics never do).
    pub recall: bool,
}

/// Learns a policy from `trace`, on the whole line of stages; [`Learner`] has more choices for the default method.
///
/// # Errors
/// [`crate::Error::Invalid`] for a trade-off outside [0, 1], or a method that needs predictions on a trace without.
pub fn fit(
    trace: &Trace,
    stages: Vec<String>,
    options: &FitOptions,
    provenance: Vec<(String, String)>,
) -> Result<Policy> {
    let objective = Objective::new(trace, options.tradeoff)?;
    let (rule, index) = tuned(options.method, trace, objective, options.recall)?;
    let facts = facts(options.method, "line", index, Facts { provenance, ..Facts::default() });
    Ok(valued(Policy::new(stages, trace.price(), rule, facts)?, trace, objective))
}

/// The rules of one method on the whole line, and the index of each stage where there is one.
fn tuned(method: Method, trace: &Trace, objective: Objective, recall: bool) -> Result<(AnyRule, Vec<Vec<f64>>)> {
    let component: Component = match method {
        Method::Pathwise => {
            let learned = Learner::new(trace.clone(), Shape::Line).rule(objective, recall);
            return Ok((AnyRule::Component(learned.rule.into()), learned.index));
        }
        Method::Markov => return markov::fit(trace, objective, recall),
        Method::Static => heuristics::fixed(trace, objective),
        Method::Threshold => heuristics::shared_threshold(trace, objective),
        Method::StageThresholds => heuristics::stage_thresholds(trace, objective),
        Method::Patience => heuristics::patience(trace, objective)?,
    };
    Ok((component.into(), Vec::new()))
}

/// Whether an earlier answer may be returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recall {
    /// Yes, unless rows held back say clearly that it is better not to, or that a simple rule is better altogether.
    Auto,
    /// Yes.
    Always,
    /// No.
    Never,
}

impl Learner {
    /// The policy for one trade-off.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] for a trade-off outside [0, 1], or names that do not fit the stages.
    pub fn policy(
        &self,
        stages: Vec<String>,
        tradeoff: f64,
        recall: Recall,
        provenance: Vec<(String, String)>,
    ) -> Result<Policy> {
        let objective = Objective::new(self.trace(), tradeoff)?;
        let (choice, candidates) = self.choice(objective, recall)?;
        self.chosen(choice, stages, objective, Facts { provenance, candidates, ..Facts::default() })
    }

    /// The policy for one trade-off, with its mean loss and mean cost on rows that were not learned from, in turn; none
    /// where there are too few rows, or so many that those learned from serve as well.
    ///
    /// # Errors
    /// As [`Learner::policy`].
    pub fn judged_policy(
        &self,
        stages: Vec<String>,
        tradeoff: f64,
        recall: Recall,
        provenance: Vec<(String, String)>,
    ) -> Result<(Policy, Option<(f64, f64)>)> {
        let objective = Objective::new(self.trace(), tradeoff)?;
        let (choice, candidates) = self.choice(objective, recall)?;
        let checked = candidates.iter().find(|found| found.is_chosen).filter(|_| std::ptr::eq(self.checked(), self));
        let held = match checked {
            Some(found) => Some((found.loss, found.cost)),
            None if self.trace().rows() > ESTIMATED => None,
            None => select::estimate(self, choice, objective)?,
        };
        let policy = self.chosen(choice, stages, objective, Facts { provenance, candidates, ..Facts::default() })?;
        Ok((policy, held))
    }

    /// What to learn for one trade-off, and how the alternatives did.
    fn choice(&self, objective: Objective, recall: Recall) -> Result<(Choice, Vec<Candidate>)> {
        if recall == Recall::Auto && self.is_free() {
            select::select(self.checked(), objective)
        } else {
            Ok((Choice::Belief { recall: recall != Recall::Never }, Vec::new()))
        }
    }

    fn chosen(&self, choice: Choice, stages: Vec<String>, objective: Objective, known: Facts) -> Result<Policy> {
        let trace = self.trace();
        let (rule, facts) = match choice {
            Choice::Belief { recall } => {
                let learned = self.rule(objective, recall);
                (AnyRule::Component(learned.rule.into()), facts(Method::Pathwise, learned.graph, learned.index, known))
            }
            Choice::Simple(method) => {
                let (rule, index) = tuned(method, trace, objective, true)?;
                (rule, facts(method, "line", index, known))
            }
        };
        Ok(valued(Policy::new(stages, trace.price(), rule, facts)?, trace, objective))
    }
}

fn facts(method: Method, graph: &str, index: Vec<Vec<f64>>, known: Facts) -> Facts {
    Facts { method: method.name().into(), graph: graph.into(), index, ..known }
}

/// The same policy, with its mean objective on `trace` among its facts.
fn valued(policy: Policy, trace: &Trace, objective: Objective) -> Policy {
    let facts = Facts { value: mean_objective(&policy, trace, objective), ..policy.facts().clone() };
    policy.with_facts(facts)
}

/// Mean weighted total of `policy` on `trace`. O(n·k), all cores.
pub fn mean_objective(policy: &Policy, trace: &Trace, objective: Objective) -> f64 {
    let found = select::outcome(policy, trace);
    let totals = found.loss.iter().zip(&found.cost).zip(&trace.weight);
    let sum: f64 = totals.map(|((loss, cost), w)| w * (objective.loss * loss + objective.cost * cost)).sum();
    sum / trace.rows() as f64
}
