//! Budgets: met on the trace itself, by a coin where no single policy uses them up.
#![expect(clippy::unwrap_used, reason = "tests")]

use ttamer::learn::{Approach, FitOptions, Goal, Method, Recall, fit};
use ttamer::rules::AnyRule;
use ttamer::{Kind, Outcome, Policy, Trace};

const ROWS: usize = 3000;

/// Two exits with one signal between them: without a coin a policy costs 1 or 4, and nothing in between.
fn coarse() -> Trace {
    let noise = |at: usize| ((at + 1) as f64 * 0.618_033_988_749_895).fract();
    let loss: Vec<f64> =
        (0..2 * ROWS).map(|at| f64::from(u8::from(noise(at) < if at % 2 == 0 { 0.4 } else { 0.1 }))).collect();
    let prediction: Vec<i64> = (0..2 * ROWS).map(|at| 5000 + at as i64).collect();
    Trace::from_rows(&vec![1.0; 2 * ROWS], &loss, Some(&prediction), &[1.0, 3.0], Kind::Exits).unwrap()
}

fn means(policy: &Policy, trace: &Trace) -> (f64, f64) {
    let found = Outcome::of_policy(policy, trace).unwrap();
    (trace.mean(found.loss()), trace.mean(found.cost()))
}

#[test]
fn a_coin_uses_up_what_no_single_policy_does() {
    let trace = coarse();
    for (budget, method) in [(1.5, Method::Pathwise), (3.9, Method::Pathwise), (2.5, Method::Markov)] {
        let approach = Approach { method, ..Approach::default() };
        let options = FitOptions { approach, seed: 7, ..FitOptions::default() };
        let policy = fit(&trace, Goal::MaxCost(budget), &options).unwrap();
        assert!(matches!(policy.rule(), AnyRule::Mixture(_)), "{budget}");
        let (_, cost) = means(&policy, &trace);
        assert!(budget - 0.02 < cost && cost <= budget, "{budget}: {cost}");
        let known: Vec<&str> = policy.facts().provenance.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(known[..2], ["goal", "tradeoff"]);
        assert_eq!(known[known.len() - 3..], ["mixed_tradeoff", "mixed_share", "seed"]);
    }
    let (loss, cost) = means(&fit(&trace, Goal::MaxLoss(0.25), &FitOptions::default()).unwrap(), &trace);
    assert!(0.24 < loss && loss <= 0.25 && cost < 4.0, "{loss} {cost}");
}

#[test]
fn a_budget_that_a_single_policy_uses_up_needs_no_coin() {
    let trace = coarse();
    for (goal, options) in [
        (Goal::MaxCost(4.0), FitOptions::default()),
        (Goal::MaxCost(1.0), FitOptions::default()),
        (Goal::MaxLoss(1.0), FitOptions { recall: Recall::Always, ..FitOptions::default() }),
    ] {
        let policy = fit(&trace, goal, &options).unwrap();
        assert!(matches!(policy.rule(), AnyRule::Component(_)), "{goal:?}");
    }
}

#[test]
fn what_cannot_be_met_says_what_can() {
    let trace = coarse();
    let refused = |goal| fit(&trace, goal, &FitOptions::default()).unwrap_err().to_string();
    assert_eq!(refused(Goal::MaxCost(0.5)), "`max_cost` of 0.5 cannot be met on this trace: the least reachable is 1");
    let start = "`max_loss` of 0.01 cannot be met on this trace: the least reachable is 0.1";
    assert!(refused(Goal::MaxLoss(0.01)).starts_with(start), "{}", refused(Goal::MaxLoss(0.01)));
    assert_eq!(refused(Goal::MaxCost(f64::NAN)), "`max_cost` must be finite and at least 0, got nan");
    assert_eq!(refused(Goal::MaxLoss(-1.0)), "`max_loss` must be finite and at least 0, got -1.0");
    assert_eq!(refused(Goal::Tradeoff(1.5)), "`tradeoff` must be between 0 and 1, got 1.5");
}

#[test]
fn methods_with_a_shape_of_their_own_refuse_others() {
    let refused = |approach| {
        fit(&coarse(), Goal::Tradeoff(0.5), &FitOptions { approach, ..FitOptions::default() }).unwrap_err().to_string()
    };
    let markov = || Approach { method: Method::Markov, ..Approach::default() };
    let needs = "needs the estimator 'pathwise', got 'markov'";
    assert_eq!(refused(Approach { order: Some(vec![0, 1]), ..markov() }), format!("`order` {needs}"));
    assert_eq!(refused(Approach { shape: ttamer::learn::Shape::Skip, ..markov() }), format!("`graph` 'skip' {needs}"));
}
