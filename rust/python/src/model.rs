//! Exact models.

use numpy::PyUntypedArrayMethods;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use ttamer::{SolveOptions, Transition};

use crate::convert::{entries, floats, integers, vector};
use crate::errors::{invalid, raise};
use crate::policy::Policy;

/// Stages, their states and losses, and how states follow each other (docs/theory.md, section 1).
#[pyclass(frozen, module = "ttamer_fast")]
pub struct Model {
    inner: ttamer::Model,
}

fn losses(loss: &Bound<'_, PyAny>) -> PyResult<Vec<Vec<f64>>> {
    entries("loss", loss)?.iter().map(|(name, entry)| vector(name, entry)).collect()
}

fn transitions(transition: &Bound<'_, PyAny>) -> PyResult<Vec<Transition>> {
    entries("transition", transition)?.iter().map(|(name, entry)| one_transition(name, entry)).collect()
}

fn one_transition(name: &str, entry: &Bound<'_, PyAny>) -> PyResult<Transition> {
    matrix(name, entry).map(Transition::Dense)
}

fn matrix(name: &str, value: &Bound<'_, PyAny>) -> PyResult<ndarray::Array2<f64>> {
    let array = floats(name, value)?;
    let dims = array.ndim();
    let matrix = array.as_array().to_owned().into_dimensionality::<ndarray::Ix2>();
    matrix.map_err(|_| invalid(value.py(), format!("`{name}` must have 2 dimensions, got {dims}")))
}

#[pymethods]
impl Model {
    /// A line of stages: exits of a network, an ordered cascade.
    #[staticmethod]
    fn line(loss: &Bound<'_, PyAny>, cost: &Bound<'_, PyAny>, transition: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = loss.py();
        let inner = ttamer::Model::line(losses(loss)?, vector("cost", cost)?, transitions(transition)?);
        Ok(Self { inner: inner.map_err(|error| raise(py, error))? })
    }

    /// A cascade in which stages may be jumped over.
    #[staticmethod]
    fn skip(loss: &Bound<'_, PyAny>, cost: &Bound<'_, PyAny>, transition: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = loss.py();
        let inner = ttamer::Model::skip(losses(loss)?, matrix("cost", cost)?, transitions(transition)?);
        Ok(Self { inner: inner.map_err(|error| raise(py, error))? })
    }

    /// A tree or forest: stages open up as their parents run.
    #[staticmethod]
    fn tree(
        parent: &Bound<'_, PyAny>,
        loss: &Bound<'_, PyAny>,
        cost: &Bound<'_, PyAny>,
        transition: &Bound<'_, PyAny>,
    ) -> PyResult<Self> {
        let py = loss.py();
        let parent = integers("parent", parent)?.as_slice()?.to_vec();
        let inner = ttamer::Model::tree(parent, losses(loss)?, vector("cost", cost)?, transitions(transition)?);
        Ok(Self { inner: inner.map_err(|error| raise(py, error))? })
    }

    /// `line`, `skip` or `tree`.
    #[getter]
    fn graph(&self) -> &'static str {
        self.inner.graph().name()
    }

    /// Number of states of each stage.
    #[getter]
    fn states<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, (0..self.inner.stages()).map(|v| self.inner.loss(v).len()))
    }

    fn __repr__(&self) -> String {
        let states: Vec<String> = (0..self.inner.stages()).map(|v| self.inner.loss(v).len().to_string()).collect();
        format!("Model.{}(states=[{}])", self.inner.graph().name(), states.join(", "))
    }
}

/// The best policy of an exact model.
#[pyfunction]
#[pyo3(signature = (model, recall = true, default_loss = f64::INFINITY))]
pub fn solve(py: Python<'_>, model: &Model, recall: bool, default_loss: f64) -> PyResult<Policy> {
    let options = SolveOptions { recall, default_loss };
    let policy = py.detach(|| ttamer::compile(&model.inner, &options));
    Policy::wrap(py, policy)
}
