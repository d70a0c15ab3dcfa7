//! Observed states on a tree or forest: consult the open stage of smallest index while it is below the loss in hand.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use serde::{Deserialize, Serialize};

use super::{NO_STAGE, Progress, Rule, stage_number};
use crate::plan::{STOP, TreePlan};
use crate::price::Price;

/// The compiled plan of a solved tree or forest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TreeRule {
    /// Loss of answering with nothing; infinite where a stage has to be run.
    pub default_loss: f64,
    /// `loss[v][s]`.
    pub loss: Vec<Vec<f64>>,
    /// Expected loss of each stage while its state is unknown (k,).
    pub prior: Vec<f64>,
    /// Indices.
    pub plan: TreePlan,
    /// Children of each stage; the last entry holds the roots (k + 1,).
    pub children: Vec<Vec<u32>>,
}

/// An open stage, ordered by index, then by number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Open {
    index: f64,
    stage: u32,
}

impl Eq for Open {}

impl Ord for Open {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.index.total_cmp(&other.index).then(self.stage.cmp(&other.stage))
    }
}

impl PartialOrd for Open {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The stages that may be next; room for all of them is made once, at the start.
pub type OpenStages = BinaryHeap<Reverse<Open>>;

impl TreeRule {
    /// A rule whose children lists follow from the plan's parents.
    pub fn new(default_loss: f64, loss: Vec<Vec<f64>>, prior: Vec<f64>, plan: TreePlan) -> Self {
        let stages = plan.parent.len();
        let mut children = vec![Vec::new(); stages + 1];
        for (v, parent) in plan.parent.iter().enumerate() {
            let slot = usize::try_from(*parent).unwrap_or(stages);
            if let Some(list) = children.get_mut(slot) {
                list.push(v as u32);
            }
        }
        Self { default_loss, loss, prior, plan, children }
    }

    /// Opens the children of `parent` (the roots, if it is the number of stages) given its state.
    fn open_children(&self, open: &mut OpenStages, parent: usize, row: usize) {
        for child in self.children.get(parent).into_iter().flatten() {
            let index = self.plan.index.get(*child as usize).and_then(|index| index.get(row).or(index.last()));
            if let Some(index) = index {
                open.push(Reverse(Open { index: *index, stage: *child }));
            }
        }
    }

    fn decide(progress: &mut Progress, open: &mut OpenStages) {
        let is_empty_handed = progress.answer == NO_STAGE && progress.best == f64::INFINITY;
        let worth_it = open.peek().filter(|Reverse(first)| progress.best > first.index || is_empty_handed);
        progress.next = worth_it.map_or(NO_STAGE, |Reverse(first)| first.stage as u16);
        if progress.is_waiting() {
            open.pop();
        }
    }

    /// Why this rule could not be executed, if so.
    pub fn problem(&self, stages: usize) -> Option<&'static str> {
        let plan = &self.plan;
        let parents = plan.parent.iter().enumerate().all(|(v, p)| *p >= STOP && *p < v as i32);
        let rows = |v: usize| match plan.parent.get(v).map(|p| usize::try_from(*p)) {
            Some(Ok(parent)) => self.loss.get(parent).map_or(0, Vec::len) + 1,
            _ => 2,
        };
        let fits = plan.index.iter().enumerate().all(|(v, index)| index.len() == rows(v));
        if plan.parent.len() != stages || !parents || plan.index.len() != stages || !fits {
            Some("the indices do not fit the tree")
        } else if self.loss.len() != stages || self.prior.len() != stages || self.default_loss.is_nan() {
            Some("the losses do not fit the tree")
        } else if self.loss.iter().flatten().any(|r| !r.is_finite()) || plan.index.iter().flatten().any(|x| x.is_nan())
        {
            Some("a loss or index is not a number")
        } else if *self != Self::new(self.default_loss, self.loss.clone(), self.prior.clone(), plan.clone()) {
            Some("the children do not fit the parents")
        } else {
            None
        }
    }
}

impl Rule for TreeRule {
    type Memory = OpenStages;

    fn begin(&self) -> (Progress, OpenStages) {
        let stages = self.plan.parent.len();
        let mut progress = Progress::new(STOP, self.default_loss);
        let mut open = OpenStages::with_capacity(stages);
        self.open_children(&mut open, stages, 0);
        Self::decide(&mut progress, &mut open);
        (progress, open)
    }

    #[inline]
    fn step(&self, progress: &mut Progress, open: &mut OpenStages, signal: f64, _prediction: i64, price: &Price) {
        let stage = progress.pay_from(price);
        let losses = self.loss.get(stage).map_or(&[][..], Vec::as_slice);
        let row = super::StateReader::State.read(stage, losses.len(), signal);
        let loss = losses.get(row).copied().unwrap_or(f64::INFINITY);
        if loss < progress.best || progress.best == f64::INFINITY {
            progress.best = loss;
            progress.answer = stage as u16;
        }
        self.open_children(open, stage, row);
        Self::decide(progress, open);
    }

    fn expected_loss(&self, progress: &Progress, _: &OpenStages) -> f64 {
        match stage_number(progress.answer) {
            Some(held) if progress.best == f64::INFINITY => self.prior.get(held).copied().unwrap_or(f64::INFINITY),
            _ => progress.best,
        }
    }
}
