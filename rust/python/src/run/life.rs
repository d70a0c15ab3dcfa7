//! How runs begin and end.

use std::ffi::{c_int, c_void};
use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;

#[cfg(not(Py_GIL_DISABLED))]
use super::blocks::{put, take};
#[cfg(Py_GIL_DISABLED)]
use super::blocks_by_thread::{put, take};
use super::layout::{Run, TYPE};
use super::observe::{let_go, observe, observe_watched, release};
use super::told::Told;
use crate::policy::Policy;

/// The run of a new request.
#[inline]
pub(super) unsafe fn started(policy: *mut ffi::PyObject, told: &Told) -> *mut ffi::PyObject {
    // SAFETY: called with a Policy and the GIL held. Every field of the new run is
    // written before anyone else can see it; the policy is kept alive by the reference in `owner`.
    unsafe {
        let py = Python::assume_attached();
        let Some(class) = TYPE.get(py) else { return ptr::null_mut() };
        let inside: &Policy = Borrowed::from_ptr(py, policy).cast_unchecked::<Policy>().get();
        let run = if let Some(run) = take() {
            told.begin_again(inside.inner(), &mut (*run).state);
            ffi::PyObject_Init(run.cast(), class.as_ptr().cast());
            run
        } else {
            let run = ffi::PyObject_GC_New::<Run>(class.as_ptr().cast());
            if run.is_null() {
                return run.cast();
            }
            (&raw mut (*run).state).write(told.begin(inside.inner()));
            (&raw mut (*run).objects).write(Vec::new());
            (&raw mut (*run).converting).write(0);
            (&raw mut (*run).changes).write(0);
            run
        };
        let object = run.cast::<ffi::PyObject>();
        let watched = inside.watch().is_on() && inside.watch().take(1) > 0;
        (&raw mut (*run).watched).write(watched);
        (&raw mut (*run).vectorcall).write(if watched { observe_watched } else { observe });
        (&raw mut (*run).observe).write(object);
        (&raw mut (*run).next).write(ffi::Py_NewRef(inside.number((*run).state.progress().next)));
        (&raw mut (*run).owner).write(ffi::Py_NewRef(policy));
        (&raw mut (*run).policy).write(inside);
        (&raw mut (*run).engine).write(inside.inner());
        object
    }
}

/// The end of a run.
pub(super) unsafe extern "C" fn dealloc(object: *mut ffi::PyObject) {
    // SAFETY: called once, with a `Run` whose last reference is gone, and with the GIL held.
    unsafe {
        let class = ffi::Py_TYPE(object);
        let run = object.cast::<Run>();
        let (next, owner) = ((*run).next, (*run).owner);
        let objects = if (*run).objects.is_empty() { Vec::new() } else { release(object) };
        if !put(run) {
            ptr::drop_in_place(&raw mut (*run).state);
            ptr::drop_in_place(&raw mut (*run).objects);
            ffi::PyObject_GC_Del(object.cast());
        }
        // Last, as they may run other code.
        ffi::Py_DECREF(next);
        ffi::Py_DECREF(owner);
        ffi::Py_DECREF(class.cast());
        if !objects.is_empty() {
            let_go(objects);
        }
    }
}

/// Shows the garbage collector what the run holds.
pub(super) unsafe extern "C" fn traverse(
    object: *mut ffi::PyObject,
    visit: ffi::visitproc,
    context: *mut c_void,
) -> c_int {
    // SAFETY: called with a `Run`, with the GIL held; no reference changes hands.
    unsafe {
        let run = &*object.cast::<Run>();
        let held = [ffi::Py_TYPE(object).cast(), run.owner];
        for held in held.into_iter().chain(run.objects.iter().map(Py::as_ptr)) {
            let stop = visit(held, context);
            if stop != 0 {
                return stop;
            }
        }
    }
    0
}

/// Lets go of what may be part of a circle.
pub(super) unsafe extern "C" fn clear(object: *mut ffi::PyObject) -> c_int {
    // SAFETY: called with a `Run` that is alive, with the GIL held.
    unsafe { let_go(release(object)) };
    0
}
