//! Compiled policies.

use std::sync::Arc;

use numpy::{PyArray1, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple, PyType};

use ttamer::Circumstances;
use ttamer::plan::unsigned;
use ttamer::rules::{NO_PREDICTION, Observation};

use crate::barred::barred as stages_of;
use crate::batch::Batch;
use crate::columns::{Said, Signals};
use crate::convert::{arrays, column, floats, vector};
use crate::errors::{invalid, raise};
use crate::files::{buffer, path_of, write_file};
use crate::given::{costs_of_each, of_requests};
use crate::names::columns_of;
use crate::numbers::Numbers;
use crate::origin::{Origin, unknown_origin};
use crate::replay::Replay;
use crate::shapes::{check_shape, predictions};
use crate::timing::observe_ns;
use crate::trace::Trace;
use crate::watch::Watch;
use crate::working::detached;

/// A compiled policy: immutable, safe to share between threads, picklable.
#[pyclass(frozen, eq, weakref, module = "ttamer_fast")]
pub struct Policy {
    inner: Arc<ttamer::Policy>,
    numbers: Numbers,
    watch: Arc<Watch>,
    /// What it takes to decide it anew, where it was learned in this process.
    origin: Option<Arc<Origin>>,
}

impl PartialEq for Policy {
    /// Equal policies are stored as the same bytes; one that cannot be stored equals itself alone.
    fn eq(&self, other: &Self) -> bool {
        let is_alike = || matches!((self.inner.digest(), other.inner.digest()), (Ok(one), Ok(other)) if one == other);
        Arc::ptr_eq(&self.inner, &other.inner) || is_alike()
    }
}

impl Policy {
    /// Wraps a policy of the engine.
    pub fn new(py: Python<'_>, policy: ttamer::Policy) -> PyResult<Self> {
        Self::of(py, policy, None)
    }

    /// The same of a policy that can be decided anew.
    pub fn of(py: Python<'_>, policy: impl Into<Arc<ttamer::Policy>>, origin: Option<Arc<Origin>>) -> PyResult<Self> {
        let inner: Arc<ttamer::Policy> = policy.into();
        let numbers = Numbers::new(py, inner.stages().len())?;
        let watch = Arc::new(Watch::new(&inner));
        Ok(Self { inner, numbers, watch, origin })
    }

    /// The policy of the engine.
    #[inline]
    pub fn inner(&self) -> &ttamer::Policy {
        &self.inner
    }

    /// What looks at its first requests.
    #[inline]
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// The same, to be kept.
    pub fn shared(&self) -> &Arc<ttamer::Policy> {
        &self.inner
    }

    /// The Python object for a stage number or none, borrowed from this policy.
    #[inline]
    pub fn number(&self, stage: u16) -> *mut pyo3::ffi::PyObject {
        self.numbers.get(stage)
    }
}

#[pymethods]
impl Policy {
    /// The policy that `to_bytes` wrote; `data` is bytes or any other buffer, which is not held.
    #[staticmethod]
    #[pyo3(signature = (data, /))]
    fn from_bytes(py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<Self> {
        let data = buffer("data", data)?;
        Self::new(py, detached(py, || ttamer::Policy::from_bytes(&data))?)
    }

    /// The policy as bytes, deterministic.
    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = detached(py, || self.inner.to_bytes())?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// Reads the policy that `save` wrote. O(size of the file) time and memory; a file of more than 2³⁰ bytes is none.
    ///
    /// Raises `OSError` where the system refuses to read the file, `PolicyFormatError` where it holds no undamaged policy,
    /// `ValidationError` for a path that is none, and for a pipe or a device.
    #[staticmethod]
    #[pyo3(signature = (path, /))]
    fn load(py: Python<'_>, path: &Bound<'_, PyAny>) -> PyResult<Self> {
        let path = path_of("path", path)?;
        Self::new(py, detached(py, || ttamer::Policy::load(&path))?)
    }

    /// Writes the policy: the file is the old one or the new one, whatever happens.
    ///
    /// A file keeps its mode, a new one gets what the umask allows, a link stays and what it points to is replaced, a
    /// device or a pipe is written to. Raises `OSError` where the system refuses, `ValidationError` for a path that is
    /// none.
    #[pyo3(signature = (path, /))]
    fn save(&self, py: Python<'_>, path: &Bound<'_, PyAny>) -> PyResult<()> {
        let bytes = self.inner.to_bytes().map_err(|error| raise(py, error))?;
        write_file(path, &bytes)
    }

    /// `n` requests in step.
    ///
    /// `remaining`: seconds that all of them, or each, (n,), has left; `barred`: stages that none of them must ask; `cost`:
    /// what the stages of all of them, or each, (n,), cost over what they cost the average request; all as in `start`. O(n);
    /// with barred stages O(n (k + size of the policy)).
    #[pyo3(signature = (n, /, remaining = None, barred = None, cost = None))]
    fn start_batch(
        &self,
        py: Python<'_>,
        n: i64,
        remaining: Option<&Bound<'_, PyAny>>,
        barred: Option<&Bound<'_, PyAny>>,
        cost: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Batch> {
        let count = usize::try_from(n).map_err(|_| invalid(py, format!("`n` must be at least 0, got {n}")))?;
        let given = of_requests(&self.inner, remaining, cost, count)?;
        let barred = barred.map(|given| stages_of(&self.inner, given)).transpose()?;
        let policy = Arc::clone(&self.inner);
        let batch = match &given {
            None => ttamer::Batch::new(policy, count),
            Some(given) => ttamer::Batch::given(policy, given),
        };
        let batch = batch.map_err(|error| raise(py, error))?;
        let batch = match barred {
            None => batch,
            Some(barred) => batch.without(&barred, given.as_deref()),
        };
        Ok(Batch::new(batch, Arc::clone(&self.watch)))
    }

    /// Whether requests that go without these stages (numbers or names, as `barred` of `start`) are decided as if there
    /// were no such stages, as long as the others report what can be read.
    ///
    /// That is so of fitted policies of two to five separate models that know no time, as long as one of the models that
    /// they use is left: they have decisions of their own for every set of models that may be missing. It is so where no
    /// decision that a request can come to is about one of the stages; and of independent branches of an exact model that
    /// are barred as a whole, as what is decided about the others does not depend on them. Else requests go on from there
    /// as after a stage that gave nothing: what they have in hand is weighed without it, and the decisions are those that
    /// follow it.
    ///
    /// Raises `ValidationError` for what is no stage. O(size of the policy).
    ///
    /// Examples
    /// --------
    /// >>> import ttamer_fast as tt
    /// >>> boxes = tt.Model.tree([-1, -1], [[0.1, 0.9], [0.3]], [0.05, 0.1], [[[0.5, 0.5]], [[1.0]]])
    /// >>> policy = tt.solve(boxes)
    /// >>> policy.exact_without([0]), policy.start(barred=[0]).next
    /// (True, 1)
    #[pyo3(signature = (barred, /))]
    fn exact_without(&self, barred: &Bound<'_, PyAny>) -> PyResult<bool> {
        Ok(self.inner.is_exact_without(&stages_of(&self.inner, barred)?))
    }

    /// A recorded trace at once, on all cores: `signal` and `prediction` (n, k), stages in the order of `stages`. Tables
    /// with names for columns, such as data frames, are put into that order by name, or refused.
    ///
    /// With a finite `deadline`, seconds that each request has, stages take the seconds of `latency` (n, k), at least 0;
    /// of exits, since the exit before. A stage that takes longer than what is left is cut off: it has run and is paid
    /// for, its report is lost, and the request ends with the best answer in hand, -1 for none: `late` is True. A policy
    /// that knows time is told what is left; another one decides as without a deadline.
    ///
    /// `cost`: what the stages of all requests, or of each, (n,), cost over what they cost the average one, as in `start`.
    ///
    /// Raises `ValidationError` for arrays of other shapes, for a deadline that is negative or NaN, or finite without
    /// `latency`, for latencies that are no seconds, and for costs as `start` does. O(n k).
    #[pyo3(signature = (signal, prediction = None, latency = None, deadline = f64::INFINITY, cost = None))]
    fn replay(
        &self,
        py: Python<'_>,
        signal: &Bound<'_, PyAny>,
        prediction: Option<&Bound<'_, PyAny>>,
        latency: Option<&Bound<'_, PyAny>>,
        deadline: f64,
        cost: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Replay> {
        let stages = self.inner.stages();
        let k = stages.len();
        let signal = Signals::of(&columns_of("signal", signal, stages)?, 2)?;
        let signal = signal.table(k)?;
        let prediction = prediction.map(|given| columns_of("prediction", given, stages)).transpose()?;
        let mut prediction = prediction.map(|given| Said::of(&given, 2)).transpose()?;
        let prediction = prediction.as_mut().map(|given| given.table(py, k)).transpose()?;
        let latency = latency.map(|given| floats("latency", &columns_of("latency", given, stages)?)).transpose()?;
        if let Some(latency) = &latency {
            check_shape(py, "latency", latency.shape(), k)?;
        }
        let cost = cost.map(|given| costs_of_each(&self.inner, given, signal.shape().0)).transpose()?;
        let latency = latency.as_ref().map(|latency| latency.as_slice()).transpose()?;
        if self.watch.is_on() {
            let rows = self.watch.take(signal.shape().0);
            for (row, stage) in (0..rows).flat_map(|row| (0..k).map(move |stage| (row, stage))) {
                let said = prediction.map_or(NO_PREDICTION, |prediction| prediction.at(row, stage));
                self.watch.look(py, &self.inner, stage, Observation::new(signal.at(row, stage), said))?;
            }
        }
        let circumstances = Circumstances { latency, deadline, cost: cost.as_deref() };
        Ok(Replay::new(detached(py, || self.inner.endings_in(signal, prediction, &circumstances))?))
    }

    /// The same beliefs under other prices, decided anew.
    ///
    /// `cost`: (k,) incremental costs of the stages, finite and at least 0, in the unit of the trace that the policy was
    /// fitted to. What a loss is worth in that unit stays as it is: the trade-off λ, at which every stage together cost C,
    /// becomes λ' with (1 - λ') / (λ' C') = (1 - λ) / (λ C). A policy for a budget, also a mixture, is searched anew for the
    /// same budget. The provenance has the new trade-off, the prices as `cost`, and `repriced_from`, the digest of this policy.
    ///
    /// A policy of `fit`, `baselines` or `Calibration.policy` keeps what this takes, in this process: its trace, shared, if
    /// that has no more than 20,000 rows, and it then decides as a fit to the trace with these costs; else a spread sample
    /// of them, of which beliefs are found anew and differ a little (`repriced_rows`), so that the trace itself may go.
    ///
    /// Raises `ValidationError` for costs of another shape, negative, infinite or NaN; for zeros only where a trade-off has to
    /// weigh them; where a budget cannot be met; and of policies that keep no rows: those loaded from files, bytes or
    /// pickles, certified and mixed by hand, and those solved. Calibration the first time, O(k n log n), shared by all
    /// policies of one calibration; then as one more goal of it. Without the GIL; safe to call from several threads.
    ///
    /// Examples
    /// --------
    /// >>> import numpy as np, ttamer_fast as tt
    /// >>> rng = np.random.default_rng(0)
    /// >>> signal = rng.random((1000, 2))
    /// >>> trace = tt.Trace(signal, rng.random((1000, 2)) > signal, cost=[1.0, 4.0], kind="models")
    /// >>> policy = tt.fit(trace, tradeoff=0.8)
    /// >>> dearer = policy.repriced([1.0, 9.0])
    /// >>> round(float(dearer.provenance.get("tradeoff")), 4), dearer.provenance.get("cost")
    /// (0.6667, '1.0,9.0')
    #[pyo3(signature = (cost, /))]
    fn repriced(&self, py: Python<'_>, cost: &Bound<'_, PyAny>) -> PyResult<Self> {
        let cost = vector("cost", cost)?;
        let Some(origin) = &self.origin else {
            return Err(invalid(py, unknown_origin(&self.inner)));
        };
        let learner = origin.learner(py)?;
        let (policy, decided) = detached(py, || learner.redecided(&self.inner, &origin.decided, &cost))?;
        Self::of(py, policy, Some(Arc::new(origin.with(decided))))
    }

    /// The policy for requests of another domain, from a few hundred of them: what signals mean is learned anew.
    ///
    /// `trace`: such requests; stages are matched by name. Each stage is calibrated anew by a line on top of each of its
    /// curves, in logits, pulled to what it was; of the frequent classes, where predictions are class numbers, by a line of
    /// their own (Platt, "Probabilistic outputs for support vector machines", 1999, on top of what was known). How answers
    /// are weighed against each other stays. Four policies are compared on requests held back in turn, at the trade-off of
    /// this one and the costs of `trace`: this one `as it was`, that with the new `calibration`, one with `calibration and
    /// decisions` found anew, and one that learns `all` from these requests. The best of them is returned: this policy itself
    /// where nothing is better by half a standard error, else a new one, whose `report` has all four and whose provenance has
    /// `recalibrated_from`, the digest of this one.
    ///
    /// Files, bytes and pickles can be recalibrated: no rows of the old domain are needed. From some thousands of requests
    /// on, `fit` them instead. Decisions by the time left stay as they are.
    ///
    /// Raises `ValidationError` for a policy that weighs no beliefs (a simple rule, a mixture for a budget, a solved model);
    /// for other stages or another kind; for too few requests to hold some back. O(n k log n), and O(n) for each set of
    /// stages. Without the GIL; safe to call from several threads.
    ///
    /// Examples
    /// --------
    /// >>> import numpy as np, ttamer_fast as tt
    /// >>> rng = np.random.default_rng(0)
    /// >>> signal = rng.random((3000, 2))
    /// >>> loss = rng.random((3000, 2)) > signal
    /// >>> policy = tt.fit(tt.Trace(signal, loss, cost=[1.0, 4.0], kind="models"), tradeoff=0.9)
    /// >>> sharper = tt.Trace(signal[:400] ** 4, loss[:400], cost=[1.0, 4.0], kind="models")
    /// >>> found = policy.recalibrated(sharper)
    /// >>> chosen = next(row for row in found.report if row.get("chosen"))
    /// >>> chosen.get("name"), found.provenance.get("recalibrated_rows")
    /// ('calibration', '400')
    #[pyo3(signature = (trace, /))]
    fn recalibrated(slf: &Bound<'_, Self>, trace: &Bound<'_, PyAny>) -> PyResult<Self> {
        let (py, this) = (slf.py(), slf.get());
        let Ok(matching) = trace.getattr("matching") else {
            let kind = trace.get_type().name()?;
            return Err(invalid(py, format!("`trace` must be a Trace, got {kind}")));
        };
        let matched = matching.call1((slf,))?.getattr("core")?;
        let trace = matched.cast::<Trace>().map_err(PyErr::from)?.get();
        let found =
            detached(py, || ttamer::learn::recalibrated(&this.inner, trace.inner(), ttamer::learn::Tuning::default()))?;
        Self::of(py, found, None)
    }

    /// Nanoseconds of one observation in the core, start of the request included: the best of `repeats` passes over
    /// the rows of `signal` and `prediction` (n, k).
    #[pyo3(signature = (signal, prediction, repeats, /))]
    fn _observe_ns(
        &self,
        py: Python<'_>,
        signal: &Bound<'_, PyAny>,
        prediction: &Bound<'_, PyAny>,
        repeats: usize,
    ) -> PyResult<f64> {
        let k = self.inner.stages().len();
        let (signal, prediction) = (floats("signal", signal)?, predictions(prediction, k)?);
        check_shape(py, "signal", signal.shape(), k)?;
        let (signal, prediction) = (signal.as_slice()?, prediction.codes()?);
        Ok(py
            .detach(|| (0..repeats).map(|_| observe_ns(&self.inner, signal, prediction)).fold(f64::INFINITY, f64::min)))
    }

    /// Everything about the policy, as plain dictionaries and lists.
    fn describe<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let text = detached(py, || self.inner.describe())?;
        py.import("json")?.call_method1("loads", (text,))
    }

    /// Hexadecimal SHA-256 of the policy.
    #[getter]
    fn digest(&self, py: Python<'_>) -> PyResult<&str> {
        detached(py, || self.inner.digest())
    }

    /// Names of the stages.
    #[getter]
    fn stages<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.inner.stages())
    }

    /// How the policy was made.
    #[getter]
    fn method(&self) -> &str {
        &self.inner.facts().method
    }

    /// Which stage may follow which: `line` (the following one), `skip` (any later one), `lattice` (any that has not
    /// run), `tree` (any whose parent has run) or `dag` (any all of whose parents have run); joined by ` + ` in a mixture.
    #[getter]
    fn graph(&self) -> &str {
        &self.inner.facts().graph
    }

    /// Loss of answering with nothing, in the unit of the losses: `run.answer` is None where nothing is expected to lose
    /// less. Infinite where some stage has to answer.
    #[getter]
    fn default_loss(&self) -> f64 {
        self.inner.default_loss()
    }

    /// Whether an earlier answer than the last may be returned.
    #[getter]
    fn recall(&self) -> bool {
        self.inner.recall()
    }

    /// Whether decisions depend on how much time a request has left: those of a policy that was fitted with
    /// `deadline=True`, or solved with a deadline.
    #[getter]
    fn knows_time(&self) -> bool {
        self.inner.knows_time()
    }

    /// Whether decisions depend on what the stages of a request cost, which it is told when it begins: those of a policy that
    /// was fitted with `known_cost=True`.
    #[getter]
    fn knows_cost(&self) -> bool {
        self.inner.knows_cost()
    }

    /// Seconds that each stage is expected to take, of exits since the exit before: medians on the trace that a policy was
    /// fitted to, means in the model that it was solved for. (k,) float64, a new array each time; None where the policy
    /// knows no time.
    #[getter]
    fn latency<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyArray1<f64>>> {
        self.inner.latency().map(|latency| column(py, latency.to_vec()))
    }

    /// Expected seconds from the end of stage `last` (-1: from the start) to that of `stage`; of exits, all in between run
    /// too. None where the policy knows no time.
    #[pyo3(signature = (last, stage, /))]
    fn _delay(&self, last: i16, stage: usize) -> Option<f64> {
        // -1 in 16 bits is no stage.
        self.inner.delay(unsigned(i32::from(last)), stage)
    }

    /// What running each stage costs after each other: (k + 1, k), row 0 for the start; infinite where that is not allowed.
    fn _prices<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let (price, k) = (self.inner.price(), self.inner.stages().len());
        let of = |last: i32, next: usize| price.of(unsigned(last), next);
        let prices = (-1..k as i32).flat_map(|last| (0..k).map(move |next| of(last, next)));
        let prices: Vec<f64> = prices.collect();
        column(py, prices).call_method1("reshape", (k + 1, k))
    }

    /// Expected loss + cost. Exact for a solved model, in its unit. For a fitted policy the mean objective *in sample*, on
    /// the trace that it was fitted to: λ · loss + (1 − λ) · cost / cost of running every stage, the loss in its unit, the
    /// cost as a share. New requests do worse, often by 2 to 10 %: `report`, `summarize` and `evaluate` say how they do.
    #[getter]
    fn value(&self) -> f64 {
        self.inner.facts().value
    }

    /// Index of consulting each stage, per state of its parent. Of a solved model in the unit of its losses; of a fitted
    /// Markov policy in that of the objective: λ times a loss, so divide by λ for the unit of the trace.
    #[getter]
    fn index(&self, py: Python<'_>) -> PyResult<Py<PyList>> {
        arrays(py, &self.inner.facts().index)
    }

    /// How far the reported indices may be from the exact ones.
    #[getter]
    fn index_error(&self) -> f64 {
        self.inner.facts().index_error
    }

    /// How the rules that it was chosen from did on rows held back: one dictionary each, empty without a choice.
    #[getter]
    fn report<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let entry = |found: &ttamer::Candidate| {
            let entry = PyDict::new(py);
            entry.set_item("name", &found.name)?;
            entry.set_item("loss", found.loss)?;
            entry.set_item("cost", found.cost)?;
            entry.set_item("objective", found.objective)?;
            entry.set_item("difference", found.difference)?;
            entry.set_item("standard_error", found.error)?;
            entry.set_item("chosen", found.is_chosen)?;
            Ok(entry)
        };
        self.inner.facts().candidates.iter().map(entry).collect()
    }

    /// What the policy was made from.
    #[getter]
    fn provenance<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let provenance = PyDict::new(py);
        for (key, value) in &self.inner.facts().provenance {
            provenance.set_item(key, value)?;
        }
        Ok(provenance)
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
        let facts = self.inner.facts();
        let stages = self.inner.stages().join(", ");
        let worth = match facts.candidates.iter().find(|candidate| candidate.is_chosen) {
            Some(chosen) => {
                format!("held-out objective={:.6}, in-sample objective={:.6}", chosen.objective, facts.value)
            }
            None if facts.method == "exact" => format!("value={:.6}", facts.value),
            None => format!("in-sample objective={:.6}", facts.value),
        };
        format!("Policy(method={}, graph={}, stages=[{stages}], {worth})", facts.method, facts.graph)
    }
}

/// A policy that follows `first` on about `share` of the requests, by a coin tossed on the first report, else `second`.
#[pyfunction]
pub fn mixture(
    py: Python<'_>,
    first: &Policy,
    second: &Policy,
    share: f64,
    seed: u64,
    value: f64,
    provenance: Vec<(String, String)>,
) -> PyResult<Policy> {
    let mixture = ttamer::mixture(&first.inner, &second.inner, share, seed, value, provenance);
    Policy::new(py, mixture.map_err(|error| raise(py, error))?)
}
