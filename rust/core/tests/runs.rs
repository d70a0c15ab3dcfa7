//! A solved model's policy, run request by request over every joint outcome, pays what the solver says.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use proptest::prelude::*;
use support::{Dice, Parts, chances};
use ttamer::rules::{NO_PREDICTION, Observation};
use ttamer::solve::SolveOptions;
use ttamer::{Given, Model, Policy, compile, verify};

/// Expected total over what the run sees.
fn paid(model: &Model, policy: &Policy, seen: &mut Vec<Option<usize>>, signals: &mut Vec<(usize, f64)>) -> f64 {
    let mut state = policy.begin(Given::NOTHING);
    for (_, signal) in signals.iter() {
        policy.advance(&mut state, Observation::new(*signal, NO_PREDICTION));
    }
    let progress = *state.progress();
    if !progress.is_waiting() {
        return policy.expected_loss(&state) + progress.cost;
    }
    let v = usize::from(progress.next);
    let mut total = 0.0;
    for (s, p) in chances(model, v, seen).into_iter().enumerate().filter(|(_, p)| *p > 0.0) {
        seen[v] = Some(s);
        signals.push((v, s as f64));
        total += p * paid(model, policy, seen, signals);
        signals.pop();
        seen[v] = None;
    }
    total
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn runs_pay_the_value(bytes in proptest::collection::vec(any::<u8>(), 160), stages in 1_usize..5, kind in 0..4) {
        let mut dice = Dice::new(&bytes);
        let model = match kind {
            0 => Parts::line(&mut dice, stages).as_line(),
            1 => Parts::tree(&mut dice, stages).as_tree(),
            2 => Parts::dag(&mut dice, stages).as_dag(),
            _ => {
                let parts = Parts::line(&mut dice, stages);
                parts.as_skip(parts.jumps(&mut dice))
            }
        };
        for default_loss in [f64::INFINITY, 0.5] {
            let policy = compile(&model, &SolveOptions { default_loss, ..SolveOptions::default() }).unwrap();
            let total = paid(&model, &policy, &mut vec![None; stages], &mut Vec::new());
            prop_assert!((total - policy.facts().value).abs() < 1e-9, "{} {}", total, policy.facts().value);
            let certificate = verify(&model, &policy).unwrap();
            prop_assert!((certificate.value - total).abs() < 1e-9 && certificate.bound < 1e-9, "{certificate:?}");
        }
    }
}
