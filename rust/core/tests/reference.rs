//! Runs, batches and replays decide what an independent reference decided (`tests/reference`, in Python): policies and
//! requests of every kind, step by step. The file is written by `python tests/reference/vectors.py`.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use rmpv::Value;
use ttamer::rules::NO_PREDICTION;
use ttamer::{Batch, Policy};

/// What can be seen of a request: next stage and answer (−1: none), cost, expected loss.
type Seen = (i32, i32, f64, f64);

struct Row {
    signal: Vec<f64>,
    prediction: Vec<i64>,
    steps: Vec<Seen>,
}

struct Case {
    kind: String,
    bytes: Vec<u8>,
    rows: Vec<Row>,
}

fn field<'a>(value: &'a Value, name: &str) -> &'a Value {
    let entries = value.as_map().unwrap().iter();
    &entries.clone().find(|(key, _)| key.as_str() == Some(name)).unwrap().1
}

fn items<'a, T>(value: &'a Value, of: impl Fn(&'a Value) -> T) -> Vec<T> {
    value.as_array().unwrap().iter().map(of).collect()
}

fn row(value: &Value) -> Row {
    let number = |value: &Value| value.as_f64().unwrap();
    let stage = |value: &Value| value.as_i64().unwrap() as i32;
    let step = |value: &Value| (stage(&value[0]), stage(&value[1]), number(&value[2]), number(&value[3]));
    Row {
        signal: items(field(value, "signal"), number),
        prediction: items(field(value, "prediction"), |value| value.as_i64().unwrap()),
        steps: items(field(value, "steps"), step),
    }
}

fn cases() -> Vec<Case> {
    let stored = include_bytes!("../../../tests/data/reference.msgpack");
    let stored = rmpv::decode::read_value(&mut &stored[..]).unwrap();
    let case = |value| Case {
        kind: field(value, "kind").as_str().unwrap().into(),
        bytes: field(value, "policy").as_slice().unwrap().to_vec(),
        rows: items(field(value, "rows"), row),
    };
    items(&stored, case)
}

fn number(stage: Option<usize>) -> i32 {
    stage.map_or(-1, |stage| stage as i32)
}

fn is_same(seen: Seen, expected: Seen) -> bool {
    let near = seen.3 == expected.3 || (seen.3 - expected.3).abs() <= 1e-12 * expected.3.abs();
    (seen.0, seen.1, seen.2) == (expected.0, expected.1, expected.2) && near
}

#[test]
fn every_kind_is_there() {
    let cases = cases();
    for kind in ["threshold", "patience", "chain", "belief", "tree", "dag", "mixture"] {
        assert!(cases.iter().filter(|case| case.kind == kind).count() >= 5, "{kind}");
    }
}

#[test]
fn bytes_are_kept() {
    for case in cases() {
        let policy = Policy::from_bytes(&case.bytes).unwrap();
        assert!(policy.to_bytes().unwrap() == case.bytes, "{}", case.kind);
    }
}

#[test]
fn runs() {
    for (at, case) in cases().iter().enumerate() {
        let policy = Policy::from_bytes(&case.bytes).unwrap();
        let mut again = policy.start();
        for (number_of_row, row) in case.rows.iter().enumerate() {
            let mut run = policy.start();
            again.restart();
            for (step, expected) in row.steps.iter().enumerate() {
                for run in [&mut run, &mut again] {
                    let seen = (number(run.next()), number(run.answer()), run.cost(), run.expected_loss());
                    let told = format!("case {at}, {}, row {number_of_row}, step {step}", case.kind);
                    assert!(is_same(seen, *expected), "{told}: {seen:?}, expected {expected:?}");
                    if let Some(stage) = run.next() {
                        let said = row.prediction[stage];
                        run.observe(row.signal[stage], (said != NO_PREDICTION).then_some(said)).unwrap();
                    }
                }
            }
            assert!(run.observe(0.5, None).is_err());
        }
    }
}

#[test]
fn batches() {
    for (at, case) in cases().iter().enumerate() {
        let policy = Arc::new(Policy::from_bytes(&case.bytes).unwrap());
        let mut batch = Batch::new(policy, case.rows.len()).unwrap();
        let mut step = vec![0; case.rows.len()];
        loop {
            let expected: Vec<Seen> = case.rows.iter().zip(&step).map(|(row, step)| row.steps[*step]).collect();
            let told = format!("case {at}, {}", case.kind);
            assert_eq!(batch.next(), expected.iter().map(|seen| seen.0).collect::<Vec<_>>(), "{told}");
            assert_eq!(batch.answer(), expected.iter().map(|seen| seen.1).collect::<Vec<_>>(), "{told}");
            assert_eq!(batch.cost(), expected.iter().map(|seen| seen.2).collect::<Vec<_>>(), "{told}");
            let mut waiting = expected.iter().map(|seen| seen.0).filter(|next| *next >= 0);
            let Some(stage) = waiting.next_back().map(|next| next as usize) else { break };
            let rows = batch.rows(stage).unwrap();
            let of_stage = expected.iter().enumerate().filter(|(_, seen)| seen.0 == stage as i32);
            assert_eq!(rows, of_stage.map(|(row, _)| row as i64).collect::<Vec<_>>(), "{told}");
            let reporting: Vec<usize> = rows.iter().map(|row| *row as usize).collect();
            let signal: Vec<f64> = reporting.iter().map(|row| case.rows[*row].signal[stage]).collect();
            let prediction: Vec<i64> = reporting.iter().map(|row| case.rows[*row].prediction[stage]).collect();
            batch.observe(stage, &signal, Some(&prediction)).unwrap();
            for row in reporting {
                step[row] += 1;
            }
        }
    }
}

/// Without a column of predictions, as if each of them were missing.
#[test]
fn without_predictions() {
    let mut compared = 0;
    for case in cases() {
        let policy = Arc::new(Policy::from_bytes(&case.bytes).unwrap());
        let is_silent = |row: &&Row| {
            let mut ran = row.steps.iter().filter(|seen| seen.0 >= 0).map(|seen| seen.0 as usize);
            ran.all(|stage| row.prediction[stage] == NO_PREDICTION)
        };
        let rows: Vec<&Row> = case.rows.iter().filter(is_silent).collect();
        let ends: Vec<(i32, f64)> =
            rows.iter().map(|row| row.steps.last().map(|seen| (seen.1, seen.2)).unwrap()).collect();
        let signal: Vec<f64> = rows.iter().flat_map(|row| row.signal.clone()).collect();
        let replay = policy.replay(&signal, None).unwrap();
        assert_eq!(replay.answer.into_iter().zip(replay.cost).collect::<Vec<_>>(), ends, "{}", case.kind);
        let k = policy.stages().len();
        let mut batch = Batch::new(policy, rows.len()).unwrap();
        while let Some(stage) = batch.next().into_iter().find(|next| *next >= 0).map(|next| next as usize) {
            let waiting = batch.rows(stage).unwrap();
            let signals: Vec<f64> = waiting.iter().map(|row| signal[*row as usize * k + stage]).collect();
            batch.observe(stage, &signals, None).unwrap();
        }
        assert_eq!(batch.answer().into_iter().zip(batch.cost()).collect::<Vec<_>>(), ends, "{}", case.kind);
        compared += rows.len();
    }
    assert!(compared > 50, "{compared} requests have no prediction");
}

#[test]
fn replays() {
    for (at, case) in cases().iter().enumerate() {
        let policy = Policy::from_bytes(&case.bytes).unwrap();
        let signal: Vec<f64> = case.rows.iter().flat_map(|row| row.signal.clone()).collect();
        let prediction: Vec<i64> = case.rows.iter().flat_map(|row| row.prediction.clone()).collect();
        let replay = policy.replay(&signal, Some(&prediction)).unwrap();
        let k = policy.stages().len();
        for (number_of_row, row) in case.rows.iter().enumerate() {
            let told = format!("case {at}, {}, row {number_of_row}", case.kind);
            let ran: Vec<i32> = row.steps.iter().map(|seen| seen.0).filter(|next| *next >= 0).collect();
            let (_, answer, cost, _) = row.steps.last().unwrap();
            assert_eq!((replay.answer[number_of_row], replay.cost[number_of_row]), (*answer, *cost), "{told}");
            assert_eq!(replay.last[number_of_row], ran.last().copied().unwrap_or(-1), "{told}");
            let consulted = &replay.consulted[number_of_row * k..(number_of_row + 1) * k];
            assert_eq!(consulted, (0..k as i32).map(|v| ran.contains(&v)).collect::<Vec<_>>(), "{told}");
        }
    }
}
