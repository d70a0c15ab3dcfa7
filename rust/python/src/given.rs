//! What is known of requests before they begin: the seconds that they have left, and what their stages cost.

use numpy::PyUntypedArrayMethods;
use pyo3::prelude::*;
use ttamer::rules::UNTOLD;
use ttamer::{Given, Policy};

use crate::convert::{floats, number};
use crate::errors::invalid;

/// Seconds that one request has left: at least 0, infinite without a deadline; finite only where the policy knows time. None
/// is not told.
///
/// # Errors
/// A `ValidationError` for anything else, and whatever its own methods raise.
pub fn seconds(policy: &Policy, given: &Bound<'_, PyAny>) -> PyResult<f64> {
    if given.is_none() {
        return Ok(UNTOLD);
    }
    let seconds = number("remaining", given)?;
    check_seconds(given.py(), policy, "`remaining`", seconds)?;
    Ok(seconds)
}

/// What the stages of one request cost, over what they cost the average one: finite and at least 0, other than 1 only where
/// the policy knows what requests cost. None is 1.
///
/// # Errors
/// As [`seconds`].
pub fn cost(policy: &Policy, given: &Bound<'_, PyAny>) -> PyResult<f64> {
    if given.is_none() {
        return Ok(Given::NOTHING.cost);
    }
    let cost = number("cost", given)?;
    check_cost(given.py(), policy, "`cost`", cost)?;
    Ok(cost)
}

/// Seconds that several requests have left: a number for all of them, or one for each, in one dimension.
///
/// # Errors
/// As [`seconds`]; names the first bad entry.
pub fn seconds_of_each(policy: &Policy, given: &Bound<'_, PyAny>, count: usize) -> PyResult<Vec<f64>> {
    of_each("remaining", policy, given, count, check_seconds)
}

/// What the stages of several requests cost: a number for all of them, or one for each, in one dimension.
///
/// # Errors
/// As [`cost`]; names the first bad entry.
pub fn costs_of_each(policy: &Policy, given: &Bound<'_, PyAny>, count: usize) -> PyResult<Vec<f64>> {
    of_each("cost", policy, given, count, check_cost)
}

/// What is known of several requests, if anything is.
///
/// # Errors
/// As [`seconds_of_each`] and [`costs_of_each`].
pub fn of_requests(
    policy: &Policy,
    remaining: Option<&Bound<'_, PyAny>>,
    cost: Option<&Bound<'_, PyAny>>,
    count: usize,
) -> PyResult<Option<Vec<Given>>> {
    let remaining = remaining.map(|given| seconds_of_each(policy, given, count)).transpose()?;
    let cost = cost.map(|given| costs_of_each(policy, given, count)).transpose()?;
    if remaining.is_none() && cost.is_none() {
        return Ok(None);
    }
    let mut all = vec![Given::NOTHING; count];
    for (given, remaining) in all.iter_mut().zip(remaining.iter().flatten()) {
        given.remaining = *remaining;
    }
    for (given, cost) in all.iter_mut().zip(cost.iter().flatten()) {
        given.cost = *cost;
    }
    Ok(Some(all))
}

/// Whether a request of this policy may have so many seconds left.
pub fn is_allowed(policy: &Policy, seconds: f64) -> bool {
    seconds == f64::INFINITY || (seconds >= 0.0 && policy.knows_time())
}

fn of_each(
    name: &str,
    policy: &Policy,
    given: &Bound<'_, PyAny>,
    count: usize,
    check: impl Fn(Python<'_>, &Policy, &str, f64) -> PyResult<()>,
) -> PyResult<Vec<f64>> {
    let py = given.py();
    let array = floats(name, given)?;
    let given = array.as_slice()?;
    if let ([one], 0) = (given, array.ndim()) {
        check(py, policy, &format!("`{name}`"), *one)?;
        return Ok(vec![*one; count]);
    }
    if array.ndim() != 1 || given.len() != count {
        let message = format!("`{name}` must be one number or have shape ({count},), got {:?}", array.shape());
        return Err(invalid(py, message));
    }
    for (at, one) in given.iter().enumerate() {
        check(py, policy, &format!("`{name}[{at}]`"), *one)?;
    }
    Ok(given.to_vec())
}

fn check_seconds(py: Python<'_>, policy: &Policy, name: &str, seconds: f64) -> PyResult<()> {
    if is_allowed(policy, seconds) {
        return Ok(());
    }
    Err(invalid(
        py,
        if seconds >= 0.0 {
            format!(
                "{name} must be inf, as this policy knows no time, got {seconds}: fit one that does by \
                 `fit(trace, ..., deadline=True)` on a trace with `latency`"
            )
        } else {
            format!("{name} must be at least 0 seconds, or inf, got {seconds}")
        },
    ))
}

fn check_cost(py: Python<'_>, policy: &Policy, name: &str, cost: f64) -> PyResult<()> {
    if !(0.0..f64::INFINITY).contains(&cost) {
        return Err(invalid(py, format!("{name} must be finite and at least 0, got {cost}")));
    }
    if cost == Given::NOTHING.cost || policy.knows_cost() {
        return Ok(());
    }
    Err(invalid(
        py,
        format!(
            "{name} must be 1, as this policy does not know what single requests cost, got {cost}: fit one that does by \
             `fit(trace, ..., known_cost=True)` on a trace with a cost of each row, (n, k)"
        ),
    ))
}
