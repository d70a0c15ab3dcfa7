//! Exact models.

use numpy::{PyArray1, PyArray2};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use ttamer::{Graph, Jumps, Latency, SolveOptions};

use crate::convert::{entries, vector};
use crate::model_parts::{given, given_latencies, jumps, latencies, losses, matrix, numbers, transitions};
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

    /// The engine's model.
    pub fn inner(&self) -> &ttamer::Model {
        &self.inner
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
        arguments.push(given_latencies(py, model)?);
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
