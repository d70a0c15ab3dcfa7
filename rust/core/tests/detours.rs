//! Requests of fitted policies that go without some stages: decided as by a policy fitted without them.
#![expect(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod stored;

use std::sync::Arc;

use proptest::prelude::*;
use rmpv::Value;
use stored::{at, fields, file, list};
use ttamer::learn::{Approach, Learner, Recall, Tuning};
use ttamer::rules::{AnyRule, BeliefRule, Component};
use ttamer::{Barred, Batch, Given, Kind, Policy, Run, Trace, mixture};

const ROWS: usize = 800;
const STAGES: usize = 4;
const COST: [f64; STAGES] = [2.0, 1.0, 8.0, 4.0];

/// A reproducible number in [0, 1).
fn noise(at: usize, step: f64) -> f64 {
    ((at + 1) as f64 * step).fract()
}

/// Models of which dearer ones are better; all have the more trouble the harder a request is.
struct Data {
    signal: Vec<f64>,
    loss: Vec<f64>,
    prediction: Vec<i64>,
}

impl Data {
    fn new() -> Self {
        let (mut signal, mut loss, mut prediction) = (vec![], vec![], vec![]);
        for row in 0..ROWS {
            let ease = noise(row, 0.618_033_988_749_895);
            for (v, cost) in COST.iter().enumerate() {
                let sure = 0.5 * ease + 0.5 * noise(row * STAGES + v, 0.414_213_562_373_095);
                let is_right = noise(row * STAGES + v, 0.732_050_807_568_877) < sure.powf(1.0 / cost);
                signal.push(sure);
                loss.push(f64::from(u8::from(!is_right)));
                prediction.push(if is_right { (row % 7) as i64 } else { 7 + (row * v % 3) as i64 });
            }
        }
        Self { signal, loss, prediction }
    }

    /// The trace of some of the stages.
    fn of(&self, stages: &[usize]) -> Trace {
        let cells = || (0..ROWS).flat_map(|row| stages.iter().map(move |v| row * STAGES + v));
        let floats = |all: &[f64]| cells().map(|cell| all[cell]).collect::<Vec<f64>>();
        let said: Vec<i64> = cells().map(|cell| self.prediction[cell]).collect();
        let cost: Vec<f64> = stages.iter().map(|v| COST[*v]).collect();
        Trace::from_rows(&floats(&self.signal), &floats(&self.loss), Some(&said), &cost, Kind::Models).unwrap()
    }

    /// The policy of some of the stages where a unit of loss is worth `odds` units of cost.
    fn policy(&self, stages: &[usize], approach: &Approach, recall: Recall, odds: f64) -> Policy {
        let total: f64 = stages.iter().map(|v| COST[*v]).sum();
        let learner = Learner::new(self.of(stages), approach, Tuning::default()).unwrap();
        learner.policy(odds / (odds + total), recall, vec![]).unwrap()
    }

    fn report(&self, row: usize, stage: usize) -> (f64, Option<i64>) {
        (self.signal[row * STAGES + stage], Some(self.prediction[row * STAGES + stage]))
    }
}

const ALL: [usize; STAGES] = [0, 1, 2, 3];
const ODDS: f64 = 60.0;

fn members(set: usize) -> Vec<usize> {
    ALL.into_iter().filter(|stage| set >> stage & 1 == 1).collect()
}

fn others(missing: &[usize]) -> Vec<usize> {
    ALL.into_iter().filter(|stage| !missing.contains(stage)).collect()
}

fn rule(policy: &Policy) -> &BeliefRule {
    let AnyRule::Component(Component::Belief(rule)) = policy.rule() else { panic!("not a rule of beliefs") };
    rule
}

/// The stages asked, in their order, and how the request ends; those of `failing` fail. Stage v of the policy is `names[v]`.
fn walk(
    mut run: Run,
    data: &Data,
    row: usize,
    names: &[usize],
    failing: &[usize],
) -> (Vec<usize>, Option<usize>, f64, f64) {
    let mut asked = Vec::new();
    while let Some(stage) = run.next() {
        asked.push(names[stage]);
        if failing.contains(&names[stage]) {
            run.fail().unwrap();
        } else {
            let (signal, prediction) = data.report(row, names[stage]);
            run.observe(signal, prediction).unwrap();
        }
    }
    (asked, run.answer().map(|stage| names[stage]), run.cost(), run.expected_loss())
}

fn start<'a>(policy: &'a Policy, barred: &[usize]) -> Run<'a> {
    policy.start_without(Given::NOTHING, &Barred::of(policy, barred).unwrap())
}

#[test]
fn barred_stages_are_as_if_the_policy_were_fitted_without_them() {
    let data = Data::new();
    let nothing = Approach { default_loss: Some(0.25), ..Approach::default() };
    let ordered = Approach { order: Some(vec![1, 0, 3, 2]), ..Approach::default() };
    let sets = |step: usize| (1..(1 << STAGES) - 1).step_by(step);
    for (approach, recall, sets) in [
        (Approach::default(), Recall::Always, sets(1)),
        (nothing, Recall::Always, sets(3)),
        (ordered, Recall::Always, sets(3)),
        (Approach::default(), Recall::Never, sets(4)),
    ] {
        let policy = data.policy(&ALL, &approach, recall, ODDS);
        for set in sets {
            let missing = members(set);
            let kept = others(&missing);
            let barred = Barred::of(&policy, &missing).unwrap();
            assert!(policy.is_exact_without(&barred), "{missing:?}");
            let order = approach.order.as_ref();
            let order = order.map(|all| all.iter().filter_map(|v| kept.iter().position(|k| k == v)).collect());
            let without = data.policy(&kept, &Approach { order, ..approach.clone() }, recall, ODDS);
            for row in 0..ROWS {
                let found = walk(start(&policy, &missing), &data, row, &ALL, &[]);
                let (asked, answer, cost, loss) = walk(without.start(), &data, row, &kept, &[]);
                assert_eq!((&found.0, found.1, found.2), (&asked, answer, cost), "row {row} without {missing:?}");
                assert!((found.3 - loss).abs() < 1e-9, "row {row} without {missing:?}: {} {loss}", found.3);
            }
        }
        assert!(!policy.is_exact_without(&Barred::of(&policy, &ALL).unwrap()));
    }
}

#[test]
fn a_request_whose_stage_fails_goes_on_as_one_that_never_could_ask_it() {
    let data = Data::new();
    let policy = data.policy(&ALL, &Approach::default(), Recall::Always, ODDS);
    let mut compared = 0;
    for failing in ALL {
        for row in 0..ROWS {
            let (asked, answer, cost, loss) = walk(policy.start(), &data, row, &ALL, &[failing]);
            let Some(at) = asked.iter().position(|stage| *stage == failing) else { continue };
            let (before, after) = (&asked[..at], &asked[at + 1..]);
            let (path, other_answer, other_cost, other_loss) = walk(start(&policy, &[failing]), &data, row, &ALL, &[]);
            let mut same: Vec<usize> = path.iter().take(at).copied().collect();
            let mut ran = before.to_vec();
            same.sort_unstable();
            ran.sort_unstable();
            if same != ran {
                continue;
            }
            compared += 1;
            assert_eq!(&path[at..], after, "row {row} where {failing} fails after {before:?}");
            assert_eq!((other_answer, other_cost + COST[failing]), (answer, cost));
            assert!((other_loss - loss).abs() < 1e-12);
        }
    }
    assert!(compared > 300, "{compared} requests were compared");
}

#[test]
fn a_stage_that_cannot_be_tried_is_one_that_fails_for_nothing() {
    let data = Data::new();
    let policy = data.policy(&ALL, &Approach::default(), Recall::Always, ODDS);
    let first = policy.start().next().unwrap();
    for row in 0..200 {
        let mut run = policy.start();
        run.bar().unwrap();
        let found = walk(run, &data, row, &ALL, &[]);
        assert_eq!(found, walk(start(&policy, &[first]), &data, row, &ALL, &[]));
    }
}

#[test]
fn nothing_else_is_decided_otherwise_and_little_is_stored() {
    let data = Data::new();
    let learner = Learner::new(data.of(&ALL), &Approach::default(), Tuning::default()).unwrap();
    let tradeoff = ODDS / (ODDS + 15.0);
    let draft = learner.draft(tradeoff, Recall::Always, vec![]).unwrap();
    let whole = learner.policy(tradeoff, Recall::Always, vec![]).unwrap();
    assert_eq!(learner.finished(draft.clone()).unwrap(), whole);
    let draft = draft.policy;
    assert!(rule(&draft).without().is_none() && rule(&whole).without().is_some());
    for row in 0..ROWS {
        assert_eq!(walk(draft.start(), &data, row, &ALL, &[]), walk(whole.start(), &data, row, &ALL, &[]));
    }
    // As many as there could be are 4 · 3³; those that go on alike are one.
    assert!(rule(&whole).nodes().len() < 80, "{}", rule(&whole).nodes().len());
    let again = Policy::from_bytes(&whole.to_bytes().unwrap()).unwrap();
    assert_eq!(again, whole);
    let shown = |policy: &Policy| -> Vec<serde_json::Value> {
        let all: serde_json::Value = serde_json::from_str(&policy.describe().unwrap()).unwrap();
        ["decisions", "without"].map(|name| all["rule"][name].clone()).to_vec()
    };
    assert_eq!(shown(&draft)[0], shown(&whole)[0]);
    assert!(shown(&draft)[1].is_null());
    assert_eq!(shown(&whole)[1].as_array().map(Vec::len), Some((1 << STAGES) - 2));
}

#[test]
fn a_coin_is_tossed_where_both_policies_begin_alike_without_the_stages() {
    let data = Data::new();
    let of = |odds| data.policy(&ALL, &Approach::default(), Recall::Always, odds);
    let (one, other) = (of(ODDS), of(2.0 * ODDS));
    let coin = mixture(&one, &other, 0.5, 7, 0.0, vec![]).unwrap();
    let mut tossed = 0;
    for set in 1..(1 << STAGES) - 1 {
        let missing = members(set);
        assert!(coin.is_exact_without(&Barred::of(&coin, &missing).unwrap()));
        let is_alike = start(&one, &missing).next() == start(&other, &missing).next();
        let mut followed = [0; 2];
        for row in 0..ROWS {
            let found = walk(start(&coin, &missing), &data, row, &ALL, &[]);
            let ends = [&one, &other].map(|policy| walk(start(policy, &missing), &data, row, &ALL, &[]));
            assert!(ends.contains(&found), "row {row} without {missing:?}");
            for (count, end) in followed.iter_mut().zip(&ends) {
                *count += usize::from(*end == found);
            }
        }
        if is_alike && followed.iter().all(|count| *count < ROWS) {
            tossed += 1;
            assert!(followed.iter().all(|count| *count > ROWS / 3), "{followed:?} of {ROWS} without {missing:?}");
        } else if !is_alike {
            assert!(followed.contains(&ROWS), "{followed:?} of {ROWS} without {missing:?}");
        }
    }
    assert!(tossed > 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_stage_is_asked_twice_or_though_it_is_barred_and_batches_do_as_runs(
        missing in 0..1_usize << STAGES,
        failing in proptest::collection::vec(0..1_usize << STAGES, 5),
        is_coin in any::<bool>(),
        from in 0..ROWS - 5,
    ) {
        let (data, policy, coin) = fitted();
        let policy = if is_coin { coin } else { policy };
        let missing = members(missing);
        let mut expected = Vec::new();
        for (at, failing) in failing.iter().enumerate() {
            let failing = members(*failing);
            let (mut asked, answer, cost, loss) = walk(start(policy, &missing), data, from + at, &ALL, &failing);
            prop_assert!(asked.iter().all(|stage| !missing.contains(stage)));
            let answered: Vec<usize> = asked.iter().copied().filter(|stage| !failing.contains(stage)).collect();
            prop_assert_eq!(answer.is_some(), !answered.is_empty());
            prop_assert!(answer.is_none_or(|answer| answered.contains(&answer)));
            prop_assert!(answer.is_some() || asked.len() == STAGES - missing.len(), "a stage is left that could answer");
            let paid: f64 = asked.iter().map(|stage| COST[*stage]).sum();
            prop_assert_eq!(cost, paid);
            asked.sort_unstable();
            asked.dedup();
            prop_assert_eq!(asked.iter().map(|stage| COST[*stage]).sum::<f64>(), paid, "a stage is asked twice");
            expected.push((answer, cost, loss));
        }
        let barred = Barred::of(policy, &missing).unwrap();
        let mut batch = Batch::new(Arc::clone(policy), failing.len()).unwrap().without(&barred, None);
        while let Some((stage, rows)) = batch.pending() {
            let (lost, said): (Vec<i64>, Vec<i64>) =
                rows.iter().partition(|row| failing[**row as usize] >> stage & 1 == 1);
            batch.fail(stage, &lost).unwrap();
            let reports: Vec<(f64, Option<i64>)> =
                said.iter().map(|row| data.report(from + *row as usize, stage)).collect();
            let signal: Vec<f64> = reports.iter().map(|report| report.0).collect();
            let prediction: Vec<i64> = reports.iter().filter_map(|report| report.1).collect();
            batch.observe(stage, &signal, Some(&prediction)).unwrap();
        }
        let ends = batch.answer().into_iter().zip(batch.cost()).zip(batch.expected_loss());
        let ends: Vec<_> = ends.map(|((answer, cost), loss)| (usize::try_from(answer).ok(), cost, loss)).collect();
        prop_assert_eq!(ends, expected);
    }
}

/// A policy and a mixture of two, made once.
fn fitted() -> &'static (Data, Arc<Policy>, Arc<Policy>) {
    static FITTED: std::sync::OnceLock<(Data, Arc<Policy>, Arc<Policy>)> = std::sync::OnceLock::new();
    FITTED.get_or_init(|| {
        let data = Data::new();
        let of = |odds| data.policy(&ALL, &Approach::default(), Recall::Always, odds);
        let coin = mixture(&of(ODDS), &of(2.0 * ODDS), 0.5, 7, 0.0, vec![]).unwrap();
        let policy = of(ODDS);
        (data, Arc::new(policy), Arc::new(coin))
    })
}

const WITHOUT: &str = "rule.component.belief.without";

fn refusal(change: impl FnOnce(&mut Value)) -> String {
    let mut stored = fields(&fitted().1);
    change(at(&mut stored, WITHOUT));
    Policy::from_bytes(&file(&stored)).unwrap_err().to_string()
}

/// The number of the first detour that `is_it`, by its sets.
fn detour(is_it: impl Fn(u8, u8) -> bool) -> usize {
    let detours = &rule(&fitted().1).without().unwrap().detours;
    detours.iter().position(|detour| is_it(detour.missing, detour.ran)).unwrap()
}

#[test]
fn detours_that_do_not_fit_are_refused() {
    let set = |path: String, to: u64| refusal(|without| *at(without, &path) = to.into());
    let begin = detour(|_, ran| ran == 0);
    let missing = u64::from(rule(&fitted().1).without().unwrap().detours[begin].missing);
    let back = detour(|_, ran| ran != 0);
    let nodes = rule(&fitted().1).nodes().len() as u64;
    let asks = rule(&fitted().1).nodes()[0].stage;
    let without_first = detour(|missing, ran| ran == 0 && missing == 1 << asks);
    for (told, wanted) in [
        (set("stages.3".into(), 9), "not among those that may be missing"),
        (refusal(|without| list(at(without, "stages")).clear()), "are not 1 to 8 that ascend"),
        (refusal(|without| list(at(without, "stages")).reverse()), "are not 1 to 8 that ascend"),
        (refusal(|without| drop(list(at(without, "ran")).pop())), "do not fit those that are missing"),
        (refusal(|without| list(at(without, "missing")).reverse()), "the detours do not ascend"),
        (set("missing.0".into(), 0), "about stages that are missing and others that ran"),
        (set(format!("missing.{}", detour(|missing, _| missing == 7)), 23), "do not ascend"),
        (set(format!("ran.{begin}"), missing), "about stages that are missing and others that ran"),
        (set(format!("situation.{begin}"), nodes), "a detour begins nowhere"),
        (set(format!("situation.{begin}"), 65_535), "a detour begins nowhere"),
        (set(format!("situation.{begin}"), nodes - 1), "a detour begins at a situation that does not begin"),
        (set(format!("situation.{back}"), nodes - 1), "a detour does not lead to a situation of the stages that ran"),
        (set(format!("situation.{without_first}"), 0), "a detour comes to a stage that is missing"),
    ] {
        assert!(told.contains(wanted), "{told} where {wanted} was to be said");
    }
}
