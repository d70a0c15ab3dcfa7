//! Solvers against brute force over the full information state, and theorems as properties.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use ndarray::Array2;
use proptest::prelude::*;
use support::{Dice, Parts, brute, follow};
use ttamer::model::Model;
use ttamer::solve::{Solution, SolveOptions, solve};

const TOLERANCE: f64 = 1e-9;

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 160)
}

fn solved(model: &Model, recall: bool, default_loss: f64) -> Solution {
    solve(model, &SolveOptions { recall, default_loss, ..SolveOptions::default() }).unwrap()
}

/// Value and behaviour against brute force, with and without a default answer.
fn exact(model: &Model, recall: bool) {
    for default_loss in [f64::INFINITY, 0.5, 0.0] {
        let expected = brute(model, recall, default_loss);
        let solution = solved(model, recall, default_loss);
        assert!((solution.value - expected).abs() < TOLERANCE, "{default_loss}: {} not {expected}", solution.value);
        let paid = follow(model, &solution);
        assert!((paid - expected).abs() < TOLERANCE, "{default_loss}: the plan pays {paid} not {expected}");
    }
}

fn same_index(a: &Solution, b: &Solution, model: &Model) {
    for v in 0..model.stages() {
        for (s, (x, y)) in a.index[v].iter().zip(&b.index[v]).enumerate() {
            let cap = model.parent(v).map_or(f64::INFINITY, |p| model.loss(p)[s]);
            assert!((x.min(cap) - y.min(cap)).abs() < 1e-7, "index[{v}][{s}] {x} and {y}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn line_is_exact(bytes in bytes(), stages in 1_usize..5) {
        let model = Parts::line(&mut Dice::new(&bytes), stages).as_line();
        exact(&model, true);
        exact(&model, false);
    }

    #[test]
    fn skip_is_exact(bytes in bytes(), stages in 1_usize..5) {
        let mut dice = Dice::new(&bytes);
        let parts = Parts::line(&mut dice, stages);
        let model = parts.as_skip(parts.jumps(&mut dice));
        exact(&model, true);
        exact(&model, false);
    }

    #[test]
    fn tree_is_exact(bytes in bytes(), stages in 1_usize..5) {
        exact(&Parts::tree(&mut Dice::new(&bytes), stages).as_tree(), true);
    }

    #[test]
    fn general_graph_is_exact(bytes in bytes(), stages in 1_usize..5) {
        exact(&Parts::dag(&mut Dice::new(&bytes), stages).as_dag(), true);
    }

    #[test]
    fn tree_is_a_general_graph(bytes in bytes(), stages in 1_usize..6) {
        let parts = Parts::tree(&mut Dice::new(&bytes), stages);
        for default_loss in [f64::INFINITY, 0.5] {
            let tree = solved(&parts.as_tree(), true, default_loss);
            let graph = solved(&parts.as_dag(), true, default_loss);
            prop_assert!((tree.value - graph.value).abs() < TOLERANCE);
            prop_assert!(tree.prior_loss.iter().zip(&graph.prior_loss).all(|(a, b)| (a - b).abs() < TOLERANCE));
        }
    }

    #[test]
    fn line_tree_and_skip_agree(bytes in bytes(), stages in 1_usize..7) {
        let parts = Parts::line(&mut Dice::new(&bytes), stages);
        let (line, tree) = (parts.as_line(), parts.as_tree());
        let jumps = Array2::from_shape_fn((stages, stages), |(i, j)| match j.cmp(&i) {
            std::cmp::Ordering::Less => 0.0,
            std::cmp::Ordering::Equal => parts.cost[j],
            std::cmp::Ordering::Greater => f64::INFINITY,
        });
        let skip = parts.as_skip(jumps);
        for default_loss in [f64::INFINITY, 0.5] {
            let a = solved(&line, true, default_loss);
            let b = solved(&tree, true, default_loss);
            let c = solved(&skip, true, default_loss);
            prop_assert!((a.value - b.value).abs() < TOLERANCE);
            prop_assert!((a.value - c.value).abs() < TOLERANCE);
            same_index(&a, &b, &line);
        }
    }

    #[test]
    fn scaling_scales(bytes in bytes(), stages in 1_usize..6, factor in 0.01_f64..100.0) {
        let mut parts = Parts::tree(&mut Dice::new(&bytes), stages);
        let before = solved(&parts.as_tree(), true, f64::INFINITY);
        parts.loss.iter_mut().flatten().for_each(|r| *r *= factor);
        parts.cost.iter_mut().for_each(|c| *c *= factor);
        let after = solved(&parts.as_tree(), true, f64::INFINITY);
        prop_assert!((after.value - factor * before.value).abs() < TOLERANCE * factor.max(1.0));
    }

    #[test]
    fn one_more_stage_never_hurts(bytes in bytes(), stages in 1_usize..6) {
        let parts = Parts::line(&mut Dice::new(&bytes), stages + 1);
        let long = solved(&parts.as_line(), true, f64::INFINITY);
        let mut fewer = parts;
        fewer.parents.pop();
        fewer.loss.pop();
        fewer.cost.pop();
        fewer.rows.pop();
        let short = solved(&fewer.as_line(), true, f64::INFINITY);
        prop_assert!(long.value <= short.value + TOLERANCE);
        let forced = solved(&fewer.as_line(), false, f64::INFINITY);
        prop_assert!(short.value <= forced.value + TOLERANCE);
    }

    #[test]
    fn useless_free_stage_changes_nothing(bytes in bytes(), stages in 1_usize..6) {
        let mut parts = Parts::line(&mut Dice::new(&bytes), stages);
        let before = solved(&parts.as_line(), true, f64::INFINITY);
        let last = parts.loss[stages - 1].len();
        parts.parents.push(vec![stages as i64 - 1]);
        parts.loss.push(vec![9.0]);
        parts.cost.push(0.0);
        parts.rows.push(vec![vec![1.0]; last]);
        let after = solved(&parts.as_line(), true, f64::INFINITY);
        prop_assert!((before.value - after.value).abs() < TOLERANCE);
    }

    #[test]
    fn state_numbers_do_not_matter(bytes in bytes(), stages in 1_usize..6) {
        let parts = Parts::tree(&mut Dice::new(&bytes), stages);
        let mut turned = parts.clone();
        for v in 0..stages {
            turned.loss[v].reverse();
            turned.rows[v].iter_mut().for_each(|row| row.reverse());
            if !parts.parents[v].is_empty() {
                turned.rows[v].reverse();
            }
        }
        let (a, mut b) = (solved(&parts.as_tree(), true, f64::INFINITY), solved(&turned.as_tree(), true, f64::INFINITY));
        prop_assert!((a.value - b.value).abs() < TOLERANCE);
        b.index.iter_mut().for_each(|index| index.reverse());
        same_index(&a, &b, &parts.as_tree());
    }
}

/// T-Tamer, Theorem 3.4: without recall nothing can be promised.
#[test]
fn no_recall_is_unboundedly_worse() {
    for alpha in [2.0, 10.0, 1000.0_f64] {
        let loss = vec![vec![1.0 / (alpha * alpha)], vec![0.0, 1.0 / alpha]];
        let rows = [vec![vec![1.0]], vec![vec![1.0 - 1.0 / alpha, 1.0 / alpha]]];
        let model = Model::line(loss, vec![0.0, 0.0], rows.iter().map(|r| support::dense(r)).collect()).unwrap();
        let with = solved(&model, true, f64::INFINITY).value;
        let without = solved(&model, false, f64::INFINITY).value;
        assert!((with - alpha.powi(-3)).abs() < 1e-15);
        assert!((without / with - alpha).abs() < 1e-6);
    }
}

/// Weitzman's boxes: with one-stage lines the index solves E[(σ − r)⁺] = c, and the value is E[min of max(σ, r)].
#[test]
fn boxes_follow_weitzman() {
    let loss = vec![vec![0.0, 1.0], vec![0.2, 0.6], vec![0.5]];
    let rows = [vec![vec![0.25, 0.75]], vec![vec![0.5, 0.5]], vec![vec![1.0]]];
    let cost = vec![0.1, 0.15, 0.0];
    let model = Model::tree(vec![-1; 3], loss.clone(), cost, rows.iter().map(|r| support::dense(r)).collect()).unwrap();
    let solution = solved(&model, true, f64::INFINITY);
    for (v, sigma) in [0.4, 0.5, 0.5].into_iter().enumerate() {
        assert!((solution.index[v][0] - sigma).abs() < 1e-12);
    }
    let mut value = 0.0;
    for (a, p) in [(0.4, 0.25), (1.0, 0.75)] {
        for (b, q) in [(0.5, 0.5), (0.6, 0.5)] {
            value += p * q * f64::min(a, f64::min(b, 0.5));
        }
    }
    assert!((solution.value - value).abs() < 1e-12);
}
