//! Paths, files that are written whole, and bytes of any buffer.

use std::borrow::Cow;
use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView};

use crate::errors::{invalid, raise};

/// `value` as a path.
pub fn path_of(name: &str, value: &Bound<'_, PyAny>) -> PyResult<PathBuf> {
    let py = value.py();
    let refused = || match value.get_type().name() {
        Ok(given) => invalid(py, format!("`{name}` must be a path, got {given}")),
        Err(error) => error,
    };
    let text = py.import("os")?.call_method1("fsdecode", (value,)).map_err(|_| refused())?;
    let path: PathBuf = text.extract()?;
    if path.as_os_str().is_empty() || path.as_os_str().as_encoded_bytes().contains(&0) {
        return Err(invalid(py, format!("`{name}` must be a path, got {}", value.repr()?)));
    }
    Ok(path)
}

/// Writes a whole file: the old one or the new one, whatever happens; see `ttamer::files::write`.
#[pyfunction]
#[pyo3(signature = (path, data, /))]
pub fn write_file(path: &Bound<'_, PyAny>, data: &[u8]) -> PyResult<()> {
    let py = path.py();
    let path = path_of("path", path)?;
    let mut raised = None;
    let written = py.detach(|| {
        ttamer::files::write(&path, data, &mut || {
            Python::attach(|py| raised = py.check_signals().err());
            raised.is_none()
        })
    });
    match raised {
        Some(error) => Err(error),
        None => written.map_err(|error| raise(py, error)),
    }
}

/// An error where `write_file` could not begin now: tried, without touching the file.
#[pyfunction]
#[pyo3(signature = (path, /))]
pub fn check_writable(path: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = path.py();
    let path = path_of("path", path)?;
    py.detach(|| ttamer::files::check_writable(&path)).map_err(|error| raise(py, error))
}

/// The bytes of any buffer: those of a `bytes` themselves, a copy of what may change.
pub fn buffer<'a>(name: &str, data: &'a Bound<'_, PyAny>) -> PyResult<Cow<'a, [u8]>> {
    if let Ok(bytes) = data.cast::<PyBytes>() {
        return Ok(Cow::Borrowed(bytes.as_bytes()));
    }
    let view = PyMemoryView::from(data).map_err(|_| {
        let kind = data.get_type().name().map_or_else(|_| "another object".into(), |name| name.to_string());
        invalid(data.py(), format!("`{name}` must be bytes or another buffer, got {kind}"))
    })?;
    let copied = view.call_method0("tobytes");
    view.call_method0("release")?;
    Ok(Cow::Owned(copied?.cast::<PyBytes>()?.as_bytes().to_vec()))
}
