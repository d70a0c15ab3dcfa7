//! Which sets of stages a request may have consulted, and what may come next.

use crate::trace::Trace;

/// A stage that may run next, and where that leads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// The stage.
    pub stage: u16,
    /// The situation after it.
    pub to: usize,
    /// The stage that its cost counts from; none: nothing has run.
    pub after: Option<usize>,
    /// What running it costs on average, in the unit of the trace.
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
pub struct Situations {
    /// What can have happened.
    pub list: Vec<Situation>,
    /// What may run first, ascending by stage.
    pub entries: Vec<Choice>,
    /// The stages in their order, where each can only follow the one before.
    pub line: Option<Vec<u16>>,
}

impl Situations {
    /// The given stages, one after the other; beyond `most` of them, at most [`SLOTS`](crate::rules::SLOTS), the oldest
    /// answers are let go.
    pub fn line(trace: &Trace, order: &[usize], most: usize) -> Self {
        let line: Vec<u16> = order.iter().map(|stage| *stage as u16).collect();
        let choice = |to: usize| {
            let last = to.checked_sub(1).map(|before| order[before]);
            Choice { stage: line[to], to, after: last, price: trace.jump_cost(last, order[to]) }
        };
        let situation = |at: usize| Situation {
            members: ascending(line[(at + 1).saturating_sub(most)..=at].to_vec()),
            depth: at + 1,
            choices: (at + 1 < line.len()).then(|| choice(at + 1)).into_iter().collect(),
        };
        let list = (0..line.len()).map(situation).collect();
        Self { list, entries: vec![choice(0)], line: Some(line) }
    }

    /// Every set of the given stages, at most [`SLOTS`]; without `any_order` only stages may follow that are given later.
    pub fn lattice(trace: &Trace, stages: &[usize], any_order: bool) -> Self {
        let among = |set: usize| (0..stages.len()).filter(move |at| set >> at & 1 == 1);
        // The set with bits `set` is situation `set - 1`: a larger set has a larger number.
        let choices = |set: usize| {
            let last = among(set).next_back();
            let may_follow = |at: &usize| set >> at & 1 == 0 && (any_order || last.is_none_or(|last| *at > last));
            let after = last.map(|last| stages[last]);
            let choice = |at: usize| Choice {
                stage: stages[at] as u16,
                to: (set | 1 << at) - 1,
                after,
                price: trace.jump_cost(after, stages[at]),
            };
            (0..stages.len()).filter(may_follow).map(choice).collect::<Vec<_>>()
        };
        let situation = |set: usize| Situation {
            members: ascending(among(set).map(|at| stages[at] as u16).collect()),
            depth: set.count_ones() as usize,
            choices: choices(set),
        };
        let list = (1..1_usize << stages.len()).map(situation).collect();
        Self { list, entries: choices(0), line: None }
    }
}

fn ascending(mut stages: Vec<u16>) -> Vec<u16> {
    stages.sort_unstable();
    stages
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Kind;

    #[test]
    fn a_line_lets_go_of_the_oldest_answers() {
        let trace = Trace::from_rows(&[0.5; 14], &[0.5; 14], None, &[1.0; 7], Kind::Exits);
        let members = |order: &[usize], most| {
            let line = trace.as_ref().map(|trace| Situations::line(trace, order, most).list).unwrap_or_default();
            line.into_iter().map(|situation| situation.members).collect::<Vec<_>>()
        };
        let found = members(&[0, 2, 3, 5, 6], 3);
        assert_eq!(found, [vec![0], vec![0, 2], vec![0, 2, 3], vec![2, 3, 5], vec![3, 5, 6]]);
        assert_eq!(members(&[0, 1, 2], 3), [vec![0], vec![0, 1], vec![0, 1, 2]]);
    }
}
