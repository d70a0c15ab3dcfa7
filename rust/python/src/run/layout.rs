//! What a run is in memory.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;
use ttamer::State;

use crate::policy::Policy;

/// The type `Run`.
pub(super) static TYPE: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// Memory layout of a run.
#[repr(C)]
pub(super) struct Run {
    pub(super) head: ffi::PyObject,
    /// How it is called: directly, or watched while arguments are converted or objects are kept.
    pub(super) vectorcall: ffi::vectorcallfunc,
    /// Slot `observe`: this object, borrowed.
    pub(super) observe: *mut ffi::PyObject,
    /// Slot `next`: int or None, borrowed from the policy.
    pub(super) next: *mut ffi::PyObject,
    /// The policy object, owned.
    pub(super) owner: *mut ffi::PyObject,
    /// What is inside `owner`, and the engine's policy inside that.
    pub(super) policy: *const Policy,
    pub(super) engine: *const ttamer::Policy,
    pub(super) state: State,
    /// Different predictions of this request that can only be compared. The garbage collector knows of the run while
    /// there are any.
    pub(super) objects: Vec<Py<PyAny>>,
    /// Calls that are converting their arguments.
    pub(super) converting: u32,
    /// Whether it is one of the first requests of its policy, which are looked at.
    pub(super) watched: bool,
    /// Restarts, and reports taken in while somebody watched.
    pub(super) changes: u32,
}

/// Puts the state's next stage into the slot; returns a new reference to it.
#[inline]
pub(super) unsafe fn publish_next(run: &mut Run) -> *mut ffi::PyObject {
    // SAFETY: `policy` points into `owner`, which is alive and owns the numbers of its stages.
    unsafe {
        run.next = (*run.policy).number(run.state.progress().next);
        ffi::Py_NewRef(run.next)
    }
}

/// Borrows the run behind a method call.
pub(super) unsafe fn run_of<'a>(object: *mut ffi::PyObject) -> (&'a mut Run, &'a ttamer::Policy) {
    // SAFETY: the interpreter calls the type's functions with its own instances; `engine` points into `owner`.
    unsafe {
        let run = &mut *object.cast::<Run>();
        let engine = &*run.engine;
        (run, engine)
    }
}
