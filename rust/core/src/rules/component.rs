//! The rules that may be part of a mixture: those whose memory is flat and that are not mixtures themselves.

use serde_json::Value;

use super::belief::{BeliefMemory, BeliefRule};
use super::chain::ChainRule;
use super::given::Given;
use super::observation::Observation;
use super::patience::PatienceRule;
use super::progress::Progress;
use super::rule::{Entry, Rule, Visitor, rules};
use super::threshold::ThresholdRule;
use crate::error::Checked;
use crate::price::Price;

impl ComponentMemory {
    /// Before a request begins, whatever its rule.
    pub(super) const EMPTY: Self = Self::Belief(BeliefMemory::EMPTY);
}

rules! {
    /// A rule that may be part of a mixture.
    Component,
    /// What such a rule remembers of one request.
    ComponentMemory, first Belief {
        /// Posterior belief from signals (section 4 of the theory).
        Belief(BeliefRule),
        /// Observed states on a line or a skip graph (section 3 of the theory).
        Chain(ChainRule),
        /// Confidence thresholds; answers with the last stage.
        Threshold(ThresholdRule),
        /// A number of consecutive equal predictions; answers with the last stage.
        Patience(PatienceRule),
    }
}
