//! Dense, sparse and aggregated transitions give the same answers, at sizes that use every path of the products.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use ndarray::Array2;
use support::entries;
use ttamer::Transition;
use ttamer::model::Model;
use ttamer::plan::Plan;
use ttamer::solve::{Solution, SolveOptions, solve, verify};

/// A small generator of numbers in [0, 1).
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let x = (self.0 ^ (self.0 >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (x >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn stochastic(&mut self, rows: usize, columns: usize, share: f64) -> Array2<f64> {
        let mut p = Array2::from_shape_fn((rows, columns), |(r, c)| {
            let x = self.next();
            if self.next() < share || c == r % columns { x } else { 0.0 }
        });
        for mut row in p.rows_mut() {
            let sum = row.sum();
            row /= sum;
        }
        p
    }
}

fn sparse(p: &Array2<f64>) -> Transition {
    let (mut rows, mut columns, mut values) = (vec![], vec![], vec![]);
    for ((r, c), x) in p.indexed_iter().filter(|(_, x)| **x != 0.0) {
        rows.push(r);
        columns.push(c);
        values.push(*x);
    }
    Transition::from_coordinates(&rows, &columns, &values, p.dim()).unwrap()
}

struct Parts {
    loss: Vec<Vec<f64>>,
    cost: Vec<f64>,
    transition: Vec<Transition>,
    jumps: Array2<f64>,
}

fn parts(states: &[usize], common: bool, rank: usize) -> Parts {
    let mut random = Random(11);
    let k = states.len();
    let loss = states.iter().map(|n| {
        (0..*n).map(|_| if common { (random.next() * 300.0).floor() / 300.0 } else { random.next() }).collect()
    });
    let loss = loss.collect();
    let transition = (0..k).map(|v| {
        let rows = if v == 0 { 1 } else { states[v - 1] };
        Transition::LowRank { u: random.stochastic(rows, rank, 0.3), v: random.stochastic(rank, states[v], 0.1) }
    });
    let transition = transition.collect();
    let cost = (0..k).map(|_| random.next() * 0.03).collect();
    let jumps = Array2::from_shape_fn((k, k), |(i, j)| {
        if j < i { 0.0 } else { (0.01 + random.next() * 0.04) * (1.0 + 0.3 * (j - i) as f64) }
    });
    Parts { loss, cost, transition, jumps }
}

impl Parts {
    fn with(&self, change: impl Fn(&Transition) -> Transition) -> Self {
        Self {
            loss: self.loss.clone(),
            cost: self.cost.clone(),
            transition: self.transition.iter().map(change).collect(),
            jumps: self.jumps.clone(),
        }
    }

    fn models(&self) -> Vec<Model> {
        let parent = (0..self.loss.len() as i64).map(|v| v - 1).collect();
        vec![
            Model::line(self.loss.clone(), self.cost.clone(), self.transition.clone()).unwrap(),
            Model::skip(self.loss.clone(), self.jumps.clone(), self.transition.clone()).unwrap(),
            Model::tree(parent, self.loss.clone(), self.cost.clone(), self.transition.clone()).unwrap(),
        ]
    }
}

fn close(a: &Solution, b: &Solution) {
    assert!((a.value - b.value).abs() < 1e-12, "{} {}", a.value, b.value);
    for (x, y) in a.index.iter().flatten().zip(b.index.iter().flatten()) {
        assert!(x == y || (x - y).abs() < 1e-9, "{x} {y}");
    }
    if let (Plan::Chain(a), Plan::Chain(b)) = (&a.plan, &b.plan) {
        let rows = a.intervals.table().iter().zip(b.intervals.table());
        let differ = rows.filter(|(x, y)| (x.stop - y.stop).abs() > 1e-9).count();
        assert_eq!(differ, 0);
    }
}

#[test]
fn representations_agree() {
    for (states, common) in [(&[150_usize, 40, 200, 170][..], true), (&[60, 130, 1, 90, 70], false)] {
        let aggregated = parts(states, common, 17);
        let dense = aggregated.with(|p| Transition::Dense(entries(p)));
        let sparse = aggregated.with(|p| sparse(&entries(p)));
        let models = dense.models().into_iter().zip(sparse.models()).zip(aggregated.models());
        for (graph, ((dense, sparse), aggregated)) in models.enumerate() {
            for (recall, default_loss) in [(true, f64::INFINITY), (true, 0.4), (false, f64::INFINITY)] {
                if graph == 2 && !recall {
                    continue;
                }
                let options = SolveOptions { recall, default_loss, ..SolveOptions::default() };
                let a = solve(&dense, &options).unwrap();
                close(&a, &solve(&sparse, &options).unwrap());
                close(&a, &solve(&aggregated, &options).unwrap());
                let certificate = verify(&dense, &a).unwrap();
                assert!(certificate.exact, "{certificate:?}");
                assert!((certificate.value - a.value).abs() < 1e-10);
            }
        }
        // A line is a tree: two algorithms, one answer.
        let models = dense.models();
        let (line, tree) = (&models[0], &models[2]);
        let (a, b) = (solve(line, &SolveOptions::default()).unwrap(), solve(tree, &SolveOptions::default()).unwrap());
        assert!((a.value - b.value).abs() < 1e-12);
    }
}

#[test]
fn chords_are_as_wrong_as_they_say() {
    // Large enough for the indices to come from chords of the grid of losses.
    let parts = parts(&[260; 6], true, 40).with(|p| Transition::Dense(entries(p)));
    let models = parts.models();
    let (line, tree) =
        (solve(&models[0], &SolveOptions::default()).unwrap(), solve(&models[2], &SolveOptions::default()).unwrap());
    assert!(line.index_error > 0.0 && line.index_error < 0.01, "{}", line.index_error);
    assert!((line.value - tree.value).abs() < 1e-12);
    for v in 0..6 {
        for (s, (a, b)) in line.index[v].iter().zip(&tree.index[v]).enumerate() {
            let cap = v.checked_sub(1).map_or(f64::INFINITY, |p| parts.loss[p][s]);
            let (a, b) = (a.min(cap), b.min(cap));
            assert!(a <= b + 1e-12 && b <= a + line.index_error + 1e-12, "index[{v}][{s}] {a} {b}");
        }
    }
}
