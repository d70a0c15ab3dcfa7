//! The requests of the `observe` bench once, for counting instructions under callgrind:
//! `benches/instructions.py` runs it and holds the count against the recorded budget.
#![expect(clippy::unwrap_used, reason = "a bench may stop on a broken set-up")]

mod workload;

use ttamer::Policy;
use workload::{STAGES, data, policy, request};

/// The only function whose instructions are collected.
#[inline(never)]
fn answer_requests(policy: &Policy, signal: &[f64], prediction: &[i64]) -> usize {
    let rows = signal.chunks_exact(STAGES).zip(prediction.chunks_exact(STAGES));
    rows.map(|(signal, prediction)| request(policy, signal, prediction)).sum()
}

fn main() {
    let (signal, loss, prediction) = data();
    let policy = policy(&signal, &loss, &prediction);
    let replay = policy.replay(&signal, Some(&prediction)).unwrap();
    let expected: usize = replay.answer.iter().map(|answer| *answer as usize).sum();
    assert_eq!(answer_requests(&policy, &signal, &prediction), expected, "run and replay differ");
    println!("{}", replay.consulted.iter().filter(|ran| **ran).count());
}
