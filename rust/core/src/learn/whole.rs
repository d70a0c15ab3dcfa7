//! Whole rules: with decisions of their own for requests that go without some stages.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::calibrated::Calibrated;
use super::detours::{Block, assemble};
use super::induction::induce;
use super::known::Known;
use super::parts;
use super::situations::Situations;
use crate::evaluate::Objective;
use crate::rules::BeliefRule;

/// The rule for one objective where only the given stages may run, with a backward induction for each set of them that may
/// be missing; `None` of a line, of more than a few stages, and where time is part of decisions. O(rows · 3^stages).
pub fn whole_rule(calibrated: &Calibrated, stages: &[usize], objective: Objective, recall: bool) -> Option<BeliefRule> {
    let few = 2..=calibrated.tuning().detour_stages;
    if calibrated.is_line() || calibrated.knows_time() || !few.contains(&stages.len()) {
        return None;
    }
    let situations = calibrated.lattice(stages, recall);
    let known = calibrated.known(&[&situations], recall);
    let induced = calibrated.induce(&situations, &known, objective);
    let at_once = induced.at_once;
    let mut blocks = vec![Block { situations, induced }];
    blocks.extend(without_some(calibrated, stages, &blocks[0].situations, &known, objective, recall));
    let favoured = |members: &[u16]| calibrated.favoured(members);
    let beliefs = calibrated.beliefs_about(&blocks[0].situations, recall);
    let rule = assemble(beliefs, &blocks, &known, calibrated.is_any_order(recall), favoured);
    Some(rule.or_nothing(calibrated.default_loss(), at_once))
}

/// What is best without some of the stages, for each set of them without which requests can still end; on so many rows that
/// more would hardly change it.
fn without_some(
    calibrated: &Calibrated,
    stages: &[usize],
    whole: &Situations,
    known: &[Arc<Known>],
    objective: Objective,
    recall: bool,
) -> Vec<Block> {
    let rows = calibrated.rows();
    let most = calibrated.tuning().detour_rows;
    let some = parts::spread(rows, most)
        .map(|chosen| (rows.select(&chosen), known.iter().map(|known| known.select(&chosen)).collect::<Vec<Known>>()));
    let (rows, known): (_, Vec<&Known>) = match &some {
        None => (rows, known.iter().map(Arc::as_ref).collect()),
        Some((rows, known)) => (rows, known.iter().collect()),
    };
    let of_members: BTreeMap<&[u16], &Known> =
        whole.list.iter().zip(known).map(|(situation, known)| (situation.members.as_slice(), known)).collect();
    let may_end = |others: &[usize]| {
        calibrated.default_loss().is_finite() || others.iter().any(|stage| !calibrated.trace().is_probe(*stage))
    };
    let block = |others: Vec<usize>| {
        let situations = calibrated.lattice(&others, recall);
        let known: Vec<&Known> = situations.list.iter().map(|it| of_members[it.members.as_slice()]).collect();
        let induced = induce(&situations, &calibrated.recorded(rows, &known, objective));
        Block { situations, induced }
    };
    proper_parts(stages).filter(|others| may_end(others)).map(block).collect()
}

/// All sets of these stages but none and all, each in their order.
fn proper_parts(stages: &[usize]) -> impl Iterator<Item = Vec<usize>> + '_ {
    let part = |set: usize| (0..stages.len()).filter(move |at| set >> at & 1 == 1).map(|at| stages[at]).collect();
    (1..(1_usize << stages.len()) - 1).map(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_are_missing_and_some_are_there() {
        let found: Vec<Vec<usize>> = proper_parts(&[4, 1, 2]).collect();
        assert_eq!(found, [vec![4], vec![1], vec![4, 1], vec![2], vec![4, 2], vec![1, 2]]);
        assert_eq!(proper_parts(&[3]).count(), 0);
    }
}
