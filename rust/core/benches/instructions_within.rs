//! The same requests where every report says how many seconds are left, by a policy that knows time or by one that does
//! not. A program of its own, so that what the compiler makes of `instructions` is not changed by it.
//!
//! Usage: `instructions_within timed|timeless SECONDS`
#![expect(clippy::unwrap_used, reason = "a bench may stop on a broken set-up")]

mod workload;

use ttamer::Circumstances;
use ttamer::Policy;
use workload::{STAGES, data, policy, request_within, timed_policy};

/// Seconds that each stage takes.
const EACH: f64 = 1.0;

/// The only function whose instructions are collected; summed answers, and how many stages have run.
#[inline(never)]
fn answer_requests(policy: &Policy, signal: &[f64], prediction: &[i64], left: f64) -> (usize, usize) {
    let rows = signal.chunks_exact(STAGES).zip(prediction.chunks_exact(STAGES));
    rows.map(|(signal, prediction)| request_within(policy, signal, prediction, left, EACH))
        .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}

fn main() {
    let (signal, loss, prediction) = data();
    let [_, kind, seconds] = std::env::args().collect::<Vec<_>>().try_into().unwrap();
    let left = seconds.parse().unwrap();
    let fit = if kind == "timed" { timed_policy } else { policy };
    let policy = fit(&signal, &loss, &prediction);
    let (answers, ran) = answer_requests(&policy, &signal, &prediction, left);
    let latency = vec![EACH; signal.len()];
    let replay = policy
        .replay_in(&signal, Some(&prediction), &Circumstances { latency: Some(&latency), deadline: left, cost: None })
        .unwrap();
    let expected: usize = replay.answer.iter().map(|answer| *answer as usize).sum();
    assert!(answers == expected && !replay.late.contains(&true), "run and replay differ");
    println!("{ran}");
}
