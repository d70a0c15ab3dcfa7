//! What to learn, and how.

use super::tuning::Tuning;

/// A simple rule, to compare with and to fall back on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Heuristic {
    /// The same stage for every request.
    Static,
    /// One threshold on the signal for all stages.
    Threshold,
    /// One threshold on the signal per stage.
    StageThresholds,
    /// Repetitions of the prediction.
    Patience,
}

impl Heuristic {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Static, Self::Threshold, Self::StageThresholds, Self::Patience];

    /// Its name in policies and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Threshold => "threshold",
            Self::StageThresholds => "stage_thresholds",
            Self::Patience => "patience",
        }
    }
}

/// How a policy is learned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Method {
    /// Posterior belief, indices along recorded paths.
    #[default]
    Pathwise,
    /// Quantile states, exact index of the chain.
    Markov,
    /// A simple rule.
    Heuristic(Heuristic),
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Pathwise,
        Self::Markov,
        Self::Heuristic(Heuristic::Static),
        Self::Heuristic(Heuristic::Threshold),
        Self::Heuristic(Heuristic::StageThresholds),
        Self::Heuristic(Heuristic::Patience),
    ];

    /// Its name in policies and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pathwise => "pathwise",
            Self::Markov => "markov",
            Self::Heuristic(heuristic) => heuristic.name(),
        }
    }
}

/// Which stage may follow which.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shape {
    /// Exits in their order; models in any order, chosen request by request.
    #[default]
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

/// Whether an earlier answer may be returned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recall {
    /// Yes, unless rows held back say clearly that it is better not to, or that a simple rule is better altogether.
    #[default]
    Auto,
    /// Yes.
    Always,
    /// No.
    Never,
}

/// A way to policies.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Approach {
    /// How.
    pub method: Method,
    /// Which stage may follow which; all methods but the default one have their own.
    pub shape: Shape,
    /// The only stages that may run, in their order, where that is prescribed; for the default method alone.
    pub order: Option<Vec<usize>>,
    /// Loss of answering with nothing, in the unit of the losses, finite and at least 0; none: some stage has to answer.
    pub default_loss: Option<f64>,
    /// Whether the time that is left is part of the decision; for the default method alone.
    pub deadline: bool,
    /// Whether what its stages cost is known of each request before it begins; for the default method alone, on a trace with
    /// costs by row.
    pub known_cost: bool,
}

/// What a policy is for.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Goal {
    /// The least `λ · loss + (1 − λ) · cost / mean cost of running every stage`, for λ in [0, 1].
    Tradeoff(f64),
    /// The least mean loss within this mean cost per request, in the unit of the trace.
    MaxCost(f64),
    /// The least mean cost within this mean loss per request, in the unit of the trace.
    MaxLoss(f64),
}

/// How to reach a goal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FitOptions {
    /// The way to policies.
    pub approach: Approach,
    /// Whether an earlier answer may be returned.
    pub recall: Recall,
    /// Of the coin of a mixture.
    pub seed: u64,
    /// The constants of learning.
    pub tuning: Tuning,
}
