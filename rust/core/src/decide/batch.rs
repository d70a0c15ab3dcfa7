//! Many requests in step: who waits for which stage, and what is reported for them.

use std::sync::Arc;

use super::barred::Barred;
use super::hand::{Answers, Costs, Losses, Requests};
use super::known::{Begin, Known};
use super::step::{Leave, PassOver, Step, Turn, count_where};
use crate::error::{Error, Result};
use crate::plan::{NO_STAGE, signed, stage_number};
use crate::policy::Policy;
use crate::price::Price;
use crate::rules::{Given, Observations, Progress, Rule};

/// Requests that are counted at once: few enough to stay near the processor.
const CHUNK: usize = 4096;

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

impl Batch {
    /// `n` new requests.
    ///
    /// # Errors
    /// [`Error::Invalid`] for more than [`MAX_REQUESTS`], or than there is memory for.
    pub fn new(policy: Arc<Policy>, n: usize) -> Result<Self> {
        let first = policy.begin(Given::NOTHING).progress().next;
        let mut next = room(n)?;
        next.resize(n, first);
        let mut waiting = vec![0; policy.stages().len()];
        if let Some(count) = stage_number(first).and_then(|stage| waiting.get_mut(stage)) {
            *count = n;
        }
        Ok(Self { next, waiting, known: Known::Nothing, policy })
    }

    /// New requests, of each of which something is known.
    ///
    /// # Errors
    /// [`Error::Invalid`] for more than [`MAX_REQUESTS`], or than there is memory for.
    pub fn given(policy: Arc<Policy>, given: &[Given]) -> Result<Self> {
        let mut next = room(given.len())?;
        let known = policy.rule().visit(Begin { given });
        if let Known::States { progress, .. } = &known {
            next.extend(progress.iter().map(|progress| progress.next));
        }
        let mut batch = Self { next, waiting: vec![0; policy.stages().len()], known, policy };
        batch.recount();
        Ok(batch)
    }

    /// The same of requests that must not ask some stages: none of them is ever next. `given`: as they were begun with.
    #[must_use]
    pub fn without(mut self, barred: &Barred, given: Option<&[Given]>) -> Self {
        if !barred.is_empty() {
            let policy = Arc::clone(&self.policy);
            policy.rule().visit(PassOver {
                known: &mut self.known,
                next: &mut self.next,
                price: policy.price(),
                barred,
                given,
            });
            self.recount();
        }
        self
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
        if let (Known::Nothing, Some(first)) = (&self.known, self.next.first()) {
            return vec![signed(*first); self.len()];
        }
        self.next.iter().map(|stage| signed(*stage)).collect()
    }

    /// The stage that one request waits for; none once it is decided, or where there is no such request.
    pub fn stage_of(&self, row: usize) -> Option<usize> {
        self.next.get(row).and_then(|stage| stage_number(*stage))
    }

    /// The stage whose answer each request has in hand, −1 while none, or where nothing is better (n,).
    pub fn answer(&self) -> Vec<i32> {
        if self.policy.rule().may_decline() {
            return self.policy.rule().visit(Answers(self.requests())).into_iter().map(signed).collect();
        }
        self.map(|progress| signed(progress.answer))
    }

    /// What each request has cost so far, in the unit of the trace (n,).
    pub fn cost(&self) -> Vec<f64> {
        if self.policy.knows_cost() {
            return self.policy.rule().visit(Costs(self.requests()));
        }
        self.map(|progress| progress.cost)
    }

    /// Expected loss of the answer each request has in hand, in the unit of the losses, that of nothing while none (n,).
    pub fn expected_loss(&self) -> Vec<f64> {
        self.policy.rule().visit(Losses(self.requests()))
    }

    fn requests(&self) -> Requests<'_> {
        Requests { known: &self.known, len: self.len(), price: self.policy.price() }
    }

    fn map<T: Clone>(&self, of: impl Fn(&Progress) -> T) -> Vec<T> {
        let begin = *self.policy.begin(Given::NOTHING).progress();
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
        self.report(stage, Observations::new(signal, prediction))
    }

    /// The same, whatever the reports say.
    ///
    /// # Errors
    /// Those of [`Batch::observe`].
    pub fn report(&mut self, stage: usize, observations: Observations) -> Result<()> {
        let count = self.waiting(stage)?;
        let Observations { signal, prediction, remaining } = observations;
        let lengths = [
            ("signal", signal.shape().0),
            ("prediction", prediction.map_or(count, |prediction| prediction.shape().0)),
            ("remaining", remaining.map_or(count, <[f64]>::len)),
        ];
        for (name, len) in lengths {
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
        policy.rule().visit(Step {
            known: &mut self.known,
            next: &mut self.next,
            stage: stage as u16,
            price: policy.price(),
            observations,
        });
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
        self.leave(stage, rows, Turn::Fail(None))
    }

    /// The same where each of `rows` has so many seconds left.
    ///
    /// # Errors
    /// Those of [`Batch::fail`], and where the lengths differ.
    pub fn fail_within(&mut self, stage: usize, rows: &[i64], remaining: &[f64]) -> Result<()> {
        let (wanted, got) = (rows.len(), remaining.len());
        if got != wanted {
            let message = format!("`remaining` must have {wanted} entries, one per entry of `rows`, got {got}");
            return Err(Error::invalid(message));
        }
        self.leave(stage, rows, Turn::Fail(Some(remaining)))
    }

    /// The stage cannot be tried for some of the requests that wait for it: as [`Batch::fail`], but not paid for.
    ///
    /// # Errors
    /// Those of [`Batch::fail`].
    pub fn bar(&mut self, stage: usize, rows: &[i64]) -> Result<()> {
        self.leave(stage, rows, Turn::Bar)
    }

    fn leave(&mut self, stage: usize, rows: &[i64], turn: Turn<'_>) -> Result<()> {
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

    fn turn(&mut self, rows: &[usize], turn: Turn<'_>) {
        if !rows.is_empty() {
            let policy = Arc::clone(&self.policy);
            policy.rule().visit(Leave {
                known: &mut self.known,
                next: &mut self.next,
                price: policy.price(),
                rows,
                turn,
            });
            self.recount();
        }
    }

    fn recount(&mut self) {
        if self.waiting.len() <= FEW_STAGES {
            // Piece by piece, and no further than to the last stage that somebody waits for.
            self.waiting.fill(0);
            for next in self.next.chunks(CHUNK) {
                let mut others = next.len() - count_where(next, |next| *next == NO_STAGE);
                for (stage, count) in self.waiting.iter_mut().enumerate() {
                    if others == 0 {
                        break;
                    }
                    let found = count_where(next, |next| *next == stage as u16);
                    *count += found;
                    others -= found;
                }
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

/// Room for a number for each of `n` requests.
fn room(n: usize) -> Result<Vec<u16>> {
    let mut next = Vec::new();
    if n > MAX_REQUESTS || next.try_reserve_exact(n).is_err() {
        return Err(Error::invalid(format!("`n` must be at most {MAX_REQUESTS}, and fit in memory, got {n}")));
    }
    Ok(next)
}

/// A request that the entry stage's report has ended.
fn entered(mut begin: Progress, price: &Price) -> Progress {
    begin.answer = begin.pay_from(price);
    begin.next = NO_STAGE;
    begin
}
