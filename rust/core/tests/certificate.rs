//! Every plan can prove itself, and a doctored one cannot.
#![expect(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod support;

use proptest::prelude::*;
use support::{Dice, Parts, brute, follow, vectors};
use ttamer::model::Model;
use ttamer::plan::{Intervals, Plan, STOP};
use ttamer::solve::{Solution, SolveOptions, solve, verify};

fn solved(model: &Model, recall: bool) -> Solution {
    solve(model, &SolveOptions { recall, ..SolveOptions::default() }).unwrap()
}

#[test]
fn every_vector_is_certified() {
    for (k, m) in vectors().iter().enumerate() {
        let certificate = verify(&m.model, &solved(&m.model, true)).unwrap();
        assert!(certificate.exact, "{} {k}: {certificate:?}", m.kind);
        assert!((certificate.value - m.value).abs() < 1e-9, "{} {k}: {certificate:?}", m.kind);
        if m.value_no_recall.is_some() {
            let certificate = verify(&m.model, &solved(&m.model, false)).unwrap();
            assert!(certificate.exact, "{} {k}: {certificate:?}", m.kind);
        }
    }
}

/// Moves thresholds, swaps next stages, moves indices.
fn doctor(plan: &mut Plan, dice: &mut Dice) {
    match plan {
        Plan::Chain(plan) => {
            let old = std::mem::replace(&mut plan.intervals, Intervals::new());
            for row in old.table() {
                let mut steps: Vec<(f64, i32)> = old.steps(row).collect();
                if row.last != STOP {
                    steps.push((f64::INFINITY, row.last));
                }
                let stop = if dice.roll(3) == 0 { dice.roll(9) as f64 / 8.0 } else { row.stop };
                plan.intervals.push(stop, steps);
            }
        }
        Plan::Tree(plan) => {
            for index in plan.index.iter_mut().flatten() {
                if dice.roll(3) == 0 {
                    *index = dice.roll(9) as f64 / 8.0;
                }
            }
        }
        Plan::Dag(plan) => {
            for action in plan.action.iter_mut().skip(1) {
                if dice.roll(3) == 0 {
                    *action = STOP;
                }
            }
        }
        other => panic!("the tests do not know {other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// The bound holds for whatever plan, and what the certificate says about its value is true.
    #[test]
    fn the_bound_holds_for_doctored_plans(
        bytes in proptest::collection::vec(any::<u8>(), 160),
        stages in 1_usize..5,
        kind in 0..5,
    ) {
        let mut dice = Dice::new(&bytes);
        let recall = kind != 3;
        let model = if kind == 2 {
            Parts::tree(&mut dice, stages).as_tree()
        } else if kind == 4 {
            Parts::dag(&mut dice, stages).as_dag()
        } else {
            let parts = Parts::line(&mut dice, stages);
            if kind == 0 { parts.as_line() } else { parts.as_skip(parts.jumps(&mut dice)) }
        };
        let mut solution = solved(&model, recall);
        let honest = verify(&model, &solution).unwrap();
        prop_assert!(honest.exact, "{:?}", honest);
        doctor(&mut solution.plan, &mut dice);
        let certificate = verify(&model, &solution).unwrap();
        let (paid, best) = (follow(&model, &solution), brute(&model, recall, f64::INFINITY));
        prop_assert!(paid - best <= certificate.bound + 1e-9, "{} {} {:?}", paid, best, certificate);
        let slack = if kind == 2 { certificate.bound } else { 0.0 };
        prop_assert!((paid - certificate.value).abs() <= slack + 1e-9);
        if paid > best + 1e-6 {
            prop_assert!(!certificate.exact);
        }
    }
}

#[test]
fn a_doctored_value_or_start_is_found() {
    let m = vectors().into_iter().find(|m| m.kind == "skip" && m.model.stages() > 2).unwrap();
    let mut solution = solved(&m.model, true);
    solution.value += 1e-6;
    assert!(!verify(&m.model, &solution).unwrap().exact);
    solution = solved(&m.model, true);
    if let Plan::Chain(plan) = &mut solution.plan {
        plan.start = STOP;
    }
    assert!(!verify(&m.model, &solution).unwrap().exact);
}

#[test]
fn a_plan_of_another_shape_is_refused() {
    let all = vectors();
    let (a, b) = (&all[0].model, all.iter().find(|m| m.kind == "tree").unwrap());
    assert!(verify(a, &solved(&b.model, true)).is_err());
}
