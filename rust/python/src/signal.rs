//! How sure a stage is, as a float.

use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyFloat, PyString};

use crate::errors::invalid;
use crate::known::Known;

/// One signal: NaN for None, for what is masked or missing, and for a number beyond all floats.
///
/// # Errors
/// A `ValidationError` where it is no real number, and whatever its own methods raise.
pub fn signal(given: &Bound<'_, PyAny>) -> PyResult<f64> {
    if given.is_none() {
        return Ok(f64::NAN);
    }
    if let Ok(number) = given.cast::<PyFloat>() {
        return Ok(number.value());
    }
    let py = given.py();
    let known = Known::get(py)?;
    if known.is_scalar(given) {
        if !known.is_real(given.as_borrowed()) {
            return Err(refused(given));
        }
    } else if known.is_missing(given) {
        return Ok(f64::NAN);
    } else if known.is_array(given) {
        let size: usize = given.getattr(intern!(py, "size"))?.extract()?;
        let is_single = size == 1 && !"cmMSU".contains(given.getattr("dtype")?.getattr("kind")?.extract::<char>()?);
        let entry = if is_single { given.call_method0("flatten")?.get_item(0)? } else { given.clone() };
        return if known.is_array(&entry) && !known.is_missing(&entry) { Err(refused(given)) } else { signal(&entry) };
    } else if given.is_instance_of::<PyString>()
        || given.is_instance_of::<PyBytes>()
        || given.is_instance_of::<PyByteArray>()
    {
        return Err(refused(given));
    }
    given.extract::<f64>().or_else(|error| {
        if error.is_instance_of::<PyOverflowError>(py) {
            Ok(f64::NAN)
        } else if error.is_instance_of::<PyTypeError>(py) {
            let refusal = refused(given);
            refusal.set_cause(py, Some(error));
            Err(refusal)
        } else {
            Err(error)
        }
    })
}

fn refused(given: &Bound<'_, PyAny>) -> PyErr {
    let name = given.get_type().name().map_or_else(|_| "something else".into(), |name| name.to_string());
    invalid(given.py(), format!("`signal` must be a real number or None, got {name}"))
}
