//! Stage numbers as Python objects.

use pyo3::prelude::*;
use ttamer::plan::NO_STAGE;

/// Stage numbers as Python objects, made once per policy: reading `next` then creates nothing.
pub struct Numbers {
    stages: Vec<Py<PyAny>>,
    none: Py<PyAny>,
}

impl Numbers {
    /// For `count` stages.
    pub fn new(py: Python<'_>, count: usize) -> PyResult<Self> {
        let number = |stage: usize| Ok(stage.into_pyobject(py)?.into_any().unbind());
        Ok(Self { stages: (0..count).map(number).collect::<PyResult<_>>()?, none: py.None() })
    }

    /// The object for a stage, or None; a borrowed pointer that lives as long as `self`.
    #[inline]
    pub fn get(&self, stage: u16) -> *mut pyo3::ffi::PyObject {
        self.stages.get(usize::from(stage)).unwrap_or(&self.none).as_ptr()
    }
}

const _: () = assert!(NO_STAGE as usize > ttamer::MAX_STAGES, "no stage must be out of range of every policy");
