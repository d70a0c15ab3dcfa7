//! Policies with a valid checksum whose parts do not fit are refused, part by part.
#![expect(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod recorded;
mod stored;

use ndarray::array;
use rmpv::Value;
use stored::{at, fields, file, list};
use ttamer::learn::{Heuristic, Method};
use ttamer::{Kind, Model, Policy, SolveOptions, Trace, Transition, compile, mixture};

const ROWS: usize = 400;

fn learned(kind: Kind, method: Method, tradeoff: f64) -> Policy {
    let (signal, loss, prediction) = recorded::data(ROWS);
    let trace = Trace::from_rows(&signal, &loss, Some(&prediction), &[1.0, 2.0, 4.0], kind).unwrap();
    recorded::of_method(&trace, method, tradeoff)
}

fn of_method(method: Method) -> Policy {
    learned(Kind::Exits, method, 0.9)
}

fn of_heuristic(heuristic: Heuristic) -> Policy {
    of_method(Method::Heuristic(heuristic))
}

/// Models in any order.
fn belief() -> Policy {
    learned(Kind::Models, Method::Pathwise, 0.97)
}

fn solved(graph: &str) -> Policy {
    let loss = || vec![vec![0.1, 0.9], vec![0.0, 0.4], vec![0.2, 0.3]];
    let next = || Transition::Dense(array![[0.6, 0.4], [0.3, 0.7]]);
    let first = || Transition::Dense(array![[0.5, 0.5]]);
    let transition = || vec![first(), next(), next()];
    let jumps = array![[0.01, 0.02, 0.03], [0.0, 0.01, 0.02], [0.0, 0.0, 0.01]];
    let model = match graph {
        "skip" => Model::skip(loss(), jumps, transition()),
        "tree" => Model::tree(vec![-1, 0, 0], loss(), vec![0.01; 3], transition()),
        _ => Model::dag(vec![vec![], vec![0], vec![0]], loss(), vec![0.01; 3], transition()),
    };
    compile(&model.unwrap(), &SolveOptions::default()).unwrap()
}

/// What is changed in one part of a policy.
enum Change {
    To(Value),
    Shorter,
    Longer,
}

use Change::{Longer, Shorter, To};

fn refusal(policy: &Policy, path: &str, change: Change) -> String {
    let mut fields = fields(policy);
    assert_eq!(Policy::from_bytes(&file(&fields)).unwrap(), *policy, "unchanged fields make another policy");
    let part = at(&mut fields, path);
    match change {
        To(value) => *part = value,
        Shorter => drop(list(part).pop()),
        Longer => {
            let again = list(part)[0].clone();
            list(part).push(again);
        }
    }
    match Policy::from_bytes(&file(&fields)) {
        Ok(_) => panic!("{path} was accepted"),
        Err(error) => error.to_string(),
    }
}

fn refused(policy: &Policy, cases: Vec<(&str, Change, &str)>) {
    for (path, change, expected) in cases {
        let message = refusal(policy, path, change);
        assert!(message.contains(expected), "{path}: expected {expected:?}, got {message:?}");
    }
}

fn nan() -> Change {
    To(f64::NAN.into())
}

#[test]
fn stages_and_prices() {
    let jumps = |k: usize| {
        let costs = Value::Array(vec![1.0.into(); k * k]);
        Value::Map(vec![("jump".into(), Value::Array(vec![k.into(), costs]))])
    };
    let stage = |k: usize| Value::Map(vec![("stage".into(), Value::Array(vec![1.0.into(); k]))]);
    refused(
        &belief(),
        vec![
            ("stages", To(Value::Array(Vec::new())), "the number of stages is not in 1..=32767"),
            ("stages", Shorter, "the prices do not fit the stages"),
            ("price", To(stage(2)), "the prices do not fit the stages"),
            ("price.stage.1", To((-1.0).into()), "a price is not between 0 and 1e300"),
            ("price.stage.1", To(f64::INFINITY.into()), "a price is not between 0 and 1e300"),
            ("price.stage.1", To(1e301.into()), "a price is not between 0 and 1e300"),
            // Models in any order are priced one by one: some order leads back.
            ("price", To(jumps(3)), "a decision leads where there is no price"),
            ("price", To(Value::Map(vec![("coin".into(), 1.into())])), "unknown variant `coin`"),
        ],
    );
    refused(
        &of_method(Method::Pathwise),
        vec![
            ("price.jump.jump", Shorter, "the prices of jumps are not one per pair of stages"),
            ("price.jump.jump.4", nan(), "a price of a jump is not between 0 and 1e300"),
            ("price.jump.stages", To(4.into()), "the prices do not fit the stages"),
            ("price.jump.jump.4", To((-0.5).into()), "a price of a jump is not between 0 and 1e300"),
            ("price.jump.jump.4", To(1e301.into()), "a price of a jump is not between 0 and 1e300"),
            ("price.jump.jump.0", To(f64::INFINITY.into()), "a decision leads where there is no price"),
            ("price.jump.jump.4", To(f64::INFINITY.into()), "a decision leads where there is no price"),
        ],
    );
}

#[test]
fn beliefs() {
    let twice = || To(Value::Array(vec![0.5.into(), 0.5.into()]));
    refused(
        &belief(),
        vec![
            ("rule.component.belief.beliefs.calibration", Shorter, "the calibrations do not fit the stages"),
            ("rule.component.belief.beliefs.scale", nan(), "the scale of the losses is not finite"),
            ("rule.component.belief.beliefs.margin", nan(), "the margin of the favoured answer is not finite"),
            ("rule.component.belief.beliefs.calibration.0.mean_loss", nan(), "a mean loss is not a number"),
            ("rule.component.belief.beliefs.calibration.1.missing_logit", nan(), "within 1e100 of 0"),
            ("rule.component.belief.beliefs.calibration.0.signal", Shorter, "ascending signals"),
            ("rule.component.belief.beliefs.calibration.0.signal.0", To(1e9.into()), "ascending signals"),
            ("rule.component.belief.beliefs.calibration.0.logit.0", nan(), "ascending signals"),
            (
                "rule.component.belief.beliefs.sets.0.members.0",
                To(3.into()),
                "a member of a situation is not one of the stages",
            ),
            ("rule.component.belief.beliefs.sets.1.members", To(Value::Array(vec![])), "1 to 8 members"),
            (
                "rule.component.belief.beliefs.sets.1.favoured",
                To(9.into()),
                "the favoured stage of a situation is not a member",
            ),
            ("rule.component.belief.beliefs.sets.1.evidence", Shorter, "one entry per pair of members"),
            (
                "rule.component.belief.beliefs.sets.1.evidence.0.0.1",
                nan(),
                "a weight of the evidence is not within 1e100 of 0",
            ),
            ("rule.component.belief.situations.0.set", To(99.into()), "a situation has no set of stages"),
            ("rule.component.belief.situations.0.slot", To(1.into()), "another slot than it is read from"),
            ("rule.component.belief.situations", Shorter, "the decisions do not fit the situations"),
            ("rule.component.belief.situations", Longer, "a situation with one member is not among the first"),
            ("rule.component.belief.decisions.stop", Shorter, "the limits to stop at do not fit the rows"),
            (
                "rule.component.belief.decisions.steps.0",
                To(7.into()),
                "the limits of the decisions do not fit the rows",
            ),
            ("rule.component.belief.decisions.stop.0", nan(), "a limit of a decision is not a number"),
            ("rule.component.belief.decisions.last.0", To(0.into()), "a decision does not lead forward"),
            ("rule.component.belief.decisions.last.0", To(1000.into()), "a decision does not lead forward"),
        ],
    );
    let path = "rule.component.belief.beliefs.calibration.0.signal";
    assert!(refusal(&belief(), path, twice()).contains("ascending signals"));
}

/// The situations 0, (0, 1), (0, 1, 2) of a line, with one part of the third changed.
#[test]
fn members_and_slots_of_situations() {
    let numbers = |numbers: &[i64]| To(Value::Array(numbers.iter().map(|number| (*number).into()).collect()));
    let line = of_method(Method::Pathwise);
    refused(
        &line,
        vec![
            (
                "rule.component.belief.beliefs.sets.2.members",
                numbers(&[1, 0, 2]),
                "the members of a situation do not ascend",
            ),
            (
                "rule.component.belief.beliefs.sets.2.members",
                numbers(&[0, 0, 2]),
                "the members of a situation do not ascend",
            ),
            ("rule.component.belief.situations.2.places", numbers(&[0, 1]), "the slots of a situation do not fit"),
            (
                "rule.component.belief.situations.2.places",
                numbers(&[0, 1, 2, 3]),
                "the slots of a situation do not fit",
            ),
            ("rule.component.belief.situations.2.places", numbers(&[8, 1, 2]), "the slots of a situation do not fit"),
            ("rule.component.belief.situations.2.slot", To(1.into()), "another slot than it is read from"),
            ("rule.component.belief.beliefs.sets.2.evidence", Longer, "one entry per pair of members"),
            (
                "rule.component.belief.beliefs.sets.2.evidence.3.2.1",
                To((-1e101).into()),
                "a weight of the evidence is not within 1e100 of 0",
            ),
            ("rule.component.belief.beliefs.calibration.1.missing_logit", To(1e101.into()), "within 1e100 of 0"),
            ("rule.component.belief.beliefs.calibration.1.logit.0", nan(), "ascending signals"),
            (
                "rule.component.belief.beliefs.sets.2.evidence.3.2.0",
                nan(),
                "a weight of the evidence is not within 1e100 of 0",
            ),
            ("rule.component.belief.beliefs.calibration", Longer, "the calibrations do not fit the stages"),
            ("rule.component.belief.beliefs.calibration.2.class", numbers(&[99]), "a curve that is not there"),
            (
                "rule.component.belief.beliefs.calibration.2.curves",
                To(Value::Array(vec![Value::Array(vec![f64::INFINITY.into()])])),
                "the curve of a class is not one finite logit for each signal",
            ),
        ],
    );
}

/// No situation at all, too many of them, and a first one that is in the middle of a request.
#[test]
fn where_situations_begin() {
    let line = of_method(Method::Pathwise);
    let with = |change: &dyn Fn(&mut Value)| {
        let mut fields = fields(&line);
        change(at(&mut fields, "rule.component.belief"));
        Policy::from_bytes(&file(&fields)).unwrap_err().to_string()
    };
    let without = with(&|rule| {
        list(at(rule, "situations")).clear();
        for part in ["stop", "last", "steps", "limit", "next"] {
            list(at(rule, &format!("decisions.{part}"))).clear();
        }
    });
    assert!(without.contains("there must be 1 to 65535 situations"), "{without}");
    let many = with(&|rule| {
        let one = list(at(rule, "situations"))[0].clone();
        *list(at(rule, "situations")) = vec![one; usize::from(u16::MAX) + 1];
    });
    assert!(many.contains("there must be 1 to 65535 situations"), "{many}");
    let later = with(&|rule| *at(rule, "situations.0.set") = 1.into());
    assert!(later.contains("the first situation does not begin"), "{later}");
    let elsewhere = with(&|rule| {
        *at(rule, "situations.0.slot") = 1.into();
        *at(rule, "situations.0.places") = Value::Array(vec![1.into()]);
    });
    let wanted = "what a member of a situation said is not where it was written";
    assert!(elsewhere.contains(wanted), "{elsewhere}");
}

/// A row with two limits, which have to ascend.
#[test]
fn limits_ascend() {
    let with = |limits: [f64; 2]| {
        let mut fields = fields(&solved("skip"));
        let rule = at(&mut fields, "rule.component.chain.decisions");
        list(at(rule, "steps")).fill(0.into());
        *at(rule, "steps.0") = 2.into();
        *at(rule, "limit") = Value::Array(limits.map(Value::from).to_vec());
        *at(rule, "next") = Value::Array(vec![1.into(), 2.into()]);
        Policy::from_bytes(&file(&fields))
    };
    assert!(with([0.25, 0.5]).is_ok());
    assert!(with([0.25, 0.25]).is_ok());
    for (limits, expected) in [
        ([0.5, 0.25], "the limits of a decision do not ascend"),
        ([f64::NAN, 0.5], "a limit of a decision is not a number"),
    ] {
        let message = with(limits).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    let mut fields = fields(&of_method(Method::Markov));
    let second = at(&mut fields, "rule.component.chain.bins.0.1").clone();
    *at(&mut fields, "rule.component.chain.bins.0.0") = second;
    let message = Policy::from_bytes(&file(&fields)).unwrap_err().to_string();
    assert!(message.contains("the edges of a bin do not ascend"), "{message}");
}

#[test]
fn members_have_run() {
    let mut fields = fields(&of_method(Method::Pathwise));
    // Stage 1 enters with its report in slot 1, beside stage 2, which has not run.
    let members = Value::Array(vec![1.into(), 2.into()]);
    *at(&mut fields, "rule.component.belief.beliefs.sets.1.members") = members;
    *at(&mut fields, "rule.component.belief.beliefs.sets.1.favoured") = 1.into();
    *at(&mut fields, "rule.component.belief.situations.1.places") = Value::Array(vec![1.into(), 0.into()]);
    let message = Policy::from_bytes(&file(&fields)).unwrap_err().to_string();
    assert!(message.contains("a member of a situation has not run before it"), "{message}");
}

/// Requests would read what others left behind.
#[test]
fn readings_stay_in_their_slots() {
    let line = of_method(Method::Pathwise);
    for places in [[1, 0, 2], [0, 0, 2], [0, 5, 2]] {
        let mut fields = fields(&line);
        let places = places.into_iter().map(Value::from).collect();
        *at(&mut fields, "rule.component.belief.situations.2.places") = Value::Array(places);
        let message = Policy::from_bytes(&file(&fields)).unwrap_err().to_string();
        assert!(message.contains("what a member of a situation said is not where it was written"), "{message}");
    }
}

/// A situation must grow by the stage that enters it.
#[test]
fn situations_follow_from_each_other() {
    let line = of_method(Method::Pathwise);
    refused(
        &line,
        vec![
            (
                "rule.component.belief.decisions.last.0",
                To(2.into()),
                "a situation does not follow from the one before it",
            ),
            ("rule.component.belief.decisions.last.1", To((-1).into()), "no decision leads to a situation"),
            (
                "rule.component.belief.situations.1.stage",
                To(2.into()),
                "the stage that enters a situation is not a member",
            ),
        ],
    );
}

#[test]
fn solved_chains() {
    refused(
        &solved("skip"),
        vec![
            ("rule.component.chain.offset", Shorter, "the rows of the table do not fit the stages"),
            ("rule.component.chain.offset.1", To(0.into()), "a stage has no row in the table"),
            ("rule.component.chain.offset.0", To(1.into()), "the rows of the table do not fit the stages"),
            ("rule.component.chain.offset.3", To(8.into()), "the rows of the table do not fit the stages"),
            ("rule.component.chain.start", To((-2).into()), "the first stage is not one of the stages"),
            ("rule.component.chain.loss", Longer, "the losses do not fit the rows of the table"),
            ("rule.component.chain.decisions.last.0", To(3.into()), "a decision does not lead forward"),
            ("rule.component.chain.decisions.steps", Shorter, "the limits to stop at do not fit the rows"),
            (
                "rule.component.chain.decisions.limit",
                To(Value::Array(vec![0.5.into()])),
                "the limits of the decisions do not fit",
            ),
            (
                "rule.component.chain.decisions.next",
                To(Value::Array(vec![1.into()])),
                "the limits of the decisions do not fit",
            ),
            ("rule.component.chain.loss", Shorter, "the losses do not fit the rows of the table"),
            ("rule.component.chain.loss.0", nan(), "a loss is not a number"),
            ("rule.component.chain.loss.0", To(f64::NEG_INFINITY.into()), "a loss is not a number"),
            ("price.jump.jump.0", To(f64::INFINITY.into()), "a decision leads where there is no price"),
            ("price.jump.jump.4", To(f64::INFINITY.into()), "a decision leads where there is no price"),
            ("rule.component.chain.mean_loss", Shorter, "the mean losses do not fit the stages"),
            ("rule.component.chain.mean_loss.0", nan(), "a mean loss is not a number"),
            ("rule.component.chain.default_loss", nan(), "the default loss is not a number"),
            ("rule.component.chain.unit", nan(), "the unit of the losses is not finite"),
            ("rule.component.chain.start", To(3.into()), "the first stage is not one of the stages"),
            ("rule.component.chain.decisions.last.0", To(0.into()), "a decision does not lead forward"),
            ("rule.component.chain.decisions.last", Shorter, "the limits to stop at do not fit the rows"),
        ],
    );
    refused(
        &of_method(Method::Markov),
        vec![
            ("rule.component.chain.bins", Shorter, "the bins do not fit the states"),
            ("rule.component.chain.bins.0", Shorter, "the bins do not fit the states"),
            ("rule.component.chain.bins.0.0", nan(), "the edges of a bin do not ascend"),
            ("rule.component.chain.bins.0.0", To(1e9.into()), "the edges of a bin do not ascend"),
        ],
    );
}

#[test]
fn solved_trees_and_graphs() {
    let jumps = || {
        let costs = Value::Array(vec![1.0.into(); 9]);
        To(Value::Map(vec![("jump".into(), Value::Array(vec![3.into(), costs]))]))
    };
    refused(
        &solved("tree"),
        vec![
            ("price", jumps(), "prices of jumps are for stages that run in their order"),
            ("rule.tree.default_loss", To(f64::NEG_INFINITY.into()), "the default loss is not a number"),
            ("rule.tree.parent", Shorter, "the parents do not fit the stages"),
            ("rule.tree.parent.1", To(1.into()), "a parent is not an earlier stage"),
            ("rule.tree.parent.1", To((-2).into()), "a parent is not an earlier stage"),
            ("rule.tree.index", Longer, "the indices are not one per state of the parent"),
            ("rule.tree.loss", Longer, "the losses do not fit the stages"),
            ("rule.tree.loss", Shorter, "the losses do not fit the stages"),
            ("rule.tree.loss.0.0", nan(), "a loss is not finite"),
            ("rule.tree.mean_loss", Shorter, "the mean losses do not fit the stages"),
            ("rule.tree.mean_loss.0", To(f64::INFINITY.into()), "a mean loss is not finite"),
            ("rule.tree.default_loss", nan(), "the default loss is not a number"),
            ("rule.tree.index", Shorter, "the indices are not one per state of the parent"),
            ("rule.tree.index.1", Longer, "the indices are not one per state of the parent"),
            ("rule.tree.index.1.0", nan(), "an index is not a number"),
        ],
    );
    refused(
        &solved("dag"),
        vec![
            ("price", jumps(), "prices of jumps are for stages that run in their order"),
            ("rule.dag.loss", Shorter, "the losses do not fit the stages"),
            ("rule.dag.stride", Shorter, "the losses do not fit the stages"),
            ("rule.dag.mean_loss", Shorter, "the mean losses do not fit the stages"),
            ("rule.dag.action", Longer, "the actions are not one per situation"),
            ("rule.dag.action.0", To((-2).into()), "an action runs a stage twice, or none that there is"),
            ("rule.dag.stride.1", To(3.into()), "the situations do not fit the states"),
            ("rule.dag.action", Shorter, "the actions are not one per situation"),
            ("rule.dag.action.0", To(3.into()), "an action runs a stage twice, or none that there is"),
            ("rule.dag.action.1", To(0.into()), "an action runs a stage twice, or none that there is"),
            ("rule.dag.loss.0.0", nan(), "a loss is not finite"),
            ("rule.dag.mean_loss.0", nan(), "a mean loss is not finite"),
            ("rule.dag.default_loss", nan(), "the default loss is not a number"),
        ],
    );
}

#[test]
fn heuristics_and_mixtures() {
    refused(
        &of_heuristic(Heuristic::Threshold),
        vec![
            ("rule.component.threshold.threshold", Shorter, "the thresholds do not fit the stages"),
            ("rule.component.threshold.threshold.0", nan(), "a threshold is not a number"),
            ("rule.component.threshold.walk.entry", To(3.into()), "the first stage is not one of the stages"),
            ("rule.component.threshold.walk.entry", To((-1).into()), "the first stage is not one of the stages"),
            ("rule.component.threshold.walk.successor", Shorter, "the order of stages does not fit the stages"),
            ("rule.component.threshold.walk.successor.1", To(0.into()), "the order of stages does not lead forward"),
            ("rule.component.threshold.walk.successor.1", To(1.into()), "the order of stages does not lead forward"),
            ("rule.component.threshold.walk.successor.1", To(3.into()), "the order of stages does not lead forward"),
            ("rule.component.threshold.walk.successor.1", To((-2).into()), "the order of stages does not lead forward"),
            ("rule.component.threshold.walk.mean_loss", Shorter, "the mean losses do not fit the stages"),
            ("price.jump.jump.0", To(f64::INFINITY.into()), "a decision leads where there is no price"),
            ("price.jump.jump.4", To(f64::INFINITY.into()), "a decision leads where there is no price"),
        ],
    );
    refused(
        &of_heuristic(Heuristic::Patience),
        vec![
            ("rule.component.patience.walk.mean_loss.0", nan(), "a mean loss is not a number"),
            ("rule.component.patience.patience", To((-1).into()), "damaged policy file"),
        ],
    );
    let both = mixture(&of_heuristic(Heuristic::Threshold), &of_method(Method::Pathwise), 0.5, 0, 0.0, vec![]).unwrap();
    refused(
        &both,
        vec![
            ("rule.mixture.share", To(1.5.into()), "the share of a mixture is not in [0, 1]"),
            ("rule.mixture.share", nan(), "the share of a mixture is not in [0, 1]"),
            ("rule.mixture.share", To((-0.25).into()), "the share of a mixture is not in [0, 1]"),
            ("rule.mixture.components.0.threshold.walk.entry", To(1.into()), "do not begin with the same stage"),
            ("rule.mixture.components.1.belief.beliefs.scale", nan(), "the scale of the losses is not finite"),
            ("rule.mixture.components", Shorter, "damaged policy file"),
        ],
    );
}

#[test]
fn fields_that_are_not_known_or_missing() {
    let mut more = fields(&belief());
    let Value::Map(entries) = &mut more else { panic!("no map") };
    entries.push(("deadline".into(), 1.0.into()));
    let message = Policy::from_bytes(&file(&more)).unwrap_err().to_string();
    assert!(message.contains("unknown field `deadline`"), "{message}");
    let mut less = fields(&belief());
    let Value::Map(entries) = &mut less else { panic!("no map") };
    entries.pop();
    let message = Policy::from_bytes(&file(&less)).unwrap_err().to_string();
    assert!(message.contains("missing field `facts`"), "{message}");
}

#[test]
fn digests_are_those_of_the_bytes() {
    for policy in [belief(), solved("tree"), of_heuristic(Heuristic::Patience)] {
        let bytes = policy.to_bytes().unwrap();
        let read = Policy::from_bytes(&bytes).unwrap();
        let written: Vec<String> = bytes[bytes.len() - 32..].iter().map(|byte| format!("{byte:02x}")).collect();
        let written = written.concat();
        assert_eq!((policy.digest().unwrap(), read.digest().unwrap()), (written.as_str(), written.as_str()));
        assert_eq!(read.to_bytes().unwrap(), bytes);
        // The same fields in longer numbers are another file, but no other policy.
        let mut longer = fields(&policy);
        *at(&mut longer, "facts.index_error") = 0.into();
        let other = Policy::from_bytes(&file(&longer)).unwrap();
        assert_eq!((&other, other.digest().unwrap()), (&policy, policy.digest().unwrap()));
        let other = policy.clone().with_facts(ttamer::Facts::default());
        assert_ne!(other.digest().unwrap(), policy.digest().unwrap());
    }
}
