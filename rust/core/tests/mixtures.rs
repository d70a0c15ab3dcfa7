//! Mixtures of fitted policies: each request is decided by one of the two, the same one every time.
#![expect(clippy::unwrap_used, reason = "tests")]

mod recorded;

use std::sync::Arc;

use recorded::{STAGES, data, of_method};
use ttamer::learn::{Approach, Heuristic, Learner, Method, Recall, Tuning};
use ttamer::{Batch, Kind, Model, Policy, SolveOptions, Trace, Transition, compile, mixture};

const ROWS: usize = 800;

#[test]
fn each_request_follows_one_of_the_two() {
    let (signal, loss, prediction) = data(ROWS);
    let trace = Trace::from_rows(&signal, &loss, Some(&prediction), &[1.0, 2.0, 4.0], Kind::Exits).unwrap();
    let dear = of_method(&trace, Method::Pathwise, 0.97);
    for cheap in [0, 1, 3, 4, 5].map(|at| of_method(&trace, Method::ALL[at], 0.7)) {
        for share in [0.0, 0.4, 1.0] {
            let mixed = mixture(&dear, &cheap, share, 5, 0.125, vec![]).unwrap();
            assert_eq!(mixed.facts().value, 0.125);
            let method = &cheap.facts().method;
            let joined = if method == "pathwise" { "pathwise".into() } else { format!("pathwise + {method}") };
            assert_eq!(mixed.facts().method, joined);
            assert_eq!(Policy::from_bytes(&mixed.to_bytes().unwrap()).unwrap(), mixed);
            assert!(mixed.describe().unwrap().contains("\"mixture\""));
            let [whole, first, second] =
                [&mixed, &dear, &cheap].map(|policy| policy.replay(&signal, Some(&prediction)).unwrap());
            let follows = |row: usize, other: &ttamer::Replay| {
                whole.answer[row] == other.answer[row] && whole.cost[row] == other.cost[row]
            };
            assert!((0..ROWS).all(|row| follows(row, &first) || follows(row, &second)));
            let heads = (0..ROWS).filter(|row| !follows(*row, &second)).count();
            let differ = (0..ROWS)
                .filter(|row| first.answer[*row] != second.answer[*row] || first.cost[*row] != second.cost[*row]);
            let expected = share * differ.count() as f64;
            assert!((heads as f64 - expected).abs() <= 4.0 * expected.sqrt() + 1e-9, "{heads}, expected {expected}");
            as_runs(&mixed, &signal, &prediction, &whole);
            as_batch(mixed, &signal, &prediction, &whole);
        }
    }
}

fn as_runs(policy: &Policy, signal: &[f64], prediction: &[i64], replay: &ttamer::Replay) {
    for row in 0..ROWS {
        let mut run = policy.start();
        assert!(run.expected_loss().is_infinite());
        while let Some(v) = run.next() {
            run.observe(signal[row * STAGES + v], Some(prediction[row * STAGES + v])).unwrap();
            assert!(run.expected_loss().is_finite());
        }
        assert_eq!((run.answer().map(|v| v as i32), run.cost()), (Some(replay.answer[row]), replay.cost[row]));
    }
}

fn as_batch(policy: Policy, signal: &[f64], prediction: &[i64], replay: &ttamer::Replay) {
    let mut batch = Batch::new(Arc::new(policy), ROWS).unwrap();
    while let Some(stage) = batch.next().into_iter().find(|next| *next >= 0).map(|next| next as usize) {
        let rows = batch.rows(stage).unwrap();
        let at = |row: &i64| *row as usize * STAGES + stage;
        let signals: Vec<f64> = rows.iter().map(|row| signal[at(row)]).collect();
        let predictions: Vec<i64> = rows.iter().map(|row| prediction[at(row)]).collect();
        batch.observe(stage, &signals, Some(&predictions)).unwrap();
    }
    assert_eq!((batch.answer(), batch.cost()), (replay.answer.clone(), replay.cost.clone()));
}

#[test]
fn what_cannot_be_mixed_is_refused() {
    let (signal, loss, prediction) = data(ROWS);
    let trace = Trace::from_rows(&signal, &loss, Some(&prediction), &[1.0, 2.0, 4.0], Kind::Models).unwrap();
    let method = Method::Heuristic(Heuristic::Threshold);
    let threshold = of_method(&trace, method, 0.9);
    for share in [-0.1, 1.1, f64::NAN] {
        assert!(mixture(&threshold, &threshold, share, 0, 0.0, vec![]).is_err());
    }
    let dearer = Trace::from_rows(&signal, &loss, Some(&prediction), &[1.0, 2.0, 5.0], Kind::Models).unwrap();
    assert!(mixture(&threshold, &of_method(&dearer, method, 0.9), 0.5, 0, 0.0, vec![]).is_err());
    let approach = Approach { order: Some(vec![2]), ..Approach::default() };
    let last = Learner::new(trace, &approach, Tuning::default()).unwrap();
    let elsewhere = last.policy(0.9, Recall::Always, vec![]).unwrap();
    assert!(mixture(&threshold, &elsewhere, 0.5, 0, 0.0, vec![]).is_err());
    let certain = || Transition::Dense(ndarray::array![[1.0]]);
    let tree = Model::tree(vec![-1], vec![vec![0.5]], vec![0.1], vec![certain()]).unwrap();
    let tree = compile(&tree, &SolveOptions::default()).unwrap();
    let nested = mixture(&threshold, &threshold, 0.5, 0, 0.0, vec![]).unwrap();
    assert!(mixture(&tree, &tree, 0.5, 0, 0.0, vec![]).is_err());
    assert!(mixture(&nested, &threshold, 0.5, 0, 0.0, vec![]).is_err());
}
