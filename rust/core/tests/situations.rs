//! Belief policies built by hand whose situations do not fit each other are refused.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use ttamer::plan::Intervals;
use ttamer::rules::{BeliefRule, Beliefs, Calibration, Classes, Component, Curve, Line, Node};
use ttamer::{Batch, Facts, Policy, Price};

/// On a line of ten stages the first two are let go: running one of them again would be another request's answer.
#[test]
fn no_stage_runs_twice() {
    let k = 10;
    let names = |k: usize| (0..k).map(|v| v.to_string()).collect();
    let calibration =
        || Calibration { curve: Curve::constant(0.0), classes: Classes::default(), mean_loss: 0.5, missing_logit: 0.0 };
    let line = |order: &[u16]| {
        let beliefs = Beliefs {
            recall: true,
            margin: 0.0,
            scale: 1.0,
            calibration: (0..k).map(|_| calibration()).collect(),
            pairs: [].into(),
        };
        let mut slot = vec![0; k];
        let mut decisions = Intervals::new();
        let mut nodes = Vec::new();
        for (at, stage) in order.iter().enumerate() {
            slot[usize::from(*stage)] = (at % 8) as u8;
            let mut members = order[(at + 1).saturating_sub(8)..=at].to_vec();
            members.sort_unstable();
            nodes.push(Node::new(&members, *stage, *stage, &vec![[Line::default(); 3]; members.len().pow(2)], &slot));
            let next = (at + 1 < order.len()).then_some((f64::INFINITY, at as i32 + 1));
            decisions.push(if next.is_some() { -1.0 } else { f64::INFINITY }, next);
        }
        let rule = BeliefRule::new(beliefs, nodes, decisions);
        Policy::new(names(k), Price::Stage(vec![1.0; k]), Component::from(rule), Facts::default())
    };
    assert!(line(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]).is_ok());
    assert!(line(&[9, 1, 2, 3, 4, 5, 6, 7, 8]).is_ok());
    let message = line(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 0]).unwrap_err().to_string();
    assert_eq!(message, "policy: a stage may run twice");
}

/// Four models, the last of which may follow the second as well as the third.
#[test]
fn ways_into_a_situation_cost_the_same() {
    let calibration =
        || Calibration { curve: Curve::constant(0.0), classes: Classes::default(), mean_loss: 0.5, missing_logit: 0.0 };
    let beliefs = Beliefs {
        recall: true,
        margin: 0.0,
        scale: 1.0,
        calibration: (0..4).map(|_| calibration()).collect(),
        pairs: [].into(),
    };
    let sets: [(&[u16], u16); 6] =
        [(&[0], 0), (&[0, 1], 1), (&[0, 2], 2), (&[0, 1, 2], 2), (&[0, 1, 2], 1), (&[0, 1, 2, 3], 3)];
    let node = |(members, stage): (&[u16], u16)| {
        Node::new(members, stage, stage, &vec![[Line::default(); 3]; members.len().pow(2)], &[0, 1, 2, 3])
    };
    let mut decisions = Intervals::new();
    decisions.push(-1.0, [(0.0, 1), (f64::INFINITY, 2)]);
    for next in [3, 4, 5, 5, -1] {
        decisions.push(if next < 0 { f64::INFINITY } else { -1.0 }, (next >= 0).then_some((f64::INFINITY, next)));
    }
    let policy = |price: Price| {
        let rule = BeliefRule::new(beliefs.clone(), sets.map(node).to_vec(), decisions.clone());
        Policy::new((0..4).map(|v| v.to_string()).collect(), price, Component::from(rule), Facts::default())
    };
    let jump = |surcharge: f64| {
        let mut jump = vec![1.0; 16];
        // Running the last model after the third: row 3, column 3.
        jump[3 * 4 + 3] += surcharge;
        Price::Jump { stages: 4, jump, alone: false }
    };
    assert!(policy(Price::Stage(vec![1.0; 4])).is_ok());
    assert!(policy(jump(0.0)).is_ok());
    let message = policy(jump(0.5)).unwrap_err().to_string();
    assert_eq!(message, "policy: two ways into a situation cost differently");
}

/// Beliefs over so many stages, none of which says anything by itself.
fn beliefs(k: usize, recall: bool) -> Beliefs {
    let calibration =
        Calibration { curve: Curve::constant(0.0), classes: Classes::default(), mean_loss: 0.5, missing_logit: 0.0 };
    Beliefs { recall, margin: 0.0, scale: 1.0, calibration: vec![calibration; k], pairs: [].into() }
}

/// A situation in which every member says of every member that it loses so many logits.
fn situation(members: &[u16], stage: u16, offset: f64) -> Node {
    let evidence = [Line { offset, slope: 0.0 }; 3];
    let slots: Vec<u8> = (0..8).collect();
    Node::new(members, stage, stage, &vec![evidence; members.len().pow(2)], &slots)
}

fn policy(k: usize, rule: BeliefRule) -> ttamer::Result<Policy> {
    let names = (0..k).map(|v| v.to_string()).collect();
    Policy::new(names, Price::Stage(vec![1.0; k]), Component::from(rule), Facts::default())
}

/// The answers that remain are weighed as where the others have not run: without recall, where the last one is the same.
#[test]
fn answers_beside_a_failure_are_weighed_as_where_it_has_not_run() {
    let nodes = [
        situation(&[0], 0, 0.0),
        situation(&[0, 1], 1, 0.0),
        situation(&[0, 1, 2], 2, 0.0),
        situation(&[0, 1, 2, 3], 3, 0.25),
        situation(&[0, 3], 3, 0.0),
        situation(&[0, 2, 3], 2, 1.0),
    ];
    let mut decisions = Intervals::new();
    decisions.push(-1.0, [(0.0, 1), (f64::INFINITY, 4)]);
    for next in [2, 3, -1, 5, -1] {
        decisions.push(if next < 0 { f64::INFINITY } else { -1.0 }, (next >= 0).then_some((f64::INFINITY, next)));
    }
    for (recall, logit) in [(true, 3.0), (false, 1.0)] {
        let policy = policy(4, BeliefRule::new(beliefs(4, recall), nodes.to_vec(), decisions.clone())).unwrap();
        let mut run = policy.start();
        run.observe(0.5, Some(1)).unwrap();
        assert_eq!([run.fail().unwrap(), run.observe(0.5, Some(1)).unwrap()], [Some(2), Some(3)]);
        assert_eq!(run.observe(0.5, Some(1)).unwrap(), None);
        assert_eq!(run.expected_loss(), 1.0 / (1.0 + f64::exp(-logit)), "recall {recall}");
    }
}

#[test]
fn situations_by_themselves() {
    let alone = |node: Node| {
        let mut decisions = Intervals::new();
        decisions.push(f64::INFINITY, []);
        policy(9, BeliefRule::new(beliefs(9, true), vec![node], decisions)).map_err(|error| error.to_string())
    };
    for limit in [1e100, -1e100] {
        assert!(alone(situation(&[0], 0, limit)).is_ok());
        assert!(alone(situation(&[0], 0, limit * 1.001)).is_err());
    }
    let many: Vec<u16> = (0..9).collect();
    let refused = |node: Node| alone(node).unwrap_err();
    assert_eq!(refused(situation(&many, 0, 0.0)), "policy: a situation does not have 1 to 8 members");
    let mut short = situation(&[0], 0, 0.0);
    short.evidence = [].into();
    assert_eq!(refused(short), "policy: the evidence is not one entry per pair of members");
}

/// As many as may be.
#[test]
fn many_situations_are_stored() {
    let most = i32::from(u16::MAX);
    let mut nodes = vec![situation(&[0], 0, 0.0)];
    nodes.resize(most as usize, situation(&[0, 1], 1, 0.0));
    let mut decisions = Intervals::new();
    let limit = |next: i32| if next + 1 == most { f64::INFINITY } else { f64::from(next) };
    decisions.push(-1.0, (1..most).map(|next| (limit(next), next)));
    nodes.iter().skip(1).for_each(|_| decisions.push(f64::INFINITY, []));
    let policy = policy(2, BeliefRule::new(beliefs(2, true), nodes, decisions)).unwrap();
    assert!(Policy::from_bytes(&policy.to_bytes().unwrap()).unwrap() == policy);
}

/// The first report of many at once: a signal on the threshold stops, as alone.
#[test]
fn a_signal_on_the_threshold_stops() {
    let mut beliefs = beliefs(2, true);
    beliefs.calibration[0].curve = Curve::through(&[0.0, 1.0], &[8.0, -8.0]).unwrap();
    let mut decisions = Intervals::new();
    decisions.push(-4.0, [(f64::INFINITY, 1)]);
    decisions.push(f64::INFINITY, []);
    let nodes = vec![situation(&[0], 0, 0.0), situation(&[0, 1], 1, 0.0)];
    let policy = Arc::new(policy(2, BeliefRule::new(beliefs, nodes, decisions)).unwrap());
    let signal = [0.75, 0.75_f64.next_down(), 0.75_f64.next_up(), f64::NAN];
    for prediction in [None, Some(&[1_i64; 4][..])] {
        let mut batch = Batch::new(Arc::clone(&policy), 4).unwrap();
        batch.observe(0, &signal, prediction).unwrap();
        let alone = signal.map(|signal| policy.start().observe(signal, prediction.map(|_| 1)).unwrap());
        assert_eq!(alone, [None, Some(1), None, Some(1)]);
        assert_eq!(batch.next(), [-1, 1, -1, 1]);
    }
}
