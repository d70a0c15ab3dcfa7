//! What a request is told before its first stage.

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use ttamer::Barred;

use super::plain;
use crate::barred::barred;
use crate::remaining::seconds;

/// What a request is told.
pub(super) struct Told {
    /// Seconds that it has left, infinite without a deadline.
    pub(super) remaining: f64,
    /// Stages that it goes without, if any.
    pub(super) barred: Option<Barred>,
}

impl Told {
    /// Nothing.
    pub(super) const NOTHING: Self = Self { remaining: f64::INFINITY, barred: None };

    /// The state of such a request.
    pub(super) fn begin(&self, policy: &ttamer::Policy) -> ttamer::State {
        match &self.barred {
            Some(barred) => policy.begin_without(self.remaining, barred),
            None => policy.begin(self.remaining),
        }
    }

    /// The same, in place of another request.
    pub(super) fn begin_again(&self, policy: &ttamer::Policy, state: &mut ttamer::State) {
        if self.barred.is_some() {
            *state = self.begin(policy);
        } else {
            policy.begin_again(state, self.remaining);
        }
    }
}

/// What the arguments of a call say.
pub(super) unsafe fn told(
    py: Python<'_>,
    function: &str,
    policy: &ttamer::Policy,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    keywords: *mut ffi::PyObject,
) -> PyResult<Told> {
    const NAMES: [&str; 2] = ["remaining", "barred"];
    // SAFETY: as for `start`.
    let (positional, named) = unsafe {
        let all = |at: usize| Bound::from_borrowed_ptr(py, *args.add(at));
        let positional: Vec<Bound<'_, PyAny>> = (0..count as usize).map(all).collect();
        let names = Bound::from_borrowed_ptr_or_opt(py, keywords);
        let names: Vec<String> = names.map_or(Ok(Vec::new()), |names| names.extract())?;
        let values = (0..names.len()).map(|at| all(count as usize + at)).collect::<Vec<_>>();
        (positional, names.into_iter().zip(values))
    };
    let mut found: [Option<Bound<'_, PyAny>>; 2] = [None, None];
    if positional.len() > NAMES.len() {
        let given = positional.len();
        return Err(PyTypeError::new_err(format!("{function}() takes at most 2 arguments, got {given}")));
    }
    for (slot, value) in found.iter_mut().zip(positional) {
        *slot = Some(value);
    }
    for (name, value) in named {
        let slot = NAMES.iter().position(|known| *known == name).and_then(|at| found.get_mut(at));
        let slot = slot.ok_or_else(|| PyTypeError::new_err(format!("{function}() has no argument '{name}'")))?;
        if slot.replace(value).is_some() {
            return Err(PyTypeError::new_err(format!("{function}() got '{name}' twice")));
        }
    }
    let [remaining, stages] = found;
    let in_seconds = |given: Bound<'_, PyAny>| {
        // SAFETY: it is alive, and the GIL is held.
        let plain = unsafe { plain::remaining(given.as_ptr(), policy) };
        plain.map_or_else(|| seconds(policy, &given), Ok)
    };
    let remaining = remaining.map(in_seconds).transpose()?;
    let stages = stages.map(|given| barred(policy, &given)).transpose()?;
    Ok(Told {
        remaining: remaining.filter(|seconds| !seconds.is_nan()).unwrap_or(f64::INFINITY),
        barred: stages.filter(|barred| !barred.is_empty()),
    })
}
