//! Every kind of rule: a new one is its file and one line, here or among the components.

use serde_json::Value;

use super::component::{Component, ComponentMemory};
use super::dag::DagRule;
use super::given::Given;
use super::mixture::MixtureRule;
use super::observation::Observation;
use super::priced::PricedRule;
use super::progress::Progress;
use super::rule::{Entry, Rule, Visitor, rules};
use super::tree::TreeRule;
use crate::error::Checked;
use crate::price::Price;

impl AnyMemory {
    /// Before a request begins, whatever its rule.
    pub const EMPTY: Self = Self::Component(ComponentMemory::EMPTY);
}

rules! {
    /// The rule of a compiled policy.
    AnyRule,
    /// What any rule remembers of one request.
    AnyMemory, first Component {
        /// One that may be part of a mixture.
        Component(Component),
        /// Observed states on a tree or forest.
        Tree(TreeRule),
        /// Observed states on a small general graph.
        Dag(DagRule),
        /// A coin between two components.
        Mixture(MixtureRule),
        /// One component for each range of what requests cost.
        Priced(PricedRule),
    }
}
