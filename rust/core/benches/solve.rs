//! Solving, beside the bare matrix products of the same size: `cargo bench --bench solve`.

#![allow(missing_docs, reason = "criterion's macros generate undocumented items")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use ndarray::Array2;
use ttamer::solve::{SolveOptions, solve, verify};
use ttamer::{Model, Transition};

/// A small generator of numbers in [0, 1).
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let x = (self.0 ^ (self.0 >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (x >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Rows like Dirichlet(1/2), with `stay` of the mass on the state of the same rank.
    fn dense(&mut self, rows: usize, columns: usize, stay: f64) -> Transition {
        let mut p = Array2::from_shape_fn((rows, columns), |_| {
            let z = (-2.0 * (1.0 - self.next()).ln()).sqrt() * (std::f64::consts::TAU * self.next()).cos();
            z * z
        });
        for (r, mut row) in p.rows_mut().into_iter().enumerate() {
            row *= (1.0 - stay) / row.sum();
            row[r % columns] += stay;
        }
        Transition::Dense(p)
    }

    fn sparse(&mut self, rows: usize, columns: usize, entries: usize) -> Option<Transition> {
        let row: Vec<usize> = (0..rows * entries).map(|k| k / entries).collect();
        let column: Vec<usize> = row.iter().map(|_| (self.next() * columns as f64) as usize).collect();
        let value = vec![1.0 / entries as f64; row.len()];
        Transition::from_coordinates(&row, &column, &value, (rows, columns)).ok()
    }

    /// Losses on a common grid, in any order.
    fn losses(&mut self, stages: usize, states: usize) -> Vec<Vec<f64>> {
        let grid: Vec<f64> = (0..states).map(|_| self.next()).collect();
        let shuffled = |_| {
            let mut losses = grid.clone();
            for i in (1..states).rev() {
                losses.swap(i, (self.next() * (i + 1) as f64) as usize);
            }
            losses
        };
        (0..stages).map(shuffled).collect()
    }
}

const STAGES: usize = 12;
const STATES: usize = 1000;

fn rows(v: usize, states: usize) -> usize {
    if v == 0 { 1 } else { states }
}

fn line(states: usize, stay: f64) -> Option<Model> {
    let mut random = Random(7);
    let transition = (0..STAGES).map(|v| random.dense(rows(v, states), states, stay)).collect();
    let cost = (0..STAGES).map(|_| random.next() * 0.02).collect();
    Model::line(random.losses(STAGES, states), cost, transition).ok()
}

fn skip(states: usize, stay: f64) -> Option<Model> {
    let mut random = Random(7);
    let transition = (0..STAGES).map(|v| random.dense(rows(v, states), states, stay)).collect();
    let jump = |(i, j): (usize, usize)| if j < i { 0.0 } else { random.next() * 0.02 + 0.005 * (j - i) as f64 };
    let cost = Array2::from_shape_fn((STAGES, STAGES), jump);
    Model::skip(random.losses(STAGES, states), cost, transition).ok()
}

fn sparse_line(states: usize) -> Option<Model> {
    let mut random = Random(7);
    let transition = (0..STAGES).map(|v| random.sparse(rows(v, states), states, 10)).collect::<Option<_>>()?;
    let cost = (0..STAGES).map(|_| random.next() * 0.02).collect();
    Model::line(random.losses(STAGES, states), cost, transition).ok()
}

fn tree(stages: usize, states: usize) -> Option<Model> {
    let mut random = Random(7);
    let parent: Vec<i64> = (0..stages).map(|v| (random.next() * (v + 1) as f64) as i64 - 1).collect();
    let transition = parent.iter().map(|p| random.dense(if *p < 0 { 1 } else { states }, states, 0.0)).collect();
    let cost = (0..stages).map(|_| random.next() * 0.02).collect();
    Model::tree(parent, random.losses(stages, states), cost, transition).ok()
}

/// Asserts the answer on a small model of the same kind, then times the large one.
fn timed(c: &mut Criterion, name: &str, small: Option<Model>, large: Option<Model>) {
    let options = SolveOptions::default();
    let proof = small.and_then(|model| solve(&model, &options).and_then(|solution| verify(&model, &solution)).ok());
    assert!(proof.is_some_and(|proof| proof.exact), "{name}: {proof:?}");
    if let Some(model) = large {
        c.bench_function(name, |b| b.iter(|| solve(black_box(&model), &options).map(|solution| solution.value)));
    }
}

fn benches(c: &mut Criterion) {
    let a = Array2::from_shape_fn((STATES, STATES), |(i, j)| ((7 * i + 13 * j) % 101) as f64);
    c.bench_function("11 bare products of 1000 x 1000, one core", |b| {
        b.iter(|| (1..STAGES).map(|_| black_box(&a).dot(&a)[[0, 0]]).sum::<f64>());
    });
    timed(c, "line, K = 1000, n = 12", line(60, 0.0), line(STATES, 0.0));
    timed(c, "skip, K = 1000, n = 12", skip(60, 0.0), skip(STATES, 0.0));
    timed(c, "skip, K = 1000, n = 12, states that stay", skip(60, 0.9), skip(STATES, 0.9));
    timed(c, "sparse line, K = 5000, n = 12, 10 a row", sparse_line(60), sparse_line(5000));
    timed(c, "tree of 1000 stages, K = 16", tree(20, 5), tree(1000, 16));
}

criterion_group! {
    name = solving;
    config = Criterion::default().sample_size(10);
    targets = benches
}
criterion_main!(solving);
