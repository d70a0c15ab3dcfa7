//! What a stage said, as the code that the engine compares: the one conversion of every door.
//!
//! Values of Python's and numpy's own types have codes that follow from the value (`ttamer::rules::prediction`).
//! Objects of other classes can only be compared: they are numbered within their request, in [`among`].

use pyo3::basic::CompareOp;
use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::type_object::PyTypeInfo;
use pyo3::types::string::PyStringData;
use pyo3::types::{PyBool, PyBytes, PyComplex, PyFloat, PyFrozenSet, PyInt, PyString, PyTuple};
use ttamer::rules::NO_PREDICTION;
use ttamer::rules::prediction as code;

use crate::errors::invalid;
use crate::known::Known;

/// What a stage said.
pub enum Said<'py> {
    /// Something with a code of its own, or nothing.
    Code(i64),
    /// An object that has to be compared with the others of its request.
    Object(Bound<'py, PyAny>),
}

impl<'py> Said<'py> {
    /// From whatever it is.
    ///
    /// # Errors
    /// A `ValidationError` where it is not hashable, and whatever its own methods raise.
    pub fn of(given: &Bound<'py, PyAny>) -> PyResult<Self> {
        if given.is_none() {
            return Ok(Self::Code(NO_PREDICTION));
        }
        if let Ok(number) = given.cast_exact::<PyInt>() {
            return integer(number).map(Self::Code);
        }
        if let Ok(text) = given.cast_exact::<PyString>() {
            return self::text(text).map(Self::Code);
        }
        if let Ok(number) = given.cast_exact::<PyFloat>() {
            return Ok(Self::Code(code::float(number.value())));
        }
        if let Ok(parts) = given.cast_exact::<PyTuple>() {
            return container(given, parts.iter(), code::tuple);
        }
        if let Ok(truth) = given.cast_exact::<PyBool>() {
            return Ok(Self::Code(i64::from(truth.is_true())));
        }
        other(given)
    }
}

/// The code of an object: that of an equal one among those that the request has shown before, which are in order, else
/// a new one.
///
/// # Errors
/// What comparing raises.
pub fn among(shown: &[Bound<'_, PyAny>], object: &Bound<'_, PyAny>) -> PyResult<(i64, bool)> {
    for (ordinal, before) in shown.iter().enumerate() {
        if before.is(object) || equal(object, before)? {
            return Ok((code::object(ordinal as u16), false));
        }
    }
    Ok((code::object(shown.len() as u16), true))
}

/// What `==` says; a comparison entry by entry says no.
fn equal(one: &Bound<'_, PyAny>, other: &Bound<'_, PyAny>) -> PyResult<bool> {
    let said = one.rich_compare(other, CompareOp::Eq)?;
    Ok(!Known::get(one.py())?.is_array(&said) && said.is_truthy()?)
}

/// Whatever is not exactly of one of Python's own common types.
fn other<'py>(given: &Bound<'py, PyAny>) -> PyResult<Said<'py>> {
    let py = given.py();
    let known = Known::get(py)?;
    if known.is_scalar(given) {
        return scalar(given);
    }
    if let Some(said) = builtin(given)? {
        return Ok(said);
    }
    if known.is_missing(given) {
        return Ok(Said::Code(NO_PREDICTION));
    }
    if known.is_array(given) || given.get_type().hasattr(intern!(py, "__dlpack__"))? {
        return single(given, known);
    }
    if known.is_arrow(given)? {
        return Said::of(&given.call_method0(intern!(py, "as_py"))?);
    }
    if let Some(number) = index(given)? {
        return integer(&number).map(Said::Code);
    }
    if given.is_instance(known.number(py))?
        && let Some(code) = number(given, known)?
    {
        return Ok(Said::Code(code));
    }
    object(given)
}

/// A value of a builtin type, or of a class derived from one that compares as it does.
fn builtin<'py>(given: &Bound<'py, PyAny>) -> PyResult<Option<Said<'py>>> {
    Ok(Some(if let Some(number) = derived::<PyInt>(given)? {
        Said::Code(integer(number)?)
    } else if let Some(text) = derived::<PyString>(given)? {
        Said::Code(self::text(text)?)
    } else if let Some(number) = derived::<PyFloat>(given)? {
        Said::Code(code::float(number.value()))
    } else if let Some(bytes) = derived::<PyBytes>(given)? {
        Said::Code(code::bytes(bytes.as_bytes()))
    } else if let Some(parts) = derived::<PyTuple>(given)? {
        container(given, parts.iter(), code::tuple)?
    } else if let Some(parts) = derived::<PyFrozenSet>(given)? {
        container(given, parts.iter(), code::set)?
    } else if let Some(number) = derived::<PyComplex>(given)? {
        Said::Code(code::complex(number.real(), number.imag()))
    } else if given.is_instance_of::<PyInt>()
        || given.is_instance_of::<PyFloat>()
        || given.is_instance_of::<PyComplex>()
    {
        // Its class says for itself what it is equal to.
        object(given)?
    } else {
        return Ok(None);
    }))
}

/// `given` as a `T`, unless its class says for itself what it is equal to.
fn derived<'a, 'py, T: PyTypeInfo>(given: &'a Bound<'py, PyAny>) -> PyResult<Option<&'a Bound<'py, T>>> {
    let Ok(value) = given.cast::<T>() else { return Ok(None) };
    let name = intern!(given.py(), "__eq__");
    let (class, plain) = (given.get_type(), given.py().get_type::<T>());
    Ok((class.is(&plain) || class.getattr(name)?.is(&plain.getattr(name)?)).then_some(value))
}

/// A number of numpy, or text, bytes, a time or a record.
fn scalar<'py>(given: &Bound<'py, PyAny>) -> PyResult<Said<'py>> {
    let py = given.py();
    if let Some(number) = index(given)? {
        return integer(&number).map(Said::Code);
    }
    let dtype = given.getattr(intern!(py, "dtype"))?;
    let kind: char = dtype.getattr(intern!(py, "kind"))?.extract()?;
    let is_small = |bytes: usize| Ok::<_, PyErr>(dtype.getattr(intern!(py, "itemsize"))?.extract::<usize>()? <= bytes);
    let code = match kind {
        'b' => i64::from(given.is_truthy()?),
        'f' if is_small(8)? => code::float(given.extract()?),
        'c' if is_small(16)? => code::complex(given.getattr("real")?.extract()?, given.getattr("imag")?.extract()?),
        'f' => match number(given, Known::get(py)?)? {
            Some(code) => code,
            None => return object(given),
        },
        'U' => text(given.cast::<PyString>()?)?,
        'S' => code::bytes(given.cast::<PyBytes>()?.as_bytes()),
        _ => return object(given),
    };
    Ok(Said::Code(code))
}

/// The one entry of an array or a tensor without axes.
fn single<'py>(given: &Bound<'py, PyAny>, known: &Known) -> PyResult<Said<'py>> {
    let py = given.py();
    let shape = given.getattr("shape")?;
    if shape.len()? != 0 {
        return Err(invalid(py, format!("`prediction` must be one hashable value, got an array of shape {shape}")));
    }
    let entry = if known.is_array(given) { given.get_item(())? } else { given.call_method0("item")? };
    if known.is_array(&entry) && !known.is_missing(&entry) {
        return object(&entry);
    }
    Said::of(&entry)
}

/// What `__index__` gives; none where there is no such thing.
fn index<'py>(given: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyInt>>> {
    let py = given.py();
    // SAFETY: the GIL is held; the second returns a new reference, or null with an exception set.
    let number = unsafe {
        if ffi::PyIndex_Check(given.as_ptr()) == 0 {
            return Ok(None);
        }
        Bound::from_owned_ptr_or_err(py, ffi::PyNumber_Index(given.as_ptr()))
    };
    match number {
        Ok(number) => Ok(Some(number.cast_into::<PyInt>()?)),
        Err(error) if error.is_instance_of::<PyTypeError>(py) => Ok(None),
        Err(error) => Err(error),
    }
}

/// An integer of any size.
fn integer(given: &Bound<'_, PyInt>) -> PyResult<i64> {
    let py = given.py();
    let mut overflow = 0;
    // SAFETY: `given` is an int. Where it does not fit, an exception is set and taken away again.
    let near = unsafe {
        let value = ffi::PyLong_AsLongLongAndOverflow(given.as_ptr(), &raw mut overflow);
        if overflow == 0 {
            return Ok(value);
        }
        if overflow > 0 {
            let value = ffi::PyLong_AsUnsignedLongLong(given.as_ptr());
            if value != u64::MAX || PyErr::take(py).is_none() {
                return Ok(code::unsigned(value));
            }
        }
        ffi::PyLong_AsDouble(given.as_ptr())
    };
    if near == -1.0 && PyErr::take(py).is_some() {
        return Ok(code::large(method(given, "__hash__")?.extract()?));
    }
    if PyFloat::new(py, near).as_any().eq(given)? {
        return Ok(code::float(near));
    }
    Ok(code::ratio(near < 0.0, &magnitude(given)?, &[1]))
}

/// What the method of a plain int gives, whatever the class of this one has made of it.
fn method<'py>(given: &Bound<'py, PyInt>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    given.py().get_type::<PyInt>().call_method1(name, (given,))
}

/// The bytes of an integer without its sign, the lowest first.
fn magnitude(given: &Bound<'_, PyInt>) -> PyResult<Vec<u8>> {
    let bits: usize = method(given, "bit_length")?.extract()?;
    let bytes = method(given, "__abs__")?.call_method1("to_bytes", (bits.div_ceil(8), "little"))?;
    Ok(bytes.cast::<PyBytes>()?.as_bytes().to_vec())
}

/// A real number of any other type; none where it does not say which.
fn number(given: &Bound<'_, PyAny>, known: &Known) -> PyResult<Option<i64>> {
    let py = given.py();
    if given.hasattr("is_nan")? && given.call_method0("is_nan")?.is_truthy()? {
        return Ok(Some(NO_PREDICTION));
    }
    let near = match given.extract::<f64>() {
        Ok(near) if near.is_nan() => return Ok(Some(NO_PREDICTION)),
        Ok(near) if given.eq(near)? => return Ok(Some(code::float(near))),
        Ok(near) => near,
        Err(error) if error.is_instance_of::<PyOverflowError>(py) => f64::INFINITY,
        Err(error) if error.is_instance_of::<PyTypeError>(py) || error.is_instance_of::<PyValueError>(py) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    if !near.is_normal() && !known.is_scalar(given) {
        return Ok(Some(code::large(given.hash()? as i64)));
    }
    let (above, below) = if given.hasattr("as_integer_ratio")? {
        given.call_method0("as_integer_ratio")?.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>()?
    } else if given.hasattr("denominator")? {
        (given.getattr("numerator")?, given.getattr("denominator")?)
    } else {
        return Ok(None);
    };
    let (Some(above), Some(below)) = (index(&above)?, index(&below)?) else { return Ok(None) };
    if !near.is_normal() {
        let exact = py.import("fractions")?.call_method1("Fraction", (above, below))?;
        return Ok(Some(code::large(exact.hash()? as i64)));
    }
    Ok(Some(if below.as_any().eq(1)? {
        integer(&above)?
    } else {
        code::ratio(above.as_any().lt(0)?, &magnitude(&above)?, &magnitude(&below)?)
    }))
}

/// Text as Python holds it: in the narrowest characters that hold all of it.
fn text(given: &Bound<'_, PyString>) -> PyResult<i64> {
    // SAFETY: the characters are looked at while `given` is alive, and nobody changes a str.
    Ok(match unsafe { given.data()? } {
        PyStringData::Ucs1(characters) => code::narrow_text(characters),
        PyStringData::Ucs2(characters) => code::wide_text(characters),
        PyStringData::Ucs4(characters) => code::text(characters),
    })
}

/// A tuple or a frozenset; an object where one of its parts is one, or is nothing at all.
fn container<'py>(
    given: &Bound<'py, PyAny>,
    parts: impl Iterator<Item = Bound<'py, PyAny>>,
    of: fn(Vec<i64>) -> i64,
) -> PyResult<Said<'py>> {
    let py = given.py();
    let mut codes = Vec::new();
    let mut is_object = false;
    for part in parts {
        // SAFETY: the GIL is held; what was entered is left.
        let said = unsafe {
            if ffi::Py_EnterRecursiveCall(c" in a prediction".as_ptr()) != 0 {
                return Err(PyErr::fetch(py));
            }
            let said = Said::of(&part);
            ffi::Py_LeaveRecursiveCall();
            said
        };
        match said? {
            Said::Code(NO_PREDICTION) if part.is_none() => codes.push(code::nothing()),
            Said::Code(NO_PREDICTION) | Said::Object(_) => is_object = true,
            Said::Code(code) => codes.push(code),
        }
    }
    if is_object { object(given) } else { Ok(Said::Code(of(codes))) }
}

/// Any other object: hashable, and none where it is not equal to itself.
fn object<'py>(given: &Bound<'py, PyAny>) -> PyResult<Said<'py>> {
    let py = given.py();
    let hash = match given.hash() {
        Ok(hash) => hash as i64,
        Err(error) if error.is_instance_of::<PyTypeError>(py) => {
            let name = given.get_type().name()?;
            let refusal = invalid(py, format!("`prediction` must be hashable, got {name}"));
            refusal.set_cause(py, Some(error));
            return Err(refusal);
        }
        Err(error) => return Err(error),
    };
    if given.ne(given)? {
        return Ok(Said::Code(NO_PREDICTION));
    }
    // What is equal to an integer has its hash, which of nearly all integers is the integer itself.
    if !Known::get(py)?.is_scalar(given) {
        let candidates: &[i64] = if hash == -2 { &[-2, -1] } else { &[hash] };
        for candidate in candidates {
            if given.eq(*candidate)? {
                return Ok(Said::Code(*candidate));
            }
        }
    }
    Ok(Said::Object(given.clone()))
}
