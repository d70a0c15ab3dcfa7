//! One outcome: what a policy is worth is what judging it on the same rows says, in the currency of those rows.
#![expect(clippy::unwrap_used, reason = "tests")]

use ttamer::learn::{Approach, FitOptions, Goal, Learner, Method, Recall, Shape, Tuning, fit};
use ttamer::{Cost, Kind, Objective, Outcome, Policy, Table, Trace};

const ROWS: usize = 600;
const STAGES: usize = 4;

/// A reproducible number in [0, 1).
fn noise(at: usize, step: f64) -> f64 {
    ((at + 1) as f64 * step).fract()
}

/// Requests of which those that stage 0 is unsure about are dearer, if costs vary by row.
fn trace(kind: Kind, by_row: bool, weighted: bool) -> Trace {
    let signal = Table::from_fn(ROWS, STAGES, |row, v| noise(row * STAGES + v, 0.618_033_988_749_895));
    let right = |row: usize, v: usize| {
        noise(row * STAGES + v, 0.414_213_562_373_095) < signal.column(v)[row].powf(1.0 / (v + 1) as f64)
    };
    let loss = Table::from_fn(ROWS, STAGES, |row, v| if right(row, v) { 0.0 } else { 0.3 + noise(row, 0.1) });
    let prediction = Table::from_fn(ROWS, STAGES, |row, v| if right(row, v) { 9 } else { (row % 5) as i64 });
    let cost = if by_row {
        Cost::Rows(Table::from_fn(ROWS, STAGES, |row, v| (v + 1) as f64 * (2.0 - 1.7 * signal.column(0)[row])))
    } else {
        Cost::Alike((1..=STAGES).map(|v| 0.1 * v as f64).collect())
    };
    let weight = weighted.then(|| (0..ROWS).map(|row| 7.0 * noise(row, 0.732_050_807_568_877)).collect());
    Trace::new(signal, loss, cost, kind).unwrap().predicted(prediction).unwrap().weighted(weight).unwrap()
}

/// Every trace of the two kinds, with and without costs by row and weights.
fn traces() -> impl Iterator<Item = Trace> {
    (0..8).map(|at| trace([Kind::Exits, Kind::Models][at & 1], at & 2 != 0, at & 4 != 0))
}

/// Mean loss and mean cost by a plain loop over single requests.
fn by_hand(policy: &Policy, trace: &Trace) -> (f64, f64) {
    let (mut loss, mut cost, mut mass) = (0.0, 0.0, 0.0);
    for row in 0..trace.rows() {
        let (mut run, mut ran) = (policy.start(), Vec::new());
        while let Some(stage) = run.next() {
            ran.push(stage);
            run.observe(trace.signal(stage)[row], Some(trace.prediction(stage).unwrap()[row])).unwrap();
        }
        let price = |stage: usize| match trace.cost() {
            Cost::Alike(cost) => cost[stage],
            Cost::Rows(cost) => cost.column(stage)[row],
        };
        let paid: f64 = if trace.kind() == Kind::Exits {
            (0..=*ran.iter().max().unwrap()).map(price).sum()
        } else {
            ran.iter().map(|stage| price(*stage)).sum()
        };
        let w = trace.weight()[row];
        loss += w * trace.loss(run.answer().unwrap())[row];
        cost += w * paid;
        mass += w;
    }
    (loss / mass, cost / mass)
}

fn is_near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-12 * (1.0 + b.abs())
}

#[test]
fn the_value_of_a_policy_is_its_objective_on_the_trace() {
    for trace in traces() {
        let objective = Objective::new(&trace, 0.8).unwrap();
        for method in Method::ALL {
            let approach = Approach { method, ..Approach::default() };
            let learner = Learner::new(trace.clone(), &approach, Tuning::default()).unwrap();
            for recall in [Recall::Auto, Recall::Always, Recall::Never] {
                let policy = learner.policy(0.8, recall, vec![]).unwrap();
                let found = Outcome::of_policy(&policy, &trace).unwrap();
                assert_eq!(policy.facts().value, found.mean_objective(objective, trace.weight()), "{method:?}");
                let (loss, cost) = by_hand(&policy, &trace);
                assert!(is_near(trace.mean(found.loss()), loss) && is_near(trace.mean(found.cost()), cost));
                assert!(is_near(policy.facts().value, 0.8 * loss + 0.2 * cost / trace.full_cost()));
            }
        }
    }
}

#[test]
fn the_value_of_a_mixture_is_too() {
    for trace in traces() {
        for goal in [Goal::MaxCost(0.45 * trace.full_cost()), Goal::MaxLoss(0.2)] {
            let policy = fit(&trace, goal, &FitOptions::default()).unwrap();
            let known =
                |name: &str| policy.facts().provenance.iter().find(|(known, _)| known == name).unwrap().1.clone();
            let objective = Objective::new(&trace, known("tradeoff").parse().unwrap()).unwrap();
            let found = Outcome::of_policy(&policy, &trace).unwrap();
            assert_eq!(policy.facts().value, found.mean_objective(objective, trace.weight()));
            let kept = match goal {
                Goal::MaxCost(most) => trace.mean(found.cost()) <= most,
                Goal::MaxLoss(most) => trace.mean(found.loss()) <= most,
                _ => false,
            };
            assert!(kept, "{goal:?}");
        }
    }
}

/// Requests of which those that stage 0 is sure about cost ten times as much at the last stage, which is always right.
fn dear_requests(by_row: bool) -> Trace {
    let is_dear = |row: usize| noise(row, 0.618_033_988_749_895) < 0.5;
    let signal = Table::from_fn(4 * ROWS, 2, |row, v| if v == 0 && !is_dear(row) { 0.2 } else { 0.8 });
    let wrong = |row: usize| noise(row, 0.414_213_562_373_095) < if is_dear(row) { 0.4 } else { 0.6 };
    let loss = Table::from_fn(4 * ROWS, 2, |row, v| if v == 0 && wrong(row) { 1.0 } else { 0.0 });
    let cost = Table::from_fn(4 * ROWS, 2, |row, v| if v == 1 && is_dear(row) { 10.0 } else { 1.0 });
    let trace = |cost| Trace::new(signal.clone(), loss.clone(), cost, Kind::Models).unwrap();
    let varied = trace(Cost::Rows(cost));
    if by_row { varied } else { trace(Cost::Alike(varied.mean_cost().to_vec())) }
}

#[test]
fn requests_that_are_dear_to_go_on_with_stop() {
    let (trace, alike) = (dear_requests(true), dear_requests(false));
    let objective = Objective::new(&trace, 0.55).unwrap();
    for (method, shape) in [(Method::Pathwise, Shape::Line), (Method::ALL[4], Shape::Auto)] {
        let value = |of: &Trace| {
            let approach = Approach { method, shape, ..Approach::default() };
            let learner = Learner::new(of.clone(), &approach, Tuning::default()).unwrap();
            let policy = learner.policy(0.55, Recall::Always, vec![]).unwrap();
            Outcome::of_policy(&policy, &trace).unwrap().mean_objective(objective, trace.weight())
        };
        assert!(value(&trace) < 0.95 * value(&alike), "{method:?}: {} {}", value(&trace), value(&alike));
    }
}

#[test]
fn a_policy_of_other_stages_is_refused() {
    let one = Trace::from_rows(&[0.5, 0.2], &[0.0, 1.0], None, &[1.0], Kind::Models).unwrap();
    let policy = fit(&one, Goal::Tradeoff(0.5), &FitOptions::default()).unwrap();
    let error = Outcome::of_policy(&policy, &trace(Kind::Models, false, false)).unwrap_err();
    assert_eq!(error.to_string(), "`trace` must have the 1 stages of the policy, got 4");
}
