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

    fn turn(&mut self) -> Turn {
        match self.byte() {
            0..=127 => Turn::Observe,
            128..=191 => Turn::Fail,
            192..=247 => Turn::Bar,
            _ => Turn::Stop,
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

/// What becomes of a stage that a request waits for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Turn {
    Observe,
    Fail,
    Bar,
    Stop,
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
    let turns: Vec<Turn> = (0..ROWS * k).map(|_| dice.turn()).collect();
    decide_with_turns(&policy, &signal, &prediction, &turns);
}

/// The same where some stages fail, are barred, or are under way when a request is stopped: alone and in a batch.
fn decide_with_turns(policy: &Arc<Policy>, signal: &[f64], prediction: &[i64], turns: &[Turn]) {
    let k = policy.stages().len();
    let mut batch = Batch::new(Arc::clone(policy), ROWS).expect("few requests");
    while let Some((stage, rows)) = batch.pending() {
        let taking = |turn: Turn| {
            rows.iter().copied().filter(|row| turns[*row as usize * k + stage] == turn).collect::<Vec<i64>>()
        };
        batch.fail(stage, &taking(Turn::Fail)).expect("waiting requests");
        batch.stop(Some(&taking(Turn::Stop))).expect("requests");
        batch.bar(stage, &taking(Turn::Bar)).expect("waiting requests");
        let at: Vec<usize> = taking(Turn::Observe).into_iter().map(|row| row as usize * k + stage).collect();
        let signal: Vec<f64> = at.iter().map(|at| signal[*at]).collect();
        let said: Vec<i64> = at.iter().map(|at| prediction[*at]).collect();
        batch.observe(stage, &signal, Some(&said)).expect("one report per waiting request");
    }
    let (answer, cost, loss) = (batch.answer(), bits(&batch.cost()), bits(&batch.expected_loss()));
    for row in 0..ROWS {
        let mut run = policy.start();
        let (mut asked, mut reported) = (vec![false; k], vec![false; k]);
        while let Some(stage) = run.next() {
            assert!(!std::mem::replace(&mut asked[stage], true), "stage {stage} is asked twice");
            let held = (run.answer(), run.cost(), run.expected_loss().to_bits());
            let turn = turns[row * k + stage];
            match turn {
                Turn::Observe => {
                    let said = prediction[row * k + stage];
                    reported[stage] = true;
                    run.observe(signal[row * k + stage], (said != NO_PREDICTION).then_some(said)).map(drop)
                }
                Turn::Fail => run.fail().map(drop),
                Turn::Bar => run.bar().map(drop),
                Turn::Stop => {
                    run.stop();
                    assert_eq!(run.next(), None);
                    Ok(())
                }
            }
            .expect("a waiting run");
            if turn != Turn::Observe {
                assert_eq!(run.answer(), held.0, "what is in hand changes");
                // What no answer loses may differ between the components of a mixture, of which the first report tells.
                assert!(held.0.is_none() || run.expected_loss().to_bits() == held.2, "what is expected changes");
            }
            if turn == Turn::Bar {
                assert_eq!(run.cost().to_bits(), held.1.to_bits(), "a stage that was barred is paid for");
            }
            assert!(run.cost() >= held.1 && run.cost().is_finite(), "a cost of {}", run.cost());
            assert!(run.answer().is_none_or(|answer| reported[answer]), "an answer that nobody gave");
        }
        assert_eq!(run.answer().map_or(-1, |answer| answer as i32), answer[row]);
        assert_eq!((run.cost().to_bits(), run.expected_loss().to_bits()), (cost[row], loss[row]));
    }
}

fn bits(numbers: &[f64]) -> Vec<u64> {
    numbers.iter().map(|number| number.to_bits()).collect()
}
