//! Arguments whose conversion runs no Python code: numbers of Python and numpy, text, and None.
//!
//! Nothing here drops a reference through `pyo3`, so that `pyo3` need not know that the GIL is held.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::string::PyStringData;
use pyo3::types::{PyString, PyStringMethods};
use ttamer::rules::prediction as code;
use ttamer::rules::{NO_PREDICTION, UNTOLD};

use crate::given::is_allowed;
use crate::known::Known;

/// A signal; `None` where that takes more than is done here.
pub(super) unsafe fn signal(given: *mut ffi::PyObject) -> Option<f64> {
    // SAFETY: called with an argument and the GIL held.
    unsafe {
        if ffi::PyFloat_Check(given) != 0 {
            return Some(ffi::PyFloat_AS_DOUBLE(given));
        }
        if given == ffi::Py_None() {
            return Some(f64::NAN);
        }
        let py = Python::assume_attached();
        let known = Known::found(py)?;
        if !is_builtin(given) || !known.is_real(Borrowed::from_ptr(py, given)) {
            return None;
        }
        let signal = ffi::PyFloat_AsDouble(given);
        if signal == -1.0 && !ffi::PyErr_Occurred().is_null() {
            ffi::PyErr_Clear();
            return None;
        }
        Some(signal)
    }
}

/// Seconds that a request of this policy has left; `None` where that takes more than is done here, or is not allowed.
pub(super) unsafe fn remaining(given: *mut ffi::PyObject, policy: &ttamer::Policy) -> Option<f64> {
    // SAFETY: called with an argument and the GIL held.
    unsafe {
        if given == ffi::Py_None() {
            return Some(UNTOLD);
        }
        let seconds =
            if ffi::PyFloat_Check(given) != 0 { ffi::PyFloat_AS_DOUBLE(given) } else { small_int(given)? as f64 };
        is_allowed(policy, seconds).then_some(seconds)
    }
}

/// A prediction; `None` where that takes more than is done here.
pub(super) unsafe fn prediction(given: *mut ffi::PyObject) -> Option<i64> {
    // SAFETY: called with an argument and the GIL held; text is not changed while it is read.
    unsafe {
        if given == ffi::Py_None() {
            return Some(NO_PREDICTION);
        }
        let py = Python::assume_attached();
        if ffi::PyUnicode_CheckExact(given) != 0 {
            return match Borrowed::from_ptr(py, given).cast_unchecked::<PyString>().data() {
                Ok(PyStringData::Ucs1(characters)) => Some(code::narrow_text(characters)),
                Ok(PyStringData::Ucs2(characters)) => Some(code::wide_text(characters)),
                _ => None,
            };
        }
        if ffi::PyFloat_CheckExact(given) != 0 {
            return Some(code::float(ffi::PyFloat_AS_DOUBLE(given)));
        }
        let known = Known::found(py)?;
        if !is_builtin(given) || !known.is_integer(Borrowed::from_ptr(py, given)) {
            return None;
        }
        let number = ffi::PyNumber_Index(given);
        if number.is_null() {
            ffi::PyErr_Clear();
            return None;
        }
        let value = small_int(number);
        ffi::Py_DECREF(number);
        value
    }
}

/// Whether its class is made in C.
unsafe fn is_builtin(given: *mut ffi::PyObject) -> bool {
    // SAFETY: `given` is alive.
    unsafe { ffi::PyType_HasFeature(ffi::Py_TYPE(given), ffi::Py_TPFLAGS_HEAPTYPE) == 0 }
}

/// The value of an exact int that fits in 64 bits.
#[inline]
pub(super) unsafe fn small_int(object: *mut ffi::PyObject) -> Option<i64> {
    // SAFETY: called with a borrowed argument and the GIL held. Before 3.12 an int is its signed number of 30-bit
    // digits followed by the digits.
    unsafe {
        if ffi::Py_TYPE(object) != &raw mut ffi::PyLong_Type {
            return None;
        }
        #[cfg(not(Py_3_12))]
        match (*object.cast::<ffi::PyVarObject>()).ob_size {
            0 => return Some(0),
            1 => return Some(i64::from(*object.byte_add(size_of::<ffi::PyVarObject>()).cast::<u32>())),
            _ => {}
        }
        let mut overflow = 0;
        let value = ffi::PyLong_AsLongLongAndOverflow(object, &raw mut overflow);
        if overflow == 0 { Some(value) } else { None }
    }
}
