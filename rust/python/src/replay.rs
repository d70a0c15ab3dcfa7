//! A recorded trace, decided.

use numpy::{PyArray1, PyArray2, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyType;

/// What a policy does on every row of a trace.
#[pyclass(frozen, weakref, module = "ttamer_fast")]
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
    /// Whether the stage run last was cut off by the deadline (n,).
    #[pyo3(get)]
    late: Py<PyArray1<bool>>,
}

/// Answers, stages run last, stages run, costs, and who was cut off.
type Columns<'py> = (
    Bound<'py, PyArray1<i32>>,
    Bound<'py, PyArray1<i32>>,
    Bound<'py, PyArray2<bool>>,
    Bound<'py, PyArray1<f64>>,
    Bound<'py, PyArray1<bool>>,
);

impl Replay {
    /// The arrays of a replay over k stages.
    pub fn new(py: Python<'_>, replay: ttamer::Replay, k: usize) -> PyResult<Self> {
        let n = replay.answer.len();
        Ok(Self {
            answer: PyArray1::from_vec(py, replay.answer).unbind(),
            last: PyArray1::from_vec(py, replay.last).unbind(),
            consulted: PyArray1::from_vec(py, replay.consulted).reshape([n, k])?.unbind(),
            cost: PyArray1::from_vec(py, replay.cost).unbind(),
            late: PyArray1::from_vec(py, replay.late).unbind(),
        })
    }
}

#[pymethods]
impl Replay {
    #[staticmethod]
    #[pyo3(signature = (answer, last, consulted, cost, late, /))]
    fn _of(
        answer: Py<PyArray1<i32>>,
        last: Py<PyArray1<i32>>,
        consulted: Py<PyArray2<bool>>,
        cost: Py<PyArray1<f64>>,
        late: Py<PyArray1<bool>>,
    ) -> Self {
        Self { answer, last, consulted, cost, late }
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Columns<'py>)> {
        let class: Bound<'py, PyType> = py.get_type::<Self>();
        let answer = self.answer.bind(py).clone();
        let (last, consulted) = (self.last.bind(py).clone(), self.consulted.bind(py).clone());
        let columns = (answer, last, consulted, self.cost.bind(py).clone(), self.late.bind(py).clone());
        Ok((class.getattr("_of")?, columns))
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        self.answer.bind(py).len()
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        format!("Replay(n={})", self.__len__(py))
    }
}
