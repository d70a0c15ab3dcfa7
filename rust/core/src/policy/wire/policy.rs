//! A stored policy: its stages, their prices, its rule, and what is known about it.

use serde::{Deserialize, Serialize};

use super::belief::{Belief, Beliefs};
use super::exact::{Chain, Dag, Tree};
use super::facts::Facts;
use super::heuristics::{Patience, Threshold};
use super::misfit::misfit;
use crate::error::{Error, Result};
use crate::policy::compiled;
use crate::price;
use crate::rules::{self, AnyRule, MixtureRule, PricedRule};

/// A stored policy.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    pub(super) stages: Vec<String>,
    pub(super) price: Price,
    pub(super) rule: Rule,
    pub(super) facts: Facts,
}

/// What stages cost: one number a stage, or one for each pair of the stage before (row 0: none) and the stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Price {
    Stage(Vec<f64>),
    Jump {
        stages: usize,
        jump: Vec<f64>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        alone: bool,
    },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Rule {
    Component(Box<Component>),
    Tree(Tree),
    Dag(Dag),
    Mixture(Box<Mixture>),
    Priced(Box<Priced>),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Component {
    Chain(Chain),
    Belief(Belief),
    Threshold(Threshold),
    Patience(Patience),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mixture {
    seed: u64,
    share: f64,
    components: [Component; 2],
}

/// One component for each range of what requests cost; all but the first from which cost on.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Priced {
    from: Vec<f64>,
    components: Vec<Component>,
}

impl Rule {
    /// What signals mean and how answers are weighed, of each belief rule in it.
    pub(super) fn beliefs(&mut self) -> Vec<&mut Beliefs> {
        let components = match self {
            Self::Component(component) => std::slice::from_mut(component.as_mut()),
            Self::Mixture(mixture) => mixture.components.as_mut_slice(),
            Self::Priced(priced) => priced.components.as_mut_slice(),
            Self::Tree(_) | Self::Dag(_) => &mut [],
        };
        let beliefs = components.iter_mut().map(|component| match component {
            Component::Belief(belief) => Some(&mut belief.beliefs),
            Component::Chain(_) | Component::Threshold(_) | Component::Patience(_) => None,
        });
        beliefs.flatten().collect()
    }
}

impl From<&compiled::Policy> for Policy {
    fn from(policy: &compiled::Policy) -> Self {
        let price = match policy.price() {
            price::Price::Stage(price) => Price::Stage(price.clone()),
            price::Price::Jump { stages, jump, alone } => {
                Price::Jump { stages: *stages, jump: jump.clone(), alone: *alone }
            }
        };
        let rule = match policy.rule() {
            AnyRule::Component(component) => Rule::Component(Box::new(component.into())),
            AnyRule::Tree(rule) => Rule::Tree(rule.into()),
            AnyRule::Dag(rule) => Rule::Dag(rule.into()),
            AnyRule::Mixture(rule) => Rule::Mixture(Box::new(Mixture {
                seed: rule.seed(),
                share: rule.share(),
                components: rule.components().each_ref().map(Into::into),
            })),
            AnyRule::Priced(rule) => Rule::Priced(Box::new(Priced {
                from: rule.from().collect(),
                components: rule.components().map(Into::into).collect(),
            })),
        };
        Self { stages: policy.stages().to_vec(), price, rule, facts: policy.facts().into() }
    }
}

impl TryFrom<Policy> for compiled::Policy {
    type Error = Error;

    fn try_from(stored: Policy) -> Result<Self> {
        let price = match stored.price {
            Price::Stage(price) => price::Price::Stage(price),
            Price::Jump { stages, jump, alone } => price::Price::Jump { stages, jump, alone },
        };
        let rule = match stored.rule {
            Rule::Component(component) => AnyRule::Component((*component).try_into()?),
            Rule::Tree(rule) => AnyRule::Tree(rule.into()),
            Rule::Dag(rule) => AnyRule::Dag(rule.into()),
            Rule::Priced(priced) => {
                let Priced { from, components } = *priced;
                let mut components = components.into_iter().map(rules::Component::try_from);
                let cheapest = components.next().ok_or_else(|| misfit("there is no range of costs"))??;
                let dearer = components.collect::<Result<Vec<_>>>()?;
                if dearer.len() != from.len() {
                    return Err(misfit("the ranges of costs do not fit the rules"));
                }
                AnyRule::Priced(PricedRule::new(cheapest, from.into_iter().zip(dearer).collect()))
            }
            Rule::Mixture(mixture) => {
                let Mixture { seed, share, components: [first, second] } = *mixture;
                AnyRule::Mixture(MixtureRule::new(seed, share, [first.try_into()?, second.try_into()?]))
            }
        };
        Self::new(stored.stages, price, rule, stored.facts.into())
            .map_err(|error| Error::format(format!("invalid {error}")))
    }
}

impl From<&rules::Component> for Component {
    fn from(component: &rules::Component) -> Self {
        match component {
            rules::Component::Chain(rule) => Self::Chain(rule.into()),
            rules::Component::Belief(rule) => Self::Belief(rule.into()),
            rules::Component::Threshold(rule) => Self::Threshold(rule.into()),
            rules::Component::Patience(rule) => Self::Patience(rule.into()),
        }
    }
}

impl TryFrom<Component> for rules::Component {
    type Error = Error;

    fn try_from(stored: Component) -> Result<Self> {
        Ok(match stored {
            Component::Chain(rule) => Self::Chain(rule.try_into()?),
            Component::Belief(rule) => Self::Belief(rule.try_into()?),
            Component::Threshold(rule) => Self::Threshold(rule.into()),
            Component::Patience(rule) => Self::Patience(rule.into()),
        })
    }
}
