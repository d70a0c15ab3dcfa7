//! From calibration traces to policies.

mod belief;
mod calibrate;
mod cut;
mod graph;
mod induction;
mod logistic;
mod markov;
mod sample;
mod thumb;
mod trace;
mod weigh;

use rayon::prelude::*;

pub use belief::Learner;
pub use trace::{Kind, Trace, Weights};

use crate::error::Result;
use crate::policy::{Facts, Policy};
use crate::rules::Rules;

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
    /// Repetitions of the label.
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

    fn is_line(self, kind: Kind) -> bool {
        self == Self::Line || (self == Self::Auto && kind == Kind::Exits)
    }
}

/// What to learn.
#[derive(Clone, Debug)]
pub struct FitOptions {
    /// How.
    pub method: Method,
    /// λ: weight of the loss; the cost, as a fraction of running every stage, weighs 1 − λ.
    pub tradeoff: f64,
    /// Whether earlier answers may be returned (rules of thumb never do).
    pub recall: bool,
}

/// Learns a policy from `trace`, on the whole line of stages; [`Learner`] has more choices for the default method.
///
/// # Errors
/// [`crate::Error::Invalid`] for a trade-off outside [0, 1], or a method that needs labels on a trace without.
pub fn fit(
    trace: &Trace,
    stages: Vec<String>,
    options: &FitOptions,
    provenance: Vec<(String, String)>,
) -> Result<Policy> {
    let weights = Weights::new(trace, options.tradeoff)?;
    let (rules, index) = match options.method {
        Method::Pathwise => {
            let (rule, index, _) = Learner::new(trace.clone(), Shape::Line, options.recall).rule(weights);
            (Rules::Belief(rule), index)
        }
        Method::Markov => markov::fit(trace, weights, options.recall)?,
        Method::Static => (thumb::fixed(trace, weights), Vec::new()),
        Method::Threshold => (thumb::shared_threshold(trace, weights), Vec::new()),
        Method::StageThresholds => (thumb::stage_thresholds(trace, weights), Vec::new()),
        Method::Patience => (thumb::patience(trace, weights)?, Vec::new()),
    };
    let facts = facts(options.method, "line", index, provenance);
    valued(Policy::new(stages, trace.price(), rules, facts)?, trace, weights)
}

impl Learner {
    /// The policy for one trade-off.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] for a trade-off outside [0, 1], or names that do not fit the stages.
    pub fn policy(&self, stages: Vec<String>, tradeoff: f64, provenance: Vec<(String, String)>) -> Result<Policy> {
        let weights = Weights::new(self.trace(), tradeoff)?;
        let (rule, index, graph) = self.rule(weights);
        let facts = facts(Method::Pathwise, graph, index, provenance);
        valued(Policy::new(stages, self.trace().price(), Rules::Belief(rule), facts)?, self.trace(), weights)
    }
}

fn facts(method: Method, graph: &str, index: Vec<Vec<f64>>, provenance: Vec<(String, String)>) -> Facts {
    Facts { method: method.name().into(), graph: graph.into(), value: 0.0, index, index_error: 0.0, provenance }
}

/// The same policy, with its mean objective on `trace` among its facts.
fn valued(policy: Policy, trace: &Trace, weights: Weights) -> Result<Policy> {
    let facts = Facts { value: objective(&policy, trace, weights), ..policy.facts().clone() };
    policy.with_facts(facts)
}

/// Mean weighted total of `policy` on `trace`. O(n·k), all cores.
pub fn objective(policy: &Policy, trace: &Trace, weights: Weights) -> f64 {
    let total = |row: usize| {
        let mut run = policy.start();
        while let Some(stage) = run.next() {
            let label = trace.label.as_ref().map(|label| label[stage][row]);
            if run.observe(trace.signal[stage][row], label).is_err() {
                break;
            }
        }
        let loss = run.answer().map_or(0.0, |answer| weights.loss * trace.loss[answer][row]);
        trace.weight[row] * (loss + weights.cost * run.cost())
    };
    let totals: Vec<f64> = (0..trace.rows()).into_par_iter().map(total).collect();
    totals.iter().sum::<f64>() / trace.rows() as f64
}
