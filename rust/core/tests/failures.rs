//! Stages that fail or are barred, and requests that are stopped: solved models in every order, and simple rules.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;

use ndarray::Array2;
use proptest::prelude::*;
use support::{Dice, model};
use ttamer::plan::NO_STAGE;
use ttamer::rules::{Component, NO_PREDICTION, ThresholdRule, Walk};
use ttamer::solve::SolveOptions;
use ttamer::{Batch, Facts, Given, Model, Policy, Price, Transition, compile};

/// What becomes of the stage that is next.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Turn {
    Observe(f64),
    Fail,
    Bar,
    Stop,
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let turn = prop_oneof![
        6 => (0_u8..3).prop_map(|signal| Turn::Observe(f64::from(signal))),
        1 => Just(Turn::Observe(f64::NAN)),
        4 => Just(Turn::Fail),
        4 => Just(Turn::Bar),
        1 => Just(Turn::Stop),
    ];
    proptest::collection::vec(turn, 5)
}

/// Answer, cost and expected loss, none of which are numbers that need not be equal in every bit.
type End = (Option<usize>, u64, u64);

/// How a request ends, which stages it asks, and what these cost by what is said of prices.
fn run(policy: &Policy, turns: &[Turn]) -> (End, Vec<usize>, f64) {
    let (mut run, mut asked) = (policy.start(), Vec::new());
    let (mut ran, mut before, mut total) = (NO_STAGE, NO_STAGE, 0.0);
    while let Some(stage) = run.next() {
        asked.push(stage);
        let held = (run.answer(), run.expected_loss());
        match turns[stage] {
            Turn::Observe(signal) => assert_eq!(run.observe(signal, None).unwrap(), run.next()),
            Turn::Fail => assert_eq!(run.fail().unwrap(), run.next()),
            Turn::Bar => assert_eq!(run.bar().unwrap(), run.next()),
            Turn::Stop => run.stop(),
        }
        if !matches!(turns[stage], Turn::Observe(_)) {
            assert_eq!((run.answer(), run.expected_loss()), held, "what is in hand changes");
        }
        if turns[stage] != Turn::Bar {
            let price = policy.price().of(ran, stage);
            total += if price.is_finite() { price } else { policy.price().of(before, stage) };
            ran = stage as u16;
        }
        before = stage as u16;
    }
    let end = (run.answer(), run.cost().to_bits(), run.expected_loss().to_bits());
    run.stop();
    assert!(run.fail().is_err() && run.bar().is_err());
    assert_eq!((run.answer(), run.cost().to_bits(), run.expected_loss().to_bits()), end);
    (end, asked, total)
}

/// Takes the turns of all requests that are pending, until there are none.
fn walk(batch: &mut Batch, requests: &[Vec<Turn>]) {
    while let Some((stage, rows)) = batch.pending() {
        assert_eq!(rows, batch.rows(stage).unwrap());
        let taking = |turn: Turn| {
            let taking = rows.iter().copied().filter(|row| requests[*row as usize][stage] == turn);
            taking.collect::<Vec<i64>>()
        };
        batch.bar(stage, &taking(Turn::Bar)).unwrap();
        batch.stop(Some(&taking(Turn::Stop))).unwrap();
        batch.fail(stage, &taking(Turn::Fail)).unwrap();
        let signal = rows.iter().filter_map(|row| match requests[*row as usize][stage] {
            Turn::Observe(signal) => Some(signal),
            _ => None,
        });
        let signal: Vec<f64> = signal.collect();
        batch.observe(stage, &signal, Some(&vec![NO_PREDICTION; signal.len()])).unwrap();
    }
}

/// How the requests of a batch end.
fn ends(batch: &Batch) -> Vec<End> {
    let ends = batch.answer().into_iter().zip(batch.cost()).zip(batch.expected_loss());
    ends.map(|((answer, cost), loss)| (usize::try_from(answer).ok(), cost.to_bits(), loss.to_bits())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn requests_end_with_the_best_of_what_they_got(
        bytes in proptest::collection::vec(any::<u8>(), 160),
        stages in 1_usize..5,
        kind in 0_u8..4,
        default_loss in prop_oneof![3 => Just(f64::INFINITY), 1 => Just(0.3)],
        requests in proptest::collection::vec(turns(), 1..6),
    ) {
        let model = model(&mut Dice::new(&bytes), stages, kind);
        let options = SolveOptions { default_loss, ..SolveOptions::default() };
        let policy = Arc::new(compile(&model, &options).unwrap());
        let mut expected = Vec::new();
        for turns in &requests {
            let (end, asked, total) = run(&policy, turns);
            let (answer, cost, _) = end;
            let mut distinct = asked.clone();
            distinct.sort_unstable();
            distinct.dedup();
            prop_assert_eq!(distinct.len(), asked.len(), "a stage is asked twice");
            let reported = |stage: &usize| matches!(turns[*stage], Turn::Observe(_));
            prop_assert!(answer.is_none_or(|stage| reported(&stage) && asked.contains(&stage)));
            if default_loss == f64::INFINITY {
                prop_assert_eq!(answer.is_some(), asked.iter().any(reported));
            }
            prop_assert!((total - f64::from_bits(cost)).abs() < 1e-12);
            expected.push(end);
        }
        let mut batch = Batch::new(Arc::clone(&policy), requests.len()).unwrap();
        walk(&mut batch, &requests);
        prop_assert_eq!(ends(&batch), expected);
    }
}

/// Stops at `threshold`, over stages of these mean losses, all of which are on the walk or none but the first.
fn simple(mean_loss: Vec<f64>, price: Price, threshold: f64, is_whole: bool) -> Policy {
    let k = mean_loss.len();
    let successor = (1..=k as i32).map(|next| if is_whole && next < k as i32 { next } else { -1 }).collect();
    let names = (0..k).map(|v| v.to_string()).collect();
    let walk = Walk { entry: i32::from(!is_whole), successor, mean_loss, default_loss: f64::INFINITY };
    let rule = Component::from(ThresholdRule { walk, threshold: vec![threshold; k], reject: f64::NEG_INFINITY });
    Policy::new(names, price, rule, Facts::default()).unwrap()
}

#[test]
fn the_best_stage_that_has_not_been_tried_is_the_last_resort() {
    let policy = simple(vec![0.5, 0.0, 0.25, 0.75], Price::Stage(vec![1.0, 2.0, 4.0, 8.0]), 0.0, false);
    let mut run = policy.start();
    assert_eq!(run.next(), Some(1));
    assert_eq!([run.fail().unwrap(), run.bar().unwrap(), run.fail().unwrap()], [Some(2), Some(0), Some(3)]);
    assert_eq!((run.answer(), run.expected_loss(), run.cost()), (None, f64::INFINITY, 3.0));
    let mut stopped = run.clone();
    assert_eq!(run.observe(f64::NAN, None).unwrap(), None);
    assert_eq!((run.answer(), run.expected_loss(), run.cost()), (Some(3), 0.75, 11.0));
    stopped.stop();
    assert_eq!((stopped.next(), stopped.answer(), stopped.cost()), (None, None, 11.0));
    assert_eq!(stopped.expected_loss(), f64::INFINITY);
    run.restart(Given::NOTHING);
    assert_eq!((run.next(), run.cost(), run.answer()), (Some(1), 0.0, None));
    assert_eq!([run.fail(), run.fail(), run.fail(), run.fail()].map(Result::unwrap), [Some(2), Some(0), Some(3), None]);
    assert_eq!((run.answer(), run.expected_loss(), run.cost()), (None, f64::INFINITY, 15.0));
}

#[test]
fn stages_of_a_solved_model_are_a_last_resort_by_their_mean_losses() {
    let transition = || Transition::Dense(Array2::from_elem((1, 1), 1.0));
    let mut cost = Array2::from_shape_fn((4, 4), |(row, next)| f64::from(u8::from(next >= row)));
    cost[[0, 3]] = 0.0;
    let losses = vec![vec![0.9], vec![0.2], vec![0.5], vec![0.0]];
    let model = Model::skip(losses, cost, (0..4).map(|_| transition()).collect()).unwrap();
    let policy = compile(&model, &SolveOptions::default()).unwrap();
    let mut run = policy.start();
    assert_eq!(run.next(), Some(3));
    assert_eq!([run.bar(), run.bar()].map(Result::unwrap), [Some(1), Some(2)]);
    assert_eq!(run.observe(f64::NAN, None).unwrap(), None);
    assert_eq!((run.answer(), run.expected_loss(), run.cost()), (Some(2), 0.5, 1.0));
}

/// Prices of jumps: a unit for each stage that is passed, also backwards, where nobody jumps.
fn jumps(k: usize) -> Vec<f64> {
    let price = |(row, next): (usize, usize)| (next + 1).abs_diff(row) as f64;
    (0..k).flat_map(|row| (0..k).map(move |next| (row, next))).map(price).collect()
}

#[test]
fn jumps_begin_where_a_stage_ran() {
    let policy = simple(vec![0.5; 4], Price::Jump { stages: 4, jump: jumps(4), alone: false }, 0.75, true);
    let mut run = policy.start();
    assert_eq!((run.bar().unwrap(), run.bar().unwrap(), run.cost()), (Some(1), Some(2), 0.0));
    assert_eq!((run.observe(0.5, None).unwrap(), run.cost()), (Some(3), 3.0));
    assert_eq!((run.bar().unwrap(), run.cost(), run.answer()), (None, 3.0, Some(2)));
    run.restart(Given::NOTHING);
    assert_eq!((run.fail().unwrap(), run.bar().unwrap(), run.cost()), (Some(1), Some(2), 1.0));
    assert_eq!((run.fail().unwrap(), run.cost()), (Some(3), 3.0));
    run.stop();
    assert_eq!((run.cost(), run.answer()), (4.0, None));
    run.restart(Given::NOTHING);
    assert_eq!((run.observe(0.5, None).unwrap(), run.bar().unwrap()), (Some(1), Some(2)));
    run.stop();
    assert_eq!((run.cost(), run.answer(), run.expected_loss()), (3.0, Some(0), 0.5));
}

#[test]
fn a_jump_without_a_price_begins_at_the_stage_that_was_barred() {
    let mut jump = jumps(3);
    jump[1] = f64::INFINITY;
    jump[2] = f64::INFINITY;
    let policy = simple(vec![0.5; 3], Price::Jump { stages: 3, jump, alone: false }, 0.75, true);
    let mut run = policy.start();
    assert_eq!((run.bar().unwrap(), run.bar().unwrap(), run.cost()), (Some(1), Some(2), 0.0));
    assert_eq!((run.observe(0.5, None).unwrap(), run.cost()), (None, 1.0));
}

#[test]
fn the_last_resort_jumps_forward_from_what_ran() {
    let price = || Price::Jump { stages: 4, jump: jumps(4), alone: false };
    let policy = simple(vec![0.0, 0.5, 0.75, 0.25], price(), 0.0, false);
    let mut failed = policy.start();
    assert_eq!([failed.fail().unwrap(), failed.fail().unwrap()], [Some(3), None]);
    assert_eq!((failed.answer(), failed.cost()), (None, 4.0));
    let mut barred = policy.start();
    assert_eq!([barred.bar(), barred.bar(), barred.bar()].map(Result::unwrap), [Some(0), Some(3), Some(2)]);
    assert_eq!((barred.observe(0.5, None).unwrap(), barred.answer(), barred.cost()), (None, Some(2), 3.0));
    let mut batch = Batch::new(Arc::new(policy), 2).unwrap();
    batch.bar(1, &[1]).unwrap();
    batch.fail(1, &[0]).unwrap();
    assert_eq!(batch.next(), [3, 0]);
    batch.observe(0, &[0.5], None).unwrap();
    assert_eq!(
        (batch.answer(), batch.cost(), batch.expected_loss()),
        (vec![-1, 0], vec![2.0, 1.0], vec![f64::INFINITY, 0.0])
    );
}

#[test]
fn the_fullest_stage_is_pending_and_of_several_the_last() {
    let policy = Arc::new(simple(vec![0.5; 3], Price::Stage(vec![1.0; 3]), 0.75, true));
    let mut batch = Batch::new(Arc::clone(&policy), 5).unwrap();
    assert_eq!(batch.pending(), Some((0, vec![0, 1, 2, 3, 4])));
    batch.fail(0, &[1, 3]).unwrap();
    assert_eq!(batch.pending(), Some((0, vec![0, 2, 4])));
    assert_eq!([0, 1, 2, 5].map(|row| batch.stage_of(row)), [Some(0), Some(1), Some(0), None]);
    batch.stop(Some(&[2])).unwrap();
    assert_eq!(batch.pending(), Some((1, vec![1, 3])));
    batch.stop(None).unwrap();
    assert_eq!((batch.pending(), batch.stage_of(0)), (None, None));
    assert_eq!((batch.next(), batch.cost()), (vec![-1; 5], vec![1.0, 2.0, 1.0, 2.0, 1.0]));
    assert_eq!(Batch::new(policy, 0).unwrap().pending(), None);
}

#[test]
fn rows_that_do_not_fit_change_nothing() {
    let policy = Arc::new(simple(vec![0.5; 3], Price::Stage(vec![1.0; 3]), 0.75, true));
    let mut batch = Batch::new(policy, 3).unwrap();
    batch.observe(0, &[0.9, 0.5, 0.5], None).unwrap();
    let before = (vec![-1, 1, 1], vec![1.0; 3]);
    for (rows, at, wanted) in [
        (vec![1, 1], 1, "a request that waits for stage 1"),
        (vec![2, 1], 1, "a request that waits for stage 1"),
        (vec![0], 0, "a request that waits for stage 1"),
        (vec![1, 3], 1, "a request that waits for stage 1"),
        (vec![-1], 0, "a request that waits for stage 1"),
    ] {
        let told = format!("`rows[{at}]` must be {wanted}, larger than the entry before, got {}", rows[at]);
        assert_eq!(batch.fail(1, &rows).unwrap_err().to_string(), told);
        assert_eq!(batch.bar(1, &rows).unwrap_err().to_string(), told);
        assert_eq!((batch.next(), batch.cost()), before);
    }
    for (rows, at) in [(vec![1, 1], 1), (vec![1, 0], 1), (vec![0, 3], 1), (vec![-1], 0)] {
        let told = format!("`rows[{at}]` must be a request in 0..3, larger than the entry before, got {}", rows[at]);
        assert_eq!(batch.stop(Some(&rows)).unwrap_err().to_string(), told);
        assert_eq!((batch.next(), batch.cost()), before);
    }
    assert!(batch.bar(3, &[]).is_err() && batch.fail(3, &[]).is_err());
    batch.stop(Some(&[0, 1])).unwrap();
    assert_eq!((batch.next(), batch.cost()), (vec![-1, -1, 1], vec![1.0, 2.0, 1.0]));
}
