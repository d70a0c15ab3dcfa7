//! The requests of the `observe` bench once, for counting instructions under callgrind:
//! `benches/instructions.py` runs it and holds the count against the recorded budget.
#![expect(clippy::unwrap_used, reason = "a bench may stop on a broken set-up")]

mod workload;

use ttamer::Policy;
use workload::{STAGES, data, policy, request};

/// The only function whose instructions are collected.
#[inline(never)]
fn answer_requests(policy: &Policy, signal: &[f64], label: &[i64]) -> usize {
    let rows = signal.chunks_exact(STAGES).zip(label.chunks_exact(STAGES));
    rows.map(|(signal, label)| request(policy, signal, label)).sum()
}

fn main() {
    let (signal, loss, label) = data();
    let policy = policy(&signal, &loss, &label);
    let replay = policy.replay(&signal, Some(&label)).unwrap();
    let expected: usize = replay.answer.iter().map(|answer| *answer as usize).sum();
    assert_eq!(answer_requests(&policy, &signal, &label), expected, "run and replay differ");
    println!("{}", replay.consulted.iter().filter(|ran| **ran).count());
}
