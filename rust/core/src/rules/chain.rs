//! Observed states on a line or a skip graph: the exact index, one lookup and one comparison (theory, section 3).

use serde_json::{Value, json};

use super::checks;
use super::describe::{decision, number};
use super::hand::Hand;
use super::observation::Observation;
use super::progress::Progress;
use super::reach::avoids;
use super::reader::StateReader;
use super::rule::Rule;
use crate::error::{Checked, check};
use crate::plan::{ChainPlan, NO_STAGE, unsigned};
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

impl ChainRule {
    /// The row of what `stage` says.
    #[inline]
    fn row(&self, stage: usize, signal: f64) -> usize {
        let from = self.plan.offset.get(stage).copied().unwrap_or(0) as usize;
        let to = self.plan.offset.get(stage + 1).copied().unwrap_or(0) as usize;
        // The last row of a stage is the one of the unknown state.
        from + self.reader.read(stage, to.saturating_sub(from).saturating_sub(1), signal)
    }

    /// Every step that a request can take, from a stage (the first one: from none) to the next.
    fn steps(&self) -> impl Iterator<Item = (u16, usize)> {
        let first = usize::try_from(self.plan.start).ok().map(|start| (NO_STAGE, start));
        let rows = self.ranges().enumerate().flat_map(|(stage, rows)| rows.map(move |row| (stage as u16, row)));
        let onward = rows.flat_map(|(stage, row)| self.plan.intervals.targets(row).map(move |next| (stage, next)));
        onward.chain(first)
    }

    /// The rows of each stage.
    fn ranges(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        let offset = &self.plan.offset;
        offset.iter().zip(offset.iter().skip(1)).map(|(from, to)| *from as usize..*to as usize)
    }
}

impl Rule for ChainRule {
    type Memory = Hand;

    fn complete(&mut self, stages: usize, price: &Price) -> Checked {
        let (offset, rows) = (&self.plan.offset, self.plan.intervals.rows());
        let ends = offset.first() == Some(&0) && offset.last().map(|last| *last as usize) == Some(rows);
        check(offset.len() == stages + 1 && ends, "the rows of the table do not fit the stages")?;
        check(self.ranges().all(|rows| !rows.is_empty()), "a stage has no row in the table")?;
        check(self.loss.len() == rows, "the losses do not fit the rows of the table")?;
        check(self.loss.iter().all(|r| *r > f64::NEG_INFINITY), "a loss is not a number")?;
        checks::mean_losses(&self.prior, stages)?;
        checks::default_loss(self.default_loss)?;
        check(self.unit.is_finite(), "the unit of the losses is not finite")?;
        check((-1..stages as i32).contains(&self.plan.start), "the first stage is not one of the stages")?;
        let states: Vec<usize> = self.ranges().map(|rows| rows.len() - 1).collect();
        self.reader.check(&states)?;
        let stage_of = |row: usize| offset.partition_point(|from| *from as usize <= row) as i32 - 1;
        self.plan.intervals.check(stages, stage_of)?;
        checks::priced(price, self.steps())
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
        json!({"type": "chain", "start": self.plan.start, "decisions": decisions})
    }

    #[inline]
    fn begin(&self, _: f64) -> (Progress, Hand) {
        (Progress::new(unsigned(self.plan.start)), Hand { loss: self.default_loss })
    }

    #[inline]
    fn observe(&self, progress: &mut Progress, hand: &mut Hand, observation: Observation, price: &Price) {
        let stage = progress.pay_from(price);
        let row = self.row(usize::from(stage), observation.signal);
        let loss = self.loss.get(row).copied().unwrap_or(f64::INFINITY);
        if loss < f64::INFINITY && !self.recall {
            hand.loss = loss;
            progress.answer = stage;
        } else {
            hand.take(progress, stage, loss);
        }
        progress.next = unsigned(self.plan.intervals.action(row, hand.loss));
    }

    fn fail(&self, progress: &mut Progress, hand: &mut Hand, _: f64, price: &Price) {
        let stage = progress.pay_from(price);
        progress.next = unsigned(self.plan.intervals.action(self.row(usize::from(stage), f64::NAN), hand.loss));
    }

    fn alone(&self, stage: u16, observation: Observation) -> Option<f64> {
        let known =
            self.loss.get(self.row(usize::from(stage), observation.signal)).filter(|loss| **loss < f64::INFINITY);
        known.or(self.prior.get(usize::from(stage))).map(|loss| loss * self.unit)
    }

    fn is_exact_without(&self, barred: &[u16]) -> bool {
        let onward = |stage: usize| {
            let rows = self.ranges().nth(stage).unwrap_or_default();
            let known = rows.start..rows.end.saturating_sub(1);
            known.flat_map(|row| self.plan.intervals.targets(row))
        };
        let start = usize::try_from(self.plan.start).ok();
        avoids(self.prior.len(), start, |stage| barred.contains(&(stage as u16)), onward)
    }

    fn expected_loss(&self, progress: &Progress, hand: &Hand) -> f64 {
        let loss = hand.expected_loss(progress, &self.prior);
        if loss == f64::INFINITY { loss } else { loss * self.unit }
    }

    fn default_loss(&self) -> f64 {
        let loss = self.default_loss;
        if loss == f64::INFINITY { loss } else { loss * self.unit }
    }
}
