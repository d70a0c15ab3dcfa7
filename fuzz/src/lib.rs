//! What both fuzz targets need: policy files around a body, requests from bytes, and what must hold of every decision.

pub mod allocations;
pub mod mutate;

use std::sync::Arc;

use sha2::{Digest, Sha256};
use ttamer::rules::NO_PREDICTION;
use ttamer::{Batch, Policy};

/// Requests that one input makes.
pub const ROWS: usize = 4;

const SIGNALS: [f64; 16] = [
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    0.0,
    -0.0,
    5e-324,
    -2.2e-308,
    f64::MAX,
    f64::MIN,
    0.5,
    1.0,
    2.0,
    3.0,
    0.25,
    0.999,
    -1.0,
];

/// A policy file with this body: the header and the checksum that belong to it.
pub fn file(body: &[u8]) -> Vec<u8> {
    let mut bytes = b"TTAMER\r\n".to_vec();
    bytes.extend(ttamer::SCHEMA.to_le_bytes());
    bytes.extend((body.len() as u64).to_le_bytes());
    bytes.extend(body);
    let checksum = Sha256::digest(&bytes);
    bytes.extend(checksum);
    bytes
}

/// Bytes that say what is reported; zeros after the end.
pub struct Dice<'a>(pub &'a [u8]);

impl Dice<'_> {
    pub fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn word(&mut self) -> u64 {
        (0..8).fold(0, |word, _| word << 8 | u64::from(self.byte()))
    }

    /// A signal that deserves a thought, one between 0 and 1, or any bit pattern.
    fn signal(&mut self) -> f64 {
        match self.byte() {
            byte @ 0..=127 => f64::from(byte) / 127.0,
            byte @ 128..=223 => SIGNALS[usize::from(byte) % SIGNALS.len()],
            _ => f64::from_bits(self.word()),
        }
    }

    fn prediction(&mut self) -> i64 {
        match self.byte() {
            byte @ 0..=199 => i64::from(byte % 5) - 1,
            200..=223 => NO_PREDICTION,
            _ => self.word().cast_signed(),
        }
    }
}

/// Decides requests alone, in a batch and as a replay, and panics where they differ or are not what every policy
/// promises.
pub fn decide(policy: Policy, dice: &mut Dice) {
    let k = policy.stages().len();
    let signal: Vec<f64> = (0..ROWS * k).map(|_| dice.signal()).collect();
    let prediction: Vec<i64> = (0..ROWS * k).map(|_| dice.prediction()).collect();
    let policy = Arc::new(policy);
    let replay = policy.replay(&signal, Some(&prediction)).expect("the shapes fit");
    let mut batch = Batch::new(Arc::clone(&policy), ROWS).expect("few requests");
    while let Some(stage) = batch.next().into_iter().find_map(|next| usize::try_from(next).ok()) {
        let rows: Vec<usize> =
            batch.rows(stage).expect("a stage").into_iter().map(|row| row as usize * k + stage).collect();
        let column = |of: &[f64]| rows.iter().map(|at| of[*at]).collect::<Vec<_>>();
        let said: Vec<i64> = rows.iter().map(|at| prediction[*at]).collect();
        batch.observe(stage, &column(&signal), Some(&said)).expect("one report per waiting request");
    }
    assert_eq!(batch.answer(), replay.answer);
    assert_eq!(bits(&batch.cost()), bits(&replay.cost));
    for row in 0..ROWS {
        let mut run = policy.start();
        let mut ran = vec![false; k];
        while let Some(stage) = run.next() {
            assert!(!std::mem::replace(&mut ran[stage], true), "stage {stage} is asked twice");
            let said = prediction[row * k + stage];
            run.observe(signal[row * k + stage], (said != NO_PREDICTION).then_some(said)).expect("a waiting run");
            assert!(!run.expected_loss().is_nan(), "the expected loss is not a number");
            assert!(run.answer().is_none_or(|answer| ran[answer]), "an answer that nobody gave");
        }
        assert!(run.cost() >= 0.0 && run.cost().is_finite(), "a cost of {}", run.cost());
        assert_eq!(run.answer().map_or(-1, |answer| answer as i32), replay.answer[row]);
        assert_eq!(run.cost().to_bits(), replay.cost[row].to_bits());
        assert_eq!(ran, replay.consulted[row * k..(row + 1) * k]);
    }
}

fn bits(numbers: &[f64]) -> Vec<u64> {
    numbers.iter().map(|number| number.to_bits()).collect()
}
