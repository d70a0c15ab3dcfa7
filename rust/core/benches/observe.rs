//! The online path on a fitted 6-stage policy: one observation, a whole request, a batch, a replay.
#![expect(clippy::unwrap_used, reason = "a bench may stop on a broken set-up")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ttamer::Batch;
use ttamer::Given;

mod workload;

use workload::{ROWS, STAGES, data, policy, request};

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
