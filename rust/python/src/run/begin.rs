//! `Policy.start` and `Run.restart`: what a request is told before its first stage.

use std::ffi::CStr;

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use ttamer::Barred;

use super::layout::{Run, publish_next, run_of};
use super::life::started;
use super::observe::{attached, let_go, release};
use super::plain;
use crate::barred::barred;
use crate::policy::Policy;
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

/// A method that is called with what a request is told.
pub(super) const fn beginning(
    name: &'static CStr,
    function: ffi::PyCFunctionFastWithKeywords,
    doc: &'static CStr,
) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: function },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: doc.as_ptr(),
    }
}

pub(super) const START_DOC: &CStr = c"start($self, /, remaining=None, barred=())
--

A new request.

Parameters
----------
remaining : float, optional
    Seconds that it has left, at least 0; inf or None: no deadline. Finite only where the policy knows time.
barred : sequence of int or str
    Stages that it must not ask, by number or name: those that are switched off, overloaded, or out of reach. `next` is
    none of them. `exact_without` says whether it is then decided as if there were no such stages.

Returns
-------
Run
    `run.next` is the stage to run now, None once decided; `run.observe(signal, prediction=None, remaining=None, /)`
    reports what it says; `run.answer` is the stage whose answer is the best in hand.

Raises
------
ValidationError
    If `remaining` is negative, NaN, or finite where the policy knows no time; if `barred` has what is no stage.

Notes
-----
O(1), no lock; one small allocation, reused. With barred stages O(k + size of the policy).

Examples
--------
>>> import numpy as np, ttamer_fast as tt
>>> rng = np.random.default_rng(0)
>>> signal = rng.random((1000, 3))
>>> trace = tt.Trace(signal, rng.random((1000, 3)) > signal, cost=[1.0, 2.0, 4.0])
>>> policy = tt.fit(trace, tradeoff=0.9)
>>> run = policy.start()
>>> run.next
0
>>> run.observe(0.99)
>>> run.answer
0
>>> policy.start(barred=[0]).next
1
";

pub(super) const RESTART_DOC: &CStr = c"restart($self, /, remaining=None, barred=())
--

Makes this the run of a new request, as `Policy.start` does; returns its first stage.

Stages that were barred before are barred no more.
";

pub(super) unsafe extern "C" fn start(
    policy: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: the interpreter checks that `policy` is a Policy, passes `count` positional arguments and then those that
    // `keywords` names, and holds the GIL.
    unsafe {
        if count == 0 && keywords.is_null() {
            return started(policy, &Told::NOTHING);
        }
        attached(|py| {
            let inside = Borrowed::from_ptr(py, policy).cast_unchecked::<Policy>().get();
            let told = told(py, "start", inside.inner(), args, count, keywords)?;
            Ok(started(policy, &told))
        })
    }
}

pub(super) unsafe extern "C" fn restart(
    object: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as for `start`, of a `Run`; nothing of it is borrowed while arguments are converted.
    unsafe {
        if count == 0 && keywords.is_null() {
            return begin_again(object, &Told::NOTHING);
        }
        attached(|py| {
            let engine = &*(*object.cast::<Run>()).engine;
            let told = told(py, "restart", engine, args, count, keywords)?;
            Ok(begin_again(object, &told))
        })
    }
}

unsafe fn begin_again(object: *mut ffi::PyObject, told: &Told) -> *mut ffi::PyObject {
    // SAFETY: as in `run_of`.
    unsafe {
        let (run, policy) = run_of(object);
        run.changes = run.changes.wrapping_add(1);
        told.begin_again(policy, &mut run.state);
        let next = publish_next(run);
        if !run.objects.is_empty() {
            let_go(release(object));
        }
        next
    }
}

/// What the arguments of a call say.
unsafe fn told(
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
