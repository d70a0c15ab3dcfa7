//! Bytes from outside, read through Python: Ctrl-C is answered whatever a path leads to, and what the system refuses
//! comes out as Python's own `OSError`.

use std::borrow::Cow;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView};

use crate::errors::invalid;

/// Bytes asked for at a time.
const PIECE: usize = 1 << 20;

/// `path` as text: a str, bytes or an `os.PathLike`.
pub fn path<'py>(path: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = path.py();
    py.import("os")?
        .call_method1("fsdecode", (path,))
        .map_err(|error| if error.is_instance_of::<PyTypeError>(py) { refused("path", "a path", path) } else { error })
}

fn refused(name: &str, allowed: &str, given: &Bound<'_, PyAny>) -> PyErr {
    let kind = given.get_type().name().map_or_else(|_| "another object".into(), |name| name.to_string());
    invalid(given.py(), format!("`{name}` must be {allowed}, got {kind}"))
}

/// What `path` leads to, up to one byte more than `most`.
pub fn read(path: &Bound<'_, PyAny>, most: usize) -> PyResult<Vec<u8>> {
    let py = path.py();
    let file = py.import("io")?.call_method1("open", (path, "rb", 0)).map_err(|error| {
        if error.is_instance_of::<PyValueError>(py) {
            return invalid(py, format!("`path`: {}", error.value(py)));
        }
        error
    })?;
    let content = read_open(&file, most);
    file.call_method0("close")?;
    content
}

fn read_open(file: &Bound<'_, PyAny>, most: usize) -> PyResult<Vec<u8>> {
    let mut content = Vec::new();
    while content.len() <= most {
        let piece = file.call_method1("read", (PIECE.min(most + 1 - content.len()),))?;
        let piece = piece.cast::<PyBytes>()?.as_bytes();
        if piece.is_empty() {
            break;
        }
        content.extend_from_slice(piece);
    }
    Ok(content)
}

/// The bytes of any buffer: those of a `bytes` themselves, a copy of what may change.
pub fn buffer<'a>(name: &str, data: &'a Bound<'_, PyAny>) -> PyResult<Cow<'a, [u8]>> {
    if let Ok(bytes) = data.cast::<PyBytes>() {
        return Ok(Cow::Borrowed(bytes.as_bytes()));
    }
    let view = PyMemoryView::from(data).map_err(|_| refused(name, "bytes or another buffer", data))?;
    let copied = view.call_method0("tobytes");
    view.call_method0("release")?;
    Ok(Cow::Owned(copied?.cast::<PyBytes>()?.as_bytes().to_vec()))
}
