//! A small recorded trace, and policies learned from a trace.
#![allow(clippy::unwrap_used, dead_code, reason = "tests")]

use ttamer::learn::{Approach, Learner, Method, Recall, Tuning};
use ttamer::{Policy, Trace};

/// Stages of the trace.
pub const STAGES: usize = 3;

/// Signals, losses and predictions (n, k), row by row: stages get better, and each is right as often as it is sure.
pub fn data(rows: usize) -> (Vec<f64>, Vec<f64>, Vec<i64>) {
    let golden = |at: usize, step: f64| (at as f64 * step).fract();
    let signal: Vec<f64> = (0..rows * STAGES).map(|at| golden(at + 1, 0.618_033_988_749_895)).collect();
    let wrong = |at: usize| golden(at + 7, 0.414_213_562_373_095) > signal[at].powf(1.0 / (at % STAGES + 1) as f64);
    let loss = (0..rows * STAGES).map(|at| f64::from(u8::from(wrong(at)))).collect();
    let prediction = (0..rows * STAGES).map(|at| if wrong(at) { (at % 5) as i64 } else { 9 }).collect();
    (signal, loss, prediction)
}

/// The policy of one method for one trade-off.
pub fn of_method(trace: &Trace, method: Method, tradeoff: f64) -> Policy {
    let approach = Approach { method, ..Approach::default() };
    Learner::new(trace.clone(), &approach, Tuning::default()).unwrap().policy(tradeoff, Recall::Always, vec![]).unwrap()
}
