//! Reports.
//!
//! [`observe`] runs no Python code while it borrows a run: it takes floats, integers and what `plain` knows. All other
//! arguments are converted first. Whatever Python code that runs may call the run again: nothing of it is borrowed then,
//! and such calls go through [`observe_watched`] and are counted, so that a report never reaches another stage or
//! request than the one it was made for.
//!
//! `pyo3` has to know that the GIL is held wherever it drops references, or it puts them aside: [`attached`].

use std::ptr;

use pyo3::exceptions::{PyRuntimeWarning, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use ttamer::rules::{NO_PREDICTION, Observation, UNTOLD};

use super::layout::{Run, publish_next};
use super::plain;
use crate::errors::{invalid, raise};
use crate::given::seconds;
use crate::prediction::{Said, among};
use crate::signal::signal;

/// One report, to a run that nobody watches.
pub(super) unsafe extern "C" fn observe(
    object: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    nargsf: usize,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: the interpreter passes a `Run` and `nargs` valid arguments, and holds the GIL.
    unsafe {
        let run = &mut *object.cast::<Run>();
        let count = ffi::PyVectorcall_NARGS(nargsf);
        if !keywords.is_null() || !(1..=2).contains(&count) || !run.state.progress().is_waiting() {
            return observe_others(object, args, count, keywords);
        }
        let signal = *args;
        if ffi::Py_TYPE(signal) != &raw mut ffi::PyFloat_Type {
            return observe_others(object, args, count, keywords);
        }
        let signal = ffi::PyFloat_AS_DOUBLE(signal);
        let prediction = if count == 1 {
            NO_PREDICTION
        } else {
            match plain::small_int(*args.add(1)) {
                Some(prediction) => prediction,
                None => return observe_others(object, args, count, keywords),
            }
        };
        (*run.engine).advance(&mut run.state, Observation::new(signal, prediction));
        publish_next(run)
    }
}

/// Does what may fail or drop references; null with an exception set where it fails.
pub(super) unsafe fn attached(work: impl FnOnce(Python<'_>) -> PyResult<*mut ffi::PyObject>) -> *mut ffi::PyObject {
    let done = Python::try_attach(|py| {
        work(py).unwrap_or_else(|error| {
            error.restore(py);
            ptr::null_mut()
        })
    });
    done.unwrap_or_else(|| {
        // SAFETY: the interpreter is shutting down; this thread holds the GIL.
        unsafe { ffi::PyErr_SetString(ffi::PyExc_RuntimeError, c"the interpreter is shutting down".as_ptr()) };
        ptr::null_mut()
    })
}

/// What a report says.
pub(super) struct Report<'py> {
    pub(super) observation: Observation,
    /// The prediction, if it is an object that the run does not keep yet.
    pub(super) new: Option<Bound<'py, PyAny>>,
}

/// One report of other types than a float and an int, or more of them, to a run that nobody watches.
#[cold]
#[inline(never)]
unsafe fn observe_others(
    object: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as for `take_in`; no Python code runs before that.
    unsafe {
        let run = &mut *object.cast::<Run>();
        if !is_report(run, count, keywords) {
            return refuse(object, count, keywords);
        }
        let prediction = if count == 1 {
            Some(NO_PREDICTION)
        } else {
            plain::small_int(*args.add(1)).or_else(|| plain::prediction(*args.add(1)))
        };
        let remaining = if count < 3 { Some(UNTOLD) } else { plain::remaining(*args.add(2), &*run.engine) };
        let (Some(signal), Some(prediction), Some(remaining)) = (plain::signal(*args), prediction, remaining) else {
            return take_in(object, args, count);
        };
        (*run.engine).advance(&mut run.state, Observation::new(signal, prediction).within(remaining));
        publish_next(run)
    }
}

/// Whether a call is one report, and the run waits for it.
fn is_report(run: &Run, count: ffi::Py_ssize_t, keywords: *mut ffi::PyObject) -> bool {
    keywords.is_null() && (1..=3).contains(&count) && run.state.progress().is_waiting()
}

/// One report, converted first and then taken in.
unsafe fn take_in(
    object: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: `object` is a `Run` and `args` are 1 to 3 arguments, all of which the caller keeps alive; the GIL is held.
    // No reference to the run lives while Python code may run.
    unsafe {
        attached(|py| {
            let run = object.cast::<Run>();
            let Some(Report { observation, new }) = converted(run, || convert(py, run, args, count))? else {
                return changed(py, run);
            };
            (*run).changes = (*run).changes.wrapping_add(1);
            if let Some(new) = new {
                keep(object, new);
            }
            (*(*run).engine).advance(&mut (*run).state, observation);
            let next = publish_next(&mut *run);
            if !(*run).state.progress().is_waiting() {
                drop(release(object));
            }
            Ok(next)
        })
    }
}

/// What `work` makes of arguments, while calls of the run are watched; none where they have changed the run.
pub(super) unsafe fn converted<T>(run: *mut Run, work: impl FnOnce() -> PyResult<T>) -> PyResult<Option<T>> {
    // SAFETY: `run` is alive; no reference to it lives while Python code may run.
    unsafe {
        let changes = (*run).changes;
        (*run).converting += 1;
        (*run).vectorcall = observe_watched;
        let made = work();
        (*run).converting -= 1;
        settle(run);
        Ok(Some(made?).filter(|_| (*run).changes == changes))
    }
}

/// One report of whatever arguments.
pub(super) unsafe extern "C" fn observe_watched(
    object: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    nargsf: usize,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: the interpreter passes a `Run` and `nargs` valid arguments, and holds the GIL.
    unsafe {
        let count = ffi::PyVectorcall_NARGS(nargsf);
        if is_report(&*object.cast::<Run>(), count, keywords) {
            take_in(object, args, count)
        } else {
            refuse(object, count, keywords)
        }
    }
}

/// Runs whatever Python code the arguments bring with them.
unsafe fn convert(
    py: Python<'_>,
    run: *mut Run,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> PyResult<Report<'_>> {
    // SAFETY: as for `take_in`; `engine` and `policy` point into the policy object, which the run keeps alive. Objects are
    // borrowed for as long as the references are copied.
    unsafe {
        let shown = || {
            let objects = &(*run).objects;
            objects.iter().map(|one| one.bind(py).clone()).collect()
        };
        let Report { observation, new } = said(py, shown, args, count.min(2))?;
        let third = (count > 2).then(|| Bound::from_borrowed_ptr(py, *args.add(2)));
        let remaining = third.map(|third| seconds(&*(*run).engine, &third)).transpose()?.unwrap_or(UNTOLD);
        let observation = observation.within(remaining);
        let watched = (*run).watched.then(|| (&*(*run).policy, (*run).state.progress().next_stage()));
        if let Some((policy, Some(stage))) = watched {
            policy.watch().look(py, policy.inner(), stage, observation)?;
        }
        Ok(Report { observation, new })
    }
}

/// A signal and, of two arguments, a prediction, to a request that has shown these objects.
pub(super) unsafe fn said<'py>(
    py: Python<'py>,
    shown: impl FnOnce() -> Vec<Bound<'py, PyAny>>,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> PyResult<Report<'py>> {
    // SAFETY: `args` are 1 or 2 arguments, which the caller keeps alive; the GIL is held.
    let (first, second) = unsafe {
        (Bound::from_borrowed_ptr(py, *args), (count > 1).then(|| Bound::from_borrowed_ptr(py, *args.add(1))))
    };
    let signal = signal(&first)?;
    let (prediction, new) = match second.map(|second| Said::of(&second)).transpose()? {
        None => (NO_PREDICTION, None),
        Some(Said::Code(code)) => (code, None),
        Some(Said::Object(object)) => {
            let (code, is_new) = among(&shown(), &object)?;
            (code, is_new.then_some(object))
        }
    };
    Ok(Report { observation: Observation::new(signal, prediction), new })
}

/// What to do with a report that is converted, but whose stage has reported already.
pub(super) unsafe fn changed(py: Python<'_>, run: *mut Run) -> PyResult<*mut ffi::PyObject> {
    // SAFETY: `run` is alive; nothing else runs.
    if unsafe { (*run).state.progress().is_waiting() } {
        let rule = "must not observe or restart the run while they are converted: this report was not taken in";
        return Err(invalid(py, format!("`signal` and `prediction` {rule}")));
    }
    let text = c"converting `signal` or `prediction` has finished the run: this report was not taken in";
    PyErr::warn(py, &py.get_type::<PyRuntimeWarning>(), text, 1)?;
    // SAFETY: the slot holds a reference.
    Ok(unsafe { ffi::Py_NewRef((*run).next) })
}

/// Keeps an object for comparison with later ones.
pub(super) unsafe fn keep(object: *mut ffi::PyObject, new: Bound<'_, PyAny>) {
    // SAFETY: `object` is a `Run`, which the collector gets to know with its first object.
    unsafe {
        let run = &mut *object.cast::<Run>();
        run.objects.push(new.unbind());
        run.vectorcall = observe_watched;
        if run.objects.len() == 1 {
            ffi::PyObject_GC_Track(object.cast());
        }
    }
}

/// Takes the objects out of the run, which may then be called directly again.
pub(super) unsafe fn release(object: *mut ffi::PyObject) -> Vec<Py<PyAny>> {
    // SAFETY: `object` is a `Run`, which the collector knows while it has objects.
    unsafe {
        let run = object.cast::<Run>();
        if !(*run).objects.is_empty() {
            ffi::PyObject_GC_UnTrack(object.cast());
        }
        let objects = std::mem::take(&mut (*run).objects);
        settle(run);
        objects
    }
}

/// Drops references, which may run Python code; they stay where the interpreter is shutting down.
#[cold]
pub(super) unsafe fn let_go(objects: Vec<Py<PyAny>>) {
    let mut objects = Some(objects);
    if Python::try_attach(|_| drop(objects.take())).is_none() {
        std::mem::forget(objects);
    }
}

/// Calls go directly again where nobody watches.
unsafe fn settle(run: *mut Run) {
    // SAFETY: `run` is alive.
    unsafe {
        if (*run).converting == 0 && (*run).objects.is_empty() && !(*run).watched {
            (*run).vectorcall = observe;
        }
    }
}

/// Sets the exception for a call that cannot be served; returns null.
#[cold]
#[inline(never)]
unsafe fn refuse(
    object: *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: called with a `Run` and the GIL held.
    unsafe {
        attached(|py| {
            let allowed = "observe() takes a signal, an optional prediction and optional seconds left, by position";
            Err(if !keywords.is_null() {
                PyTypeError::new_err(format!("{allowed}, got keyword arguments"))
            } else if (1..=3).contains(&count) && !(*object.cast::<Run>()).state.progress().is_waiting() {
                raise(py, ttamer::Error::Stopped)
            } else {
                PyTypeError::new_err(format!("{allowed}, got {count} arguments"))
            })
        })
    }
}
