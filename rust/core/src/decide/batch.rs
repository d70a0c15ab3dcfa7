//! Many requests in step: who waits for which stage, and what their reports decide.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::failure::Failures;
use crate::error::{Error, Result};
use crate::parallel;
use crate::plan::{NO_STAGE, signed, stage_number};
use crate::policy::Policy;
use crate::price::Price;
use crate::rules::{Observations, Progress, Rule, Visitor};

/// Requests that one task works on; below this a batch is decided on the calling thread.
const CHUNK: usize = 16_384;

/// Up to this many stages, counting each in a pass of its own is faster than one pass with a table.
const FEW_STAGES: usize = 16;

/// Requests that a batch may have.
pub const MAX_REQUESTS: usize = i32::MAX as usize;

/// `n` requests under one policy.
#[derive(Debug)]
pub struct Batch {
    policy: Arc<Policy>,
    /// The stage each request waits for.
    next: Vec<u16>,
    /// How many wait for each stage.
    waiting: Vec<usize>,
    known: Known,
}

/// What is known of the requests.
#[derive(Debug)]
enum Known {
    /// No stage has reported.
    Nothing,
    /// The entry stage has reported, which each request has in hand: states are made when a second stage reports.
    First(First),
    /// Each request that is followed, in ascending order. The others ended with the entry stage's report.
    States {
        /// Their numbers, and what the entry stage said of all requests; none where all are followed.
        rows: Option<(Vec<usize>, First)>,
        /// How far each has come.
        progress: Vec<Progress>,
        /// What each remembers: a vector of the rule's own memories.
        memory: Box<dyn Any + Send + Sync>,
        /// Of those that a stage gave nothing, by their place among the followed.
        failures: BTreeMap<usize, Failures>,
    },
}

/// What the entry stage said, of each request.
#[derive(Debug)]
struct First {
    signal: Vec<f64>,
    prediction: Option<Vec<i64>>,
}

/// What becomes of a request that its stage does not report to.
#[derive(Clone, Copy, Debug)]
enum Turn {
    /// The stage gave nothing.
    Fail,
    /// The stage cannot be tried.
    Bar,
    /// The request ends.
    Stop,
}

impl First {
    fn new(said: Observations) -> Self {
        Self { signal: said.signal.to_vec(), prediction: said.prediction.map(<[i64]>::to_vec) }
    }

    fn said(&self) -> Observations<'_> {
        Observations::new(&self.signal, self.prediction.as_deref())
    }

    /// The state of a request after that.
    fn state<R: Rule>(&self, rule: &R, price: &Price, row: usize) -> (Progress, R::Memory) {
        let (mut progress, mut memory) = rule.begin();
        rule.observe(&mut progress, &mut memory, self.said().at(row), price);
        (progress, memory)
    }
}

impl Batch {
    /// `n` new requests.
    ///
    /// # Errors
    /// [`Error::Invalid`] for more than [`MAX_REQUESTS`], or than there is memory for.
    pub fn new(policy: Arc<Policy>, n: usize) -> Result<Self> {
        let first = policy.begin().progress().next;
        let mut next = Vec::new();
        if n > MAX_REQUESTS || next.try_reserve_exact(n).is_err() {
            return Err(Error::invalid(format!("`n` must be at most {MAX_REQUESTS}, and fit in memory, got {n}")));
        }
        next.resize(n, first);
        let mut waiting = vec![0; policy.stages().len()];
        if let Some(count) = stage_number(first).and_then(|stage| waiting.get_mut(stage)) {
            *count = n;
        }
        Ok(Self { next, waiting, known: Known::Nothing, policy })
    }

    /// Number of requests.
    pub fn len(&self) -> usize {
        self.next.len()
    }

    /// Whether there are no requests.
    pub fn is_empty(&self) -> bool {
        self.next.is_empty()
    }

    /// The policy.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// The stage each request waits for, −1 once decided (n,).
    pub fn next(&self) -> Vec<i32> {
        self.next.iter().map(|stage| signed(*stage)).collect()
    }

    /// The stage that one request waits for; none once it is decided, or where there is no such request.
    pub fn stage_of(&self, row: usize) -> Option<usize> {
        self.next.get(row).and_then(|stage| stage_number(*stage))
    }

    /// The stage whose answer each request has in hand, −1 while none (n,).
    pub fn answer(&self) -> Vec<i32> {
        self.map(|progress| signed(progress.answer))
    }

    /// What each request has cost so far, in the unit of the trace (n,).
    pub fn cost(&self) -> Vec<f64> {
        self.map(|progress| progress.cost)
    }

    /// Expected loss of the answer each request has in hand, in the unit of the losses, infinite while none (n,).
    pub fn expected_loss(&self) -> Vec<f64> {
        self.policy.rule().visit(Losses { batch: self, price: self.policy.price() })
    }

    fn map<T: Clone>(&self, of: impl Fn(&Progress) -> T) -> Vec<T> {
        let begin = *self.policy.begin().progress();
        match &self.known {
            Known::Nothing => vec![of(&begin); self.len()],
            Known::First(_) => vec![of(&entered(begin, self.policy.price())); self.len()],
            Known::States { rows: None, progress, .. } => progress.iter().map(of).collect(),
            Known::States { rows: Some((rows, _)), progress, .. } => {
                let mut all = vec![of(&entered(begin, self.policy.price())); self.len()];
                for (row, progress) in rows.iter().zip(progress) {
                    if let Some(cell) = all.get_mut(*row) {
                        *cell = of(progress);
                    }
                }
                all
            }
        }
    }

    /// How many requests wait for `stage`.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is no such stage.
    pub fn waiting(&self, stage: usize) -> Result<usize> {
        self.waiting
            .get(stage)
            .copied()
            .ok_or_else(|| Error::invalid(format!("`stage` must be in 0..{}, got {stage}", self.waiting.len())))
    }

    /// Which requests wait for `stage`, ascending.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is no such stage.
    pub fn rows(&self, stage: usize) -> Result<Vec<i64>> {
        let count = self.waiting(stage)?;
        if count == self.len() {
            return Ok((0..count as i64).collect());
        }
        let mut rows = Vec::with_capacity(count);
        rows.extend(self.next.iter().enumerate().filter(|(_, next)| **next == stage as u16).map(|(row, _)| row as i64));
        Ok(rows)
    }

    /// The first stage that requests wait for, and which these are, ascending; none once all are decided.
    pub fn first(&self) -> Option<(usize, Vec<i64>)> {
        let stage = self.waiting.iter().position(|count| *count > 0)?;
        Some((stage, self.rows(stage).unwrap_or_default()))
    }

    /// Signals and predictions of exactly the requests that wait for `stage`, in ascending order of request.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the lengths differ from the number waiting or there is no such stage; nothing is
    /// changed then.
    pub fn observe(&mut self, stage: usize, signal: &[f64], prediction: Option<&[i64]>) -> Result<()> {
        let count = self.waiting(stage)?;
        for (name, len) in [("signal", signal.len()), ("prediction", prediction.map_or(count, <[i64]>::len))] {
            if len != count {
                let message =
                    format!("`{name}` must have {count} entries, one per request waiting for stage {stage}, got {len}");
                return Err(Error::invalid(message));
            }
        }
        if count == 0 {
            return Ok(());
        }
        let policy = Arc::clone(&self.policy);
        let observations = Observations::new(signal, prediction);
        policy.rule().visit(Step { batch: self, stage: stage as u16, price: policy.price(), observations });
        self.recount();
        Ok(())
    }

    /// The stage that most requests wait for, the last of several, and which these are, ascending; none once all are
    /// decided.
    pub fn pending(&self) -> Option<(usize, Vec<i64>)> {
        let (stage, _) =
            self.waiting.iter().enumerate().filter(|(_, count)| **count > 0).max_by_key(|(_, count)| **count)?;
        Some((stage, self.rows(stage).unwrap_or_default()))
    }

    /// The stage gave nothing for some of the requests that wait for it: it is paid for, is never their answer, says
    /// nothing about the others and is not asked again. The rest of those that wait for it go on waiting.
    ///
    /// # Errors
    /// [`Error::Invalid`] where `rows` do not ascend, one of them does not wait for `stage`, or there is no such stage;
    /// nothing is changed then.
    pub fn fail(&mut self, stage: usize, rows: &[i64]) -> Result<()> {
        self.leave(stage, rows, Turn::Fail)
    }

    /// The stage cannot be tried for some of the requests that wait for it: as [`Batch::fail`], but not paid for.
    ///
    /// # Errors
    /// Those of [`Batch::fail`].
    pub fn bar(&mut self, stage: usize, rows: &[i64]) -> Result<()> {
        self.leave(stage, rows, Turn::Bar)
    }

    fn leave(&mut self, stage: usize, rows: &[i64], turn: Turn) -> Result<()> {
        self.waiting(stage)?;
        let what = || format!("a request that waits for stage {stage}");
        let rows = ascending(rows, what, |row| self.next.get(row) == Some(&(stage as u16)))?;
        self.turn(&rows, turn);
        Ok(())
    }

    /// Some requests end now, all without `rows`: those that are not decided pay for the stage they wait for, which is
    /// under way, and keep the answer they have in hand.
    ///
    /// # Errors
    /// [`Error::Invalid`] where `rows` do not ascend, or there is no such request; nothing is changed then.
    pub fn stop(&mut self, rows: Option<&[i64]>) -> Result<()> {
        let n = self.len();
        let rows = match rows {
            None => (0..n).collect(),
            Some(rows) => ascending(rows, || format!("a request in 0..{n}"), |row| row < n)?,
        };
        let undecided: Vec<usize> = rows.into_iter().filter(|row| self.stage_of(*row).is_some()).collect();
        self.turn(&undecided, Turn::Stop);
        Ok(())
    }

    fn turn(&mut self, rows: &[usize], turn: Turn) {
        if !rows.is_empty() {
            let policy = Arc::clone(&self.policy);
            policy.rule().visit(Leave { batch: self, price: policy.price(), rows, turn });
            self.recount();
        }
    }

    fn recount(&mut self) {
        if self.waiting.len() <= FEW_STAGES {
            for (stage, count) in self.waiting.iter_mut().enumerate() {
                *count = count_where(&self.next, |next| *next == stage as u16);
            }
        } else {
            self.waiting.fill(0);
            for next in &self.next {
                if let Some(count) = self.waiting.get_mut(usize::from(*next)) {
                    *count += 1;
                }
            }
        }
    }
}

/// Row numbers that ascend and are all wanted.
fn ascending(rows: &[i64], wanted: impl Fn() -> String, is_wanted: impl Fn(usize) -> bool) -> Result<Vec<usize>> {
    let mut found = Vec::with_capacity(rows.len());
    for (at, given) in rows.iter().enumerate() {
        let row = usize::try_from(*given).ok().filter(|row| is_wanted(*row));
        let row = row.filter(|row| found.last().is_none_or(|before| before < row));
        found.push(row.ok_or_else(|| {
            let wanted = wanted();
            Error::invalid(format!("`rows[{at}]` must be {wanted}, larger than the entry before, got {given}"))
        })?);
    }
    Ok(found)
}

/// A request that the entry stage's report has ended.
fn entered(mut begin: Progress, price: &Price) -> Progress {
    begin.answer = begin.pay_from(price);
    begin.next = NO_STAGE;
    begin
}

/// How many entries are `wanted`; sums of narrow numbers, which the compiler turns into vector code.
fn count_where<T>(items: &[T], wanted: impl Fn(&T) -> bool) -> usize {
    items.chunks(CHUNK).map(|chunk| usize::from(chunk.iter().map(|item| u16::from(wanted(item))).sum::<u16>())).sum()
}

/// One observation of the requests that wait for a stage.
struct Step<'a> {
    batch: &'a mut Batch,
    stage: u16,
    price: &'a Price,
    observations: Observations<'a>,
}

impl Visitor for Step<'_> {
    type Output = ();

    fn visit<R: Rule>(self, rule: &R) {
        let Self { batch, stage, price, observations } = self;
        if matches!(batch.known, Known::Nothing) && rule.after_first_of_many(observations, &mut batch.next) {
            batch.known = Known::First(First::new(observations));
            return;
        }
        make_states(rule, price, batch);
        let Known::States { rows, progress, memory, failures } = &mut batch.known else { return };
        let Some(memory) = memory.downcast_mut::<Vec<R::Memory>>() else { return };
        if failures.is_empty() {
            step(rule, stage, price, observations, progress, memory);
        } else {
            let (signal, prediction) = after_failures(rule, stage, price, observations, progress, memory, failures);
            step(rule, stage, price, Observations::new(&signal, Some(&prediction)), progress, memory);
        }
        publish(&mut batch.next, rows.as_ref(), progress);
    }
}

/// Some requests go on without the stage they wait for, or end.
struct Leave<'a> {
    batch: &'a mut Batch,
    price: &'a Price,
    rows: &'a [usize],
    turn: Turn,
}

impl Visitor for Leave<'_> {
    type Output = ();

    fn visit<R: Rule>(self, rule: &R) {
        let Self { batch, price, rows: leaving, turn } = self;
        make_states(rule, price, batch);
        let Known::States { rows, progress, memory, failures } = &mut batch.known else { return };
        let Some(memory) = memory.downcast_mut::<Vec<R::Memory>>() else { return };
        for row in leaving {
            let Ok(at) = rows.as_ref().map_or(Ok(*row), |(rows, _)| rows.binary_search(row)) else { continue };
            let (Some(progress), Some(memory)) = (progress.get_mut(at), memory.get_mut(at)) else { continue };
            match (turn, failures.get_mut(&at)) {
                (Turn::Fail, _) => failures.entry(at).or_default().fail(rule, price, progress, memory),
                (Turn::Bar, _) => failures.entry(at).or_default().bar(rule, price, progress, memory),
                (Turn::Stop, Some(failures)) => failures.stop(rule, price, progress, memory),
                (Turn::Stop, None) => rule.stop(progress, memory, price),
            }
        }
        publish(&mut batch.next, rows.as_ref(), progress);
    }
}

/// What each request expects to lose with the answer in hand.
struct Losses<'a> {
    batch: &'a Batch,
    price: &'a Price,
}

impl Visitor for Losses<'_> {
    type Output = Vec<f64>;

    fn visit<R: Rule>(self, rule: &R) -> Vec<f64> {
        let Self { batch, price } = self;
        let after = |(progress, memory): &(Progress, R::Memory)| rule.expected_loss(progress, memory);
        let after_first = |first: &First| (0..batch.len()).map(|row| after(&first.state(rule, price, row))).collect();
        match &batch.known {
            Known::Nothing => vec![after(&rule.begin()); batch.len()],
            Known::First(first) => after_first(first),
            Known::States { rows, progress, memory, failures } => {
                let mut all =
                    rows.as_ref().map_or_else(|| vec![f64::INFINITY; batch.len()], |(_, first)| after_first(first));
                let memory = memory.downcast_ref::<Vec<R::Memory>>().into_iter().flatten();
                for (at, (progress, memory)) in progress.iter().zip(memory).enumerate() {
                    let row = rows.as_ref().map_or(Some(at), |(rows, _)| rows.get(at).copied());
                    if let Some(cell) = row.and_then(|row| all.get_mut(row)) {
                        let resort = failures.get(&at).and_then(Failures::expected_loss);
                        *cell = resort.unwrap_or_else(|| rule.expected_loss(progress, memory));
                    }
                }
                all
            }
        }
    }
}

/// Writes down what is next for each request that is followed.
fn publish(next: &mut [u16], rows: Option<&(Vec<usize>, First)>, progress: &[Progress]) {
    match rows {
        None => next.iter_mut().zip(progress).for_each(|(next, progress)| *next = progress.next),
        Some((rows, _)) => {
            for (row, progress) in rows.iter().zip(progress) {
                if let Some(next) = next.get_mut(*row) {
                    *next = progress.next;
                }
            }
        }
    }
}

/// Makes the states of the requests that are followed, where that has not been done.
fn make_states<R: Rule>(rule: &R, price: &Price, batch: &mut Batch) {
    let (rows, states) = match std::mem::replace(&mut batch.known, Known::Nothing) {
        known @ Known::States { .. } => {
            batch.known = known;
            return;
        }
        Known::Nothing => (None, vec![rule.begin(); batch.next.len()]),
        Known::First(first) => {
            let going_on = batch.next.iter().enumerate().filter(|(_, next)| **next != NO_STAGE);
            let rows: Vec<usize> = going_on.map(|(row, _)| row).collect();
            let states = rows.iter().map(|row| first.state(rule, price, *row)).collect();
            (Some((rows, first)), states)
        }
    };
    let (progress, memory): (Vec<Progress>, Vec<R::Memory>) = states.into_iter().unzip();
    batch.known = Known::States { rows, progress, memory: Box::new(memory), failures: BTreeMap::new() };
}

/// Hands their reports to the requests whose failures take part in that; returns those of the others.
fn after_failures<R: Rule>(
    rule: &R,
    stage: u16,
    price: &Price,
    observations: Observations,
    progress: &mut [Progress],
    memory: &mut [R::Memory],
    failures: &mut BTreeMap<usize, Failures>,
) -> (Vec<f64>, Vec<i64>) {
    let mut others = (Vec::new(), Vec::new());
    let states = progress.iter_mut().zip(memory).enumerate();
    let waiting = states.filter(|(_, (progress, _))| progress.next == stage);
    for (report, (at, (progress, memory))) in waiting.enumerate() {
        let observation = observations.at(report);
        if let Some(failures) = failures.get_mut(&at).filter(|failures| failures.takes_part()) {
            failures.observe(rule, price, progress, memory, observation);
        } else {
            others.0.push(observation.signal);
            others.1.push(observation.prediction);
        }
    }
    others
}

/// Hands the waiting requests their reports, on all cores where there are many.
fn step<R: Rule>(
    rule: &R,
    stage: u16,
    price: &Price,
    observations: Observations,
    progress: &mut [Progress],
    memory: &mut [R::Memory],
) {
    let mut before = 0;
    let mut chunks = Vec::with_capacity(progress.len().div_ceil(CHUNK));
    for (progress, memory) in progress.chunks_mut(CHUNK).zip(memory.chunks_mut(CHUNK)) {
        let first = before;
        before += count_where(progress, |progress| progress.next == stage);
        chunks.push((progress, memory, first));
    }
    let work = |(progress, memory, mut at): (&mut [Progress], &mut [R::Memory], usize)| {
        let waiting = progress.iter_mut().zip(memory).filter(|(progress, _)| progress.next == stage);
        for (progress, memory) in waiting {
            rule.observe(progress, memory, observations.at(at), price);
            at += 1;
        }
    };
    parallel::for_each(chunks, work);
}
