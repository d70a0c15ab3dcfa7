//! `Policy.start` and `Run.restart`.

use std::ffi::CStr;

use pyo3::ffi;
use pyo3::prelude::*;

use super::layout::{Run, publish_next, run_of};
use super::life::started;
use super::observe::{attached, let_go, release};
use super::told::{Told, told};
use crate::policy::Policy;

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

pub(super) const START_DOC: &CStr = c"start($self, /, remaining=None, barred=(), cost=None)
--

A new request.

Parameters
----------
remaining : float, optional
    Seconds that it has left, at least 0; inf or None: no deadline. Finite only where the policy knows time.
barred : sequence of int or str
    Stages that it must not ask, by number or name: those that are switched off, overloaded, or out of reach. `next` is
    none of them. `exact_without` says whether it is then decided as if there were no such stages.
cost : float, optional
    What its stages cost, over what they cost the average request: its tokens over the mean number of tokens, say. Finite, at
    least 0; other than 1 only where the policy knows what requests cost (`fit(..., known_cost=True)`). None: 1.

Returns
-------
Run
    `run.next` is the stage to run now, None once decided; `run.observe(signal, prediction=None, remaining=None, /)`
    reports what it says; `run.answer` is the stage whose answer is the best in hand.

Raises
------
ValidationError
    If `remaining` is negative, NaN, or finite where the policy knows no time; if `barred` has what is no stage; if `cost`
    is negative, not finite, or other than 1 where the policy does not know what requests cost.

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

pub(super) const RESTART_DOC: &CStr = c"restart($self, /, remaining=None, barred=(), cost=None)
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
