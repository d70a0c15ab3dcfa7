//! Judging under a deadline: what replays come to is what a plain loop with a clock comes to, for any policy.
#![expect(clippy::unwrap_used, reason = "tests")]

use ttamer::learn::{Approach, Learner, Method, Recall, Tuning};
use ttamer::rules::{NO_PREDICTION, Observation};
use ttamer::{Given, Kind, Objective, Outcome, Policy, Table, Terms, Trace};

const ROWS: usize = 400;
const STAGES: usize = 3;
const TRADEOFF: f64 = 0.9;

/// A reproducible number in [0, 1).
fn noise(at: usize, step: f64) -> f64 {
    ((at + 1) as f64 * step).fract()
}

/// Requests whose stages take some hundredths of a second each; one time in fifty is not known.
fn trace(kind: Kind) -> Trace {
    let signal = Table::from_fn(ROWS, STAGES, |row, v| noise(row * STAGES + v, 0.618_033_988_749_895));
    let right = |row: usize, v: usize| {
        noise(row * STAGES + v, 0.414_213_562_373_095) < signal.column(v)[row].powf(1.0 / (v + 1) as f64)
    };
    let loss = Table::from_fn(ROWS, STAGES, |row, v| if right(row, v) { 0.0 } else { 0.5 + noise(row, 0.1) });
    let prediction = Table::from_fn(ROWS, STAGES, |row, v| if right(row, v) { 9 } else { (row % 5) as i64 });
    let seconds = |row: usize, v: usize| match (row * STAGES + v) % 50 {
        7 => f64::NAN,
        at => 0.01 * (v + 1) as f64 * (0.5 + noise(row + at, 0.732_050_807_568_877)),
    };
    let cost = ttamer::Cost::Rows(Table::from_fn(ROWS, STAGES, |row, v| (v + 1) as f64 + noise(row, 0.236)));
    let trace = Trace::new(signal, loss, cost, kind).unwrap().predicted(prediction).unwrap();
    trace.timed(Table::from_fn(ROWS, STAGES, seconds)).unwrap()
}

fn policies(trace: &Trace) -> Vec<Policy> {
    let of = |method, recall| {
        let approach = Approach { method, ..Approach::default() };
        Learner::new(trace.clone(), &approach, Tuning::default()).unwrap().policy(TRADEOFF, recall, vec![]).unwrap()
    };
    let methods = Method::ALL.into_iter().map(|method| of(method, Recall::Auto));
    methods.chain([of(Method::Pathwise, Recall::Never), knowing_time(trace)]).collect()
}

fn knowing_time(trace: &Trace) -> Policy {
    let known = Table::from_fn(ROWS, STAGES, |row, v| {
        let seconds = trace.latency(v).unwrap()[row];
        if seconds.is_nan() { 0.02 } else { seconds }
    });
    let approach = Approach { deadline: true, ..Approach::default() };
    let learner = Learner::new(trace.clone().timed(known).unwrap(), &approach, Tuning::default()).unwrap();
    learner.policy(TRADEOFF, Recall::Auto, vec![]).unwrap()
}

/// One request by hand.
#[derive(Debug, Default, PartialEq)]
struct Ended {
    answer: Option<usize>,
    ran: [bool; STAGES],
    late: bool,
}

fn ended(policy: &Policy, trace: &Trace, row: usize, deadline: f64, expected: Option<&[f64]>) -> Ended {
    let told = if expected.is_some() { f64::INFINITY } else { deadline };
    let mut run = policy.start_given(Given::within(told));
    let (mut left, mut before, mut ended) = (deadline, None, Ended::default());
    while let Some(stage) = run.next() {
        let waited = trace.delay(before, stage).unwrap()[row];
        let first = if trace.kind() == Kind::Models { stage } else { before.map_or(0, |before: usize| before + 1) };
        let fits = |expected: &[f64]| expected[first..=stage].iter().sum::<f64>() <= left;
        if ended.answer.is_some() && !expected.is_none_or(fits) {
            break;
        }
        ended.ran[stage] = true;
        if waited > left {
            ended.late = true;
            break;
        }
        left -= waited;
        let said = trace.prediction(stage).map_or(NO_PREDICTION, |said| said[row]);
        let seen = Observation::new(trace.signal(stage)[row], said);
        run.report(if expected.is_some() { seen } else { seen.within(left) }).unwrap();
        (before, ended.answer) = (Some(stage), run.answer());
    }
    ended
}

fn check(found: &Outcome, policy: &Policy, trace: &Trace, deadline: f64, expected: Option<&[f64]>, nothing: f64) {
    for row in 0..ROWS {
        let hand = ended(policy, trace, row, deadline, expected);
        let ran: [bool; STAGES] = found.consulted()[row * STAGES..][..STAGES].try_into().unwrap();
        let answer = usize::try_from(found.answer()[row]).ok();
        assert_eq!(Ended { answer, ran, late: found.late()[row] }, hand, "row {row}, {deadline} s");
        let last = ran.iter().rposition(|ran| *ran);
        let is_paid = |v: &usize| if trace.kind() == Kind::Exits { Some(*v) <= last } else { ran[*v] };
        let paid: f64 = (0..STAGES)
            .filter(is_paid)
            .map(|v| trace.charge(Some(v).filter(|v| *v > 0).map(|v| v - 1), v).at(row))
            .sum();
        assert!((found.cost()[row] - paid).abs() < 1e-9, "row {row}: {} {paid}", found.cost()[row]);
        assert_eq!(found.loss()[row], answer.map_or(nothing, |answer| trace.loss(answer)[row]));
    }
}

#[test]
fn any_policy_is_cut_off_as_by_hand() {
    for kind in [Kind::Exits, Kind::Models] {
        let trace = trace(kind);
        let largest = trace.losses().cells().iter().copied().fold(0.0, f64::max);
        let expected = trace.mean_latency().unwrap();
        for policy in policies(&trace) {
            for deadline in [0.0, 0.01, 0.025, 0.05, 1.0] {
                let terms = Terms { default_loss: None, deadline: Some(deadline) };
                let found = Outcome::judged(&policy, &trace, &terms).unwrap();
                check(&found, &policy, &trace, deadline, None, largest);
                let priced = Terms { default_loss: Some(0.7), ..terms };
                let careful = Outcome::careful(&policy, &trace, &priced, &expected).unwrap();
                check(&careful, &policy, &trace, deadline, Some(&expected), 0.7);
                if deadline == 0.0 {
                    // Who knows the time begins nothing.
                    let begins = policy.latency().is_none();
                    assert!(found.late().iter().all(|late| *late == begins));
                    assert!(found.consulted().iter().any(|ran| *ran) == begins);
                    assert!(found.answer().iter().all(|answer| *answer < 0));
                }
            }
        }
    }
}

#[test]
fn without_a_deadline_nothing_is_late() {
    let trace = trace(Kind::Models);
    let plain = trace.clone();
    for policy in policies(&trace) {
        let ordinary = Outcome::of_policy(&policy, &plain).unwrap();
        for deadline in [None, Some(f64::INFINITY), Some(1e9)] {
            let terms = Terms { default_loss: None, deadline };
            assert_eq!(Outcome::judged(&policy, &trace, &terms).unwrap(), ordinary);
            let expected = trace.mean_latency().unwrap();
            assert_eq!(Outcome::careful(&policy, &trace, &terms, &expected).unwrap(), ordinary);
        }
    }
}

#[test]
fn hindsight_is_a_bound_under_every_deadline() {
    for kind in [Kind::Exits, Kind::Models] {
        let trace = trace(kind);
        let objective = Objective::new(&trace, TRADEOFF).unwrap();
        let (policies, mut before) = (policies(&trace), f64::INFINITY);
        for deadline in [0.0, 0.01, 0.025, 0.05, 1.0] {
            let terms = Terms { default_loss: None, deadline: Some(deadline) };
            let bound = Outcome::clairvoyant(&trace, objective, &terms).unwrap();
            let least = bound.mean_objective(objective, trace.weight());
            assert!(least <= before, "{least} {before}");
            before = least;
            for policy in &policies {
                let found = Outcome::judged(policy, &trace, &terms).unwrap();
                assert!(least <= found.mean_objective(objective, trace.weight()));
            }
            for stage in 0..STAGES {
                let alone = Outcome::of_stage(&trace, stage as u16, &terms).unwrap();
                assert!(least <= alone.mean_objective(objective, trace.weight()));
                let late: Vec<bool> =
                    trace.delay(None, stage).unwrap().iter().map(|seconds| *seconds > deadline).collect();
                assert_eq!(alone.late(), late);
                assert!(alone.answer().iter().zip(&late).all(|(answer, late)| (*answer < 0) == *late));
            }
        }
        let free = Outcome::clairvoyant(&trace, objective, &Terms::default()).unwrap();
        let within = Terms { default_loss: None, deadline: Some(1e9) };
        assert_eq!(Outcome::clairvoyant(&trace, objective, &within).unwrap(), free);
    }
}

#[test]
fn terms_that_cannot_be_kept_are_refused() {
    let timed = trace(Kind::Models);
    let untimed =
        Trace::new(timed.signals().clone(), timed.losses().clone(), timed.cost().clone(), Kind::Models).unwrap();
    let policy = &policies(&timed)[0];
    let said = |trace: &Trace, deadline| {
        Outcome::judged(policy, trace, &Terms { default_loss: None, deadline: Some(deadline) }).unwrap_err().to_string()
    };
    assert_eq!(said(&timed, -0.5), "`deadline` must be 0 or more seconds, got -0.5");
    assert_eq!(said(&timed, f64::NAN), "`deadline` must be 0 or more seconds, got nan");
    assert_eq!(said(&untimed, 0.5), "`trace` must say how long stages took, `latency`, to be judged under a deadline");
    let short = Outcome::careful(policy, &timed, &Terms::default(), &[0.1]).unwrap_err().to_string();
    assert_eq!(short, "`expected` must have 3 entries in all, got 1");
}
