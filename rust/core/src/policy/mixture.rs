//! From two policies to one that follows each of them on a share of the requests.

use super::compiled::Policy;
use super::facts::Facts;
use crate::error::{Error, Result};
use crate::rules::{AnyRule, Component, MixtureRule};

/// A policy that follows `first` on about `share` of the requests and `second` on the others, by a coin with the given
/// seed that is tossed on the first report. It is described as `first` is, by `value` and `provenance` of its own.
///
/// # Errors
/// [`Error::Invalid`] for a share outside [0, 1], for policies of trees, graphs or mixtures, and for policies that
/// differ in stages, prices or the stage that they begin with.
pub fn mixture(
    first: &Policy,
    second: &Policy,
    share: f64,
    seed: u64,
    value: f64,
    provenance: Vec<(String, String)>,
) -> Result<Policy> {
    if first.stages() != second.stages() || first.price() != second.price() {
        return Err(Error::invalid("`second` must have the stages and prices of `first`"));
    }
    let rule = MixtureRule::new(seed, share, [component("first", first)?, component("second", second)?]);
    let (one, other) = (first.facts(), second.facts());
    let joined = |one: &str, other: &str| if one == other { one.to_owned() } else { format!("{one} + {other}") };
    let facts = Facts {
        method: joined(&one.method, &other.method),
        graph: joined(&one.graph, &other.graph),
        value,
        index: vec![Vec::new(); first.stages().len()],
        index_error: 0.0,
        provenance,
        candidates: one.candidates.clone(),
        usual: one.usual.clone(),
    };
    Policy::new(first.stages().to_vec(), first.price().clone(), AnyRule::Mixture(rule), facts)
}

fn component(name: &str, policy: &Policy) -> Result<Component> {
    match policy.rule() {
        AnyRule::Component(component) => Ok(component.clone()),
        _ => Err(Error::invalid(format!(
            "`{name}` must be a policy of a line or of beliefs, got {}",
            policy.facts().graph
        ))),
    }
}
