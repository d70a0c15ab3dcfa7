//! The requests of the `observe` bench once, for counting instructions under callgrind:
//! `benches/instructions.py` runs it and holds the count against the recorded budget.
//!
//! usage: instructions [SECONDS]: of a policy that knows time, told that so many seconds are left at the start.
#![expect(clippy::unwrap_used, reason = "a bench may stop on a broken set-up")]

mod workload;

use ttamer::Policy;
use workload::{STAGES, data, policy, request, request_within, timed_policy};

/// Seconds that each stage takes.
const EACH: f64 = 1.0;

/// The only function whose instructions are collected.
#[inline(never)]
fn answer_requests(policy: &Policy, signal: &[f64], prediction: &[i64]) -> usize {
    let rows = signal.chunks_exact(STAGES).zip(prediction.chunks_exact(STAGES));
    rows.map(|(signal, prediction)| request(policy, signal, prediction)).sum()
}

/// The same of requests with a deadline; summed answers, and how many stages have run.
#[inline(never)]
fn answer_requests_within(policy: &Policy, signal: &[f64], prediction: &[i64], left: f64) -> (usize, usize) {
    let rows = signal.chunks_exact(STAGES).zip(prediction.chunks_exact(STAGES));
    rows.map(|(signal, prediction)| request_within(policy, signal, prediction, left, EACH))
        .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}

fn main() {
    let (signal, loss, prediction) = data();
    if let Some(left) = std::env::args().nth(1).and_then(|seconds| seconds.parse().ok()) {
        let policy = timed_policy(&signal, &loss, &prediction);
        let (answers, ran) = answer_requests_within(&policy, &signal, &prediction, left);
        let latency = vec![EACH; signal.len()];
        let replay = policy.replay_within(&signal, Some(&prediction), &latency, left).unwrap();
        let expected: usize = replay.answer.iter().map(|answer| *answer as usize).sum();
        assert!(answers == expected && !replay.late.contains(&true), "run and replay differ");
        println!("{ran}");
        return;
    }
    let policy = policy(&signal, &loss, &prediction);
    let replay = policy.replay(&signal, Some(&prediction)).unwrap();
    let expected: usize = replay.answer.iter().map(|answer| *answer as usize).sum();
    assert_eq!(answer_requests(&policy, &signal, &prediction), expected, "run and replay differ");
    println!("{}", replay.consulted.iter().filter(|ran| **ran).count());
}
