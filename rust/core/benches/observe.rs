//! The online path on a fitted 6-stage policy: one observation, a whole request, a batch, a replay.
//!
//! Requests come in random order, so that where each of them ends is not predicted; then in the order of where they end,
//! which a processor predicts; then each under another of 3,000 policies, whose memory no cache holds; last, with caches
//! that have just been emptied.
#![expect(clippy::unwrap_used, reason = "a bench may stop on a broken set-up")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ttamer::{Batch, Given, Policy};

mod workload;

use workload::{ROWS, STAGES, data, policy, request};

/// Policies that take turns.
const POLICIES: usize = 3000;
/// Numbers that no cache holds together with anything else.
const EVICTING: usize = 1 << 23;

fn online(c: &mut Criterion) {
    let (signal, loss, prediction) = data();
    let policy = Arc::new(policy(&signal, &loss, &prediction));
    let replay = policy.replay(&signal, Some(&prediction)).unwrap();
    let rows = || signal.chunks_exact(STAGES).zip(prediction.chunks_exact(STAGES));
    for ((signal, prediction), answer) in rows().zip(&replay.answer) {
        assert_eq!(request(&policy, signal, prediction), *answer as usize, "run and replay differ");
    }
    let observed = replay.consulted.iter().filter(|ran| **ran).count() as u64;

    let mut group = c.benchmark_group("online");
    group.throughput(Throughput::Elements(observed));
    group.bench_function("observe, start included", |b| {
        b.iter(|| rows().map(|(signal, prediction)| request(&policy, black_box(signal), prediction)).sum::<usize>());
    });
    group.bench_function("observe, run reused", |b| {
        let mut run = policy.start();
        b.iter(|| {
            let answers = rows().map(|(signal, prediction)| {
                run.restart(Given::NOTHING);
                while let Some(stage) = run.next() {
                    run.observe(black_box(signal)[stage], Some(prediction[stage])).unwrap();
                }
                run.answer().unwrap()
            });
            answers.sum::<usize>()
        });
    });
    let mut order: Vec<usize> = (0..ROWS).collect();
    order.sort_by_key(|row| (replay.last[*row], replay.answer[*row]));
    let row = |row: usize| (&signal[row * STAGES..][..STAGES], &prediction[row * STAGES..][..STAGES]);
    group.bench_function("observe, outcomes predictable", |b| {
        b.iter(|| {
            let requests = order.iter().map(|at| row(*at));
            requests.map(|(signal, prediction)| request(&policy, black_box(signal), prediction)).sum::<usize>()
        });
    });
    let bytes = policy.to_bytes().unwrap();
    let policies: Vec<Policy> = (0..POLICIES).map(|_| Policy::from_bytes(&bytes).unwrap()).collect();
    group.bench_function("observe, 3,000 policies in turn", |b| {
        b.iter(|| {
            // A step that is prime to their number goes through all of them, far apart.
            let turns = (0..ROWS).map(|at| &policies[at * 1_013 % POLICIES]);
            let requests = turns.zip(rows());
            requests.map(|(policy, (signal, prediction))| request(policy, black_box(signal), prediction)).sum::<usize>()
        });
    });
    let mut evicting = vec![0_u64; EVICTING];
    group.sample_size(10);
    group.throughput(Throughput::Elements(1));
    group.bench_function("request, caches cold, with the clock", |b| {
        b.iter_custom(|requests| {
            let mut spent = Duration::ZERO;
            for at in 0..requests as usize {
                for number in &mut evicting {
                    *number += 1;
                }
                let (signal, prediction) = row(at % ROWS);
                black_box((signal.iter().sum::<f64>(), prediction.iter().sum::<i64>()));
                let begun = Instant::now();
                black_box(request(&policy, black_box(signal), prediction));
                spent += begun.elapsed();
            }
            spent
        });
    });
    group.sample_size(100);
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("replay, per request", |b| b.iter(|| policy.replay(&signal, Some(&prediction)).unwrap()));
    let first: Vec<f64> = signal.iter().step_by(STAGES).copied().collect();
    let first_label: Vec<i64> = prediction.iter().step_by(STAGES).copied().collect();
    group.bench_function("batch, first observation, per request", |b| {
        b.iter(|| {
            let mut batch = Batch::new(Arc::clone(&policy), ROWS).unwrap();
            let rows = batch.rows(0).unwrap();
            batch.observe(0, &first, Some(&first_label)).unwrap();
            (batch, rows)
        });
    });
    group.finish();
}

criterion_group!(benches, online);
criterion_main!(benches);
