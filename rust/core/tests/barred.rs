//! Stages that are barred before a request begins: never asked, and where it is said so, as if they did not exist.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;

use proptest::prelude::*;
use support::{Dice, Parts, chances, model, open};
use ttamer::plan::NO_STAGE;
use ttamer::solve::SolveOptions;
use ttamer::{Barred, Batch, Error, Given, Model, Policy, Run, compile};

fn members(set: u8, stages: usize) -> Vec<usize> {
    (0..stages).filter(|stage| set >> stage & 1 == 1).collect()
}

/// The stages asked, in their order, and how the request ends; `hand` bars a stage when it comes.
fn walk(mut run: Run, signal: &[f64], hand: &[usize]) -> (Vec<usize>, Option<usize>, u64, u64) {
    let mut asked = Vec::new();
    while let Some(stage) = run.next() {
        if hand.contains(&stage) {
            run.bar().unwrap();
            continue;
        }
        asked.push(stage);
        if signal[stage] < 0.0 {
            run.fail().unwrap();
        } else {
            run.observe(signal[stage], None).unwrap();
        }
    }
    (asked, run.answer(), run.cost().to_bits(), run.expected_loss().to_bits())
}

/// Expected total of what a run does from here on, by enumerating what stages can report.
fn follow(model: &Model, run: &Run, seen: &mut Vec<Option<usize>>) -> f64 {
    let Some(stage) = run.next() else { return run.expected_loss() + run.cost() };
    let mut total = 0.0;
    for (state, chance) in chances(model, stage, seen).into_iter().enumerate() {
        if chance > 0.0 {
            seen[stage] = Some(state);
            let mut after = run.clone();
            after.observe(state as f64, None).unwrap();
            total += chance * follow(model, &after, seen);
            seen[stage] = None;
        }
    }
    total
}

/// The least expected total of all policies that do not run some stages.
fn least(model: &Model, barred: &[usize], seen: &mut Vec<Option<usize>>, last: Option<usize>, x: f64) -> f64 {
    let mut best = x;
    for stage in open(model, seen, last).into_iter().filter(|stage| !barred.contains(stage)) {
        let mut total = model.cost_of(last, stage);
        for (state, chance) in chances(model, stage, seen).into_iter().enumerate() {
            if chance > 0.0 {
                seen[stage] = Some(state);
                total += chance * least(model, barred, seen, Some(stage), x.min(model.loss(stage)[state]));
                seen[stage] = None;
            }
        }
        best = best.min(total);
    }
    best
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn barred_stages_are_never_asked(
        bytes in proptest::collection::vec(any::<u8>(), 160),
        stages in 1_usize..6,
        kind in 0_u8..4,
        set in any::<u8>(),
        default_loss in prop_oneof![1 => Just(f64::INFINITY), 1 => Just(0.3)],
        requests in proptest::collection::vec(proptest::collection::vec(-1_i8..3, 5), 1..5),
    ) {
        let options = SolveOptions { default_loss, ..SolveOptions::default() };
        let policy = Arc::new(compile(&model(&mut Dice::new(&bytes), stages, kind), &options).unwrap());
        let without = members(set, stages);
        let barred = Barred::of(&policy, &without).unwrap();
        let signals: Vec<Vec<f64>> = requests.iter().map(|row| row.iter().map(|x| f64::from(*x)).collect()).collect();
        let mut expected = Vec::new();
        for signal in &signals {
            let found = walk(policy.start_without(Given::NOTHING, &barred), signal, &[]);
            prop_assert!(found.0.iter().all(|stage| !without.contains(stage)));
            if default_loss < f64::INFINITY {
                // Nobody is empty-handed: no stage is asked out of its turn.
                prop_assert_eq!(&found, &walk(policy.start(), signal, &without));
            } else {
                prop_assert_eq!(found.1.is_some(), found.0.iter().any(|stage| signal[*stage] >= 0.0));
            }
            if without.is_empty() {
                prop_assert_eq!(&found, &walk(policy.start(), signal, &[]));
            }
            if without.len() == stages {
                prop_assert_eq!((found.0.len(), found.1, f64::from_bits(found.2)), (0, None, 0.0));
            }
            expected.push((found.1, found.2, found.3));
        }
        let mut batch = Batch::new(Arc::clone(&policy), signals.len()).unwrap().without(&barred, None);
        while let Some((stage, rows)) = batch.pending() {
            prop_assert!(!without.contains(&stage));
            let failed: Vec<i64> = rows.iter().copied().filter(|row| signals[*row as usize][stage] < 0.0).collect();
            batch.fail(stage, &failed).unwrap();
            let said: Vec<f64> = rows.iter().map(|row| signals[*row as usize][stage]).filter(|x| *x >= 0.0).collect();
            batch.observe(stage, &said, None).unwrap();
        }
        let ends = batch.answer().into_iter().zip(batch.cost()).zip(batch.expected_loss());
        let ends: Vec<_> =
            ends.map(|((answer, cost), loss)| (usize::try_from(answer).ok(), cost.to_bits(), loss.to_bits())).collect();
        prop_assert_eq!(ends, expected);
    }

    #[test]
    fn what_is_called_exact_is_the_optimum_without_them(
        bytes in proptest::collection::vec(any::<u8>(), 160),
        stages in 1_usize..5,
        kind in 0_u8..4,
        set in any::<u8>(),
    ) {
        let model = model(&mut Dice::new(&bytes), stages, kind);
        let options = SolveOptions { default_loss: 0.6, ..SolveOptions::default() };
        let policy = compile(&model, &options).unwrap();
        let without = members(set, stages);
        let barred = Barred::of(&policy, &without).unwrap();
        if policy.is_exact_without(&barred) {
            let total = follow(&model, &policy.start_without(Given::NOTHING, &barred), &mut vec![None; stages]);
            let optimum = least(&model, &without, &mut vec![None; stages], None, 0.6);
            prop_assert!((total - optimum).abs() < 1e-9, "{total} without {without:?}, where {optimum} is the least");
        }
    }

    #[test]
    fn independent_stages_are_barred_as_if_they_were_not_in_the_model(
        bytes in proptest::collection::vec(any::<u8>(), 160),
        stages in 2_usize..6,
        set in any::<u8>(),
        signal in proptest::collection::vec(0_u8..4, 5),
    ) {
        let mut parts = Parts::new(&mut Dice::new(&bytes), stages, |_, _| vec![]);
        let policy = compile(&parts.as_tree(), &SolveOptions::default()).unwrap();
        let without = members(set, stages);
        let kept: Vec<usize> = (0..stages).filter(|stage| !without.contains(stage)).collect();
        let barred = Barred::of(&policy, &without).unwrap();
        prop_assert!(policy.is_exact_without(&barred));
        prop_assume!(!kept.is_empty());
        parts.parents = vec![vec![]; kept.len()];
        parts.loss = kept.iter().map(|stage| parts.loss[*stage].clone()).collect();
        parts.cost = kept.iter().map(|stage| parts.cost[*stage]).collect();
        parts.rows = kept.iter().map(|stage| parts.rows[*stage].clone()).collect();
        let smaller = compile(&parts.as_tree(), &SolveOptions::default()).unwrap();
        let signal: Vec<f64> = signal.into_iter().map(f64::from).collect();
        let own: Vec<f64> = kept.iter().map(|stage| signal[*stage]).collect();
        let (asked, answer, cost, loss) = walk(smaller.start(), &own, &[]);
        let named: Vec<usize> = asked.into_iter().map(|at| kept[at]).collect();
        let expected = (named, answer.map(|at| kept[at]), cost, loss);
        prop_assert_eq!(walk(policy.start_without(Given::NOTHING, &barred), &signal, &[]), expected);
    }
}

/// Three independent stages, of which the first is the parent of the second.
fn branches() -> Policy {
    let parts = Parts {
        parents: vec![vec![], vec![0], vec![]],
        loss: vec![vec![0.4, 0.8], vec![0.0], vec![0.5]],
        cost: vec![0.1, 0.1, 0.1],
        rows: vec![vec![vec![0.5, 0.5]], vec![vec![1.0], vec![1.0]], vec![vec![1.0]]],
    };
    compile(&parts.as_tree(), &SolveOptions::default()).unwrap()
}

#[test]
fn only_whole_branches_are_barred_exactly() {
    let policy = branches();
    let is_exact = |stages: &[usize]| policy.is_exact_without(&Barred::of(&policy, stages).unwrap());
    assert_eq!([is_exact(&[]), is_exact(&[2]), is_exact(&[0, 1]), is_exact(&[0, 1, 2])], [true; 4]);
    assert_eq!([is_exact(&[0]), is_exact(&[1]), is_exact(&[1, 2])], [false; 3]);
}

#[test]
fn stages_that_no_decision_asks_are_barred_exactly() {
    // The middle one loses as much as the first, and is dearer than the last.
    let mut dice = Dice::new(&[]);
    let mut parts = Parts::line(&mut dice, 3);
    parts.loss = vec![vec![0.2, 0.9], vec![0.9], vec![0.1]];
    parts.rows = vec![vec![vec![0.5, 0.5]], vec![vec![1.0], vec![1.0]], vec![vec![1.0]]];
    let cost = ndarray::array![[0.1, 0.5, 0.9], [0.0, 0.5, 0.2], [0.0, 0.0, 0.2]];
    let policy = compile(&parts.as_skip(cost), &SolveOptions::default()).unwrap();
    let is_exact = |stages: &[usize]| policy.is_exact_without(&Barred::of(&policy, stages).unwrap());
    assert_eq!([is_exact(&[1]), is_exact(&[0]), is_exact(&[2])], [true, false, false]);
    let mut run = policy.start_without(Given::NOTHING, &Barred::of(&policy, &[0]).unwrap());
    assert_eq!((run.next(), run.cost()), (Some(2), 0.0));
    assert_eq!((run.observe(0.0, None).unwrap(), run.cost()), (None, 0.9), "the jump begins where nothing has run");
}

#[test]
fn barring_is_of_stages_that_there_are_and_of_one_request() {
    let policy = branches();
    let refused = Barred::of(&policy, &[1, 3, 7]).unwrap_err();
    assert!(matches!(refused, Error::Invalid(_)));
    assert_eq!(refused.to_string(), "`barred[1]` must be a stage in 0..3, got 3");
    assert_eq!(Barred::of(&policy, &[2, 0, 2]).unwrap(), Barred::of(&policy, &[0, 2]).unwrap());
    let mut run = policy.start_without(Given::NOTHING, &Barred::of(&policy, &[0, 1]).unwrap());
    assert_eq!(run.next(), Some(2));
    run.restart(Given::NOTHING);
    assert_eq!(run.next(), policy.start().next());
    assert_ne!(policy.begin(Given::NOTHING).progress().next, NO_STAGE);
}
