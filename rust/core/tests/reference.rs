//! Runs, batches and replays decide what an independent reference decided (`tests/reference`, in Python): policies and
//! requests of every kind, step by step. The file is written by `python tests/reference/vectors.py`.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use rmpv::Value;
use ttamer::rules::NO_PREDICTION;
use ttamer::{Batch, Given, Policy, Run};

/// What can be seen of a request: next stage and answer (−1: none), cost, expected loss.
type Seen = (i32, i32, f64, f64);

struct Row {
    signal: Vec<f64>,
    prediction: Vec<i64>,
    /// What becomes of each stage that is next.
    turns: Vec<Turn>,
    steps: Vec<Seen>,
}

#[derive(Clone, Copy, PartialEq)]
enum Turn {
    Observe,
    Fail,
    Bar,
    Stop,
}

impl Row {
    /// What becomes of the stage that the run waits for.
    fn take_turn(&self, run: &mut Run) {
        let stage = run.next().unwrap();
        let said = self.prediction[stage];
        match self.turns[stage] {
            Turn::Observe => drop(run.observe(self.signal[stage], (said != NO_PREDICTION).then_some(said)).unwrap()),
            Turn::Fail => assert_eq!(run.fail().unwrap(), run.next()),
            Turn::Bar => assert_eq!(run.bar().unwrap(), run.next()),
            Turn::Stop => run.stop(),
        }
    }

    fn is_observed(&self) -> bool {
        self.turns.iter().all(|turn| *turn == Turn::Observe)
    }
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
        turns: items(field(value, "turns"), |value| {
            [Turn::Observe, Turn::Fail, Turn::Bar, Turn::Stop][value.as_u64().unwrap() as usize]
        }),
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

fn is_near(loss: f64, expected: f64) -> bool {
    loss == expected || (loss - expected).abs() <= 1e-12 * expected.abs()
}

fn is_same(seen: Seen, expected: Seen) -> bool {
    (seen.0, seen.1, seen.2) == (expected.0, expected.1, expected.2) && is_near(seen.3, expected.3)
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
            again.restart(Given::NOTHING);
            for (step, expected) in row.steps.iter().enumerate() {
                for run in [&mut run, &mut again] {
                    let seen = (number(run.next()), number(run.answer()), run.cost(), run.expected_loss());
                    let told = format!("case {at}, {}, row {number_of_row}, step {step}", case.kind);
                    assert!(is_same(seen, *expected), "{told}: {seen:?}, expected {expected:?}");
                    if run.next().is_some() {
                        row.take_turn(run);
                    }
                }
            }
            let end = (run.answer(), run.cost(), run.expected_loss());
            assert!(run.observe(0.5, None).is_err() && run.fail().is_err() && run.bar().is_err());
            run.stop();
            assert_eq!((run.next(), (run.answer(), run.cost(), run.expected_loss())), (None, end));
        }
    }
}

/// Once with the requests whose stages all report, and once with all of them.
#[test]
fn batches() {
    for (at, case) in cases().iter().enumerate() {
        let policy = Arc::new(Policy::from_bytes(&case.bytes).unwrap());
        let told = format!("case {at}, {}", case.kind);
        follow_batch(&policy, &case.rows.iter().filter(|row| row.is_observed()).collect::<Vec<_>>(), &told);
        follow_batch(&policy, &case.rows.iter().collect::<Vec<_>>(), &told);
    }
}

fn follow_batch(policy: &Arc<Policy>, requests: &[&Row], told: &str) {
    let mut batch = Batch::new(Arc::clone(policy), requests.len()).unwrap();
    let mut step = vec![0; requests.len()];
    loop {
        let expected: Vec<Seen> = requests.iter().zip(&step).map(|(row, step)| row.steps[*step]).collect();
        assert_eq!(batch.next(), expected.iter().map(|seen| seen.0).collect::<Vec<_>>(), "{told}");
        assert_eq!(batch.answer(), expected.iter().map(|seen| seen.1).collect::<Vec<_>>(), "{told}");
        assert_eq!(batch.cost(), expected.iter().map(|seen| seen.2).collect::<Vec<_>>(), "{told}");
        assert!(batch.expected_loss().iter().zip(&expected).all(|(loss, seen)| is_near(*loss, seen.3)), "{told}");
        let waiting: Vec<i32> = expected.iter().map(|seen| seen.0).filter(|next| *next >= 0).collect();
        let count = |stage: usize| waiting.iter().filter(|next| **next == stage as i32).count();
        let fullest = (0..requests[0].signal.len()).max_by_key(|stage| count(*stage)).filter(|_| !waiting.is_empty());
        let pending = batch.pending();
        assert_eq!(pending, fullest.map(|stage| (stage, batch.rows(stage).unwrap())), "{told}");
        let Some(stage) = waiting.last().map(|next| *next as usize) else { break };
        let rows = batch.rows(stage).unwrap();
        assert_eq!(batch.waiting(stage).unwrap(), rows.len(), "{told}");
        let of_stage = expected.iter().enumerate().filter(|(_, seen)| seen.0 == stage as i32);
        assert_eq!(rows, of_stage.map(|(row, _)| row as i64).collect::<Vec<_>>(), "{told}");
        let taking = |turn: Turn| {
            let rows = rows.iter().copied().filter(|row| requests[*row as usize].turns[stage] == turn);
            rows.collect::<Vec<i64>>()
        };
        batch.fail(stage, &taking(Turn::Fail)).unwrap();
        batch.bar(stage, &taking(Turn::Bar)).unwrap();
        batch.stop(Some(&taking(Turn::Stop))).unwrap();
        let reporting: Vec<usize> = taking(Turn::Observe).into_iter().map(|row| row as usize).collect();
        let signal: Vec<f64> = reporting.iter().map(|row| requests[*row].signal[stage]).collect();
        let prediction: Vec<i64> = reporting.iter().map(|row| requests[*row].prediction[stage]).collect();
        batch.observe(stage, &signal, Some(&prediction)).unwrap();
        for row in rows {
            step[row as usize] += 1;
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
        let rows: Vec<&Row> = case.rows.iter().filter(is_silent).filter(|row| row.is_observed()).collect();
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
        let rows: Vec<&Row> = case.rows.iter().filter(|row| row.is_observed()).collect();
        let signal: Vec<f64> = rows.iter().flat_map(|row| row.signal.clone()).collect();
        let prediction: Vec<i64> = rows.iter().flat_map(|row| row.prediction.clone()).collect();
        let replay = policy.replay(&signal, Some(&prediction)).unwrap();
        let k = policy.stages().len();
        for (number_of_row, row) in rows.into_iter().enumerate() {
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
