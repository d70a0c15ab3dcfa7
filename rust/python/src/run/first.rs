//! `Policy.first`: the first report of a request, which most often is its last.

use std::ffi::CStr;

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use ttamer::Given;
use ttamer::rules::{NO_PREDICTION, Observation};

use super::layout::Run;
use super::life::{begun, put_back, shown};
use super::observe::{Report, attached, keep, said};
use super::plain;
use super::told::Told;
use crate::errors::raise;
use crate::policy::Policy;

pub(super) const FIRST_DOC: &CStr = c"first($self, signal, prediction=None, /)
--

A new request whose first stage has reported: as `start`, then `observe`, without an object where that is all.

Parameters
----------
signal : float or None
    How sure the first stage is, the one that `start().next` is, on the scale of the calibration trace.
prediction : hashable, optional
    What it says.

Returns
-------
Run or None
    None: the request has ended, and the answer of its first stage is its answer; `start` and `observe` would say the
    same. Else the run: `next` is the second stage, None where the request has ended with another answer: with none, where
    nothing is better or the stage informs and never answers.

Raises
------
ValidationError
    As `Run.observe` does, for a signal that is no real number and a prediction that is not hashable.
RunFinishedError
    If requests of this policy end before they begin.

Notes
-----
O(1), no lock; nothing is allocated where None is returned. Requests with a deadline, costs of their own or barred stages
begin with `start`.

Examples
--------
>>> import numpy as np, ttamer_fast as tt
>>> rng = np.random.default_rng(0)
>>> signal = rng.random((1000, 3))
>>> trace = tt.Trace(signal, rng.random((1000, 3)) > signal, cost=[1.0, 2.0, 4.0])
>>> policy = tt.fit(trace, tradeoff=0.9)
>>> print(policy.first(0.99))
None
>>> run = policy.first(0.5)
>>> run.next, run.cost
(1, 1.0)
";

pub(super) unsafe extern "C" fn first(
    policy: *mut ffi::PyObject,
    args: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: the interpreter checks that `policy` is a Policy, passes `count` arguments, and holds the GIL.
    unsafe {
        let inside: &Policy = Borrowed::from_ptr(Python::assume_attached(), policy).cast_unchecked::<Policy>().get();
        if !(1..=2).contains(&count) || inside.watch().is_on() || ffi::PyFloat_CheckExact(*args) == 0 {
            return first_of_others(policy, inside, args, count);
        }
        let signal = ffi::PyFloat_AS_DOUBLE(*args);
        let prediction = if count == 1 { Some(NO_PREDICTION) } else { plain::small_int(*args.add(1)) };
        match prediction {
            Some(prediction) => after(policy, inside, Observation::new(signal, prediction), false),
            None => first_of_others(policy, inside, args, count),
        }
    }
}

/// Of other types than a float and an int, or to a policy whose first requests are looked at.
#[cold]
#[inline(never)]
unsafe fn first_of_others(
    policy: *mut ffi::PyObject,
    inside: &Policy,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: as for `first`; the caller keeps the policy and the arguments alive.
    unsafe {
        if !(1..=2).contains(&count) {
            let allowed = "first() takes a signal and an optional prediction, by position";
            return attached(|_| Err(PyTypeError::new_err(format!("{allowed}, got {count} arguments"))));
        }
        if !inside.watch().is_on() {
            let prediction = if count == 1 {
                Some(NO_PREDICTION)
            } else {
                plain::small_int(*args.add(1)).or_else(|| plain::prediction(*args.add(1)))
            };
            if let (Some(signal), Some(prediction)) = (plain::signal(*args), prediction) {
                return after(policy, inside, Observation::new(signal, prediction), false);
            }
        }
        attached(|py| {
            let stage = inside.inner().begin(Given::NOTHING).progress().next_stage();
            let Some(stage) = stage else { return Err(raise(py, ttamer::Error::Stopped)) };
            let Report { observation, new } = said(py, Vec::new, args, count)?;
            let watched = inside.watch().is_on() && inside.watch().take(1) > 0;
            if watched {
                inside.watch().look(py, inside.inner(), stage, observation)?;
            }
            let run = after(policy, inside, observation, watched);
            let goes_on = !run.is_null() && run != ffi::Py_None() && (*run.cast::<Run>()).state.progress().is_waiting();
            if let Some(new) = new.filter(|_| goes_on) {
                keep(run, new);
            }
            Ok(run)
        })
    }
}

/// None where the request ends with this report and the answer of the stage that reports, else its run; null with an
/// exception set where no stage is asked at all, or there is no memory.
unsafe fn after(
    policy: *mut ffi::PyObject,
    inside: &Policy,
    observation: Observation,
    watched: bool,
) -> *mut ffi::PyObject {
    // SAFETY: called with a Policy, which `inside` is the inside of, and with the GIL held.
    unsafe {
        let engine = inside.inner();
        if engine.ends_at_first(observation) {
            return ffi::Py_NewRef(ffi::Py_None());
        }
        let run = begun(engine, &Told::NOTHING);
        if run.is_null() {
            return run.cast();
        }
        if !(*run).state.progress().is_waiting() {
            put_back(run);
            return attached(|py| Err(raise(py, ttamer::Error::Stopped)));
        }
        engine.advance(&mut (*run).state, observation);
        let progress = (*run).state.progress();
        if !progress.is_waiting() && engine.answer(&(*run).state) == progress.last {
            put_back(run);
            return ffi::Py_NewRef(ffi::Py_None());
        }
        shown(run, policy, inside, watched)
    }
}
