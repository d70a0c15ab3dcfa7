//! How long decisions take.

use std::hint::black_box;
use std::time::Instant;

/// Nanoseconds per observation of one pass.
pub fn observe_ns(policy: &ttamer::Policy, signal: &[f64], prediction: &[i64]) -> f64 {
    let k = policy.stages().len();
    let mut observed = 0_u64;
    let started = Instant::now();
    for (signal, prediction) in signal.chunks_exact(k).zip(prediction.chunks_exact(k)) {
        let mut run = policy.start();
        while let Some(stage) = run.next() {
            observed += 1;
            if run.observe(black_box(signal[stage]), Some(prediction[stage])).is_err() {
                break;
            }
        }
        black_box(run.answer());
    }
    started.elapsed().as_nanos() as f64 / observed.max(1) as f64
}
