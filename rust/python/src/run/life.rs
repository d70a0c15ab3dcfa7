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
    // SAFETY: called with a Policy and the GIL held.
    unsafe {
        let inside: &Policy = Borrowed::from_ptr(Python::assume_attached(), policy).cast_unchecked::<Policy>().get();
        let run = begun(inside.inner(), told);
        if run.is_null() {
            return run.cast();
        }
        let watched = inside.watch().is_on() && inside.watch().take(1) > 0;
        shown(run, policy, inside, watched)
    }
}

/// A new request in memory that nobody else can see yet, to be handed to [`shown`] or [`put_back`]; null with an
/// exception set where there is no memory.
#[inline]
pub(super) unsafe fn begun(engine: &ttamer::Policy, told: &Told) -> *mut Run {
    // SAFETY: called with the GIL held; a kept block is a run that has ended, whose state is alive.
    unsafe {
        let Some(run) = take() else { return made(engine, told) };
        revive(run);
        told.begin_again(engine, &mut (*run).state);
        run
    }
}

/// A block that was kept has one reference, and refers to its class: without the GIL, it belongs to this thread from now on.
#[inline]
unsafe fn revive(_run: *mut Run) {
    #[cfg(Py_GIL_DISABLED)]
    // SAFETY: nobody else knows of the block.
    unsafe {
        let class = ffi::Py_TYPE(_run.cast());
        ffi::PyObject_Init(_run.cast(), class);
        ffi::Py_DECREF(class.cast());
    }
}

/// The same in new memory.
#[cold]
unsafe fn made(engine: &ttamer::Policy, told: &Told) -> *mut Run {
    // SAFETY: called with the GIL held; what is not written here is written by `shown`, before anyone can see it.
    unsafe {
        let Some(class) = TYPE.get(Python::assume_attached()) else { return ptr::null_mut() };
        let run = ffi::PyObject_GC_New::<Run>(class.as_ptr().cast());
        if !run.is_null() {
            (&raw mut (*run).observe).write(run.cast());
            (&raw mut (*run).state).write(told.begin(engine));
            (&raw mut (*run).objects).write(Vec::new());
            (&raw mut (*run).converting).write(0);
            (&raw mut (*run).changes).write(0);
        }
        run
    }
}

/// Makes a run of a request of this policy.
#[inline]
pub(super) unsafe fn shown(
    run: *mut Run,
    policy: *mut ffi::PyObject,
    inside: &Policy,
    watched: bool,
) -> *mut ffi::PyObject {
    // SAFETY: `run` comes from `begun`; the policy is kept alive by the reference in `owner`.
    unsafe {
        (&raw mut (*run).watched).write(watched);
        (&raw mut (*run).vectorcall).write(if watched { observe_watched } else { observe });
        (&raw mut (*run).next).write(inside.number((*run).state.progress().next));
        (&raw mut (*run).owner).write(ffi::Py_NewRef(policy));
        (&raw mut (*run).policy).write(inside);
        (&raw mut (*run).engine).write(inside.inner());
        run.cast()
    }
}

/// Keeps the memory of a run that nobody refers to; it has one reference, as a new one has.
#[inline]
pub(super) unsafe fn put_back(run: *mut Run) {
    // SAFETY: called with the GIL held; the run has no objects.
    unsafe {
        if !put(run) {
            let class = ffi::Py_TYPE(run.cast());
            ptr::drop_in_place(&raw mut (*run).state);
            ptr::drop_in_place(&raw mut (*run).objects);
            ffi::PyObject_GC_Del(run.cast());
            ffi::Py_DECREF(class.cast());
        }
    }
}

/// The end of a run.
pub(super) unsafe extern "C" fn dealloc(object: *mut ffi::PyObject) {
    // SAFETY: called once, with a `Run` whose last reference is gone, and with the GIL held. The reference that it gets
    // back is the one of the next request.
    unsafe {
        let run = object.cast::<Run>();
        let owner = (*run).owner;
        let objects = if (*run).objects.is_empty() { Vec::new() } else { release(object) };
        #[cfg(not(Py_GIL_DISABLED))]
        ffi::Py_INCREF(object);
        put_back(run);
        // Last, as they may run other code.
        ffi::Py_DECREF(owner);
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
