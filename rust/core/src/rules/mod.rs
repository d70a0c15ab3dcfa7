//! The online half of the engine: what happens when a stage reports.
//!
//! Every rule is a pure function from (state of the request, signal, prediction) to the next state. It is total: any bit
//! pattern may come in, a documented safe action comes out, nothing allocates and nothing panics.

mod belief;
mod chain;
mod dag;
mod mixture;
mod patience;
mod progress;
mod threshold;
mod tree;

pub use belief::{BeliefRule, Calibration, Curve, EntryCuts, Evidence, KNOTS, LOGIT_LIMIT, Line, Node, Reading, SLOTS};
pub use chain::{ChainRule, StateReader};
pub use dag::DagRule;
pub use mixture::{Component, MixtureMemory, MixtureRule};
pub use patience::PatienceRule;
pub use progress::{NO_PREDICTION, NO_STAGE, Progress, signed, stage_number};
pub use threshold::ThresholdRule;
pub use tree::{OpenStages, TreeRule};

use serde::{Deserialize, Serialize};

use crate::price::Price;

/// A decision rule, and what one request carries through it: a [`Progress`] and a memory of the rule's own.
pub trait Rule: Sync {
    /// What the rule remembers of one request besides the progress state.
    type Memory: Clone + Send;

    /// Before any stage has run.
    fn begin(&self) -> (Progress, Self::Memory);

    /// The waiting stage reports `signal` and `prediction`: books its price, decides what is next. Must not be called when
    /// nothing is waiting.
    fn step(&self, progress: &mut Progress, memory: &mut Self::Memory, signal: f64, prediction: i64, price: &Price);

    /// Expected loss of the answer in hand, in the unit of the losses.
    fn expected_loss(&self, progress: &Progress, memory: &Self::Memory) -> f64;

    /// Whether the first report alone ends the request; a cheap shortcut where it can be told without weighing.
    #[inline]
    fn ends_at_once(&self, _signal: f64, _prediction: i64) -> bool {
        false
    }
}

/// The rule of a compiled policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Rules {
    /// Observed states on a line or a skip graph (section 3 of the theory).
    Chain(ChainRule),
    /// Observed states on a tree or forest.
    Tree(TreeRule),
    /// Posterior belief from signals (section 4 of the theory).
    Belief(BeliefRule),
    /// Confidence thresholds; answers with the last stage.
    Threshold(ThresholdRule),
    /// A number of consecutive equal predictions; answers with the last stage.
    Patience(PatienceRule),
    /// Observed states on a small general graph.
    Dag(DagRule),
    /// A coin between two rules.
    Mixture(MixtureRule),
}

impl Rules {
    /// Derives what is not stored; to be called once, before anything is decided.
    pub(crate) fn prepare(&mut self) {
        match self {
            Self::Belief(rule) => rule.prepare(),
            Self::Mixture(rule) => rule.prepare(),
            _ => {}
        }
    }
}

/// Runs `$body` with `$rule` bound to the concrete rule inside `$rules`.
macro_rules! with_rule {
    ($rules:expr, $rule:ident => $body:expr) => {
        match $rules {
            $crate::rules::Rules::Chain($rule) => $body,
            $crate::rules::Rules::Tree($rule) => $body,
            $crate::rules::Rules::Belief($rule) => $body,
            $crate::rules::Rules::Threshold($rule) => $body,
            $crate::rules::Rules::Patience($rule) => $body,
            $crate::rules::Rules::Dag($rule) => $body,
            $crate::rules::Rules::Mixture($rule) => $body,
        }
    };
}
pub(crate) use with_rule;
