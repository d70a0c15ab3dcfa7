//! Stages that give nothing, under solved models and in every order.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;

use proptest::prelude::*;
use support::{Dice, Parts};
use ttamer::rules::NO_PREDICTION;
use ttamer::solve::SolveOptions;
use ttamer::{Batch, Model, Policy, compile};

fn model(dice: &mut Dice, stages: usize, kind: u8) -> Model {
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

/// Answer, stages asked and cost of a request whose stages report `signals`, or nothing.
fn run(policy: &Policy, signals: &[Option<f64>]) -> (Option<usize>, Vec<usize>, f64) {
    let (mut run, mut asked) = (policy.start(), Vec::new());
    while let Some(stage) = run.next() {
        asked.push(stage);
        let held = (run.answer(), run.expected_loss());
        if let Some(signal) = signals[stage] {
            run.observe(signal, None).unwrap();
        } else {
            run.fail().unwrap();
            assert_eq!((run.answer(), run.expected_loss()), held, "a failure changes what is in hand");
        }
    }
    assert!(run.fail().is_err());
    (run.answer(), asked, run.cost())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn requests_end_with_an_answer_if_a_stage_gave_one(
        bytes in proptest::collection::vec(any::<u8>(), 160),
        stages in 1_usize..5,
        kind in 0_u8..4,
        signals in proptest::collection::vec(prop_oneof![2 => Just(None), 3 => (0_u8..3).prop_map(|s| Some(f64::from(s)))], 5),
    ) {
        let policy = Arc::new(compile(&model(&mut Dice::new(&bytes), stages, kind), &SolveOptions::default()).unwrap());
        let (answer, asked, cost) = run(&policy, &signals);
        let mut distinct = asked.clone();
        distinct.sort_unstable();
        distinct.dedup();
        prop_assert_eq!(distinct.len(), asked.len(), "a stage is asked twice");
        prop_assert_eq!(answer.is_some(), asked.iter().any(|stage| signals[*stage].is_some()));
        prop_assert!(answer.is_none_or(|stage| signals[stage].is_some() && asked.contains(&stage)));
        let mut last = ttamer::plan::NO_STAGE;
        let mut total = 0.0;
        for stage in &asked {
            total += policy.price().of(last, *stage);
            last = *stage as u16;
        }
        prop_assert!((total - cost).abs() < 1e-12);

        let mut batch = Batch::new(Arc::clone(&policy), 2).unwrap();
        while let Some(stage) = batch.next().into_iter().max().and_then(|stage| usize::try_from(stage).ok()) {
            match signals[stage] {
                Some(signal) => batch.observe(stage, &[signal; 2], Some(&[NO_PREDICTION; 2])).unwrap(),
                None => batch.fail(stage, &[0, 1]).unwrap(),
            }
        }
        let expected = answer.map_or(-1, |stage| stage as i32);
        prop_assert_eq!(batch.answer(), vec![expected; 2]);
        prop_assert_eq!(batch.cost(), vec![cost; 2]);
    }
}
