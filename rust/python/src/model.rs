//! Exact models.

use numpy::{PyArray1, PyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use ttamer::{Graph, Jumps, Latency, SolveOptions, Transition};

use crate::convert::{entries, floats, integers, vector};
use crate::errors::invalid;
use crate::policy::Policy;
use crate::working::detached;

/// An exact model: stages with states, what answering in each state loses, and how states follow each other.
///
/// Made by `Model.line`, `Model.skip`, `Model.tree` or `Model.dag`; validated once, immutable, solved by `solve`. Losses and costs
/// are already weighted and add up. The states of a stage are 0, 1, … up to the number of its losses; a state that the model
/// does not have counts as one that could not be read. Notation and proofs: docs/theory.md, sections 1 to 3.
#[pyclass(frozen, weakref, module = "ttamer_fast")]
pub struct Model {
    inner: ttamer::Model,
}

fn losses(loss: &Bound<'_, PyAny>) -> PyResult<Vec<Vec<f64>>> {
    entries("loss", loss)?.iter().map(|(name, entry)| vector(name, entry)).collect()
}

fn transitions(transition: &Bound<'_, PyAny>) -> PyResult<Vec<Transition>> {
    entries("transition", transition)?.iter().map(|(name, entry)| one_transition(name, entry)).collect()
}

/// Dense array, scipy.sparse matrix or array, coordinates, or a pair (U, V) of dense factors.
fn one_transition(name: &str, entry: &Bound<'_, PyAny>) -> PyResult<Transition> {
    if entry.hasattr("tocoo")? {
        let entries = entry.call_method0("tocoo")?;
        let part = |name: &str| entries.getattr(name);
        return sparse(name, &part("row")?, &part("col")?, &part("data")?, &part("shape")?);
    }
    let parts = entry.cast::<PyTuple>().map_or_else(|_| Vec::new(), |parts| parts.iter().collect());
    if let [u, v] = parts.as_slice() {
        let factor = |at: usize, given: &Bound<'_, PyAny>| matrix(&format!("{name}[{at}]"), given);
        return Ok(Transition::LowRank { u: factor(0, u)?, v: factor(1, v)? });
    }
    if let [row, column, value, shape] = parts.as_slice() {
        return sparse(name, row, column, value, shape);
    }
    matrix(name, entry).map(Transition::Dense)
}

/// From coordinates: where every entry is, and what it is.
fn sparse(
    name: &str,
    row: &Bound<'_, PyAny>,
    column: &Bound<'_, PyAny>,
    value: &Bound<'_, PyAny>,
    shape: &Bound<'_, PyAny>,
) -> PyResult<Transition> {
    let py = row.py();
    let places = |given: &Bound<'_, PyAny>| -> PyResult<Vec<usize>> {
        // A negative place becomes one beyond every shape.
        Ok(numbers(name, given)?.into_iter().map(|place| place as usize).collect())
    };
    let shape = shape.extract().map_err(|_| invalid(py, format!("`{name}` must have a shape of two numbers")))?;
    let made = Transition::from_coordinates(&places(row)?, &places(column)?, &vector(name, value)?, shape);
    made.map_err(|error| invalid(py, format!("`{name}`: {error}")))
}

/// What `one_transition` reads.
fn given<'py>(py: Python<'py>, transition: &Transition) -> PyResult<Bound<'py, PyAny>> {
    let dense = |matrix: &ndarray::Array2<f64>| PyArray2::from_array(py, matrix);
    Ok(match transition {
        Transition::Dense(matrix) => dense(matrix).into_any(),
        Transition::LowRank { u, v } => (dense(u), dense(v)).into_pyobject(py)?.into_any(),
        Transition::Sparse(entries) => {
            let (mut rows, mut columns, mut values) = (Vec::new(), Vec::new(), Vec::new());
            for row in 0..entries.shape().0 {
                let (column, value) = entries.row(row);
                rows.resize(rows.len() + column.len(), row as i64);
                columns.extend(column.iter().map(|column| i64::from(*column)));
                values.extend_from_slice(value);
            }
            let places = (PyArray1::from_vec(py, rows), PyArray1::from_vec(py, columns));
            (places.0, places.1, PyArray1::from_vec(py, values), entries.shape()).into_pyobject(py)?.into_any()
        }
        _ => return Err(invalid(py, "`model` has a transition that cannot be copied")),
    })
}

/// What each stage's seconds are: a tuple (seconds, probability), or a sequence of such tuples, one per state.
fn latencies(latency: &Bound<'_, PyAny>) -> PyResult<Vec<Vec<Latency>>> {
    let stage = |(name, entry): &(String, Bound<'_, PyAny>)| {
        if entry.is_instance_of::<PyTuple>() {
            return Ok(vec![one_latency(name, entry)?]);
        }
        entries(name, entry)?.iter().map(|(name, entry)| one_latency(name, entry)).collect()
    };
    entries("latency", latency)?.iter().map(stage).collect()
}

fn one_latency(name: &str, entry: &Bound<'_, PyAny>) -> PyResult<Latency> {
    let parts = entry.cast::<PyTuple>().map_or_else(|_| Vec::new(), |parts| parts.iter().collect());
    let [seconds, probability] = parts.as_slice() else {
        return Err(invalid(entry.py(), format!("`{name}` must be a tuple (seconds, probability)")));
    };
    Ok(Latency::new(vector(&format!("{name}[0]"), seconds)?, vector(&format!("{name}[1]"), probability)?))
}

/// `exits` and `models`, as of a trace.
fn jumps(py: Python<'_>, kind: &str) -> PyResult<Jumps> {
    match kind {
        "exits" => Ok(Jumps::Through),
        "models" => Ok(Jumps::Alone),
        other => Err(invalid(py, format!("`kind` must be 'exits' or 'models', got '{other}'"))),
    }
}

fn matrix(name: &str, value: &Bound<'_, PyAny>) -> PyResult<ndarray::Array2<f64>> {
    let array = floats(name, value)?;
    let dims = array.ndim();
    let matrix = array.as_array().to_owned().into_dimensionality::<ndarray::Ix2>();
    matrix.map_err(|_| invalid(value.py(), format!("`{name}` must have 2 dimensions, got {dims}")))
}

/// A list of stage numbers.
fn numbers(name: &str, entry: &Bound<'_, PyAny>) -> PyResult<Vec<i64>> {
    let array = integers(name, entry)?;
    if array.ndim() != 1 {
        return Err(invalid(entry.py(), format!("`{name}` must have 1 dimension, got {}", array.ndim())));
    }
    Ok(array.as_slice()?.to_vec())
}

impl Model {
    /// What `work` of the engine gives, with latencies if there are any.
    fn of(
        py: Python<'_>,
        latency: Option<Vec<Vec<Latency>>>,
        work: impl FnOnce() -> ttamer::Result<ttamer::Model> + Send,
    ) -> PyResult<Self> {
        let made = || match latency {
            None => work(),
            Some(latency) => work()?.with_latency(latency),
        };
        Ok(Self { inner: detached(py, made)? })
    }

    /// Its latencies as `latencies` reads them; None where there are none.
    fn given_latency<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let one = |latency: &Latency| {
            let parts = [latency.seconds(), latency.probability()].map(|part| PyArray1::from_slice(py, part));
            PyTuple::new(py, parts)
        };
        let stages = (0..self.inner.stages()).map(|v| match self.inner.latencies(v) {
            [only] => Ok(one(only)?.into_any()),
            each => Ok(PyList::new(py, each.iter().map(one).collect::<PyResult<Vec<_>>>()?)?.into_any()),
        });
        if self.inner.latencies(0).is_empty() {
            return Ok(py.None().into_bound(py));
        }
        Ok(PyList::new(py, stages.collect::<PyResult<Vec<_>>>()?)?.into_any())
    }
}

#[pymethods]
impl Model {
    /// A line of stages: exits of a network, an ordered cascade.
    ///
    /// Parameters
    /// ----------
    /// loss : sequence of k arrays (K_v,) of float
    ///     Loss of answering with stage v in each of its states, finite and at least 0.
    /// cost : array (k,) of float
    ///     Cost of running each stage, finite and at least 0.
    /// transition : sequence of k arrays (K_{v-1}, K_v) of float
    ///     Row s: distribution of the state of v after state s of the stage before; (1, K_0) for the first. Each may be
    ///     dense, a scipy.sparse matrix, a tuple (row, column, value, shape) of its entries, or a pair (U, V) of
    ///     row-stochastic factors (soft state aggregation). A row must sum to 1 within 1e-5, as rows in
    ///     float32 do, and is divided by its sum.
    /// latency : sequence of k entries, or None
    ///     How long stage v takes, beyond the stages before it: a tuple (seconds (m,), probability (m,)) of arrays of
    ///     float, finite, at least 0, the probabilities summing to 1; or a list of K_v such tuples, one for each state
    ///     that the stage turns out to be in. Beyond that latencies depend on nothing. None: not known, and there can be
    ///     no deadline.
    ///
    /// Raises
    /// ------
    /// ValidationError
    ///     For wrong lengths or shapes, numbers out of range, rows that do not sum to 1; the message names the entry.
    ///
    /// Notes
    /// -----
    /// O(non-zeros) time and memory. T-Tamer (arXiv 2509.22992), section 3.
    ///
    /// Examples
    /// --------
    /// >>> import ttamer_fast as tt
    /// >>> model = tt.Model.line(
    /// ...     loss=[[0.1, 0.9], [0.0, 0.2]], cost=[0.05, 0.1], transition=[[[0.5, 0.5]], [[1.0, 0.0], [0.0, 1.0]]]
    /// ... )
    /// >>> model
    /// Model.line(states=[2, 2])
    #[staticmethod]
    #[pyo3(signature = (loss, cost, transition, latency = None))]
    fn line(
        loss: &Bound<'_, PyAny>,
        cost: &Bound<'_, PyAny>,
        transition: &Bound<'_, PyAny>,
        latency: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let py = loss.py();
        let (loss, cost, transition) = (losses(loss)?, vector("cost", cost)?, transitions(transition)?);
        let latency = latency.map(latencies).transpose()?;
        Self::of(py, latency, || ttamer::Model::line(loss, cost, transition))
    }

    /// A cascade in which stages may be jumped over; a stage that is jumped over is never seen.
    ///
    /// Parameters
    /// ----------
    /// loss, transition
    ///     As for `Model.line`.
    /// cost : array (k, k) of float
    ///     Upper triangle: `cost[i, j]` of running j when i − 1 was the last stage run (row 0: nothing has run).
    ///     Infinite: not allowed.
    /// latency : sequence of k entries, or None
    ///     As for `Model.line`.
    /// kind : {"exits", "models"}
    ///     What a jump takes: of exits of one network the seconds of all stages up to the one that it leads to, since what
    ///     lies between is run though not looked at; of separate models that stage's own.
    ///
    /// Raises
    /// ------
    /// ValidationError
    ///     As for `Model.line`, for a NaN or a lower-triangular entry other than 0, and for another kind.
    ///
    /// Notes
    /// -----
    /// O(non-zeros) time and memory.
    ///
    /// Examples
    /// --------
    /// >>> import ttamer_fast as tt
    /// >>> loss, transition = [[0.1, 0.9], [0.0, 0.2]], [[[0.5, 0.5]], [[1.0, 0.0], [0.0, 1.0]]]
    /// >>> model = tt.Model.skip(loss, [[0.05, 0.08], [0.0, 0.1]], transition)
    /// >>> round(tt.solve(model).value, 6)
    /// 0.18
    #[staticmethod]
    #[pyo3(signature = (loss, cost, transition, latency = None, kind = "exits"))]
    fn skip(
        loss: &Bound<'_, PyAny>,
        cost: &Bound<'_, PyAny>,
        transition: &Bound<'_, PyAny>,
        latency: Option<&Bound<'_, PyAny>>,
        kind: &str,
    ) -> PyResult<Self> {
        let py = loss.py();
        let (loss, cost, transition) = (losses(loss)?, matrix("cost", cost)?, transitions(transition)?);
        let (latency, jumps) = (latency.map(latencies).transpose()?, jumps(py, kind)?);
        Self::of(py, latency, || Ok(ttamer::Model::skip(loss, cost, transition)?.with_jumps(jumps)))
    }

    /// A tree or forest: stages open up as their parents run; several roots are independent alternatives.
    ///
    /// Parameters
    /// ----------
    /// parent : array (k,) of int
    ///     Parent of each stage, −1 for a root; parents come before their children.
    /// loss, cost
    ///     As for `Model.line`.
    /// transition
    ///     As for `Model.line`, with (K_parent, K_v) for every stage and (1, K_v) for a root.
    /// latency : sequence of k entries, or None
    ///     As for `Model.line`: each stage's own seconds, whatever ran before.
    ///
    /// Raises
    /// ------
    /// ValidationError
    ///     As for `Model.line`, and for a parent that does not come before its child.
    ///
    /// Notes
    /// -----
    /// O(non-zeros) time and memory.
    ///
    /// Examples
    /// --------
    /// >>> import ttamer_fast as tt
    /// >>> model = tt.Model.tree([-1, -1], [[0.0, 1.0], [0.3]], [0.1, 0.05], [[[0.5, 0.5]], [[1.0]]])
    /// >>> policy = tt.solve(model)
    /// >>> [float(index.round(6)[0]) for index in policy.index], round(policy.value, 6)
    /// ([0.2, 0.35], 0.275)
    #[staticmethod]
    #[pyo3(signature = (parent, loss, cost, transition, latency = None))]
    fn tree(
        parent: &Bound<'_, PyAny>,
        loss: &Bound<'_, PyAny>,
        cost: &Bound<'_, PyAny>,
        transition: &Bound<'_, PyAny>,
        latency: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let py = loss.py();
        let parent = numbers("parent", parent)?;
        let (loss, cost, transition) = (losses(loss)?, vector("cost", cost)?, transitions(transition)?);
        let latency = latency.map(latencies).transpose()?;
        Self::of(py, latency, || ttamer::Model::tree(parent, loss, cost, transition))
    }

    /// A small general graph: a stage may run once all its parents have.
    ///
    /// Parameters
    /// ----------
    /// parents : sequence of k lists of int
    ///     Earlier stages, ascending; empty for a stage that may run first.
    /// loss, cost
    ///     As for `Model.line`.
    /// transition
    ///     As for `Model.line`, with one row per joint state of the parents, the last parent's state running fastest:
    ///     (K_a K_b, K_v) and row `s_a * K_b + s_b` for parents [a, b]; (1, K_v) where there is none.
    /// latency : sequence of k entries, or None
    ///     As for `Model.tree`.
    ///
    /// Raises
    /// ------
    /// ValidationError
    ///     As for `Model.line`, and for parents that are not ascending earlier stages. `solve` refuses a model with more
    ///     than 2²² situations, the product of K_v + 2 over the stages.
    ///
    /// Notes
    /// -----
    /// O(non-zeros) time and memory. Solving takes O(k K) for each situation: with several parents the problem is
    /// NP-hard even with independent stages (docs/theory.md, section 3.6; compare Boodaghians et al., arXiv 2002.06968).
    ///
    /// Examples
    /// --------
    /// >>> import ttamer_fast as tt
    /// >>> both = [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]]  # stage 2 is perfect where 0 and 1 agree
    /// >>> model = tt.Model.dag(
    /// ...     [[], [], [0, 1]],
    /// ...     loss=[[0.5, 0.5], [0.5, 0.5], [0.0, 1.0]],
    /// ...     cost=[0.1, 0.1, 0.1],
    /// ...     transition=[[[0.5, 0.5]], [[0.5, 0.5]], both],
    /// ... )
    /// >>> policy = tt.solve(model)
    /// >>> round(policy.value, 6), tt.verify(model, policy).exact
    /// (0.5, True)
    #[staticmethod]
    #[pyo3(signature = (parents, loss, cost, transition, latency = None))]
    fn dag(
        parents: &Bound<'_, PyAny>,
        loss: &Bound<'_, PyAny>,
        cost: &Bound<'_, PyAny>,
        transition: &Bound<'_, PyAny>,
        latency: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let py = loss.py();
        let parents =
            entries("parents", parents)?.iter().map(|(name, entry)| numbers(name, entry)).collect::<PyResult<_>>()?;
        let (loss, cost, transition) = (losses(loss)?, vector("cost", cost)?, transitions(transition)?);
        let latency = latency.map(latencies).transpose()?;
        Self::of(py, latency, || ttamer::Model::dag(parents, loss, cost, transition))
    }

    /// `line`, `skip`, `tree` or `dag`.
    #[getter]
    fn graph(&self) -> &'static str {
        self.inner.graph().name()
    }

    /// Number of states of each stage.
    #[getter]
    fn states<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, (0..self.inner.stages()).map(|v| self.inner.loss(v).len()))
    }

    /// The arguments that made it; pickled and copied models are solved alike.
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let (model, k) = (&self.inner, self.inner.stages());
        let loss: Vec<_> = (0..k).map(|v| PyArray1::from_slice(py, model.loss(v))).collect();
        let jump = |last: usize, v: usize| if last > v { 0.0 } else { model.cost_of(last.checked_sub(1), v) };
        let cost = if *model.graph() == Graph::Skip {
            PyArray2::from_owned_array(py, ndarray::Array2::from_shape_fn((k, k), |(last, v)| jump(last, v))).into_any()
        } else {
            PyArray1::from_iter(py, (0..k).map(|v| model.cost_of(model.parent(v), v))).into_any()
        };
        let transition = (0..k).map(|v| given(py, model.transition(v))).collect::<PyResult<Vec<_>>>()?;
        let mut arguments = vec![loss.into_pyobject(py)?.into_any(), cost, transition.into_pyobject(py)?.into_any()];
        match model.graph() {
            Graph::Tree { parent } => {
                let parent = parent.iter().map(|parent| parent.map_or(-1, |parent| parent as i64));
                arguments.insert(0, PyArray1::from_iter(py, parent).into_any());
            }
            Graph::Dag { parents } => arguments.insert(0, parents.clone().into_pyobject(py)?.into_any()),
            _ => {}
        }
        arguments.push(self.given_latency(py)?);
        if *model.graph() == Graph::Skip {
            let kind = if model.jumps() == Jumps::Alone { "models" } else { "exits" };
            arguments.push(kind.into_pyobject(py)?.into_any());
        }
        Ok((py.get_type::<Self>().getattr(self.graph())?, PyTuple::new(py, arguments)?))
    }

    fn __copy__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (memo, /))]
    fn __deepcopy__(slf: Py<Self>, memo: &Bound<'_, PyAny>) -> Py<Self> {
        let _ = memo;
        slf
    }

    fn __repr__(&self) -> String {
        let states: Vec<String> = (0..self.inner.stages()).map(|v| self.inner.loss(v).len().to_string()).collect();
        format!("Model.{}(states=[{}])", self.inner.graph().name(), states.join(", "))
    }
}

/// The optimal policy of an exact model.
///
/// Parameters
/// ----------
/// model : Model
/// recall : bool
///     Whether the answer of any consulted stage may be returned, or only that of the last one.
/// default_loss : float
///     Loss of answering with nothing; infinite (the default): at least one stage has to run. With a finite one a run
///     may end with `run.answer` None.
/// deadline : float
///     Seconds that a request has; infinite (the default): there is no deadline, and latencies do not matter. A stage that
///     would end after it is cut off: it is paid for, its answer is lost, and the best in hand goes out. No answer then
///     costs `default_loss`, or the largest number in the model's losses where that is infinite; with a deadline a run may
///     therefore end without an answer in either case. Needs a model with latencies, and recall. Sums of latencies that
///     differ by at most a billionth of the deadline (of all the longest latencies together, where that is less) count as
///     one: 0.1 + 0.2 fits into 0.3.
///
/// Returns
/// -------
/// Policy
///     `policy.value` is the least possible expected loss + cost, `policy.index[v]` (K_parent,) the index of consulting
///     v given its parent's state (lines and trees with recall), the largest where there are several, and infinite
///     where it is not below the parent's own loss and cannot matter. The signal of such a policy is the state itself; any
///     other number (NaN, 0.5, a state that the stage does not have) is a state that could not be read, and never an
///     error (docs/theory.md, section 3.5). With a deadline `policy.value` is for that deadline, `policy.index` is empty,
///     and the policy decides for every shorter one as well, and without any: `policy.start(remaining=...)`.
///
/// Raises
/// ------
/// ValidationError
///     For a negative or NaN default loss or deadline, a tree or general graph without recall, a deadline without recall or
///     for a model without latencies, general graphs beyond enumeration, and models too large for memory (refused before
///     anything is allocated). With a deadline what is enumerated is every situation at every remaining time at which
///     something changes, at most 2²²: situations are stages times states on lines and skip graphs, and the product of
///     K_v + 2 on trees and general graphs; remaining times are sums of latencies up to the deadline.
///
/// Notes
/// -----
/// Value and decisions are exact, up to rounding; large models report indices within `policy.index_error`. A line of k
/// stages with K states on a common grid of K losses takes O(k K³) time and O(K²) memory, a skip graph k times that. A
/// deadline multiplies both by the number of remaining times, and trees are then solved like general graphs.
/// All cores, without the GIL; Ctrl-C ends it.
/// T-Tamer (arXiv 2509.22992), Algorithm 1; Weitzman (1979) for independent boxes; proofs in docs/theory.md.
///
/// Examples
/// --------
/// >>> import ttamer_fast as tt
/// >>> model = tt.Model.line(
/// ...     loss=[[0.1, 0.9], [0.0, 0.2]], cost=[0.05, 0.1], transition=[[[0.5, 0.5]], [[1.0, 0.0], [0.0, 1.0]]]
/// ... )
/// >>> policy = tt.solve(model)
/// >>> round(policy.value, 6), policy.index[1].round(6).tolist()
/// (0.25, [inf, 0.3])
/// >>> run = policy.start()
/// >>> run.observe(1)  # the first stage is in state 1: its answer would lose 0.9
/// 1
/// >>> run.observe(1)
/// >>> run.answer
/// 1
/// >>> slow = tt.Model.line(
/// ...     loss=[[0.1, 0.9], [0.0, 0.2]],
/// ...     cost=[0.05, 0.1],
/// ...     transition=[[[0.5, 0.5]], [[1.0, 0.0], [0.0, 1.0]]],
/// ...     latency=[([0.01], [1.0]), ([0.02, 0.04], [0.5, 0.5])],
/// ... )
/// >>> [round(tt.solve(slow, deadline=seconds).value, 6) for seconds in (0.005, 0.01, 0.03, 0.05)]
/// [0.9, 0.55, 0.425, 0.25]
#[pyfunction]
#[pyo3(signature = (model, recall = true, default_loss = f64::INFINITY, deadline = f64::INFINITY))]
pub fn solve(py: Python<'_>, model: &Model, recall: bool, default_loss: f64, deadline: f64) -> PyResult<Policy> {
    let options = SolveOptions { recall, default_loss, deadline };
    Policy::new(py, detached(py, || ttamer::compile(&model.inner, &options))?)
}

/// What following a policy pays on a model, and how far from optimal that can be.
///
/// Computed from the policy's decisions alone, independently of the solver: the Bellman residual of every situation
/// that can occur; of a policy with a deadline at every remaining time up to it at which something changes, besides without
/// any. The model may be another one than was solved, say the one before aggregation, with the same latencies.
///
/// Parameters
/// ----------
/// model : Model
/// policy : Policy
///     From `solve`, possibly saved and loaded in between.
///
/// Returns
/// -------
/// Certificate
///     `value`, `residual`, `bound`, `exact`.
///
/// Raises
/// ------
/// ValidationError
///     For a fitted policy, or one of another graph or shape than the model; with a deadline, also for a model that has
///     other latencies.
///
/// Notes
/// -----
/// Lines: O(k K² G) for G distinct losses, skip graphs k times that, trees and general graphs as much as solving. On a
/// tree `value` is within `bound` of what the policy pays. docs/theory.md, section 3.7.
///
/// Examples
/// --------
/// >>> import ttamer_fast as tt
/// >>> model = tt.Model.tree([-1, -1], [[0.0, 1.0], [0.3]], [0.1, 0.05], [[[0.5, 0.5]], [[1.0]]])
/// >>> tt.verify(model, tt.solve(model)).exact
/// True
#[pyfunction]
pub fn verify(py: Python<'_>, model: &Model, policy: &Policy) -> PyResult<Certificate> {
    Ok(Certificate { inner: detached(py, || ttamer::verify(&model.inner, policy.inner()))? })
}

/// What `verify` found.
#[pyclass(frozen, module = "ttamer_fast")]
pub struct Certificate {
    inner: ttamer::solve::Certificate,
}

#[pymethods]
impl Certificate {
    /// Expected loss + cost of following the policy on the model, within the deadline that it was solved for.
    #[getter]
    fn value(&self) -> f64 {
        self.inner.value
    }

    /// The largest Bellman residual over all situations that can occur.
    #[getter]
    fn residual(&self) -> f64 {
        self.inner.residual
    }

    /// No policy pays less than the value minus this.
    #[getter]
    fn bound(&self) -> f64 {
        self.inner.bound
    }

    /// Whether the bound, and the distance to the value that the policy states, are rounding.
    #[getter]
    fn exact(&self) -> bool {
        self.inner.exact
    }

    fn __repr__(&self) -> String {
        let exact = if self.inner.exact { "True" } else { "False" };
        let ttamer::solve::Certificate { value, residual, bound, .. } = self.inner;
        format!("Certificate(value={value:.6}, residual={residual:.1e}, bound={bound:.1e}, exact={exact})")
    }
}
