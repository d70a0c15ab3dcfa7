//! Long work of the engine: without the GIL, and ended by Ctrl-C.

use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;

use crate::errors::raise;

/// Runs `work` without the GIL.
///
/// On the main thread the handlers of signals run meanwhile, about twenty times a second; what one of them raises ends
/// the work and comes out unchanged.
pub fn detached<T: Send>(py: Python<'_>, work: impl FnOnce() -> ttamer::Result<T> + Send) -> PyResult<T> {
    let raised: Arc<Mutex<Option<PyErr>>> = Arc::default();
    let found = Arc::clone(&raised);
    let is_over = move || match Python::try_attach(|py| py.check_signals().err()).flatten() {
        Some(error) => {
            *found.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            true
        }
        None => false,
    };
    let done = py.detach(|| ttamer::interruptible(is_over, work).and_then(|done| done));
    match raised.lock().unwrap_or_else(PoisonError::into_inner).take() {
        Some(error) => Err(error),
        None => done.map_err(|error| raise(py, error)),
    }
}
