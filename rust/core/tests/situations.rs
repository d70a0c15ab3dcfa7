//! Belief policies built by hand whose situations do not fit each other are refused.
#![expect(clippy::unwrap_used, reason = "tests")]

use ttamer::plan::Intervals;
use ttamer::rules::{BeliefRule, Beliefs, Calibration, Component, Curve, Line, Node};
use ttamer::{Facts, Policy, Price};

/// On a line of ten stages the first two are let go: running one of them again would be another request's answer.
#[test]
fn no_stage_runs_twice() {
    let k = 10;
    let names = |k: usize| (0..k).map(|v| v.to_string()).collect();
    let calibration =
        || Calibration { curve: Curve::constant(0.0), class: Vec::new(), mean_loss: 0.5, missing_logit: 0.0 };
    let line = |order: &[u16]| {
        let beliefs =
            Beliefs { recall: true, margin: 0.0, scale: 1.0, calibration: (0..k).map(|_| calibration()).collect() };
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
        || Calibration { curve: Curve::constant(0.0), class: Vec::new(), mean_loss: 0.5, missing_logit: 0.0 };
    let beliefs =
        Beliefs { recall: true, margin: 0.0, scale: 1.0, calibration: (0..4).map(|_| calibration()).collect() };
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
        Price::Jump { stages: 4, jump }
    };
    assert!(policy(Price::Stage(vec![1.0; 4])).is_ok());
    assert!(policy(jump(0.0)).is_ok());
    let message = policy(jump(0.5)).unwrap_err().to_string();
    assert_eq!(message, "policy: two ways into a situation cost differently");
}
