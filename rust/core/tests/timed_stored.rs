//! Stored policies with a deadline: parts that do not fit are refused, one by one; so are more that nobody knows.
#![expect(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod stored;

use ndarray::array;
use rmpv::Value;
use stored::{at, fields, file, list};
use ttamer::model::Latency;
use ttamer::{Model, Policy, SolveOptions, Transition, compile};

fn solved(graph: &str) -> Policy {
    let loss = || vec![vec![0.1, 0.9], vec![0.0, 0.4], vec![0.2, 0.3]];
    let next = || Transition::Dense(array![[0.6, 0.4], [0.3, 0.7]]);
    let transition = || vec![Transition::Dense(array![[0.5, 0.5]]), next(), next()];
    let jumps = array![[0.01, 0.02, 0.03], [0.0, 0.01, 0.02], [0.0, 0.0, 0.01]];
    let model = match graph {
        "skip" => Model::skip(loss(), jumps, transition()),
        _ => Model::tree(vec![-1, 0, 0], loss(), vec![0.01; 3], transition()),
    };
    let latency = vec![vec![Latency::new(vec![0.5, 1.0], vec![0.5, 0.5])]; 3];
    let options = SolveOptions { deadline: 2.0, ..SolveOptions::default() };
    compile(&model.unwrap().with_latency(latency).unwrap(), &options).unwrap()
}

fn refusal(policy: &Policy, change: impl FnOnce(&mut Value)) -> String {
    let mut fields = fields(policy);
    assert_eq!(Policy::from_bytes(&file(&fields)).unwrap(), *policy, "unchanged fields make another policy");
    change(&mut fields);
    match Policy::from_bytes(&file(&fields)) {
        Ok(_) => panic!("a change was accepted"),
        Err(error) => error.to_string(),
    }
}

fn refused(policy: &Policy, path: &str, value: impl Into<Value>, expected: &str) {
    let said = refusal(policy, |fields| *at(fields, path) = value.into());
    assert!(said.contains(expected), "{path}: expected {expected:?}, got {said:?}");
}

fn shorter(policy: &Policy, path: &str, expected: &str) {
    let said = refusal(policy, |fields| drop(list(at(fields, path)).pop()));
    assert!(said.contains(expected), "{path}: expected {expected:?}, got {said:?}");
}

#[test]
fn clocks() {
    for (graph, rule, times) in
        [("skip", "rule.component.chain.time", "decisions"), ("tree", "rule.dag.time", "actions")]
    {
        let policy = solved(graph);
        for bad in [f64::NAN, f64::INFINITY, -1.0] {
            refused(&policy, &format!("{rule}.deadline"), bad, "the deadline is not a number of seconds");
            refused(&policy, &format!("{rule}.latency.1"), bad, "a latency is not a number of seconds");
        }
        shorter(&policy, &format!("{rule}.latency"), "the latencies do not fit the stages");
        refused(&policy, &format!("{rule}.from.1"), f64::NAN, "a remaining time is not finite");
        refused(&policy, &format!("{rule}.from.1"), 1e9, "the remaining times do not ascend");
        refused(&policy, &format!("{rule}.from"), Value::Array(vec![]), "there is no remaining time to decide in");
        shorter(&policy, &format!("{rule}.from"), &format!("the {times} do not fit the remaining times"));
    }
}

#[test]
fn chains() {
    let (policy, time) = (solved("skip"), "rule.component.chain.time");
    shorter(&policy, &format!("{time}.start"), "the decisions do not fit the remaining times");
    refused(&policy, &format!("{time}.start.1"), 3, "the first stage is not one of the stages");
    refused(&policy, &format!("{time}.start.1"), -2, "the first stage is not one of the stages");
    shorter(&policy, &format!("{time}.decisions.last"), "the limits to stop at do not fit the rows");
    // Nine rows for each remaining time, three of them of stage 0.
    for (row, last) in [(9, 0), (12, 1), (13, 0), (15, 2), (15, 3)] {
        refused(&policy, &format!("{time}.decisions.last.{row}"), last, "a decision does not lead forward");
    }
    let mut fields = fields(&policy);
    *at(&mut fields, "price.jump.jump.1") = f64::INFINITY.into();
    *at(&mut fields, &format!("{time}.start.0")) = 1.into();
    let said = Policy::from_bytes(&file(&fields)).unwrap_err().to_string();
    assert!(said.contains("a decision leads where there is no price"), "{said}");
}

#[test]
fn graphs() {
    let (policy, time) = (solved("tree"), "rule.dag.time");
    shorter(&policy, &format!("{time}.action"), "the actions do not fit the remaining times");
    // 64 situations for each remaining time; in the second of them stage 0 has run.
    for (at, action) in [(64, 3), (64, -2), (65, 0), (128 + 65, 0)] {
        let wanted = "an action runs a stage twice, or none that there is";
        refused(&policy, &format!("{time}.action.{at}"), action, wanted);
    }
}

#[test]
fn what_is_not_known_is_refused() {
    for (graph, time) in [("skip", "rule.component.chain.time"), ("tree", "rule.dag.time")] {
        let said = refusal(&solved(graph), |fields| {
            let Value::Map(entries) = at(fields, time) else { panic!("no fields at {time}") };
            entries.push(("until".into(), 1.into()));
        });
        assert!(said.contains("unknown field"), "{said}");
    }
}

#[test]
fn a_policy_with_a_deadline_describes_it() {
    let described = |graph: &str| -> serde_json::Value {
        let whole: serde_json::Value = serde_json::from_str(&solved(graph).describe().unwrap()).unwrap();
        assert_eq!(whole["provenance"]["deadline"], "2");
        assert_eq!(whole["index"], serde_json::json!([[], [], []]));
        whole["rule"]["time"].clone()
    };
    for graph in ["skip", "tree"] {
        let time = described(graph);
        assert_eq!((&time["deadline"], &time["latency"]), (&2.0.into(), &serde_json::json!([0.75, 0.75, 0.75])));
        let from = time["from"].as_array().unwrap();
        assert_eq!(from.len(), 5);
        assert!((from[4].as_f64().unwrap() - 2.0).abs() < 1e-8);
    }
    assert_eq!(described("skip")["first"].as_array().unwrap().len(), 5);
    assert_eq!(described("tree")["action"].as_array().unwrap().len(), 5 * 64);
}
