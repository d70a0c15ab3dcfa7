//! What a request is told before its first stage.

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use ttamer::{Barred, Given};

use super::plain;
use crate::barred::barred;
use crate::given::{cost, seconds};

/// What a request is told.
pub(super) struct Told {
    /// What is known of it.
    pub(super) given: Given,
    /// Stages that it goes without, if any.
    pub(super) barred: Option<Barred>,
}

impl Told {
    /// Nothing.
    pub(super) const NOTHING: Self = Self { given: Given::NOTHING, barred: None };

    /// The state of such a request.
    pub(super) fn begin(&self, policy: &ttamer::Policy) -> ttamer::State {
        match &self.barred {
            Some(barred) => policy.begin_without(self.given, barred),
            None => policy.begin(self.given),
        }
    }

    /// The same, in place of another request.
    pub(super) fn begin_again(&self, policy: &ttamer::Policy, state: &mut ttamer::State) {
        if self.barred.is_some() {
            *state = self.begin(policy);
        } else {
            policy.begin_again(state, self.given);
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
    const NAMES: [&str; 3] = ["remaining", "barred", "cost"];
    // SAFETY: as for `start`.
    let (positional, named) = unsafe {
        let all = |at: usize| Bound::from_borrowed_ptr(py, *args.add(at));
        let positional: Vec<Bound<'_, PyAny>> = (0..count as usize).map(all).collect();
        let names = Bound::from_borrowed_ptr_or_opt(py, keywords);
        let names: Vec<String> = names.map_or(Ok(Vec::new()), |names| names.extract())?;
        let values = (0..names.len()).map(|at| all(count as usize + at)).collect::<Vec<_>>();
        (positional, names.into_iter().zip(values))
    };
    let mut found: [Option<Bound<'_, PyAny>>; NAMES.len()] = [None, None, None];
    if positional.len() > NAMES.len() {
        let (most, given) = (NAMES.len(), positional.len());
        return Err(PyTypeError::new_err(format!("{function}() takes at most {most} arguments, got {given}")));
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
    let [remaining, stages, costing] = found;
    let in_seconds = |given: Bound<'_, PyAny>| {
        // SAFETY: it is alive, and the GIL is held.
        let plain = unsafe { plain::remaining(given.as_ptr(), policy) };
        plain.map_or_else(|| seconds(policy, &given), Ok)
    };
    let remaining = remaining.map(in_seconds).transpose()?;
    let stages = stages.map(|given| barred(policy, &given)).transpose()?;
    let cost = costing.map(|given| cost(policy, &given)).transpose()?;
    let nothing = Given::NOTHING;
    Ok(Told {
        given: Given {
            remaining: remaining.filter(|seconds| !seconds.is_nan()).unwrap_or(nothing.remaining),
            cost: cost.unwrap_or(nothing.cost),
        },
        barred: stages.filter(|barred| !barred.is_empty()),
    })
}
