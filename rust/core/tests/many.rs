//! More requests than one task takes, and more stages than are counted one by one: decided as they are alone.
#![expect(clippy::unwrap_used, reason = "tests")]

mod recorded;

use std::sync::Arc;

use recorded::{STAGES, data, of_method};
use ttamer::learn::{Heuristic, Method};
use ttamer::rules::{Component, ThresholdRule, Walk};
use ttamer::{Batch, Facts, Kind, Policy, Price, Trace};

/// More than two pieces of a batch, and of a replay.
const ROWS: usize = 40_000;

/// How a request ends, alone: answer, stages run, cost.
type End = (i32, Vec<bool>, f64);

fn alone(policy: &Policy, signal: &[f64], prediction: &[i64]) -> Vec<End> {
    let k = policy.stages().len();
    let rows = signal.chunks_exact(k).zip(prediction.chunks_exact(k));
    let end = |(signal, prediction): (&[f64], &[i64])| {
        let (mut run, mut ran) = (policy.start(), vec![false; k]);
        while let Some(stage) = run.next() {
            ran[stage] = true;
            run.observe(signal[stage], Some(prediction[stage])).unwrap();
        }
        (run.answer().map_or(-1, |stage| stage as i32), ran, run.cost())
    };
    rows.map(end).collect()
}

fn check(policy: Policy, signal: &[f64], prediction: &[i64]) {
    let k = policy.stages().len();
    let expected = alone(&policy, signal, prediction);
    let replay = policy.replay(signal, Some(prediction)).unwrap();
    let mut batch = Batch::new(Arc::new(policy), expected.len()).unwrap();
    assert_eq!((batch.len(), batch.is_empty()), (expected.len(), expected.is_empty()));
    for stage in 0..k {
        let rows = batch.rows(stage).unwrap();
        let waiting = batch.next().iter().filter(|next| **next == stage as i32).count();
        assert_eq!(rows.len(), waiting);
        let first = batch.next().into_iter().filter(|next| *next >= 0).min().map(|next| next as usize);
        assert_eq!(batch.first(), first.map(|first| (first, batch.rows(first).unwrap())));
        let at: Vec<usize> = rows.iter().map(|row| *row as usize * k + stage).collect();
        let signals: Vec<f64> = at.iter().map(|at| signal[*at]).collect();
        let predictions: Vec<i64> = at.iter().map(|at| prediction[*at]).collect();
        batch.observe(stage, &signals, Some(&predictions)).unwrap();
    }
    let answers: Vec<i32> = expected.iter().map(|end| end.0).collect();
    let costs: Vec<f64> = expected.iter().map(|end| end.2).collect();
    assert!(batch.next().iter().all(|next| *next == -1));
    assert_eq!((batch.answer(), replay.answer), (answers.clone(), answers));
    assert_eq!((batch.cost(), replay.cost), (costs.clone(), costs));
    assert!(replay.consulted.chunks_exact(k).zip(&expected).all(|(ran, end)| ran == end.1));
}

#[test]
fn many_requests() {
    let (signal, loss, prediction) = data(ROWS);
    let trace = Trace::from_rows(&signal, &loss, Some(&prediction), &[1.0, 2.0, 4.0], Kind::Exits).unwrap();
    for method in [Method::Pathwise, Method::Markov, Method::Heuristic(Heuristic::Patience)] {
        check(of_method(&trace, method, 0.95), &signal, &prediction);
    }
}

#[test]
fn many_stages() {
    let k = 40;
    let (signal, _, prediction) = data(300 * k / STAGES);
    let (default_loss, reject) = (f64::INFINITY, f64::NEG_INFINITY);
    let walk = Walk { entry: 0, successor: (1..k as i32).chain([-1]).collect(), mean_loss: vec![0.5; k], default_loss };
    let threshold = vec![0.9; k];
    let names = (0..k).map(|v| v.to_string()).collect();
    let rule = Component::from(ThresholdRule { walk, threshold, reject });
    let policy = Policy::new(names, Price::Stage(vec![1.0; k]), rule, Facts::default()).unwrap();
    check(policy.clone(), &signal, &prediction);
    check(policy, &[], &[]);
}

#[test]
fn reports_that_do_not_fit() {
    let (signal, _, prediction) = data(10);
    let (default_loss, reject) = (f64::INFINITY, f64::NEG_INFINITY);
    let walk = Walk { entry: 0, successor: vec![1, 2, -1], mean_loss: vec![0.5; STAGES], default_loss };
    let rule = Component::from(ThresholdRule { walk, threshold: vec![2.0; STAGES], reject });
    let names = (0..STAGES).map(|v| v.to_string()).collect();
    let policy = Policy::new(names, Price::Stage(vec![1.0; STAGES]), rule, Facts::default()).unwrap();
    assert!(policy.replay(&signal[1..], None).is_err());
    assert!(policy.replay(&signal, Some(&prediction[STAGES..])).is_err());
    let mut batch = Batch::new(Arc::new(policy), 2).unwrap();
    assert!(batch.rows(STAGES).is_err());
    for (stage, signal, prediction) in
        [(0, 1, 1), (0, 3, 3), (0, 2, 1), (0, 2, 3), (1, 1, 1), (1, 0, 1), (STAGES, 0, 0)]
    {
        assert!(batch.observe(stage, &vec![0.5; signal], Some(&vec![0; prediction])).is_err(), "{stage}");
        assert_eq!((batch.next(), batch.cost()), (vec![0, 0], vec![0.0, 0.0]));
    }
    batch.observe(1, &[], None).unwrap();
    assert_eq!(batch.next(), [0, 0]);
    batch.observe(0, &[0.5, 0.5], None).unwrap();
    assert_eq!(batch.next(), [1, 1]);
}
