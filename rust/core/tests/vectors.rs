//! The shared vectors: value, index, value without recall, and what the plan really does.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use support::{Vector, follow, vectors};
use ttamer::solve::{SolveOptions, solve};

fn check(kind: &str) {
    let all: Vec<Vector> = vectors().into_iter().filter(|m| m.kind == kind).collect();
    assert_eq!(all.len(), 60);
    for (k, m) in all.iter().enumerate() {
        let solution = solve(&m.model, &SolveOptions::default()).unwrap();
        assert!((solution.value - m.value).abs() < 1e-9, "{kind} {k}: value {} not {}", solution.value, m.value);
        let total = follow(&m.model, &solution);
        assert!((total - m.value).abs() < 1e-9, "{kind} {k}: the plan pays {total} not {}", m.value);
        if let Some(index) = &m.index {
            assert_eq!(solution.index_error, 0.0);
            for (v, expected) in index.iter().enumerate() {
                assert_eq!(solution.index[v].len(), expected.len());
                for (s, (a, b)) in solution.index[v].iter().zip(expected).enumerate() {
                    let cap = m.model.parent(v).map_or(f64::INFINITY, |p| m.model.loss(p)[s]);
                    assert!((a.min(cap) - b.min(cap)).abs() < 1e-7, "{kind} {k}: index[{v}][{s}] {a} not {b}");
                }
            }
        }
        if let Some(value) = m.value_no_recall {
            let options = SolveOptions { recall: false, ..SolveOptions::default() };
            let solution = solve(&m.model, &options).unwrap();
            assert!((solution.value - value).abs() < 1e-9, "{kind} {k}: no recall {} not {value}", solution.value);
            assert!((follow(&m.model, &solution) - value).abs() < 1e-9, "{kind} {k}: the plan without recall");
        }
    }
}

#[test]
fn lines() {
    check("line");
}

#[test]
fn skips() {
    check("skip");
}

#[test]
fn trees() {
    check("tree");
}

#[test]
fn forests() {
    check("forest");
}
