//! A recorded trace, decided.

use numpy::{PyArray1, PyArray2, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::prelude::*;

/// What a policy does on every row of a trace.
#[pyclass(frozen, module = "ttamer_fast")]
pub struct Replay {
    /// Stage whose answer is returned, −1 for none (n,).
    #[pyo3(get)]
    answer: Py<PyArray1<i32>>,
    /// Stage run last, −1 for none (n,).
    #[pyo3(get)]
    last: Py<PyArray1<i32>>,
    /// Whether each stage was run (n, k).
    #[pyo3(get)]
    consulted: Py<PyArray2<bool>>,
    /// Summed price of the stages run, in the unit of the trace (n,).
    #[pyo3(get)]
    cost: Py<PyArray1<f64>>,
}

impl Replay {
    /// The arrays of a replay over k stages.
    pub fn new(py: Python<'_>, replay: ttamer::Replay, k: usize) -> PyResult<Self> {
        let n = replay.answer.len();
        Ok(Self {
            answer: PyArray1::from_vec(py, replay.answer).unbind(),
            last: PyArray1::from_vec(py, replay.last).unbind(),
            consulted: PyArray1::from_vec(py, replay.consulted).reshape([n, k])?.unbind(),
            cost: PyArray1::from_vec(py, replay.cost).unbind(),
        })
    }
}

#[pymethods]
impl Replay {
    fn __len__(&self, py: Python<'_>) -> usize {
        self.answer.bind(py).len()
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        format!("Replay(n={})", self.__len__(py))
    }
}
