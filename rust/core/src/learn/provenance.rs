//! What a fitted policy says that it was made from.

use crate::trace::Trace;

/// Names and values, in order: the goal, the trade-off λ, and the trace, by its number of rows and its SHA-256. O(n k)
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
    found.into_iter().map(|(name, value)| (name.into(), value)).collect()
}
