//! One learner, many goals and prices: what is shared changes nothing.

#![expect(clippy::expect_used, reason = "tests fail by panicking")]

use ttamer::learn::{Approach, Goal, Heuristic, Kept, Learner, Method, Recall, Tuning};
use ttamer::{Kind, Policy, Trace};

/// A reproducible number in [0, 1).
fn uniform(seed: u64, at: usize) -> f64 {
    let mut z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(at as u64).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z >> 11) as f64 / (1_u64 << 53) as f64
}

/// Models that get better, at these prices.
fn trace(n: usize, cost: &[f64]) -> Trace {
    let k = cost.len();
    let signal: Vec<f64> = (0..n * k).map(|at| uniform(1, at)).collect();
    let is_wrong = |(at, signal): (usize, &f64)| uniform(2, at) > signal.powf(1.0 / (at % k + 1) as f64);
    let loss: Vec<f64> = signal.iter().enumerate().map(|one| f64::from(u8::from(is_wrong(one)))).collect();
    Trace::from_rows(&signal, &loss, None, cost, Kind::Models).expect("a trace")
}

fn learner(trace: Trace, method: Method, tuning: &Tuning) -> Learner {
    Learner::new(trace, &Approach { method, ..Approach::default() }, tuning.clone()).expect("a learner")
}

fn bytes(policy: &Policy) -> Vec<u8> {
    policy.to_bytes().expect("bytes")
}

const GOALS: [Goal; 4] = [Goal::Tradeoff(0.9), Goal::Tradeoff(0.6), Goal::MaxCost(6.0), Goal::Tradeoff(0.99)];

#[test]
fn beliefs_that_are_dropped_are_found_again() {
    // Room for fewer sets than one goal asks for.
    let tuning = Tuning { decision_cells: 4_000, ..Tuning::default() };
    let made = || learner(trace(400, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]), Method::Pathwise, &tuning);
    let shared = made();
    let reach = |learner: &Learner, goal| bytes(&learner.reach(goal, Recall::Auto, 0).expect("a policy").0);
    for goal in GOALS {
        assert_eq!(reach(&shared, goal), reach(&made(), goal));
    }
}

#[test]
fn other_prices_are_those_of_a_trace_that_has_them() {
    let (before, now) = ([1.0, 2.0, 4.0], [3.0, 1.0, 9.0]);
    for method in [Method::Pathwise, Method::Markov, Method::Heuristic(Heuristic::Threshold)] {
        let priced = learner(trace(500, &now), method, &Tuning::default());
        let twice = learner(trace(500, &before), method, &Tuning::default()).repriced(&[7.0, 7.0, 0.0]);
        let repriced = twice.and_then(|twice| twice.repriced(&now)).expect("a learner");
        for goal in GOALS {
            let reach = |learner: &Learner| learner.reach(goal, Recall::Auto, 0).expect("a policy").0;
            let (one, other) = (reach(&repriced), reach(&priced));
            assert_eq!((one.rule(), one.price()), (other.rule(), other.price()));
            assert_eq!(one.facts().value.to_bits(), other.facts().value.to_bits());
        }
    }
}

#[test]
fn few_rows_are_kept_as_they_are_and_many_as_a_sample() {
    let few = Kept::of(&trace(Kept::MOST_ROWS, &[1.0])).expect("rows");
    assert_eq!((few.is_whole, few.trace.rows()), (true, Kept::MOST_ROWS));
    let many = Kept::of(&trace(3 * Kept::MOST_ROWS - 1, &[1.0])).expect("rows");
    assert_eq!((many.is_whole, many.trace.rows()), (false, Kept::MOST_ROWS));
}
