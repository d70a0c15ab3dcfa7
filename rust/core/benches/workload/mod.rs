//! A fitted 6-stage policy and the requests it is measured on; the same in every bench.

#![allow(dead_code, reason = "each bench uses some of it")]

use ttamer::Policy;
use ttamer::learn::{Approach, FitOptions, Goal, Recall, Shape, fit};
use ttamer::rules::{Given, Observation};
use ttamer::{Kind, Table, Trace};

/// Stages of the cascade.
pub const STAGES: usize = 6;
/// Requests.
pub const ROWS: usize = 20_000;

/// Deterministic noise in [0, 1).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.next()).sum::<f64>() - 6.0
    }
}

/// Requests of varying difficulty at six stages that get better; prediction 1 where the stage is right.
pub fn data() -> (Vec<f64>, Vec<f64>, Vec<i64>) {
    let mut noise = Noise(7);
    let (mut signal, mut loss, mut prediction) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROWS {
        let easy = noise.normal();
        for stage in 0..STAGES {
            let s = 1.0 / (1.0 + (-(easy + noise.normal() + 0.3 * stage as f64)).exp());
            let right = noise.next() < s;
            signal.push(s);
            loss.push(if right { 0.0 } else { 1.0 });
            prediction.push(i64::from(right));
        }
    }
    (signal, loss, prediction)
}

/// The default fit of that trace as a line.
pub fn policy(signal: &[f64], loss: &[f64], prediction: &[i64]) -> Policy {
    fitted(signal, loss, prediction, false)
}

/// The same where the time that is left is part of the decision: stages take 0.5 to 1.5 seconds.
pub fn timed_policy(signal: &[f64], loss: &[f64], prediction: &[i64]) -> Policy {
    fitted(signal, loss, prediction, true)
}

fn fitted(signal: &[f64], loss: &[f64], prediction: &[i64], deadline: bool) -> Policy {
    let cost: Vec<f64> = (0..STAGES).map(|v| 1.0 + 0.4 * v as f64).collect();
    let mut noise = Noise(11);
    let seconds: Vec<f64> = signal.iter().map(|_| 0.5 + noise.next()).collect();
    let latency = Table::from_fn(signal.len() / STAGES, STAGES, |row, stage| seconds[row * STAGES + stage]);
    let trace = Trace::from_rows(signal, loss, Some(prediction), &cost, Kind::Exits).unwrap().timed(latency).unwrap();
    let approach = Approach { shape: Shape::Line, deadline, ..Approach::default() };
    fit(&trace, Goal::Tradeoff(0.97), &FitOptions { approach, recall: Recall::Always, ..FitOptions::default() })
        .unwrap()
}

/// One request from start to answer.
pub fn request(policy: &Policy, signal: &[f64], prediction: &[i64]) -> usize {
    let mut run = policy.start();
    while let Some(stage) = run.next() {
        run.observe(signal[stage], Some(prediction[stage])).unwrap();
    }
    run.answer().unwrap()
}

/// The same with so many seconds left at the start, and `each` fewer with every report: the answer, and how many stages
/// have run.
pub fn request_within(policy: &Policy, signal: &[f64], prediction: &[i64], mut left: f64, each: f64) -> (usize, usize) {
    let (mut run, mut ran) = (policy.start_given(Given::within(left)), 0);
    while let Some(stage) = run.next() {
        left -= each;
        ran += 1;
        run.report(Observation::new(signal[stage], prediction[stage]).within(left)).unwrap();
    }
    (run.answer().unwrap(), ran)
}
