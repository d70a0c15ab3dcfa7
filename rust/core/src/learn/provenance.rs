//! What a fitted policy says that it was made from.

use super::options::{Approach, Recall, Shape};
use crate::trace::Trace;

/// Names and values, in order: the goal, the trade-off λ, and the trace, by its number of rows and its
/// SHA-256; of a log, how many requests were run through every stage; the teacher, where there is one. O(n k)
/// the first time for each trace.
pub fn provenance(trace: &Trace, tradeoff: f64, goal: &str) -> Vec<(String, String)> {
    let mut found = vec![
        ("goal", goal.into()),
        ("tradeoff", format!("{tradeoff:?}")),
        ("kind", trace.kind().name().into()),
        ("rows", trace.rows().to_string()),
        ("trace", trace.digest().into()),
        ("version", env!("CARGO_PKG_VERSION").into()),
    ];
    found.extend(trace.weight_digest().map(|digest| ("weight", digest)));
    if trace.is_censored() {
        let through = (0..trace.rows()).filter(|row| trace.chance_of(*row, |_| true).is_some()).count();
        found.push(("run_through", through.to_string()));
    }
    found.extend(trace.teacher().map(|teacher| ("teacher", teacher.into())));
    found.into_iter().map(|(name, value)| (name.into(), value)).collect()
}

/// How a fit was restricted: `graph`, `order` by stage numbers, `default_loss`, `deadline`, `known_cost`, `recall`; those that were
/// left open are not named.
pub(super) fn restrictions(approach: &Approach, recall: Recall) -> Vec<(String, String)> {
    let numbers = |order: &Vec<usize>| order.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
    let found = [
        ("graph", (approach.shape != Shape::Auto).then(|| approach.shape.name().to_owned())),
        ("order", approach.order.as_ref().map(numbers)),
        ("default_loss", approach.default_loss.map(|loss| format!("{loss:?}"))),
        ("deadline", approach.deadline.then(|| true.to_string())),
        ("known_cost", approach.known_cost.then(|| true.to_string())),
        ("recall", (recall != Recall::Auto).then(|| (recall == Recall::Always).to_string())),
    ];
    found.into_iter().filter_map(|(name, value)| Some((name.into(), value?))).collect()
}

/// Prices (k,) as provenance has them.
pub(super) fn listed(prices: &[f64]) -> String {
    prices.iter().map(|price| format!("{price:?}")).collect::<Vec<_>>().join(",")
}
