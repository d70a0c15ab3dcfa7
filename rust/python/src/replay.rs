//! A recorded trace, decided.

use numpy::{Element, PyArray1, PyArray2, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;
use ttamer::Endings;

/// What a policy does on every row of a trace; each array is made when it is first asked for, and is then the same.
#[pyclass(frozen, weakref, module = "ttamer_fast")]
pub struct Replay {
    rows: usize,
    /// What arrays are made of; without it all have been made.
    endings: Option<Endings>,
    answer: Column<i32>,
    last: Column<i32>,
    consulted: PyOnceLock<Py<PyArray2<bool>>>,
    cost: Column<f64>,
    late: Column<bool>,
}

/// An array of one number a row, once it has been made.
type Column<T> = PyOnceLock<Py<PyArray1<T>>>;

/// Answers, stages run last, stages run, costs, and who was cut off.
type Columns<'py> = (
    Bound<'py, PyArray1<i32>>,
    Bound<'py, PyArray1<i32>>,
    Bound<'py, PyArray2<bool>>,
    Bound<'py, PyArray1<f64>>,
    Bound<'py, PyArray1<bool>>,
);

impl Replay {
    /// Of what the engine has found.
    pub fn new(endings: Endings) -> Self {
        Self {
            rows: endings.len(),
            endings: Some(endings),
            answer: PyOnceLock::new(),
            last: PyOnceLock::new(),
            consulted: PyOnceLock::new(),
            cost: PyOnceLock::new(),
            late: PyOnceLock::new(),
        }
    }

    /// A column, made if it has not been.
    fn column<'py, T: Element + Send>(
        &self,
        py: Python<'py>,
        column: &Column<T>,
        of: fn(&Endings) -> Vec<T>,
    ) -> Bound<'py, PyArray1<T>> {
        let made = column.get_or_init(py, || {
            let numbers = py.detach(|| self.endings.as_ref().map(of).unwrap_or_default());
            PyArray1::from_vec(py, numbers).unbind()
        });
        made.bind(py).clone()
    }
}

/// What has been made elsewhere.
fn known<T: Send + Sync>(py: Python<'_>, made: T) -> PyOnceLock<T> {
    let cell = PyOnceLock::new();
    // It is empty, so that this cannot fail.
    let _ = cell.set(py, made);
    cell
}

#[pymethods]
impl Replay {
    /// Stage whose answer is returned, −1 for none (n,).
    #[getter]
    fn answer<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i32>> {
        self.column(py, &self.answer, Endings::answer)
    }

    /// Stage run last, −1 for none (n,).
    #[getter]
    fn last<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i32>> {
        self.column(py, &self.last, Endings::last)
    }

    /// Whether each stage was run (n, k).
    #[getter]
    fn consulted<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<bool>>> {
        let made = self.consulted.get_or_try_init(py, || {
            let ran = py.detach(|| self.endings.as_ref().map(Endings::consulted).unwrap_or_default());
            let stages = self.endings.as_ref().map_or(0, Endings::stages);
            PyArray1::from_vec(py, ran).reshape([self.rows, stages]).map(Bound::unbind)
        })?;
        Ok(made.bind(py).clone())
    }

    /// Summed price of the stages run, in the unit of the trace (n,).
    #[getter]
    fn cost<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.column(py, &self.cost, Endings::cost)
    }

    /// Whether the stage run last was cut off by the deadline (n,).
    #[getter]
    fn late<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<bool>> {
        self.column(py, &self.late, Endings::late)
    }

    #[staticmethod]
    #[pyo3(signature = (answer, last, consulted, cost, late, /))]
    fn _of(
        py: Python<'_>,
        answer: Py<PyArray1<i32>>,
        last: Py<PyArray1<i32>>,
        consulted: Py<PyArray2<bool>>,
        cost: Py<PyArray1<f64>>,
        late: Py<PyArray1<bool>>,
    ) -> Self {
        let rows = answer.bind(py).len();
        Self {
            rows,
            endings: None,
            answer: known(py, answer),
            last: known(py, last),
            consulted: known(py, consulted),
            cost: known(py, cost),
            late: known(py, late),
        }
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Columns<'py>)> {
        let class: Bound<'py, PyType> = py.get_type::<Self>();
        let columns = (self.answer(py), self.last(py), self.consulted(py)?, self.cost(py), self.late(py));
        Ok((class.getattr("_of")?, columns))
    }

    fn __len__(&self) -> usize {
        self.rows
    }

    fn __repr__(&self) -> String {
        format!("Replay(n={})", self.rows)
    }
}
