//! Numbers and decisions as JSON. Infinite numbers are the strings `inf` and `-inf`.

use serde_json::{Map, Value, json};

use crate::plan::{Clock, Intervals, Row, STOP};

/// One number.
pub fn number(x: f64) -> Value {
    if x.is_finite() { json!(x) } else { json!(if x > 0.0 { "inf" } else { "-inf" }) }
}

/// Several numbers.
pub fn numbers(xs: &[f64]) -> Value {
    xs.iter().map(|x| number(*x)).collect()
}

/// The remaining times between which decisions do not change, and what is decided, by its name.
pub(super) fn clock(clock: &Clock, name: &str, decided: &[i32]) -> Value {
    json!({"deadline": clock.deadline, "latency": clock.latency, "from": clock.edges, (name): decided})
}

/// An object with further entries.
pub(super) fn extended(mut object: Value, further: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    if let Some(map) = object.as_object_mut() {
        map.extend(further.into_iter().map(|(name, value)| (name.into(), value)));
    }
    object
}

/// One row of decisions, with limits and targets mapped to what the reader knows: `stop`, up to which loss in hand to
/// stop, and `next`, pairs of a further limit and the stage to run below it.
pub(super) fn decision(
    intervals: &Intervals,
    row: &Row,
    loss: impl Fn(f64) -> f64,
    stage: impl Fn(i32) -> i32,
) -> Map<String, Value> {
    let last = (row.last != STOP).then_some((f64::INFINITY, row.last));
    let steps = intervals.steps(row).chain(last);
    let steps: Vec<Value> = steps.map(|(x, j)| json!([number(loss(x)), stage(j)])).collect();
    let mut map = Map::new();
    map.insert("stop".into(), number(loss(row.stop)));
    map.insert("next".into(), json!(steps));
    map
}
