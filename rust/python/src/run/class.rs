//! The type `Run`: its slots, attributes and methods, and the methods of `Policy` that make one.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::mem::offset_of;
use std::ptr;

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyType};
use ttamer::plan::stage_number;
use ttamer::rules::UNTOLD;

use super::begin::{RESTART_DOC, START_DOC, beginning, restart, start};
use super::first::{FIRST_DOC, first};
use super::layout::{Run, TYPE, publish_next, run_of};
use super::life::{clear, dealloc, traverse};
use super::observe::{attached, changed, converted, let_go, release};
use super::plain;
use crate::errors::raise;
use crate::given::seconds;
use crate::policy::Policy;

/// The type, made on first use.
pub fn run_type(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    let made = TYPE.get_or_try_init(py, || make_type(py))?;
    Ok(made.bind(py))
}

const fn getter(name: &'static CStr, get: ffi::getter, doc: &'static CStr) -> ffi::PyGetSetDef {
    ffi::PyGetSetDef { name: name.as_ptr(), get: Some(get), set: None, doc: doc.as_ptr(), closure: ptr::null_mut() }
}

const fn slot(name: &'static CStr, type_code: c_int, offset: usize, doc: &'static CStr) -> ffi::PyMemberDef {
    let offset = offset as ffi::Py_ssize_t;
    ffi::PyMemberDef { name: name.as_ptr(), type_code, offset, flags: ffi::Py_READONLY, doc: doc.as_ptr() }
}

const fn positional(name: &'static CStr, function: ffi::PyCFunctionFast, doc: &'static CStr) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionFast: function },
        ml_flags: ffi::METH_FASTCALL,
        ml_doc: doc.as_ptr(),
    }
}

const fn method(name: &'static CStr, function: ffi::PyCFunction, doc: &'static CStr) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunction: function },
        ml_flags: ffi::METH_NOARGS,
        ml_doc: doc.as_ptr(),
    }
}

fn make_type(py: Python<'_>) -> PyResult<Py<PyType>> {
    let members = vec![
        slot(c"next", ffi::Py_T_OBJECT_EX, offset_of!(Run, next), c"The stage to run now; None once the request is decided."),
        slot(c"observe", ffi::Py_T_OBJECT_EX, offset_of!(Run, observe), c"The run itself: observe(signal, prediction=None, remaining=None, /) reports what the stage `next` says and returns the new `next`."),
        slot(c"__vectorcalloffset__", ffi::Py_T_PYSSIZET, offset_of!(Run, vectorcall), c""),
        ffi::PyMemberDef::default(),
    ];
    let getters = vec![
        getter(c"answer", get_answer, c"The stage whose answer is the best in hand; None while there is none, or nothing is better."),
        getter(
            c"expected_loss",
            get_expected_loss,
            c"Expected loss of the answer in hand, in the unit of the losses; while there is none that of nothing, inf without one.",
        ),
        getter(c"cost", get_cost, c"Summed cost of the stages run, in the unit of the trace."),
        getter(c"__signature__", get_signature, c"How to call `observe`, for `inspect.signature`."),
        ffi::PyGetSetDef::default(),
    ];
    let methods = vec![
        beginning(c"restart", restart, RESTART_DOC),
        positional(c"fail", fail, FAIL_DOC),
        method(c"bar", bar, BAR_DOC),
        method(c"stop", stop, STOP_DOC),
        method(c"__reduce__", reduce, c"__reduce__($self, /)\n--\n\nA run is neither pickled nor copied: TypeError."),
        ffi::PyMethodDef::zeroed(),
    ];
    // The tables are read by the type for as long as it lives, which is as long as the process does.
    let members: &'static mut [ffi::PyMemberDef] = members.leak();
    let getters: &'static mut [ffi::PyGetSetDef] = getters.leak();
    let methods: &'static mut [ffi::PyMethodDef] = methods.leak();
    let mut slots = [
        ffi::PyType_Slot { slot: ffi::Py_tp_dealloc, pfunc: dealloc as *mut c_void },
        ffi::PyType_Slot { slot: ffi::Py_tp_traverse, pfunc: traverse as *mut c_void },
        ffi::PyType_Slot { slot: ffi::Py_tp_clear, pfunc: clear as *mut c_void },
        ffi::PyType_Slot { slot: ffi::Py_tp_call, pfunc: ffi::PyVectorcall_Call as *mut c_void },
        ffi::PyType_Slot { slot: ffi::Py_tp_repr, pfunc: repr as *mut c_void },
        ffi::PyType_Slot { slot: ffi::Py_tp_members, pfunc: members.as_mut_ptr().cast() },
        ffi::PyType_Slot { slot: ffi::Py_tp_getset, pfunc: getters.as_mut_ptr().cast() },
        ffi::PyType_Slot { slot: ffi::Py_tp_methods, pfunc: methods.as_mut_ptr().cast() },
        ffi::PyType_Slot { slot: ffi::Py_tp_doc, pfunc: DOC.as_ptr() as *mut c_void },
        ffi::PyType_Slot::default(),
    ];
    let flags = ffi::Py_TPFLAGS_DEFAULT
        | ffi::Py_TPFLAGS_HAVE_GC
        | ffi::Py_TPFLAGS_HAVE_VECTORCALL
        | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION;
    let mut spec = ffi::PyType_Spec {
        name: c"ttamer_fast.Run".as_ptr(),
        basicsize: size_of::<Run>() as c_int,
        itemsize: 0,
        flags: flags as c_uint,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: `spec` and its slots are valid and terminated; the result is a new reference to a type, or null with
    // an exception set.
    let object = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyType_FromSpec(&raw mut spec))? };
    Ok(object.cast_into::<PyType>()?.unbind())
}

const DOC: &CStr = c"One request in progress: which stage to run now, and which answer is the best in hand.

A run belongs to one request. `next` is the stage to run; `observe` reports its signal and prediction and returns the
new `next`. Get one from `Policy.start` or `Policy.first`.

A signal of None or NaN is \"no information\"; one that is no real number is a ValidationError. A prediction is any
hashable; None, NaN and what is masked or missing are none. Stages agree where their predictions are equal, and
requests are decided alike in every process. A refused report changes nothing: the run waits for the same stage.

`remaining` are the seconds that the request has left once the stage has reported, at least 0; inf: no deadline. Without
it, or with None, what was told last still holds. A finite number is a ValidationError where the policy knows no time.

Notes
-----
A run may be used by several threads one after the other. It is neither pickled, copied nor referred to weakly.";

/// Makes `Policy.start` and `Policy.first` methods that the interpreter calls directly.
pub fn add_beginnings(py: Python<'_>) -> PyResult<()> {
    // The type has to exist before a run is started, and then lives as long as the process.
    run_type(py)?;
    let class = py.get_type::<Policy>();
    for (name, method) in
        [("start", beginning(c"start", start, START_DOC)), ("first", positional(c"first", first, FIRST_DOC))]
    {
        // SAFETY: the definition is never freed; the result is a new reference or null with an exception set.
        let descriptor = unsafe {
            let method: &'static mut ffi::PyMethodDef = Box::leak(Box::new(method));
            Bound::from_owned_ptr_or_err(py, ffi::PyDescr_NewMethod(class.as_type_ptr(), method))?
        };
        class.setattr(name, descriptor)?;
    }
    Ok(())
}

const FAIL_DOC: &CStr = c"fail($self, remaining=None, /)
--

The stage `next` gave no answer: it raised, was late, or returned nothing.

It is paid for, is never the answer, says nothing about the other stages and is not asked again. Where nothing is in
hand and the policy would end, the stage with the least expected loss that has not been tried is next.

Parameters
----------
remaining : float, optional
    Seconds that the request has left, as in `observe`.

Returns
-------
int or None
    The new `next`. `answer` is None at the end if every stage asked has failed.

Raises
------
RunFinishedError
    If the request is decided already.
ValidationError
    If `remaining` is not allowed; nothing has changed then.

Examples
--------
>>> import numpy as np, ttamer_fast as tt
>>> rng = np.random.default_rng(0)
>>> signal = rng.random((1000, 2))
>>> trace = tt.Trace(signal, rng.random((1000, 2)) > signal, cost=[1.0, 2.0], kind='models')
>>> run = tt.fit(trace, tradeoff=0.9).start()
>>> run.next
0
>>> run.fail()
1
>>> run.observe(0.5), run.answer
(None, 1)
";

const BAR_DOC: &CStr = c"bar($self, /)
--

The stage `next` cannot be tried now: it is switched off, overloaded, or out of reach.

As `fail`, but it is not paid for: it is never the answer, says nothing about the other stages and is not asked again.
Where stages are paid for by the jump from the stage before, the next jump begins at the stage that ran last, if there is
a price of that jump.

Returns
-------
int or None
    The new `next`. `answer` is None at the end if no stage has answered.

Raises
------
RunFinishedError
    If the request is decided already.

Notes
-----
O(k + size of the policy), as `fail`. No lock.

Examples
--------
>>> import numpy as np, ttamer_fast as tt
>>> rng = np.random.default_rng(0)
>>> signal = rng.random((1000, 2))
>>> trace = tt.Trace(signal, rng.random((1000, 2)) > signal, cost=[1.0, 2.0], kind='models')
>>> run = tt.fit(trace, tradeoff=0.9).start()
>>> run.next
0
>>> run.bar(), run.cost
(1, 0.0)
>>> run.observe(0.5), run.answer, run.cost
(None, 1, 2.0)
";

const STOP_DOC: &CStr = c"stop($self, /)
--

The request ends now, while the stage `next` is under way.

That stage is paid for; `answer` and `expected_loss` stay as they are, None and inf while nothing is in hand. Does nothing
if the request is decided already.

Notes
-----
O(1), no lock.

Examples
--------
>>> import numpy as np, ttamer_fast as tt
>>> rng = np.random.default_rng(0)
>>> signal = rng.random((1000, 2))
>>> trace = tt.Trace(signal, rng.random((1000, 2)) > signal, cost=[1.0, 2.0], kind='models')
>>> run = tt.fit(trace, tradeoff=0.9).start()
>>> run.observe(0.5)
1
>>> run.stop()
>>> run.next, run.answer, run.cost
(None, 0, 3.0)
";

unsafe extern "C" fn get_answer(object: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    // SAFETY: as in `run_of`.
    unsafe {
        let (run, policy) = run_of(object);
        ffi::Py_NewRef((*run.policy).number(policy.answer(&run.state)))
    }
}

unsafe extern "C" fn get_expected_loss(object: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    // SAFETY: as in `run_of`.
    unsafe {
        let (run, policy) = run_of(object);
        ffi::PyFloat_FromDouble(policy.expected_loss(&run.state))
    }
}

unsafe extern "C" fn get_cost(object: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    // SAFETY: as in `run_of`.
    unsafe {
        let (run, _) = run_of(object);
        ffi::PyFloat_FromDouble((*run.engine).cost(&run.state))
    }
}

unsafe extern "C" fn get_signature(_: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    static MADE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    // SAFETY: called with the GIL held.
    unsafe {
        attached(|py| {
            let made = MADE.get_or_try_init(py, || {
                let inspect = py.import("inspect")?;
                let class = inspect.getattr("Parameter")?;
                let kind = class.getattr("POSITIONAL_ONLY")?;
                let default = PyDict::new(py);
                default.set_item("default", py.None())?;
                let signal = class.call1(("signal", &kind))?;
                let prediction = class.call(("prediction", &kind), Some(&default))?;
                let remaining = class.call(("remaining", &kind), Some(&default))?;
                Ok::<_, PyErr>(inspect.call_method1("Signature", ([signal, prediction, remaining],))?.unbind())
            })?;
            Ok(made.clone_ref(py).into_ptr())
        })
    }
}

unsafe extern "C" fn fail(
    object: *mut ffi::PyObject,
    args: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: the interpreter passes a `Run` and `count` valid arguments, and holds the GIL.
    unsafe {
        if count > 1 {
            let told = format!("fail() takes the seconds left, by position, or nothing, got {count} arguments");
            return attached(|_| Err(PyTypeError::new_err(told)));
        }
        let run = object.cast::<Run>();
        let known = if count == 0 { Some(UNTOLD) } else { plain::remaining(*args, &*(*run).engine) };
        if let Some(remaining) = known {
            return go_on(object, |policy, state| policy.fail(state, remaining));
        }
        attached(|py| {
            let given = Bound::from_borrowed_ptr(py, *args);
            if !(*run).state.progress().is_waiting() {
                return Err(raise(py, ttamer::Error::Stopped));
            }
            match converted(run, || seconds(&*(*run).engine, &given))? {
                Some(remaining) => Ok(change(object, |policy, state| policy.fail(state, remaining))),
                None => changed(py, run),
            }
        })
    }
}

unsafe extern "C" fn bar(object: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: as in `run_of`.
    unsafe { go_on(object, ttamer::Policy::bar) }
}

/// The waiting stage does not report; refused where there is none.
unsafe fn go_on(
    object: *mut ffi::PyObject,
    turn: impl FnOnce(&ttamer::Policy, &mut ttamer::State),
) -> *mut ffi::PyObject {
    // SAFETY: as in `run_of`.
    unsafe {
        let (run, _) = run_of(object);
        if !run.state.progress().is_waiting() {
            return attached(|py| Err(raise(py, ttamer::Error::Stopped)));
        }
        change(object, turn)
    }
}

unsafe extern "C" fn stop(object: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: as in `run_of`; nothing is waiting afterwards, so that what is returned is None.
    unsafe { change(object, ttamer::Policy::stop) }
}

/// Changes the state without a report, and lets go of what was kept where the request ends; returns the new `next`.
unsafe fn change(
    object: *mut ffi::PyObject,
    turn: impl FnOnce(&ttamer::Policy, &mut ttamer::State),
) -> *mut ffi::PyObject {
    // SAFETY: as in `run_of`.
    unsafe {
        let (run, policy) = run_of(object);
        run.changes = run.changes.wrapping_add(1);
        turn(policy, &mut run.state);
        let next = publish_next(run);
        if !run.state.progress().is_waiting() && !run.objects.is_empty() {
            let_go(release(object));
        }
        next
    }
}

unsafe extern "C" fn reduce(_: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    let text = c"a Run is neither pickled nor copied: start another one and give it the same reports";
    // SAFETY: called with the GIL held.
    unsafe { ffi::PyErr_SetString(ffi::PyExc_TypeError, text.as_ptr()) };
    ptr::null_mut()
}

unsafe extern "C" fn repr(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: as in `run_of`; the text outlives the call that copies it.
    unsafe {
        let (run, policy) = run_of(object);
        let progress = run.state.progress();
        let show = |stage| stage_number(stage).map_or("None".into(), |stage| stage.to_string());
        let answer = show(policy.answer(&run.state));
        let text =
            format!("Run(next={}, answer={answer}, cost={})", show(progress.next), (*run.engine).cost(&run.state));
        ffi::PyUnicode_FromStringAndSize(text.as_ptr().cast::<c_char>(), text.len() as ffi::Py_ssize_t)
    }
}
