//! Observed states on a line or a skip graph: the exact index, one lookup and one comparison (theory, section 3).

use serde_json::{Value, json};

use super::checks;
use super::describe::{clock, decision, number};
use super::given::Given;
use super::hand::Hand;
use super::observation::{Observation, look_at_clock};
use super::progress::Progress;
use super::reach::avoids;
use super::reader::StateReader;
use super::rule::Rule;
use crate::error::{Checked, check};
use crate::plan::{ChainPlan, Intervals, NO_STAGE, unsigned};
use crate::price::Price;

/// The compiled plan of a solved chain.
#[derive(Clone, Debug, PartialEq)]
pub struct ChainRule {
    /// From signals to states.
    pub reader: StateReader,
    /// Whether an earlier answer may be returned.
    pub recall: bool,
    /// Loss of answering with nothing, in the unit of `loss`; infinite where a stage has to be run.
    pub default_loss: f64,
    /// What one unit of `loss` is in the unit of the trace (1 for an exact model).
    pub unit: f64,
    /// `loss[offset[v] + s]`, infinite in the row of the unknown state.
    pub loss: Vec<f64>,
    /// Expected loss of each stage while its state is unknown, in the unit of `loss` (k,).
    pub prior: Vec<f64>,
    /// What is next, for every row.
    pub plan: ChainPlan,
}

/// What a request remembers: the loss in hand, and how much time is left.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChainMemory {
    hand: Hand,
    /// Seconds, as was said last; infinite without a deadline.
    remaining: f64,
}

impl ChainRule {
    /// The row of what `stage` says.
    #[inline]
    fn row(&self, stage: usize, signal: f64) -> usize {
        let from = self.plan.offset.get(stage).copied().unwrap_or(0) as usize;
        let to = self.plan.offset.get(stage + 1).copied().unwrap_or(0) as usize;
        // The last row of a stage is the one of the unknown state.
        from + self.reader.read(stage, to.saturating_sub(from).saturating_sub(1), signal)
    }

    /// A loss of the model in the unit of the losses; infinite stays infinite, whatever the unit.
    fn unweighted(&self, loss: f64) -> f64 {
        if loss == f64::INFINITY { loss } else { loss * self.unit }
    }

    /// What is next in `row`, for what the request remembers.
    #[inline]
    fn action(&self, row: usize, memory: &ChainMemory) -> i32 {
        match &self.plan.time {
            Some(time) if memory.remaining < f64::INFINITY => {
                time.action(self.plan.intervals.rows(), row, memory.hand.loss, memory.remaining)
            }
            _ => self.plan.intervals.action(row, memory.hand.loss),
        }
    }

    /// Decisions without a deadline, and all with one, each with what is first.
    fn tables(&self) -> impl Iterator<Item = (&Intervals, &[i32])> {
        let time = self.plan.time.as_ref().map(|time| (&time.intervals, time.start.as_slice()));
        std::iter::once((&self.plan.intervals, std::slice::from_ref(&self.plan.start))).chain(time)
    }

    /// The stage that each row of a table belongs to.
    fn stages_of(&self) -> Vec<u16> {
        self.ranges().enumerate().flat_map(|(stage, rows)| rows.map(move |_| stage as u16)).collect()
    }

    /// Checks that the decisions lead forward, where there are prices.
    fn check_tables(&self, stages: usize, price: &Price) -> Checked {
        let stages_of = self.stages_of();
        let stage_of = |row: usize| stages_of.get(row % stages_of.len().max(1)).map_or(0, |stage| i32::from(*stage));
        for (intervals, start) in self.tables() {
            let is_stage = |first: &i32| (-1..stages as i32).contains(first);
            check(start.iter().all(is_stage), "the first stage is not one of the stages")?;
            intervals.check(stages, stage_of)?;
            let first = start.iter().filter_map(|start| usize::try_from(*start).ok()).map(|start| (NO_STAGE, start));
            let from = |row: usize| intervals.targets(row).map(move |next| (stage_of(row) as u16, next));
            checks::priced(price, (0..intervals.rows()).flat_map(from).chain(first))?;
        }
        Ok(())
    }

    /// The rows of each stage.
    fn ranges(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        let offset = &self.plan.offset;
        offset.iter().zip(offset.iter().skip(1)).map(|(from, to)| *from as usize..*to as usize)
    }
}

impl Rule for ChainRule {
    type Memory = ChainMemory;

    fn complete(&mut self, stages: usize, price: &Price) -> Checked {
        let (offset, rows) = (&self.plan.offset, self.plan.intervals.rows());
        let ends = offset.first() == Some(&0) && offset.last().map(|last| *last as usize) == Some(rows);
        check(offset.len() == stages + 1 && ends, "the rows of the table do not fit the stages")?;
        check(self.ranges().all(|rows| !rows.is_empty()), "a stage has no row in the table")?;
        check(self.loss.len() == rows, "the losses do not fit the rows of the table")?;
        check(self.loss.iter().all(|r| *r > f64::NEG_INFINITY), "a loss is not a number")?;
        checks::mean_losses_of_some(&self.prior, stages)?;
        checks::default_loss(self.default_loss)?;
        check(self.unit.is_finite(), "the unit of the losses is not finite")?;
        let is_kept = self.default_loss.is_infinite() || self.default_loss().is_finite();
        check(is_kept, "the default loss is not finite in the unit of the trace")?;
        let states: Vec<usize> = self.ranges().map(|rows| rows.len() - 1).collect();
        self.reader.check(&states)?;
        if let Some(time) = &self.plan.time {
            time.clock.check(stages)?;
            let buckets = time.clock.edges.len();
            let fits = time.start.len() == buckets && Some(time.intervals.rows()) == rows.checked_mul(buckets);
            check(fits, "the decisions do not fit the remaining times")?;
        }
        self.check_tables(stages, price)
    }

    fn latency(&self) -> Option<&[f64]> {
        self.plan.time.as_ref().map(|time| time.clock.latency.as_slice())
    }

    fn recall(&self) -> bool {
        self.recall
    }

    fn describe(&self) -> Value {
        let mut decisions = Vec::new();
        for (stage, range) in self.ranges().enumerate() {
            let rows = self.plan.intervals.table().get(range.clone()).unwrap_or_default();
            for (state, row) in rows.iter().enumerate() {
                let mut map = decision(&self.plan.intervals, row, |x| x * self.unit, |j| j);
                let known = state + 1 < rows.len();
                let loss = self.loss.get(range.start + state).map_or(f64::INFINITY, |r| r * self.unit);
                map.insert("stage".into(), json!(stage));
                map.insert("state".into(), if known { json!(state) } else { Value::Null });
                map.insert("loss".into(), number(loss));
                decisions.push(Value::Object(map));
            }
        }
        let mut map = json!({"type": "chain", "start": self.plan.start, "decisions": decisions});
        if let (Value::Object(map), Some(time)) = (&mut map, &self.plan.time) {
            map.insert("time".into(), clock(&time.clock, "first", &time.start));
        }
        map
    }

    #[inline]
    fn begin(&self, Given { remaining, .. }: Given) -> (Progress, ChainMemory) {
        let time = self.plan.time.as_ref().filter(|_| remaining < f64::INFINITY);
        let first = time.map_or(self.plan.start, |time| time.first(remaining));
        (Progress::new(unsigned(first)), ChainMemory { hand: Hand { loss: self.default_loss }, remaining })
    }

    #[inline]
    fn observe(&self, progress: &mut Progress, memory: &mut ChainMemory, observation: Observation, price: &Price) {
        let stage = progress.pay_from(price);
        let row = self.row(usize::from(stage), observation.signal);
        let loss = self.loss.get(row).copied().unwrap_or(f64::INFINITY);
        if loss < f64::INFINITY && !self.recall {
            memory.hand.loss = loss;
            progress.answer = stage;
        } else {
            memory.hand.take(progress, stage, loss);
        }
        look_at_clock(&mut memory.remaining, observation.remaining);
        progress.next = unsigned(self.action(row, memory));
    }

    fn fail(&self, progress: &mut Progress, memory: &mut ChainMemory, _: &[u16], remaining: f64, price: &Price) {
        let stage = progress.pay_from(price);
        look_at_clock(&mut memory.remaining, remaining);
        progress.next = unsigned(self.action(self.row(usize::from(stage), f64::NAN), memory));
    }

    fn alone(&self, stage: u16, observation: Observation) -> Option<f64> {
        let known =
            self.loss.get(self.row(usize::from(stage), observation.signal)).filter(|loss| **loss < f64::INFINITY);
        let prior = self.prior.get(usize::from(stage)).filter(|loss| **loss < f64::INFINITY);
        known.or(prior).map(|loss| loss * self.unit)
    }

    fn is_exact_without(&self, barred: &[u16]) -> bool {
        let rows = self.plan.intervals.rows().max(1);
        let onward = |stage: usize| {
            let known = self.ranges().nth(stage).unwrap_or_default();
            let known = known.start..known.end.saturating_sub(1);
            let each = self.tables().flat_map(move |(intervals, _)| {
                let blocks = (0..intervals.rows()).step_by(rows);
                let known = known.clone();
                blocks.flat_map(move |block| known.clone().map(move |row| (intervals, block + row)))
            });
            each.flat_map(|(intervals, row)| intervals.targets(row))
        };
        let begins = self.tables().flat_map(|(_, start)| start).filter_map(|start| usize::try_from(*start).ok());
        avoids(self.prior.len(), begins, |stage| barred.contains(&(stage as u16)), onward)
    }

    fn expected_loss(&self, progress: &Progress, memory: &ChainMemory) -> f64 {
        self.unweighted(memory.hand.expected_loss(progress, &self.prior))
    }

    fn default_loss(&self) -> f64 {
        self.unweighted(self.default_loss)
    }
}
