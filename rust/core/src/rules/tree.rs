//! Observed states on a tree or forest: consult the open stage of smallest index while it is below the loss in hand.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use serde_json::{Value, json};

use super::checks;
use super::describe::numbers;
use super::given::Given;
use super::hand::Hand;
use super::observation::Observation;
use super::progress::Progress;
use super::reader::read_state;
use super::rule::Rule;
use crate::error::{Checked, check};
use crate::plan::{NO_STAGE, STOP, TreePlan};
use crate::price::Price;

/// The compiled plan of a solved tree or forest.
#[derive(Clone, Debug, PartialEq)]
pub struct TreeRule {
    default_loss: f64,
    /// `loss[v][s]`.
    loss: Vec<Vec<f64>>,
    /// Expected loss of each stage while its state is unknown (k,).
    prior: Vec<f64>,
    plan: TreePlan,
    /// Children of each stage; the last entry holds the roots (k + 1,).
    children: Vec<Vec<u32>>,
}

/// An open stage, ordered by index, then by number.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Open {
    index: f64,
    stage: u16,
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

/// What a request remembers: the loss in hand, and the stages that may be next, with room for all of them.
#[derive(Clone, Debug)]
pub struct TreeMemory {
    hand: Hand,
    open: BinaryHeap<Reverse<Open>>,
}

impl TreeRule {
    /// A rule whose lists of children follow from the plan's parents; `default_loss` is the loss of answering with
    /// nothing, infinite where a stage has to be run.
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

    /// Loss of answering with nothing.
    pub fn default_loss(&self) -> f64 {
        self.default_loss
    }

    /// `loss[v][s]`.
    pub fn loss(&self) -> &[Vec<f64>] {
        &self.loss
    }

    /// Expected loss of each stage while its state is unknown (k,).
    pub fn prior(&self) -> &[f64] {
        &self.prior
    }

    /// Indices.
    pub fn plan(&self) -> &TreePlan {
        &self.plan
    }

    /// Opens the children of `parent` (the roots, if it is the number of stages) given its state.
    fn open_children(&self, memory: &mut TreeMemory, parent: usize, state: usize) {
        for child in self.children.get(parent).into_iter().flatten() {
            let index = self.plan.index.get(*child as usize).and_then(|index| index.get(state).or(index.last()));
            if let Some(index) = index {
                memory.open.push(Reverse(Open { index: *index, stage: *child as u16 }));
            }
        }
    }

    /// The open stage of smallest index is next, if it is below the loss in hand or nothing is in hand.
    fn decide(progress: &mut Progress, memory: &mut TreeMemory) {
        let is_empty_handed = progress.answer == NO_STAGE && memory.hand.loss == f64::INFINITY;
        let worth_it = memory.open.peek().filter(|Reverse(first)| memory.hand.loss > first.index || is_empty_handed);
        progress.next = worth_it.map_or(NO_STAGE, |Reverse(first)| first.stage);
        if progress.is_waiting() {
            memory.open.pop();
        }
    }
}

impl Rule for TreeRule {
    type Memory = TreeMemory;

    fn complete(&mut self, stages: usize, price: &Price) -> Checked {
        checks::priced_in_any_order(price)?;
        let plan = &self.plan;
        check(plan.parent.len() == stages, "the parents do not fit the stages")?;
        let is_earlier = |(v, parent): (usize, &i32)| *parent >= STOP && *parent < v as i32;
        check(plan.parent.iter().enumerate().all(is_earlier), "a parent is not an earlier stage")?;
        check(self.loss.len() == stages, "the losses do not fit the stages")?;
        check(self.loss.iter().flatten().all(|r| r.is_finite()), "a loss is not finite")?;
        checks::mean_losses(&self.prior, stages)?;
        checks::default_loss(self.default_loss)?;
        let states =
            |parent: i32| usize::try_from(parent).ok().and_then(|parent| self.loss.get(parent)).map_or(1, Vec::len);
        let fits = plan.index.len() == stages
            && plan.index.iter().zip(&plan.parent).all(|(index, parent)| index.len() == states(*parent) + 1);
        check(fits, "the indices are not one per state of the parent")?;
        check(!plan.index.iter().flatten().any(|x| x.is_nan()), "an index is not a number")
    }

    fn recall(&self) -> bool {
        true
    }

    fn describe(&self) -> Value {
        let index: Vec<Value> = self.plan.index.iter().map(|index| numbers(index)).collect();
        json!({"type": "tree", "parent": self.plan.parent, "index": index, "mean_loss": numbers(&self.prior)})
    }

    fn begin(&self, _: Given) -> (Progress, TreeMemory) {
        let stages = self.plan.parent.len();
        let mut progress = Progress::new(NO_STAGE);
        let mut memory = TreeMemory { hand: Hand { loss: self.default_loss }, open: BinaryHeap::with_capacity(stages) };
        self.open_children(&mut memory, stages, 0);
        Self::decide(&mut progress, &mut memory);
        (progress, memory)
    }

    #[inline]
    fn observe(&self, progress: &mut Progress, memory: &mut TreeMemory, observation: Observation, price: &Price) {
        let stage = progress.pay_from(price);
        let losses = self.loss.get(usize::from(stage)).map_or(&[][..], Vec::as_slice);
        let state = read_state(losses.len(), observation.signal);
        memory.hand.take(progress, stage, losses.get(state).copied().unwrap_or(f64::INFINITY));
        self.open_children(memory, usize::from(stage), state);
        Self::decide(progress, memory);
    }

    fn fail(&self, progress: &mut Progress, memory: &mut TreeMemory, _: &[u16], _: f64, price: &Price) {
        let stage = usize::from(progress.pay_from(price));
        self.open_children(memory, stage, self.loss.get(stage).map_or(0, Vec::len));
        Self::decide(progress, memory);
    }

    /// A stage runs after its parent: with nothing in hand, all whose parents have run are tried anyway.
    fn alone(&self, _: u16, _: Observation) -> Option<f64> {
        None
    }

    /// An index is about a stage and what that opens up: without whole branches all others are what they were. So are
    /// those before a branch that never goes on, as what is in hand is worth at least as much.
    fn is_exact_without(&self, barred: &[u16]) -> bool {
        let is_barred = |stage: usize| barred.contains(&(stage as u16));
        let goes_whole = |stage: &u16| {
            let children = self.children.get(usize::from(*stage));
            children.into_iter().flatten().all(|child| is_barred(*child as usize))
        };
        let is_no_loss = |stage: &u16| {
            let parent = self.plan.parent.get(usize::from(*stage)).and_then(|parent| usize::try_from(*parent).ok());
            let Some(parent) = parent.filter(|parent| !is_barred(*parent)) else { return true };
            let (index, loss) = (self.plan.index.get(usize::from(*stage)), self.loss.get(parent));
            index.into_iter().flatten().zip(loss.into_iter().flatten()).all(|(index, loss)| index >= loss)
        };
        barred.iter().all(|stage| goes_whole(stage) && is_no_loss(stage))
    }

    fn expected_loss(&self, progress: &Progress, memory: &TreeMemory) -> f64 {
        memory.hand.expected_loss(progress, &self.prior)
    }

    fn default_loss(&self) -> f64 {
        self.default_loss
    }
}
