//! Helpers of the solver tests: the shared vectors, an executor of plans, and brute force.
#![allow(dead_code, reason = "each test file uses some of it")]
#![allow(clippy::panic, reason = "tests")]

use ndarray::Array2;
use serde_json::Value;
use ttamer::Transition;
use ttamer::model::{Graph, Model};
use ttamer::plan::{Plan, STOP};
use ttamer::solve::Solution;

/// One shared vector.
pub struct Vector {
    pub kind: String,
    pub model: Model,
    pub value: f64,
    pub index: Option<Vec<Vec<f64>>>,
    pub value_no_recall: Option<f64>,
}

pub fn vectors() -> Vec<Vector> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/models.json");
    let text = std::fs::read_to_string(path).unwrap();
    let all: Value = serde_json::from_str(&text).unwrap();
    all.as_array().unwrap().iter().map(vector).collect()
}

fn vector(m: &Value) -> Vector {
    let kind = m["kind"].as_str().unwrap().to_owned();
    let loss = lists(&m["loss"]);
    let transition: Vec<Transition> = m["transition"].as_array().unwrap().iter().map(|p| dense(&lists(p))).collect();
    let model = match kind.as_str() {
        "line" => Model::line(loss, list(&m["cost"]), transition),
        "skip" => Model::skip(loss, matrix(&lists(&m["cost"])), transition),
        _ => {
            let parent = m["parent"].as_array().unwrap().iter().map(|p| p.as_i64().unwrap()).collect();
            Model::tree(parent, loss, list(&m["cost"]), transition)
        }
    };
    Vector {
        kind,
        model: model.unwrap(),
        value: m["value"].as_f64().unwrap(),
        index: m.get("index").map(lists),
        value_no_recall: m.get("value_no_recall").and_then(Value::as_f64),
    }
}

fn list(v: &Value) -> Vec<f64> {
    v.as_array().unwrap().iter().map(|x| x.as_f64().unwrap_or(f64::INFINITY)).collect()
}

fn lists(v: &Value) -> Vec<Vec<f64>> {
    v.as_array().unwrap().iter().map(list).collect()
}

pub fn matrix(rows: &[Vec<f64>]) -> Array2<f64> {
    Array2::from_shape_fn((rows.len(), rows[0].len()), |(r, c)| rows[r][c])
}

pub fn dense(rows: &[Vec<f64>]) -> Transition {
    Transition::Dense(matrix(rows))
}

/// Every entry of a transition.
pub fn entries(p: &Transition) -> Array2<f64> {
    match p {
        Transition::Dense(p) => p.clone(),
        Transition::LowRank { u, v } => u.dot(v),
        Transition::Sparse(p) => {
            let mut out = Array2::zeros(p.shape());
            for r in 0..p.shape().0 {
                let (columns, values) = p.row(r);
                columns.iter().zip(values).for_each(|(c, x)| out[[r, *c as usize]] = *x);
            }
            out
        }
        other => panic!("the tests do not know {other:?}"),
    }
}

/// Stages whose turn it may be: the chain's later ones, or those whose parents have all run.
pub fn open(model: &Model, seen: &[Option<usize>], last: Option<usize>) -> Vec<usize> {
    (0..model.stages())
        .filter(|v| seen[*v].is_none())
        .filter(|v| match model.graph() {
            Graph::Line | Graph::Skip => last.is_none_or(|u| u < *v),
            Graph::Tree { parent } => parent[*v].is_none_or(|p| seen[p].is_some()),
            Graph::Dag { parents } => parents[*v].iter().all(|p| seen[*p].is_some()),
            other => panic!("the tests do not know {other:?}"),
        })
        .filter(|v| model.cost_of(last, *v).is_finite())
        .collect()
}

/// Distribution of stage v's state given what has been seen.
pub fn chances(model: &Model, v: usize, seen: &[Option<usize>]) -> Vec<f64> {
    match model.graph() {
        Graph::Dag { parents } => {
            let row = parents[v].iter().fold(0, |row, p| row * model.states(*p) + seen[*p].unwrap());
            entries(model.transition(v)).row(row).to_vec()
        }
        Graph::Tree { parent } => entries(model.transition(v)).row(parent[v].map_or(0, |p| seen[p].unwrap())).to_vec(),
        Graph::Line | Graph::Skip => {
            let last = (0..v).rev().find(|u| seen[*u].is_some());
            let mut row = vec![1.0];
            if let Some(u) = last {
                row = vec![0.0; model.states(u)];
                row[seen[u].unwrap()] = 1.0;
            }
            for w in last.map_or(0, |u| u + 1)..=v {
                let p = entries(model.transition(w));
                row = (0..p.ncols()).map(|c| row.iter().enumerate().map(|(r, x)| x * p[[r, c]]).sum()).collect();
            }
            row
        }
        other => panic!("the tests do not know {other:?}"),
    }
}

/// What the plan does next.
pub fn next(model: &Model, plan: &Plan, seen: &[Option<usize>], last: Option<usize>, x: f64) -> i32 {
    match plan {
        Plan::Chain(plan) => match last {
            None => plan.start,
            Some(v) => plan.intervals.action(plan.offset[v] as usize + seen[v].unwrap(), x),
        },
        Plan::Tree(plan) => {
            let mut best = (f64::INFINITY, STOP);
            for v in open(model, seen, last) {
                let row = model.parent(v).map_or(0, |p| seen[p].unwrap());
                if plan.index[v][row] < best.0 {
                    best = (plan.index[v][row], v as i32);
                }
            }
            if x <= best.0 { STOP } else { best.1 }
        }
        Plan::Dag(plan) => {
            let digits = seen.iter().map(|state| state.map_or(0, |s| s as u32 + 1));
            let situation: u32 = digits.zip(&plan.stride).map(|(digit, stride)| digit * stride).sum();
            plan.action[situation as usize]
        }
        other => panic!("the tests do not know {other:?}"),
    }
}

/// Expected total of following the plan, by enumerating what can be seen.
pub fn follow(model: &Model, solution: &Solution) -> f64 {
    let mut seen = vec![None; model.stages()];
    follow_from(model, solution, &mut seen, None, solution.default_loss)
}

fn follow_from(model: &Model, solution: &Solution, seen: &mut Vec<Option<usize>>, last: Option<usize>, x: f64) -> f64 {
    let v = next(model, &solution.plan, seen, last, x);
    if v == STOP {
        assert!(x.is_finite(), "stopped with nothing in hand");
        return x;
    }
    let v = v as usize;
    assert!(open(model, seen, last).contains(&v), "stage {v} is not open");
    let mut total = model.cost_of(last, v);
    for (s, p) in chances(model, v, seen).into_iter().enumerate() {
        if p > 0.0 {
            seen[v] = Some(s);
            let r = model.loss(v)[s];
            let x = if solution.recall { x.min(r) } else { r };
            total += p * follow_from(model, solution, seen, Some(v), x);
            seen[v] = None;
        }
    }
    total
}

/// The least expected total over all policies, by brute force over the full information state.
pub fn brute(model: &Model, recall: bool, default_loss: f64) -> f64 {
    let mut seen = vec![None; model.stages()];
    brute_from(model, recall, &mut seen, None, default_loss)
}

fn brute_from(model: &Model, recall: bool, seen: &mut Vec<Option<usize>>, last: Option<usize>, x: f64) -> f64 {
    let mut best = x;
    for v in open(model, seen, last) {
        let mut total = model.cost_of(last, v);
        for (s, p) in chances(model, v, seen).into_iter().enumerate() {
            if p > 0.0 {
                seen[v] = Some(s);
                let r = model.loss(v)[s];
                let x = if recall { x.min(r) } else { r };
                total += p * brute_from(model, recall, seen, Some(v), x);
                seen[v] = None;
            }
        }
        best = best.min(total);
    }
    best
}

/// Bytes that proptest chose, read off one by one; zeros after the end.
pub struct Dice<'a> {
    bytes: &'a [u8],
}

impl<'a> Dice<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// 0..below.
    pub fn roll(&mut self, below: usize) -> usize {
        let (first, rest) = self.bytes.split_first().unwrap_or((&0, &[]));
        self.bytes = rest;
        *first as usize % below
    }

    /// A row of `columns` chances: small integers over their sum, so zeros and ties are common.
    pub fn row(&mut self, columns: usize) -> Vec<f64> {
        let mut objective: Vec<f64> = (0..columns).map(|_| [0.0, 0.0, 1.0, 2.0, 3.0, 5.0][self.roll(6)]).collect();
        objective[self.bytes.len() % columns] += 1.0;
        let sum: f64 = objective.iter().sum();
        objective.iter().map(|w| w / sum).collect()
    }

    pub fn rows(&mut self, rows: usize, columns: usize) -> Vec<Vec<f64>> {
        (0..rows).map(|_| self.row(columns)).collect()
    }

    /// Losses from a coarse or a fine grid.
    pub fn losses(&mut self, states: usize) -> Vec<f64> {
        let fine = self.roll(3) == 0;
        (0..states).map(|_| if fine { self.roll(251) as f64 / 97.0 } else { self.roll(5) as f64 / 4.0 }).collect()
    }

    pub fn cost(&mut self) -> f64 {
        [0.0, 0.0, 0.05, 0.125, 0.25, 0.013, 0.07, 1.5][self.roll(8)]
    }
}

/// Parts of a model, before they are checked.
#[derive(Clone, Debug)]
pub struct Parts {
    pub parents: Vec<Vec<i64>>,
    pub loss: Vec<Vec<f64>>,
    pub cost: Vec<f64>,
    pub rows: Vec<Vec<Vec<f64>>>,
}

/// A model of one kind of graph: 0 a line, 1 a tree, 2 a general one, else a skip graph.
pub fn model(dice: &mut Dice, stages: usize, kind: u8) -> Model {
    match kind {
        0 => Parts::line(dice, stages).as_line(),
        1 => Parts::tree(dice, stages).as_tree(),
        2 => Parts::dag(dice, stages).as_dag(),
        _ => {
            let parts = Parts::line(dice, stages);
            let jumps = parts.jumps(dice);
            parts.as_skip(jumps)
        }
    }
}

impl Parts {
    /// Stages whose parents `shape` chooses.
    pub fn new(dice: &mut Dice, stages: usize, mut shape: impl FnMut(&mut Dice, usize) -> Vec<i64>) -> Self {
        let mut parts = Self { parents: vec![], loss: vec![], cost: vec![], rows: vec![] };
        for v in 0..stages {
            let states = 1 + dice.roll(3);
            let parents = shape(dice, v);
            let rows = parents.iter().map(|p| parts.loss[*p as usize].len()).product();
            parts.rows.push(dice.rows(rows, states));
            parts.parents.push(parents);
            parts.loss.push(dice.losses(states));
            parts.cost.push(dice.cost());
        }
        parts
    }

    pub fn line(dice: &mut Dice, stages: usize) -> Self {
        Self::new(dice, stages, |_, v| if v == 0 { vec![] } else { vec![v as i64 - 1] })
    }

    pub fn tree(dice: &mut Dice, stages: usize) -> Self {
        Self::new(dice, stages, |dice, v| match dice.roll(v + 1) {
            0 => vec![],
            p => vec![p as i64 - 1],
        })
    }

    pub fn dag(dice: &mut Dice, stages: usize) -> Self {
        Self::new(dice, stages, |dice, v| (0..v as i64).filter(|_| dice.roll(2) == 1).collect())
    }

    pub fn transitions(&self) -> Vec<Transition> {
        self.rows.iter().map(|rows| dense(rows)).collect()
    }

    pub fn as_line(&self) -> Model {
        Model::line(self.loss.clone(), self.cost.clone(), self.transitions()).unwrap()
    }

    pub fn as_tree(&self) -> Model {
        let parent = self.parents.iter().map(|p| p.first().copied().unwrap_or(-1)).collect();
        Model::tree(parent, self.loss.clone(), self.cost.clone(), self.transitions()).unwrap()
    }

    pub fn as_dag(&self) -> Model {
        Model::dag(self.parents.clone(), self.loss.clone(), self.cost.clone(), self.transitions()).unwrap()
    }

    pub fn as_skip(&self, cost: Array2<f64>) -> Model {
        Model::skip(self.loss.clone(), cost, self.transitions()).unwrap()
    }

    /// Jump costs that often equal each other, some of them infinite; the line itself stays possible.
    pub fn jumps(&self, dice: &mut Dice) -> Array2<f64> {
        let stages = self.loss.len();
        Array2::from_shape_fn((stages, stages), |(i, j)| {
            if j < i {
                0.0
            } else if j > i && dice.roll(5) == 0 {
                f64::INFINITY
            } else {
                dice.cost()
            }
        })
    }
}
