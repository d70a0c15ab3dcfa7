//! Families of policies.

use std::sync::{Arc, Weak};

use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple, PyType};
use ttamer::MOST_MEMBERS;
use ttamer::learn::Decided;

use crate::convert::{column, number};
use crate::errors::{invalid, raise};
use crate::files::{buffer, path_of, write_file};
use crate::fit::{approach, recall_of, tuned};
use crate::origin::{Origin, Recipe};
use crate::policy::Policy;
use crate::trace::Trace;
use crate::working::detached;

/// Policies of one calibration for many trade-offs, in one file: immutable, safe to share between threads, picklable.
///
/// Made by `fit_family`, or read by `PolicyFamily.load`. Its policies ascend by trade-off; iterating gives them, `len` counts
/// them. Families are equal where their bytes are.
#[pyclass(frozen, eq, weakref, module = "ttamer_fast")]
pub struct PolicyFamily {
    inner: Arc<ttamer::Family>,
    /// What it takes to decide each policy anew, where they were learned in this process.
    origin: Vec<Arc<Origin>>,
}

impl PartialEq for PolicyFamily {
    /// Equal families are stored as the same bytes; one that cannot be stored equals itself alone.
    fn eq(&self, other: &Self) -> bool {
        let is_alike = || matches!((self.inner.digest(), other.inner.digest()), (Ok(one), Ok(other)) if one == other);
        Arc::ptr_eq(&self.inner, &other.inner) || is_alike()
    }
}

impl PolicyFamily {
    fn read(family: ttamer::Family) -> Self {
        Self { inner: Arc::new(family), origin: Vec::new() }
    }

    /// The family of the engine.
    pub fn inner(&self) -> &ttamer::Family {
        &self.inner
    }

    fn policy(&self, py: Python<'_>, at: usize) -> PyResult<Policy> {
        Policy::of(py, Arc::clone(&self.inner.members()[at].policy), self.origin.get(at).cloned())
    }

    fn each<'py>(&self, py: Python<'py>, of: fn(&ttamer::Member) -> f64) -> Bound<'py, PyArray1<f64>> {
        column(py, self.inner.members().iter().map(of).collect())
    }
}

#[pymethods]
impl PolicyFamily {
    /// The policy for exactly this trade-off λ: the same bytes as `fit` with it.
    ///
    /// Raises `ValidationError` for a trade-off that the family does not have; the message lists those it has. O(m).
    ///
    /// Examples
    /// --------
    /// >>> import numpy as np, ttamer_fast as tt
    /// >>> rng = np.random.default_rng(0)
    /// >>> signal = rng.random((1000, 2))
    /// >>> trace = tt.Trace(signal, rng.random((1000, 2)) > signal, cost=[1.0, 4.0])
    /// >>> family = tt.fit_family(trace, tradeoffs=[0.7, 0.9])
    /// >>> family.at(0.9) == tt.fit(trace, tradeoff=0.9)
    /// True
    #[pyo3(signature = (tradeoff, /))]
    fn at(&self, tradeoff: &Bound<'_, PyAny>) -> PyResult<Policy> {
        let py = tradeoff.py();
        let at = self.inner.at(number("tradeoff", tradeoff)?).map_err(|error| raise(py, error))?;
        self.policy(py, at)
    }

    /// The λ of every policy, ascending: (m,) float64, a new array each time.
    #[getter]
    fn tradeoffs<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.each(py, |member| member.tradeoff)
    }

    /// The policies, by ascending trade-off.
    #[getter]
    fn policies<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let policies: Vec<Policy> = (0..self.__len__()).map(|at| self.policy(py, at)).collect::<PyResult<_>>()?;
        PyTuple::new(py, policies)
    }

    /// Names of the stages (k,).
    #[getter]
    fn stages<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.inner.stages())
    }

    /// Mean cost of a request under every policy, in the unit of the trace: (m,) float64, a new array each time. `estimate`
    /// says on which rows.
    #[getter]
    fn costs<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.each(py, |member| member.cost)
    }

    /// Mean loss of a request under every policy, in the unit of the losses, likewise.
    #[getter]
    fn losses<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.each(py, |member| member.loss)
    }

    /// What `costs` and `losses` are means on: `"held-out"`, rows that were not learned from, each held back once; or
    /// `"in-sample"`, the rows that were learned from, which flatters.
    #[getter]
    fn estimate(&self) -> &'static str {
        if self.inner.is_held_out() { "held-out" } else { "in-sample" }
    }

    /// Hexadecimal SHA-256 of the family.
    #[getter]
    fn digest(&self, py: Python<'_>) -> PyResult<&str> {
        detached(py, || self.inner.digest())
    }

    /// The family as bytes, deterministic.
    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = detached(py, || self.inner.to_bytes())?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// The family that `to_bytes` wrote; `data` is bytes or any other buffer, which is not held.
    ///
    /// Raises `PolicyFormatError` for anything else. Its policies cannot be repriced, as those of files.
    #[staticmethod]
    #[pyo3(signature = (data, /))]
    fn from_bytes(py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<Self> {
        let data = buffer("data", data)?;
        Ok(Self::read(detached(py, || ttamer::Family::from_bytes(&data))?))
    }

    /// Writes the family into one file, with what its policies share once: the file is the old one or the new one, as of
    /// `Policy.save`.
    ///
    /// Raises `OSError` where the system refuses, `ValidationError` for a path that is none.
    #[pyo3(signature = (path, /))]
    fn save(&self, py: Python<'_>, path: &Bound<'_, PyAny>) -> PyResult<()> {
        let bytes = detached(py, || self.inner.to_bytes())?;
        write_file(path, &bytes)
    }

    /// Reads the family that `save` wrote. Time and memory in proportion to the file times the number of policies, at most
    /// 64; a file of more than 2³⁰ bytes is none.
    ///
    /// Raises `OSError` where the system refuses to read the file, `PolicyFormatError` where it holds no undamaged family,
    /// `ValidationError` for a path that is none, and for a pipe or a device.
    #[staticmethod]
    #[pyo3(signature = (path, /))]
    fn load(py: Python<'_>, path: &Bound<'_, PyAny>) -> PyResult<Self> {
        let path = path_of("path", path)?;
        Ok(Self::read(detached(py, || ttamer::Family::load(&path))?))
    }

    fn __len__(&self) -> usize {
        self.inner.members().len()
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(self.policies(py)?.try_iter()?.into_any())
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (Bound<'py, PyBytes>,))> {
        let class: Bound<'py, PyType> = py.get_type::<Self>();
        Ok((class.getattr("from_bytes")?, (self.to_bytes(py)?,)))
    }

    fn __copy__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (memo, /))]
    fn __deepcopy__(slf: Py<Self>, memo: &Bound<'_, PyAny>) -> Py<Self> {
        let _ = memo;
        slf
    }

    fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
        self.digest(py)?.into_pyobject(py)?.hash()
    }

    fn __repr__(&self) -> String {
        let members = self.inner.members();
        let ends = |of: fn(&ttamer::Member) -> f64| {
            let shown = |end: Option<&ttamer::Member>| end.map_or_else(String::new, |end| format!("{:.6}", of(end)));
            format!("{} to {}", shown(members.first()), shown(members.last()))
        };
        let (tradeoffs, costs) = (ends(|member| member.tradeoff), ends(|member| member.cost));
        let (stages, estimate) = (self.inner.stages().join(", "), self.estimate());
        format!("PolicyFamily(n={}, stages=[{stages}], tradeoffs={tradeoffs}, {estimate} costs={costs})", members.len())
    }
}

/// Learns the best policy for each of some ascending trade-offs; `ttamer_fast.fit_family` is the public face.
#[pyfunction]
#[pyo3(signature = (trace, tradeoffs, *, method = "pathwise", graph = "auto", order = None, recall = None, default_loss = None, seed = 0, deadline = false, known_cost = false))]
#[expect(clippy::too_many_arguments, reason = "a private entry point; callers see ttamer_fast.fit_family")]
pub fn fit_family(
    py: Python<'_>,
    trace: &Trace,
    tradeoffs: Vec<f64>,
    method: &str,
    graph: &str,
    order: Option<Vec<usize>>,
    recall: Option<bool>,
    default_loss: Option<f64>,
    seed: u64,
    deadline: bool,
    known_cost: bool,
) -> PyResult<PolicyFamily> {
    if tradeoffs.len() > MOST_MEMBERS {
        let message = format!("`tradeoffs` must have at most {MOST_MEMBERS} entries, got {}", tradeoffs.len());
        return Err(invalid(py, message));
    }
    let (approach, recall) =
        (approach(py, method, graph, order, default_loss, deadline, known_cost)?, recall_of(recall));
    let recipe = Recipe::new(trace.inner().clone(), approach, tuned(py, None)?);
    let (family, decided) = detached(py, || {
        let learner = recipe.fresh()?;
        let (mut members, mut decided, mut is_held_out) = (Vec::new(), Vec::<Decided>::new(), true);
        for tradeoff in tradeoffs {
            let (member, for_what, is_held) = learner.member(tradeoff, recall, seed)?;
            members.push(member);
            decided.push(for_what);
            is_held_out &= is_held;
        }
        Ok((ttamer::Family::new(members, is_held_out)?, decided))
    })?;
    let kept = Arc::new(recipe.of(trace.kept(py)?.trace.clone()));
    let origin = |decided| Arc::new(Origin { kept: Arc::clone(&kept), whole: Weak::new(), decided });
    Ok(PolicyFamily { inner: Arc::new(family), origin: decided.into_iter().map(origin).collect() })
}
