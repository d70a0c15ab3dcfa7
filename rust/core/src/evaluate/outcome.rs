//! What decisions on the rows of a trace come to, in the currency of the trace.

use std::ops::Range;
use std::sync::OnceLock;

use super::careful;
use super::estimate::Estimate;
use super::objective::Objective;
use super::terms::Terms;
use crate::decide::{Circumstances, Replay};
use crate::error::{Error, Result};
use crate::mean::sum;
use crate::parallel;
use crate::plan::{NO_STAGE, signed};
use crate::policy::{MAX_STAGES, Policy};
use crate::trace::{Charge, Cost, Kind, Trace, checks};

/// Rows that one task decides.
const CHUNK: usize = 4096;

/// Answer, loss and cost of n requests, in the units of the trace. Costs are those of the trace's own rows: one network
/// pays for everything up to the last exit that ran, separate models for those that ran.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    stages: usize,
    answer: Vec<i32>,
    last: Vec<i32>,
    consulted: Vec<bool>,
    loss: Vec<f64>,
    cost: Vec<f64>,
    late: Vec<bool>,
}

impl Outcome {
    /// Of `policy` on every row. O(n k), all cores. Nothing costs what the policy says, else the largest loss of the trace.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the numbers of stages differ.
    pub fn of_policy(policy: &Policy, trace: &Trace) -> Result<Self> {
        Self::judged(policy, trace, &Terms::default())
    }

    /// The same on given terms. Any policy is cut off by a deadline, also one that knows no time.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the numbers of stages differ, and as [`Terms::deadline_on`].
    pub fn judged(policy: &Policy, trace: &Trace, terms: &Terms) -> Result<Self> {
        Self::followed(policy, trace, terms, None)
    }

    /// The same where, with something in hand, no stage is begun that is not expected to be over in time: by the mean
    /// seconds of each stage (k,). What a loop around a policy can do that knows no time.
    ///
    /// # Errors
    /// As [`Outcome::judged`]; and unless there is one expectation for each stage.
    pub fn careful(policy: &Policy, trace: &Trace, terms: &Terms, expected: &[f64]) -> Result<Self> {
        checks::entries("expected", expected.len(), trace.stages())?;
        Self::followed(policy, trace, terms, Some(expected))
    }

    fn followed(policy: &Policy, trace: &Trace, terms: &Terms, expected: Option<&[f64]>) -> Result<Self> {
        Self::replayed(policy, trace, terms, expected)?.known(trace)
    }

    /// What is done where an unknown signal is taken for one that says nothing.
    fn replayed(policy: &Policy, trace: &Trace, terms: &Terms, expected: Option<&[f64]>) -> Result<Self> {
        let stages = policy.stages().len();
        if stages != trace.stages() {
            let message = format!("`trace` must have the {stages} stages of the policy, got {}", trace.stages());
            return Err(Error::invalid(message));
        }
        let rows = trace.rows();
        // Looked for in the whole trace: only if some request ends without an answer.
        let (nothing, deadline) = (OnceLock::new(), terms.deadline_on(trace)?);
        let nothing = || *nothing.get_or_init(|| terms.nothing(policy.default_loss(), trace));
        let relative = policy.knows_cost().then(|| trace.relative_costs(&policy.price().increments()));
        let relative = relative.as_deref();
        let pieces = parallel::map(parallel::ranges(rows, CHUNK), |rows| {
            let replay = of_rows(policy, trace, rows.clone(), relative, (deadline, expected))?;
            Ok(Self::decided(trace, rows.start, nothing, replay))
        });
        let pieces: Vec<Self> = pieces.into_iter().collect::<Result<_>>()?;
        Ok(Self::joined(stages, &pieces.iter().collect::<Vec<_>>()))
    }

    /// The requests of which all is known that `policy` asks for, each counting as its weight says over the chance of
    /// that: with them, means are those of all requests (Horvitz and Thompson 1952, over the sum of the weights: Hájek).
    /// None where nothing is left out and all chances are 1. O(n k).
    ///
    /// # Errors
    /// As [`Outcome::judged`]; and where losses are not known and no propensity says why, or no request is left.
    pub fn observed(policy: &Policy, trace: &Trace, terms: &Terms) -> Result<Option<Trace>> {
        if !trace.is_censored() && trace.propensity().is_none() {
            return Ok(None);
        }
        let found = Self::replayed(policy, trace, terms, None)?;
        trace.reweighted(|row| trace.chance_of(row, |stage| found.stages_of(row)[stage])).map(Some)
    }

    /// The same, where all is known that it depends on.
    fn known(self, trace: &Trace) -> Result<Self> {
        if !trace.is_censored() {
            return Ok(self);
        }
        for row in 0..self.rows() {
            let is_unknown = |stage: usize| self.stages_of(row)[stage] && !trace.is_run(stage, row);
            let answer = usize::try_from(self.answer[row]).ok().filter(|_| self.loss[row].is_nan());
            if let Some(stage) = (0..self.stages).find(|stage| is_unknown(*stage)).or(answer) {
                return Err(trace.unknown(row, stage));
            }
        }
        Ok(self)
    }

    /// Of answering request i with stage `stage[i]` (n,), running no more than that takes. O(n k).
    ///
    /// # Errors
    /// [`Error::Invalid`] unless there is one stage of the trace for each row.
    pub fn of_stages(trace: &Trace, stage: &[u16]) -> Result<Self> {
        let (rows, stages) = (trace.rows(), trace.stages());
        if stage.len() != rows {
            return Err(Error::invalid(format!("`stage` must have shape ({rows},), got ({},)", stage.len())));
        }
        if let Some(row) = stage.iter().position(|stage| usize::from(*stage) >= stages) {
            return Err(Error::invalid(format!("`stage` entry {row} must be in 0..{stages}, got {}", stage[row])));
        }
        Self::answered(trace, stage, f64::INFINITY).known(trace)
    }

    /// Of answering each request with a stage of the trace, or with nothing ([`NO_STAGE`]), which loses so much.
    fn answered(trace: &Trace, stage: &[u16], nothing: f64) -> Self {
        let stages = trace.stages();
        let is_run = |at: usize| match (trace.kind(), stage[at / stages]) {
            (_, NO_STAGE) => false,
            (Kind::Exits, stage) => at % stages <= usize::from(stage),
            (Kind::Models, stage) => at % stages == usize::from(stage),
        };
        let consulted = (0..trace.rows() * stages).map(is_run).collect();
        let answer: Vec<i32> = stage.iter().map(|stage| signed(*stage)).collect();
        let (late, cost) = (vec![false; answer.len()], Vec::new());
        Self::decided(trace, 0, || nothing, Replay { last: answer.clone(), answer, consulted, cost, late })
    }

    /// Of answering every request with one stage; with nothing where a deadline cuts it off. O(n k).
    ///
    /// # Errors
    /// [`Error::Invalid`] where there is no such stage, and as [`Terms::deadline_on`].
    pub fn of_stage(trace: &Trace, stage: u16, terms: &Terms) -> Result<Self> {
        let mut found = Self::of_stages(trace, &vec![stage; trace.rows()])?;
        if let Some(deadline) = terms.deadline_on(trace)? {
            let nothing = terms.nothing(f64::INFINITY, trace);
            for row in (0..trace.rows()).filter(|row| trace.wait(None, usize::from(stage), *row) > deadline) {
                (found.answer[row], found.loss[row], found.late[row]) = (-1, nothing, true);
            }
        }
        Ok(found)
    }

    /// Of answering each request with the one stage that is best in hindsight of those that are in time; or with nothing,
    /// where that has a default loss or a deadline may leave no answer: no policy does better. O(n k²).
    ///
    /// # Errors
    /// [`Error::Invalid`] for more stages than a policy can have, and as [`Terms::deadline_on`].
    pub fn clairvoyant(trace: &Trace, objective: Objective, terms: &Terms) -> Result<Self> {
        if trace.stages() > MAX_STAGES {
            let message = format!("`trace` must have at most {MAX_STAGES} stages, got {}", trace.stages());
            return Err(Error::invalid(message));
        }
        let deadline = terms.deadline_on(trace)?;
        let default_loss = match deadline {
            Some(_) => terms.nothing(f64::INFINITY, trace),
            None => terms.default_loss.unwrap_or(f64::INFINITY),
        };
        let charges: Vec<Charge> = (0..trace.stages()).map(|stage| trace.charge(None, stage)).collect();
        let answering = trace.answering();
        let is_in_time = |row, v| deadline.is_none_or(|deadline| trace.wait(None, v, row) <= deadline);
        let best = |row: usize| {
            let nothing = (objective.of_nothing(default_loss), NO_STAGE);
            let of = |v: usize| (objective.of(trace.loss(v)[row], charges[v].at(row)), v as u16);
            let in_time = answering.iter().copied().filter(|v| is_in_time(row, *v)).map(of);
            // Nothing only where it is better than the first of the best.
            let best = in_time.reduce(|best, one| if one.0 < best.0 { one } else { best });
            best.filter(|best| best.0 <= nothing.0).unwrap_or(nothing).1
        };
        let pieces = parallel::ranges(trace.rows(), CHUNK);
        let stages = parallel::map(pieces, |rows| rows.map(best).collect::<Vec<u16>>());
        Self::answered(trace, &stages.concat(), default_loss).known(trace)
    }

    /// The requests of all pieces, one piece after the other; each must have `stages` stages.
    pub fn joined(stages: usize, pieces: &[&Self]) -> Self {
        fn all<T: Copy>(pieces: &[&Outcome], part: fn(&Outcome) -> &[T]) -> Vec<T> {
            pieces.iter().flat_map(|piece| part(piece).iter().copied()).collect()
        }
        Self {
            stages,
            answer: all(pieces, Self::answer),
            last: all(pieces, Self::last),
            consulted: all(pieces, Self::consulted),
            loss: all(pieces, Self::loss),
            cost: all(pieces, Self::cost),
            late: all(pieces, Self::late),
        }
    }

    /// The given requests, in that order.
    ///
    /// # Errors
    /// [`Error::Invalid`] where one is not there.
    pub fn select(&self, rows: &[u32]) -> Result<Self> {
        if let Some(row) = rows.iter().find(|row| **row as usize >= self.rows()) {
            return Err(Error::invalid(format!("`rows` must be in 0..{}, got {row}", self.rows())));
        }
        let consulted = rows.iter().flat_map(|row| self.stages_of(*row as usize).iter().copied()).collect();
        Ok(Self {
            stages: self.stages,
            answer: picked(&self.answer, rows),
            last: picked(&self.last, rows),
            consulted,
            loss: picked(&self.loss, rows),
            cost: picked(&self.cost, rows),
            late: picked(&self.late, rows),
        })
    }

    /// Number of requests n.
    pub fn rows(&self) -> usize {
        self.answer.len()
    }

    /// Number of stages k.
    pub fn stages(&self) -> usize {
        self.stages
    }

    /// The stage whose answer is returned, −1 for none (n,).
    pub fn answer(&self) -> &[i32] {
        &self.answer
    }

    /// The stage run last, −1 for none (n,).
    pub fn last(&self) -> &[i32] {
        &self.last
    }

    /// Whether each stage was run (n, k), row by row.
    pub fn consulted(&self) -> &[bool] {
        &self.consulted
    }

    /// Loss of the answer (n,), in the unit of the trace.
    pub fn loss(&self) -> &[f64] {
        &self.loss
    }

    /// Cost of all that was run (n,), in the unit of the trace.
    pub fn cost(&self) -> &[f64] {
        &self.cost
    }

    /// Whether the deadline cut off the stage run last (n,).
    pub fn late(&self) -> &[bool] {
        &self.late
    }

    /// The objective of each request (n,).
    pub fn objective(&self, objective: Objective) -> Vec<f64> {
        self.loss.iter().zip(&self.cost).map(|(loss, cost)| objective.of(*loss, *cost)).collect()
    }

    /// Mean objective where each request counts `weight` (n,): what every policy's value is.
    pub fn mean_objective(&self, objective: Objective, weight: &[f64]) -> f64 {
        Estimate::new(&self.objective(objective), weight).mean
    }

    /// Share of the requests that each stage was run for (k,), where each counts `weight` (n,).
    pub fn consulted_share(&self, weight: &[f64]) -> Vec<f64> {
        (0..self.stages).map(|stage| self.share(weight, |row| self.stages_of(row)[stage])).collect()
    }

    /// Share of the requests that each stage's answer was returned to (k,), where each counts `weight` (n,).
    pub fn answer_share(&self, weight: &[f64]) -> Vec<f64> {
        (0..self.stages).map(|stage| self.share(weight, |row| self.answer[row] == stage as i32)).collect()
    }

    /// Share of the requests that an earlier answer than the last was returned to, where each counts `weight` (n,). Those
    /// that a deadline cut off had no later answer.
    pub fn recalled_share(&self, weight: &[f64]) -> f64 {
        self.share(weight, |row| self.answer[row] >= 0 && self.answer[row] != self.last[row] && !self.late[row])
    }

    fn share(&self, weight: &[f64], holds: impl Fn(usize) -> bool) -> f64 {
        let mass = sum(self.rows(), |row| weight[row]);
        let held = sum(self.rows(), |row| if holds(row) { weight[row] } else { 0.0 });
        if mass > 0.0 { held / mass } else { 0.0 }
    }

    /// Whether each stage was run for one request (k,).
    fn stages_of(&self, row: usize) -> &[bool] {
        &self.consulted[row * self.stages..(row + 1) * self.stages]
    }

    /// Losses and costs, by the rows of the trace, of what was decided on those from `from` on; answering with nothing
    /// loses so much.
    fn decided(trace: &Trace, from: usize, nothing: impl Fn() -> f64, replay: Replay) -> Self {
        let Replay { answer, last, consulted, late, .. } = replay;
        let stages = trace.stages();
        let loss = |(at, answer): (usize, &i32)| {
            let loss = usize::try_from(*answer).ok().and_then(|stage| trace.loss(stage).get(from + at));
            loss.copied().unwrap_or_else(&nothing)
        };
        let loss = answer.iter().enumerate().map(loss).collect();
        let ran = consulted.chunks_exact(stages).enumerate();
        let cost = ran.map(|(at, ran)| paid(trace, from + at, ran)).collect();
        Self { stages, answer, last, consulted, loss, cost, late }
    }
}

fn picked<T: Copy>(list: &[T], rows: &[u32]) -> Vec<T> {
    rows.iter().map(|row| list[*row as usize]).collect()
}

/// What `policy` does on some rows, told what each costs over the average one, where that is given (n,): cut off by the deadline, if there is one, or begun only if `expected` to be over in
/// time.
fn of_rows(
    policy: &Policy,
    trace: &Trace,
    rows: Range<usize>,
    relative: Option<&[f64]>,
    (deadline, expected): (Option<f64>, Option<&[f64]>),
) -> Result<Replay> {
    let (Some(deadline), Some(expected)) = (deadline, expected) else {
        let signal = row_by_row(rows.clone(), trace.stages(), |v| trace.signal(v));
        let prediction =
            trace.predictions().map(|table| row_by_row(rows.clone(), table.columns(), |v| table.column(v)));
        let cost = relative.map(|cost| &cost[rows.clone()]);
        let Some(deadline) = deadline else {
            let circumstances = Circumstances { cost, ..Circumstances::default() };
            return policy.replay_in(&signal, prediction.as_deref(), &circumstances);
        };
        // Beyond any deadline is as good as infinite.
        let seconds = |row: usize| (0..trace.stages()).map(move |v| trace.seconds(v, row).min(f64::MAX));
        let latency: Vec<f64> = rows.flat_map(seconds).collect();
        let circumstances = Circumstances { latency: Some(&latency), deadline, cost };
        return policy.replay_in(&signal, prediction.as_deref(), &circumstances);
    };
    Ok(careful::follow(policy, trace, rows, relative, (deadline, expected)))
}

/// Some rows of k columns, row by row.
fn row_by_row<'a, T: Copy + Default + 'a>(
    rows: Range<usize>,
    columns: usize,
    column: impl Fn(usize) -> &'a [T],
) -> Vec<T> {
    let mut cells = vec![T::default(); rows.len() * columns];
    for v in 0..columns {
        for (cell, x) in cells.iter_mut().skip(v).step_by(columns).zip(&column(v)[rows.clone()]) {
            *cell = *x;
        }
    }
    cells
}

/// What running these stages costs the request in `row`, summed from the first stage to the last.
fn paid(trace: &Trace, row: usize, ran: &[bool]) -> f64 {
    let last = ran.iter().rposition(|ran| *ran);
    let is_paid = |stage: usize| match trace.kind() {
        Kind::Models => ran[stage],
        Kind::Exits => Some(stage) <= last,
    };
    let cost = |stage: usize| match trace.cost() {
        Cost::Alike(cost) => cost[stage],
        Cost::Rows(cost) => cost.column(stage)[row],
    };
    (0..ran.len()).filter(|stage| is_paid(*stage)).map(cost).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Table;

    fn trace(kind: Kind) -> Option<Trace> {
        let table = |entry: fn(usize, usize) -> f64| Table::from_fn(2, 3, entry);
        let cost = Cost::Rows(table(|row, stage| ((row + 1) * 10_usize.pow(stage as u32)) as f64));
        Trace::new(table(|_, _| 0.5), table(|row, stage| (row * 3 + stage) as f64), cost, kind).ok()
    }

    #[test]
    fn exits_pay_all_up_to_the_last_that_ran_and_models_what_ran() {
        for (kind, costs) in [(Kind::Exits, [11.0, 222.0]), (Kind::Models, [10.0, 200.0])] {
            let found = trace(kind).and_then(|trace| Outcome::of_stages(&trace, &[1, 2]).ok());
            let found = found.as_ref().map(|found| (found.loss(), found.cost(), found.answer()));
            assert_eq!(found, Some((&[1.0, 5.0][..], &costs[..], &[1, 2][..])));
        }
        let skipped = trace(Kind::Exits).map(|trace| paid(&trace, 1, &[false, true, false]));
        assert_eq!(skipped, Some(22.0));
    }

    #[test]
    fn in_hindsight_the_cheapest_good_stage_is_taken() {
        let found = trace(Kind::Models).and_then(|trace| {
            let objective = Objective { loss: 1.0, cost: 0.0 };
            let all = Outcome::clairvoyant(&trace, objective, &Terms::default()).ok()?;
            Some((all.answer().to_vec(), all.mean_objective(objective, trace.weight())))
        });
        assert_eq!(found, Some((vec![0, 0], 1.5)));
    }

    #[test]
    fn in_hindsight_nothing_is_answered_where_that_is_better() {
        let terms = Terms { default_loss: Some(2.0), deadline: None };
        let found = trace(Kind::Models).and_then(|trace| {
            let all = Outcome::clairvoyant(&trace, Objective { loss: 1.0, cost: 0.0 }, &terms).ok()?;
            let recalled = all.recalled_share(trace.weight());
            Some((all.answer().to_vec(), all.loss().to_vec(), all.cost().to_vec(), recalled))
        });
        assert_eq!(found, Some((vec![0, -1], vec![0.0, 2.0], vec![1.0, 0.0], 0.0)));
    }

    #[test]
    fn pieces_are_joined_and_put_in_order() {
        let found = trace(Kind::Exits).and_then(|trace| Outcome::of_stages(&trace, &[0, 2]).ok());
        let joined = found.as_ref().map(|found| Outcome::joined(3, &[found, found]));
        let picked = joined.and_then(|joined| joined.select(&[3, 0]).ok());
        assert_eq!(picked.as_ref().map(|picked| picked.answer().to_vec()), Some(vec![2, 0]));
        assert_eq!(picked.map(|picked| picked.consulted().to_vec()), Some(vec![true, true, true, true, false, false]));
        let shares = found.as_ref().map(|found| {
            let weight = [1.0, 3.0];
            (found.consulted_share(&weight), found.answer_share(&weight), found.recalled_share(&weight))
        });
        assert_eq!(shares, Some((vec![1.0, 0.75, 0.75], vec![0.25, 0.0, 0.75], 0.0)));
        assert!(found.is_some_and(|found| found.select(&[2]).is_err()));
        assert!(trace(Kind::Exits).is_some_and(|trace| Outcome::of_stage(&trace, 3, &Terms::default()).is_err()));
    }
}
