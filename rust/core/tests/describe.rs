//! What a policy says about itself, word for word, and whether it may recall.
#![expect(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};
use ttamer::plan::{ChainPlan, DagPlan, Intervals, TreePlan};
use ttamer::rules::{
    AnyRule, BeliefRule, Beliefs, Calibration, ChainRule, Classes, Component, Curve, DagRule, Line, MixtureRule, Node,
    PatienceRule, StateReader, ThresholdRule, TreeRule, Walk,
};
use ttamer::{Candidate, Facts, Policy, Price};

const INF: f64 = f64::INFINITY;

fn policy(rule: impl Into<AnyRule>) -> Policy {
    Policy::new(vec!["small".into(), "large".into()], Price::Stage(vec![1.0, 3.0]), rule, Facts::default()).unwrap()
}

fn walk() -> Walk {
    Walk { entry: 0, successor: vec![1, -1], mean_loss: vec![0.5, 0.25], default_loss: INF }
}

fn threshold() -> Component {
    ThresholdRule { walk: walk(), threshold: vec![0.75, INF], reject: -INF }.into()
}

fn patience() -> Component {
    PatienceRule { walk: walk(), patience: 2, rejects: false }.into()
}

fn chain(recall: bool) -> Component {
    let mut intervals = Intervals::new();
    for (stop, next) in [(0.25, Some(1)), (-INF, Some(1)), (0.5, Some(1)), (INF, None), (INF, None)] {
        intervals.push(stop, next.map(|stage| (INF, stage)));
    }
    let plan = ChainPlan { start: 0, offset: vec![0, 3, 5], intervals, time: None };
    let (loss, prior) = (vec![0.25, 1.0, INF, 0.125, INF], vec![0.5, 0.125]);
    let reader = StateReader::Bins(vec![vec![0.5], vec![]]);
    ChainRule { reader, recall, default_loss: INF, unit: 2.0, loss, prior, plan }.into()
}

fn belief(recall: bool) -> Component {
    let curve = |x: &[f64], z: &[f32]| Curve::through(x, z).unwrap();
    let calibration = vec![
        Calibration {
            curve: curve(&[0.0, 1.0], &[0.0, -1.0]),
            classes: Classes { number: vec![1, 0, 1], levels: vec![Curve::constant(0.5).levels(&[0.5]).unwrap()] },
            mean_loss: 0.5,
            missing_logit: 0.0,
        },
        Calibration { curve: Curve::constant(0.0), classes: Classes::default(), mean_loss: 0.25, missing_logit: 0.0 },
    ];
    let beliefs = Beliefs { recall, margin: 0.5, scale: 4.0, calibration, pairs: [].into() };
    let nodes = vec![
        Node::new(&[0], 0, 0, &[[Line::default(); 3]], &[0, 1]),
        Node::new(&[0, 1], 1, 1, &[[Line::default(); 3]; 4], &[0, 1]),
    ];
    let mut decisions = Intervals::new();
    decisions.push(-INF, [(0.0, 1), (INF, -1)]);
    decisions.push(INF, []);
    BeliefRule::new(beliefs, nodes, decisions).into()
}

fn tree() -> AnyRule {
    let plan = TreePlan { parent: vec![-1, 0], index: vec![vec![0.5, 0.5], vec![0.25, INF, 0.125]] };
    TreeRule::new(INF, vec![vec![0.0, 1.0], vec![0.5]], vec![0.5, 0.5], plan).into()
}

fn dag() -> AnyRule {
    let plan = DagPlan { stride: vec![1, 3], action: vec![0, 1, 1, -1, -1, -1, -1, -1, -1], time: None };
    DagRule { default_loss: INF, loss: vec![vec![0.5], vec![0.25]], prior: vec![0.5, 0.25], plan }.into()
}

fn rule_of(policy: &Policy) -> Value {
    let whole: Value = serde_json::from_str(&policy.describe().unwrap()).unwrap();
    assert_eq!(whole["rule"]["recall"], whole["recall"]);
    assert_eq!(whole["recall"], json!(policy.recall()));
    whole["rule"].clone()
}

#[test]
fn walks() {
    let expected = json!({"type": "threshold", "entry": 0, "threshold": [0.75, "inf"], "successor": [1, -1],
        "mean_loss": [0.5, 0.25], "recall": false});
    assert_eq!(rule_of(&policy(threshold())), expected);
    let expected = json!({"type": "patience", "entry": 0, "patience": 2, "successor": [1, -1],
        "mean_loss": [0.5, 0.25], "recall": false});
    assert_eq!(rule_of(&policy(patience())), expected);
}

#[test]
fn exact_rules() {
    // Losses and limits are in the unit outside: twice those inside.
    let decisions = json!([
        {"stage": 0, "state": 0, "loss": 0.5, "stop": 0.5, "next": [["inf", 1]]},
        {"stage": 0, "state": 1, "loss": 2.0, "stop": "-inf", "next": [["inf", 1]]},
        {"stage": 0, "state": null, "loss": "inf", "stop": 1.0, "next": [["inf", 1]]},
        {"stage": 1, "state": 0, "loss": 0.25, "stop": "inf", "next": []},
        {"stage": 1, "state": null, "loss": "inf", "stop": "inf", "next": []},
    ]);
    for recall in [true, false] {
        let expected = json!({"type": "chain", "start": 0, "decisions": decisions, "recall": recall});
        assert_eq!(rule_of(&policy(chain(recall))), expected);
    }
    let expected = json!({"type": "tree", "parent": [-1, 0], "index": [[0.5, 0.5], [0.25, "inf", 0.125]],
        "mean_loss": [0.5, 0.5], "recall": true});
    assert_eq!(rule_of(&policy(tree())), expected);
    let expected = json!({"type": "dag", "stride": [1, 3], "action": [0, 1, 1, -1, -1, -1, -1, -1, -1],
        "mean_loss": [0.5, 0.25], "recall": true});
    assert_eq!(rule_of(&policy(dag())), expected);
}

#[test]
fn beliefs() {
    let falling = 4.0 / (1.0 + 1.0_f64.exp());
    let expected = json!({
        "type": "belief", "scale": 4.0, "recall": true,
        "calibrations": [
            {"curve": [[0.0, 2.0], [1.0, falling]], "classes": 2, "mean_loss": 0.5},
            {"curve": [[0.0, 2.0]], "classes": 0, "mean_loss": 0.25},
        ],
        "decisions": [
            {"stage": 0, "after": [0], "stop": "-inf", "next": [[2.0, 1]]},
            {"stage": 1, "after": [0, 1], "stop": "inf", "next": []},
        ],
    });
    assert_eq!(rule_of(&policy(belief(true))), expected);
    assert_eq!(rule_of(&policy(belief(false)))["recall"], json!(false));
}

#[test]
fn mixtures() {
    for (first, second, recall) in
        [(belief(true), threshold(), true), (patience(), chain(true), true), (patience(), threshold(), false)]
    {
        let without = |component: &Component| {
            let Value::Object(mut map) = rule_of(&policy(component.clone())) else { return Value::Null };
            map.remove("recall");
            Value::Object(map)
        };
        let components = [without(&first), without(&second)];
        let expected = json!({"type": "mixture", "seed": 7, "share": 0.25, "components": components, "recall": recall});
        assert_eq!(rule_of(&policy(MixtureRule::new(7, 0.25, [first, second]))), expected);
    }
}

#[test]
fn facts_and_prices() {
    let candidate = |name: &str, is_chosen| Candidate {
        name: name.into(),
        loss: 0.25,
        cost: 2.0,
        objective: 0.5,
        difference: -0.125,
        error: INF,
        is_chosen,
    };
    let facts = Facts {
        method: "by hand".into(),
        graph: "line".into(),
        value: 0.375,
        index: vec![vec![], vec![0.5, INF]],
        index_error: 0.0,
        provenance: vec![("from".into(), "nothing".into())],
        usual: Vec::new(),
        candidates: vec![candidate("one", false), candidate("other", true)],
    };
    let price = Price::Jump { stages: 2, jump: vec![1.0, INF, 0.0, 3.0], alone: false };
    let whole = Policy::new(vec!["a".into(), "b".into()], price, threshold(), facts).unwrap();
    let described: Value = serde_json::from_str(&whole.describe().unwrap()).unwrap();
    let entry = |name: &str, chosen: bool| {
        json!({"name": name, "loss": 0.25, "cost": 2.0, "objective": 0.5, "difference": -0.125,
            "standard_error": "inf", "chosen": chosen})
    };
    let expected = json!({
        "method": "by hand", "graph": "line", "recall": false, "stages": ["a", "b"], "value": 0.375,
        "index": [[], [0.5, "inf"]], "index_error": 0.0, "cost": [[1.0, "inf"], [0.0, 3.0]],
        "rule": rule_of(&whole), "provenance": {"from": "nothing"}, "report": [entry("one", false), entry("other", true)],
    });
    assert_eq!(described, expected);
    // All of it is kept in bytes, and counts when policies are compared.
    assert_eq!(Policy::from_bytes(&whole.to_bytes().unwrap()).unwrap(), whole);
    assert_ne!(whole, whole.clone().with_facts(Facts::default()));
    assert_ne!(policy(threshold()), policy(patience()));
}
