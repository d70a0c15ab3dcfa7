//! Which classes stages name: what is learned of it, and that runs, batches, replays and files agree on it.

#![expect(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::sync::Arc;

use ttamer::learn::{Approach, Learner, Recall, Shape, Tuning};
use ttamer::rules::{AnyRule, BeliefRule, Component, Pair};
use ttamer::{Batch, Kind, Objective, Outcome, Policy, Trace};

const ROWS: usize = 4000;

fn uniform(seed: u64, at: usize) -> f64 {
    let mut z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(at as u64).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z >> 11) as f64 / (1_u64 << 53) as f64
}

/// Three stages that name one of four classes. Where the first two differ, which of them is right follows from the two
/// classes together and from neither alone: the first one if their sum is even (or, where `matters` is false, by chance).
fn arrays(seed: u64, matters: bool) -> (Vec<f64>, Vec<f64>, Vec<i64>) {
    let (mut signal, mut loss, mut prediction) = (vec![], vec![], vec![]);
    for row in 0..ROWS {
        let class = |at: usize| (4.0 * uniform(seed + at as u64, row)) as i64;
        let said = [class(0), class(1)];
        let is_first = if matters { (said[0] + said[1]) % 2 == 0 } else { uniform(seed + 5, row) < 0.5 };
        let chance = uniform(seed + 6, row) < 0.9;
        let truth = if is_first == chance { said[0] } else { said[1] };
        let third = if uniform(seed + 7, row) < 0.3 { truth } else { class(2) };
        for (stage, said) in [said[0], said[1], third].into_iter().enumerate() {
            signal.push(uniform(seed + 10 + stage as u64, row));
            loss.push(f64::from(u8::from(said != truth)));
            prediction.push(said);
        }
    }
    (signal, loss, prediction)
}

fn trace(seed: u64, matters: bool) -> Trace {
    let (signal, loss, prediction) = arrays(seed, matters);
    Trace::from_rows(&signal, &loss, Some(&prediction), &[1.0; 3], Kind::Models).expect("a valid trace")
}

fn fitted(trace: &Trace, pair_classes: usize) -> Policy {
    let tuning = Tuning { pair_classes, ..Tuning::default() };
    let approach = Approach { shape: Shape::Auto, ..Approach::default() };
    let learner = Learner::new(trace.clone(), &approach, tuning).expect("a learner");
    learner.policy(0.95, Recall::Always, vec![]).expect("a policy")
}

fn rule(policy: &Policy) -> &BeliefRule {
    match policy.rule() {
        AnyRule::Component(Component::Belief(rule)) => rule,
        _ => panic!("another rule"),
    }
}

fn objective(policy: &Policy, trace: &Trace) -> f64 {
    let objective = Objective::new(trace, 0.95).expect("a trade-off");
    Outcome::of_policy(policy, trace).expect("an outcome").mean_objective(objective, trace.weight())
}

#[test]
fn who_is_right_may_depend_on_both_classes() {
    let (learned, judged) = (trace(1, true), trace(50, true));
    let [with, without] = [32, 0].map(|classes| fitted(&learned, classes));
    assert_eq!(rule(&with).beliefs().pairs.first().map(Pair::stages), Some([0, 1]));
    assert!(rule(&without).beliefs().pairs.is_empty());
    let (with, without) = (objective(&with, &judged), objective(&without, &judged));
    assert!(with < 0.6 * without, "{with} with pairs of classes, {without} without");
}

#[test]
fn pairs_of_classes_that_say_nothing_are_not_kept() {
    let learned = trace(1, false);
    let [with, without] = [32, 0].map(|classes| fitted(&learned, classes));
    assert!(rule(&with).beliefs().pairs.is_empty());
    assert_eq!(rule(&with), rule(&without));
}

#[test]
fn runs_batches_replays_and_files_agree() {
    let policy = fitted(&trace(1, true), 32);
    let again = Policy::from_bytes(&policy.to_bytes().expect("bytes")).expect("a policy");
    assert_eq!(policy, again);
    let (signal, _, mut prediction) = arrays(80, true);
    let mut signal = signal;
    for at in 0..signal.len() {
        match at % 13 {
            0 => signal[at] = f64::NAN,
            1 => prediction[at] = i64::MIN,
            2 => prediction[at] = i64::MAX,
            3 => prediction[at] = -7,
            4 => prediction[at] = 300,
            _ => {}
        }
    }
    let replay = again.replay(&signal, Some(&prediction)).expect("a replay");
    let mut batch = Batch::new(Arc::new(again), ROWS).expect("a batch");
    while let Some(stage) = batch.next().into_iter().find_map(|next| usize::try_from(next).ok()) {
        let at: Vec<usize> = batch.rows(stage).expect("a stage").iter().map(|row| *row as usize * 3 + stage).collect();
        let column: Vec<f64> = at.iter().map(|at| signal[*at]).collect();
        let said: Vec<i64> = at.iter().map(|at| prediction[*at]).collect();
        batch.observe(stage, &column, Some(&said)).expect("reports");
    }
    assert_eq!(batch.answer(), replay.answer);
    for row in 0..ROWS {
        let mut run = policy.start();
        while let Some(stage) = run.next() {
            let said = prediction[3 * row + stage];
            run.observe(signal[3 * row + stage], (said != i64::MIN).then_some(said)).expect("a waiting stage");
        }
        assert_eq!(run.answer().map(|answer| answer as i32), Some(replay.answer[row]));
        assert_eq!(run.cost().to_bits(), replay.cost[row].to_bits());
    }
}
