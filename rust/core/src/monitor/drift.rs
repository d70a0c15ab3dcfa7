//! A monitor: what is watched, of which reference, and how much evidence against it there is.

use std::sync::Arc;

use super::bets::Books;
use super::capital::{Capital, Draws};
use super::cuts::{Cuts, Ranked};
use super::report::{Alarm, Component, Direction};
use super::request::{Reading, Said, Walker};
use super::watched::Watched;
use crate::error::{Error, Result};
use crate::policy::Policy;
use crate::rules::{NO_PREDICTION, Observation};
use crate::trace::Trace;

/// Reference values below which a quantity is not watched.
pub const FEWEST: usize = 16;
/// Ties in the reference are broken by words that no request of the stream gets.
const REFERENCE: u64 = 0x5E_ED0F_A11E;
/// Share of alpha that is spent on the difficulty; the others have the rest, in equal parts.
const OF_DIFFICULTY: f64 = 0.5;
/// No such quantity.
const NONE: u32 = u32::MAX;

/// One quantity of one stage.
#[derive(Clone, Debug)]
pub(super) struct Quantity {
    pub(super) stage: usize,
    pub(super) watched: Watched,
    pub(super) key: u64,
    pub(super) cuts: Cuts,
    pub(super) reference: Sums,
    pub(super) stream: Sums,
    pub(super) capital: Capital,
}

/// Values that were there, and the finite ones among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sums {
    pub(super) rows: u64,
    pub(super) finite: u64,
    pub(super) total: f64,
}

impl Sums {
    #[inline]
    fn add(&mut self, value: f64) {
        self.rows += 1;
        if value.is_finite() {
            self.finite += 1;
            self.total += value;
        }
    }

    /// Of the finite values; NaN if there is none, or their sum is none.
    fn mean(&self) -> f64 {
        let mean = self.total / self.finite as f64;
        if mean.is_finite() { mean } else { f64::NAN }
    }
}

/// Compares the requests that a policy serves with those of a reference trace, one by one.
///
/// While the requests served are exchangeable with the reference, the probability that there is ever an alarm is at most
/// `alpha`. The state does not grow.
#[derive(Clone, Debug)]
pub struct Drift {
    pub(super) policy: Arc<Policy>,
    pub(super) alpha: f64,
    pub(super) seed: u64,
    pub(super) quantities: Vec<Quantity>,
    pub(super) requests: u64,
    pub(super) alarm: Option<Alarm>,
    /// Where the quantities of each stage are, or [`NONE`].
    at: Vec<[u32; Watched::ALL.len()]>,
    walker: Walker,
    pub(super) books: Books,
}

impl Drift {
    /// With the requests of `trace`, on which the policy must not have been fitted, as the reference. O(n k log n).
    ///
    /// # Errors
    /// [`Error::Invalid`] for another number of stages, fewer than [`FEWEST`] rows, or an `alpha` that is not between 0
    /// and 1.
    pub fn fit(policy: Arc<Policy>, trace: &Trace, alpha: f64, seed: u64) -> Result<Self> {
        let k = policy.stages().len();
        if trace.stages() != k {
            let given = trace.stages();
            return Err(Error::invalid(format!("`trace` must have the {k} stages of the policy, got {given}")));
        }
        if trace.rows() < FEWEST {
            return Err(Error::invalid(format!("`trace` must have at least {FEWEST} rows, got {}", trace.rows())));
        }
        if !(alpha > 0.0 && alpha < 1.0) {
            return Err(Error::invalid(format!("`alpha` must be above 0 and below 1, got {alpha}")));
        }
        let mut read = Reference::new(k, seed ^ REFERENCE);
        let mut walker = Walker::new(&policy);
        let mut said = Vec::with_capacity(k);
        for row in 0..trace.rows() {
            let answer = follow(&policy, trace, row, &mut said);
            walker.read(&policy, &said, answer, |reading| read.take(reading, row as u64));
        }
        let mut drift = Self::empty(policy, alpha, seed);
        drift.quantities = read.finish(drift.seed, &drift.books);
        drift.index();
        drift.reset();
        Ok(drift)
    }

    /// A monitor that watches nothing yet.
    pub(super) fn empty(policy: Arc<Policy>, alpha: f64, seed: u64) -> Self {
        Self {
            walker: Walker::new(&policy),
            at: vec![[NONE; Watched::ALL.len()]; policy.stages().len()],
            policy,
            alpha,
            seed,
            quantities: Vec::new(),
            requests: 0,
            alarm: None,
            books: Books::new(),
        }
    }

    /// Notes where each quantity is.
    pub(super) fn index(&mut self) {
        for (number, quantity) in self.quantities.iter().enumerate() {
            if let Some(cell) = self.at.get_mut(quantity.stage).and_then(|row| row.get_mut(quantity.watched as usize)) {
                *cell = number as u32;
            }
        }
    }

    /// The stage that is run first.
    pub(super) fn entry(&self) -> Option<usize> {
        self.walker.entry()
    }

    /// Logarithm of the capital at which a quantity alarms: the shares of alpha sum to alpha.
    pub(super) fn limit(&self, watched: Watched) -> f64 {
        let others = self.quantities.iter().filter(|quantity| quantity.watched != Watched::Difficulty).count() as f64;
        let is_watched = (others as usize) < self.quantities.len();
        let share = match (watched == Watched::Difficulty, is_watched) {
            (true, _) if others == 0.0 => 1.0,
            (true, _) => OF_DIFFICULTY,
            (false, true) => (1.0 - OF_DIFFICULTY) / others,
            (false, false) => 1.0 / others,
        };
        -(share * self.alpha).ln()
    }

    /// Forgets the stream and lowers the alarm; the reference stays.
    pub fn reset(&mut self) {
        let limits: Vec<f64> = self.quantities.iter().map(|quantity| self.limit(quantity.watched)).collect();
        let Self { quantities, books, .. } = self;
        for (quantity, limit) in quantities.iter_mut().zip(limits) {
            let book = books.of(quantity.watched);
            quantity.stream = Sums::default();
            quantity.capital = Capital::new(Draws::new(&quantity.cuts.gap, book), book, limit);
        }
        self.requests = 0;
        self.alarm = None;
    }

    /// Takes in one finished request: what the stages that were run said, ascending by stage, each in range and there
    /// once; and whose answer was returned. Whether there has been an alarm. O(k).
    pub fn observe(&mut self, said: &[Said], answer: Option<usize>) -> bool {
        let Self { policy, quantities, requests, alarm, at, walker, books, .. } = self;
        let mut reached = NONE;
        walker.read(policy, said, answer, |reading| {
            let number = at.get(reading.stage).and_then(|row| row.get(reading.watched as usize));
            let Some((number, quantity)) = number.and_then(|n| Some((*n, quantities.get_mut(*n as usize)?))) else {
                return;
            };
            quantity.stream.add(reading.shown);
            let cell = quantity.cuts.cell(reading.ranked(quantity.key, *requests));
            if quantity.capital.draw(cell, books.of(reading.watched), *requests) && reached == NONE {
                reached = number;
            }
        });
        *requests += 1;
        if alarm.is_none()
            && let Some(quantity) = quantities.get(reached as usize)
        {
            *alarm = Some(Alarm {
                component: reached,
                at: *requests,
                since: quantity.capital.since(),
                direction: Direction::of(quantity.capital.shift(&quantity.cuts.gap)),
            });
        }
        alarm.is_some()
    }

    /// The policy that is watched.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// The false-alarm rate.
    pub fn alpha(&self) -> f64 {
        self.alpha
    }

    /// Requests that have been taken in.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// The alarm, if there has been one.
    pub fn alarm(&self) -> Option<Alarm> {
        self.alarm
    }

    /// Every watched quantity, by stage.
    pub fn components(&self) -> Vec<Component> {
        let of = |quantity: &Quantity| Component {
            stage: quantity.stage,
            watched: quantity.watched,
            log_evidence: quantity.capital.peak() - quantity.capital.limit(),
            reference_rows: quantity.reference.rows,
            rows: quantity.stream.rows,
            reference_mean: quantity.reference.mean(),
            mean: quantity.stream.mean(),
            direction: Direction::of(quantity.capital.shift(&quantity.cuts.gap)),
            since: quantity.capital.since(),
        };
        self.quantities.iter().map(of).collect()
    }
}

/// What the policy would have heard in a row of a trace; returns whose answer it would have returned.
fn follow(policy: &Policy, trace: &Trace, row: usize, said: &mut Vec<Said>) -> Option<usize> {
    said.clear();
    let mut run = policy.start();
    while let Some(stage) = run.next() {
        let prediction = trace.prediction(stage).map_or(NO_PREDICTION, |said| said[row]);
        let observation = Observation::new(trace.signal(stage)[row], prediction);
        said.push(Said { stage, observation });
        if run.observe(observation.signal, Some(prediction)).is_err() {
            break;
        }
    }
    said.sort_unstable_by_key(|said| said.stage);
    run.answer()
}

/// Values of a reference.
struct Reference {
    seed: u64,
    values: Vec<[(Vec<Ranked>, Sums); Watched::ALL.len()]>,
}

impl Reference {
    fn new(stages: usize, seed: u64) -> Self {
        Self { seed, values: (0..stages).map(|_| Default::default()).collect() }
    }

    fn take(&mut self, reading: Reading, row: u64) {
        if let Some((values, sums)) = self.values.get_mut(reading.stage).map(|row| &mut row[reading.watched as usize]) {
            values.push(reading.ranked(reading.watched.key(reading.stage, self.seed), row));
            sums.add(reading.shown);
        }
    }

    /// The quantities with enough values, by stage.
    fn finish(self, seed: u64, books: &Books) -> Vec<Quantity> {
        let mut quantities = Vec::new();
        for (stage, of_stage) in self.values.into_iter().enumerate() {
            for (watched, (values, reference)) in Watched::ALL.into_iter().zip(of_stage) {
                if values.len() >= FEWEST
                    && let Some(cuts) = Cuts::of(values)
                {
                    // The limit comes with `reset`, when all quantities are known.
                    let book = books.of(watched);
                    let capital = Capital::new(Draws::new(&cuts.gap, book), book, 0.0);
                    let (key, stream) = (watched.key(stage, seed), Sums::default());
                    quantities.push(Quantity { stage, watched, key, cuts, reference, stream, capital });
                }
            }
        }
        quantities
    }
}
