//! Seconds that requests have left.

use numpy::PyUntypedArrayMethods;
use pyo3::prelude::*;
use ttamer::Policy;
use ttamer::rules::UNTOLD;

use crate::convert::{floats, number};
use crate::errors::invalid;

/// Of one request: at least 0, infinite without a deadline; finite only where the policy knows time. None is not told.
///
/// # Errors
/// A `ValidationError` for anything else, and whatever its own methods raise.
pub fn seconds(policy: &Policy, given: &Bound<'_, PyAny>) -> PyResult<f64> {
    if given.is_none() {
        return Ok(UNTOLD);
    }
    let seconds = number("remaining", given)?;
    check(given.py(), policy, "`remaining`", seconds)?;
    Ok(seconds)
}

/// Of several requests: a number for all of them, or one for each, in one dimension.
///
/// # Errors
/// As [`seconds`]; names the first bad entry.
pub fn of_each(policy: &Policy, given: &Bound<'_, PyAny>, count: usize) -> PyResult<Vec<f64>> {
    let py = given.py();
    let array = floats("remaining", given)?;
    let given = array.as_slice()?;
    if let ([one], 0) = (given, array.ndim()) {
        check(py, policy, "`remaining`", *one)?;
        return Ok(vec![*one; count]);
    }
    if array.ndim() != 1 || given.len() != count {
        let message = format!("`remaining` must be one number or have shape ({count},), got {:?}", array.shape());
        return Err(invalid(py, message));
    }
    for (at, seconds) in given.iter().enumerate() {
        check(py, policy, &format!("`remaining[{at}]`"), *seconds)?;
    }
    Ok(given.to_vec())
}

/// Whether a request of this policy may have so many seconds left.
pub fn is_allowed(policy: &Policy, seconds: f64) -> bool {
    seconds == f64::INFINITY || (seconds >= 0.0 && policy.knows_time())
}

fn check(py: Python<'_>, policy: &Policy, name: &str, seconds: f64) -> PyResult<()> {
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
