//! From calibration traces to policies.

mod belief;
mod calibrate;
mod logistic;
mod markov;
mod pathwise;
mod thumb;
mod trace;
mod weigh;

use rayon::prelude::*;

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

/// Learns a policy from `trace`.
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
            let path: Vec<usize> = (0..trace.stages()).collect();
            let learned = belief::PathBelief::new(trace, &path, options.recall);
            let rule = learned.rule(trace, weights);
            let index = learned.index(&rule);
            (Rules::Belief(rule), index)
        }
        Method::Markov => markov::fit(trace, weights, options.recall)?,
        Method::Static => (thumb::fixed(trace, weights), Vec::new()),
        Method::Threshold => (thumb::shared_threshold(trace, weights), Vec::new()),
        Method::StageThresholds => (thumb::stage_thresholds(trace, weights), Vec::new()),
        Method::Patience => (thumb::patience(trace, weights)?, Vec::new()),
    };
    let mut facts = Facts {
        method: options.method.name().into(),
        graph: "line".into(),
        value: 0.0,
        index,
        index_error: 0.0,
        provenance,
    };
    let draft = Policy::new(stages, trace.price(), rules, facts.clone())?;
    facts.value = objective(&draft, trace, weights);
    draft.with_facts(facts)
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
        run.answer().map_or(0.0, |answer| weights.loss * trace.loss[answer][row]) + weights.cost * run.cost()
    };
    let totals: Vec<f64> = (0..trace.rows()).into_par_iter().map(total).collect();
    totals.iter().sum::<f64>() / trace.rows() as f64
}
