//! Which sets of stages a request may have consulted, and what may come next.

use super::trace::Trace;
use crate::rules::SLOTS;

/// A stage that may run next, and where that leads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// The stage.
    pub stage: u16,
    /// The situation after it.
    pub to: usize,
    /// What running it costs.
    pub price: f64,
}

/// A set of stages that have run.
#[derive(Clone, Debug, PartialEq)]
pub struct Situation {
    /// Those whose answers are weighed, ascending; at most [`SLOTS`].
    pub members: Vec<u16>,
    /// How many have run.
    pub depth: usize,
    /// What may run next, ascending by stage.
    pub choices: Vec<Choice>,
}

/// All situations, each before those that it leads to.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// The situations.
    pub situations: Vec<Situation>,
    /// What may run first, ascending by stage.
    pub entries: Vec<Choice>,
    /// Whether each stage can only follow the one before.
    pub is_line: bool,
}

impl Graph {
    /// All stages, one after the other; beyond [`SLOTS`] the oldest answers are let go.
    pub fn line(trace: &Trace) -> Self {
        let k = trace.stages();
        let choice = |to: usize| Choice { stage: to as u16, to, price: trace.jump_cost(to.checked_sub(1), to) };
        let situation = |at: usize| Situation {
            members: ((at + 1).saturating_sub(SLOTS)..=at).map(|stage| stage as u16).collect(),
            depth: at + 1,
            choices: (at + 1 < k).then(|| choice(at + 1)).into_iter().collect(),
        };
        Self { situations: (0..k).map(situation).collect(), entries: vec![choice(0)], is_line: true }
    }

    /// Every set of the given stages (ascending, at most [`SLOTS`]); without `any_order` only later stages may follow.
    pub fn lattice(trace: &Trace, stages: &[usize], any_order: bool) -> Self {
        let among = |set: usize| (0..stages.len()).filter(move |at| set >> at & 1 == 1);
        // The set with bits `set` is situation `set - 1`: a larger set has a larger number.
        let choices = |set: usize| {
            let last = among(set).next_back();
            let may_follow = |at: &usize| set >> at & 1 == 0 && (any_order || last.is_none_or(|last| *at > last));
            let choice = |at: usize| Choice {
                stage: stages[at] as u16,
                to: (set | 1 << at) - 1,
                price: trace.jump_cost(last.map(|last| stages[last]), stages[at]),
            };
            (0..stages.len()).filter(may_follow).map(choice).collect::<Vec<_>>()
        };
        let situation = |set: usize| Situation {
            members: among(set).map(|at| stages[at] as u16).collect(),
            depth: set.count_ones() as usize,
            choices: choices(set),
        };
        let situations = (1..1_usize << stages.len()).map(situation).collect();
        Self { situations, entries: choices(0), is_line: false }
    }
}
