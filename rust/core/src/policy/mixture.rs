//! From two policies to one that follows each of them on a share of the requests.

use crate::error::{Error, Result};
use crate::policy::{Facts, Policy};
use crate::rules::{Component, MixtureRule, Rules};

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
    let part = |name: &str, policy: &Policy| {
        Component::new(policy.rules()).ok_or_else(|| {
            Error::invalid(format!("`{name}` must be a policy of a line or of beliefs, got {}", policy.facts().graph))
        })
    };
    let parts = Box::new([part("first", first)?, part("second", second)?]);
    let (one, other) = (first.facts(), second.facts());
    let joined = |one: &str, other: &str| if one == other { one.to_owned() } else { format!("{one} + {other}") };
    let facts = Facts {
        method: joined(&one.method, &other.method),
        graph: joined(&one.graph, &other.graph),
        value,
        index: vec![Vec::new(); first.stages().len()],
        index_error: 0.0,
        provenance,
        report: one.report.clone(),
    };
    let rules = Rules::Mixture(MixtureRule { seed, share, parts });
    Policy::new(first.stages().to_vec(), first.price().clone(), rules, facts)
}
