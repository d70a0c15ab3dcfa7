//! Stages, their states, losses, costs and transitions: validated once, immutable after.
//!
//! Notation: k stages; `K_v` states of stage v; `r_v(s)` loss of answering with stage v in state s; `c` costs;
//! `P_v(s_v | s_parent)` transitions, one row per state of the parent (one row for a first stage or a root).

use ndarray::Array2;

mod latency;
mod transition;

pub use latency::{Jumps, Latency};
pub use transition::{Csr, ROW_SUM_TOLERANCE, Transition};

use crate::error::{Error, Result};

/// Which stage may be next.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Graph {
    /// The next one.
    Line,
    /// Any later one; a stage that is jumped over is never seen.
    Skip,
    /// Any stage whose parent has run; `parent[v] < v`, `None` for a root.
    Tree {
        /// Parent of each stage (k,).
        parent: Vec<Option<usize>>,
    },
    /// Any stage all of whose parents have run; ascending numbers below v.
    Dag {
        /// Parents of each stage (k lists).
        parents: Vec<Vec<usize>>,
    },
}

impl Graph {
    /// Its name in policies and messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::Skip => "skip",
            Self::Tree { .. } => "tree",
            Self::Dag { .. } => "dag",
        }
    }
}

/// Costs, in the shape that the graph asks for.
#[derive(Clone, Debug)]
enum Cost {
    /// One per stage.
    Stage(Vec<f64>),
    /// `[last + 1, next]`.
    Jump(Array2<f64>),
}

/// A validated model.
#[derive(Clone, Debug)]
pub struct Model {
    graph: Graph,
    loss: Vec<Vec<f64>>,
    cost: Cost,
    transition: Vec<Transition>,
    marginal: Vec<Vec<f64>>,
    /// How long each stage takes, in any state or in each; empty where that is not known.
    latency: Vec<Vec<Latency>>,
    jumps: Jumps,
}

impl Model {
    /// Exits of a network, or an ordered cascade: the next stage is the following one.
    ///
    /// Shapes: `loss[v]` (`K_v`,), `cost` (k,), `transition[v]` (`K_{v-1}`, `K_v`), `transition[0]` (1, `K_0`).
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for wrong lengths or shapes, negative or non-finite losses, costs or probabilities, and
    /// rows that do not sum to 1. O(non-zeros).
    pub fn line(loss: Vec<Vec<f64>>, cost: Vec<f64>, transition: Vec<Transition>) -> Result<Self> {
        let cost = Cost::Stage(stage_costs(cost, loss.len())?);
        Self::build(Graph::Line, loss, cost, transition)
    }

    /// A cascade in which stages may be jumped over.
    ///
    /// Shapes as for [`Model::line`], but `cost` is (k, k): `cost[[i, j]]`, j ≥ i, is the cost of running stage j when
    /// stage i − 1 was the last one run (row 0: nothing has run yet). Infinite: not allowed. Below the diagonal: 0.
    ///
    /// # Errors
    ///
    /// As for [`Model::line`]; also for an entry below the diagonal and for NaN.
    pub fn skip(loss: Vec<Vec<f64>>, mut cost: Array2<f64>, transition: Vec<Transition>) -> Result<Self> {
        let stages = non_empty(&loss)?;
        if cost.dim() != (stages, stages) {
            let (rows, columns) = cost.dim();
            return Err(Error::invalid(format!(
                "`cost` must have shape ({stages}, {stages}), one row and column per stage, got ({rows}, {columns})"
            )));
        }
        for ((i, j), c) in cost.indexed_iter() {
            if j < i && *c != 0.0 {
                return Err(Error::invalid(format!(
                    "`cost` row {i} column {j} is below the diagonal and must be 0 (no stage runs after a later one), \
                     got {c}"
                )));
            }
            if c.is_nan() || *c < 0.0 {
                return Err(Error::invalid(format!(
                    "`cost` row {i} column {j} must be at least 0 (infinite: not allowed to jump), got {c}"
                )));
            }
        }
        cost.mapv_inplace(|c| c + 0.0); // −0 becomes 0
        Self::build(Graph::Skip, loss, Cost::Jump(cost), transition)
    }

    /// A tree or forest: a stage may be next once its parent has run.
    ///
    /// Shapes: `parent` (k,), −1 for a root, `parent[v] < v`; `loss[v]` (`K_v`,); `cost` (k,); `transition[v]`
    /// (`K_parent`, `K_v`), for a root (1, `K_v`).
    ///
    /// # Errors
    ///
    /// As for [`Model::line`]; also for a parent that is not an earlier stage.
    pub fn tree(parent: Vec<i64>, loss: Vec<Vec<f64>>, cost: Vec<f64>, transition: Vec<Transition>) -> Result<Self> {
        let stages = non_empty(&loss)?;
        same_length("parent", parent.len(), stages)?;
        let parent = parent
            .into_iter()
            .enumerate()
            .map(|(v, p)| match usize::try_from(p) {
                Ok(p) if p < v => Ok(Some(p)),
                Err(_) if p == -1 => Ok(None),
                _ => Err(Error::invalid(format!(
                    "`parent[{v}]` must be -1 (a root) or an earlier stage, below {v}, got {p}"
                ))),
            })
            .collect::<Result<Vec<_>>>()?;
        let cost = Cost::Stage(stage_costs(cost, stages)?);
        Self::build(Graph::Tree { parent }, loss, cost, transition)
    }

    /// A general directed acyclic graph: a stage may be next once all its parents have run.
    ///
    /// `parents[v]` lists earlier stages, ascending; `transition[v]` has one row per joint state of them, the last
    /// parent running fastest (one row where there is none). Solved by enumeration, so small ones only.
    ///
    /// # Errors
    ///
    /// As for [`Model::tree`].
    pub fn dag(
        parents: Vec<Vec<i64>>,
        loss: Vec<Vec<f64>>,
        cost: Vec<f64>,
        transition: Vec<Transition>,
    ) -> Result<Self> {
        let stages = non_empty(&loss)?;
        same_length("parents", parents.len(), stages)?;
        let mut checked = Vec::with_capacity(stages);
        for (v, list) in parents.into_iter().enumerate() {
            let mut earlier: Vec<usize> = Vec::with_capacity(list.len());
            for p in list {
                match usize::try_from(p) {
                    Ok(q) if q < v && earlier.last().is_none_or(|last| *last < q) => {
                        earlier.push(q);
                    }
                    _ => {
                        return Err(Error::invalid(format!(
                            "`parents[{v}]` must be ascending earlier stages, each once and below {v}, got {p}"
                        )));
                    }
                }
            }
            checked.push(earlier);
        }
        let cost = Cost::Stage(stage_costs(cost, stages)?);
        Self::build(Graph::Dag { parents: checked }, loss, cost, transition)
    }

    fn build(graph: Graph, mut loss: Vec<Vec<f64>>, cost: Cost, transition: Vec<Transition>) -> Result<Self> {
        let stages = non_empty(&loss)?;
        same_length("transition", transition.len(), stages)?;
        for (v, losses) in loss.iter_mut().enumerate() {
            if losses.is_empty() {
                return Err(Error::invalid(format!("`loss[{v}]` must have at least one state, got 0")));
            }
            for (s, r) in losses.iter_mut().enumerate() {
                if !r.is_finite() || *r < 0.0 {
                    return Err(Error::invalid(format!(
                        "`loss[{v}]` state {s} must be finite and at least 0, got {r}"
                    )));
                }
                *r += 0.0; // −0 becomes 0
            }
        }
        let mut model = Self {
            graph,
            loss,
            cost,
            transition,
            marginal: Vec::with_capacity(stages),
            latency: Vec::new(),
            jumps: Jumps::Through,
        };
        for v in 0..stages {
            let rows = model.rows_into(v)?;
            let shape = (rows, model.states(v));
            if model.transition[v].shape() != shape {
                let (r, c) = model.transition[v].shape();
                return Err(Error::invalid(format!(
                    "`transition[{v}]` must have shape ({}, {}), {} by states of stage {v}, got ({r}, {c})",
                    shape.0,
                    shape.1,
                    if shape.0 == 1 { "one row" } else { "states of the parent" }
                )));
            }
            model.transition[v].normalise(v)?;
            if !matches!(model.graph, Graph::Dag { .. }) {
                let marginal = match model.parent(v) {
                    Some(p) => model.transition[v].push_forward(&model.marginal[p]),
                    None => model.transition[v].push_forward(&[1.0]),
                };
                model.marginal.push(marginal);
            }
        }
        Ok(model)
    }

    /// The same model, whose stages take time: `latency[v]` is one distribution, or one per state that stage v turns out to
    /// be in (`K_v`); beyond that latencies depend on nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for wrong lengths, seconds that are negative or not finite, and probabilities that are negative
    /// or do not sum to 1.
    pub fn with_latency(mut self, latency: Vec<Vec<Latency>>) -> Result<Self> {
        let states: Vec<usize> = self.loss.iter().map(Vec::len).collect();
        self.latency = latency::checked(latency, &states)?;
        Ok(self)
    }

    /// The same model, in which a jump over stages takes this; of a skip graph. Otherwise it goes [`Jumps::Through`].
    #[must_use]
    pub fn with_jumps(self, jumps: Jumps) -> Self {
        Self { jumps, ..self }
    }

    /// Number of rows that the transition into `v` must have.
    fn rows_into(&self, v: usize) -> Result<usize> {
        if let Graph::Dag { parents } = &self.graph {
            let rows = parents[v].iter().try_fold(1_usize, |rows, p| rows.checked_mul(self.states(*p)));
            return rows.ok_or_else(|| Error::invalid(format!("`parents[{v}]` has too many joint states")));
        }
        Ok(self.parent(v).map_or(1, |p| self.states(p)))
    }

    /// Number of stages, k.
    pub fn stages(&self) -> usize {
        self.loss.len()
    }

    /// Number of states of stage `v`, `K_v`.
    pub fn states(&self, v: usize) -> usize {
        self.loss[v].len()
    }

    /// Loss of answering with stage `v`, per state (`K_v`,).
    pub fn loss(&self, v: usize) -> &[f64] {
        &self.loss[v]
    }

    /// Which stage may be next.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The parent of stage `v`: the stage before it on line and skip; `None` for a first stage, a root, and any
    /// stage of a general graph.
    pub fn parent(&self, v: usize) -> Option<usize> {
        match &self.graph {
            Graph::Line | Graph::Skip => v.checked_sub(1),
            Graph::Tree { parent } => parent[v],
            Graph::Dag { .. } => None,
        }
    }

    /// Transition into stage `v`, one row per state of its parent.
    pub fn transition(&self, v: usize) -> &Transition {
        &self.transition[v]
    }

    /// Cost of running stage `v` when `last` was the last stage run; infinite where that is not allowed. On trees
    /// and general graphs the last stage does not matter.
    pub fn cost_of(&self, last: Option<usize>, v: usize) -> f64 {
        let row = last.map_or(0, |u| u + 1);
        match (&self.cost, &self.graph) {
            (Cost::Jump(cost), _) if row <= v => cost[[row, v]],
            (Cost::Stage(cost), Graph::Line) if row == v => cost[v],
            (Cost::Stage(cost), Graph::Tree { .. } | Graph::Dag { .. }) => cost[v],
            _ => f64::INFINITY,
        }
    }

    /// How long stage `v` takes: one distribution, or one per state (`K_v`); empty where that is not known.
    pub fn latencies(&self, v: usize) -> &[Latency] {
        self.latency.get(v).map_or(&[], Vec::as_slice)
    }

    /// How long stage `v` takes where it turns out to be in state `s`; `None` where that is not known.
    pub fn latency(&self, v: usize, s: usize) -> Option<&Latency> {
        let given = self.latencies(v);
        given.get(s).or(given.last())
    }

    /// What a jump over stages takes.
    pub fn jumps(&self) -> Jumps {
        self.jumps
    }

    /// Distribution of the state of stage `v` before anything has run (`K_v`,); empty on general graphs.
    pub fn marginal(&self, v: usize) -> &[f64] {
        self.marginal.get(v).map_or(&[], Vec::as_slice)
    }

    /// Expected loss of answering with stage `v`, its state unknown; 0 on general graphs.
    pub fn prior_loss(&self, v: usize) -> f64 {
        self.marginal(v).iter().zip(self.loss(v)).map(|(p, r)| p * r).sum()
    }
}

fn non_empty(loss: &[Vec<f64>]) -> Result<usize> {
    if loss.is_empty() {
        return Err(Error::invalid("`loss` must have at least one stage, got 0"));
    }
    if loss.len() > i16::MAX as usize {
        return Err(Error::invalid(format!("`loss` must have at most {} stages, got {}", i16::MAX, loss.len())));
    }
    Ok(loss.len())
}

fn same_length(name: &str, given: usize, stages: usize) -> Result<()> {
    if given == stages {
        return Ok(());
    }
    Err(Error::invalid(format!("`{name}` must have one entry per stage, {stages} like `loss`, got {given}")))
}

fn stage_costs(mut cost: Vec<f64>, stages: usize) -> Result<Vec<f64>> {
    if stages > 0 {
        same_length("cost", cost.len(), stages)?;
    }
    for (v, c) in cost.iter_mut().enumerate() {
        if !c.is_finite() || *c < 0.0 {
            return Err(Error::invalid(format!("`cost[{v}]` must be finite and at least 0, got {c}")));
        }
        *c += 0.0;
    }
    Ok(cost)
}
