//! Rules over the stages that can answer, as rules over all stages.

use crate::plan::{ChainPlan, Intervals, Row, STOP};
use crate::rules::{AnyRule, ChainRule, Component, PatienceRule, StateReader, ThresholdRule, Walk};

/// Where the stages of a part are among all.
pub struct Lift<'a> {
    /// Their numbers, ascending.
    pub stages: &'a [usize],
    /// How many stages there are in all.
    pub all: usize,
}

impl Lift<'_> {
    /// One entry per stage of the part (m,) as one per stage (k,): `other` for those outside it.
    pub fn column<T: Clone>(&self, part: &[T], other: &T) -> Vec<T> {
        let mut column = vec![other.clone(); self.all];
        for (stage, entry) in self.stages.iter().zip(part) {
            column[*stage] = entry.clone();
        }
        column
    }

    fn number(&self, stage: i32) -> i32 {
        usize::try_from(stage).map_or(STOP, |stage| self.stages[stage] as i32)
    }

    fn walk(&self, walk: &Walk) -> Walk {
        let successor: Vec<i32> = walk.successor.iter().map(|next| self.number(*next)).collect();
        Walk {
            entry: self.number(walk.entry),
            successor: self.column(&successor, &STOP),
            mean_loss: self.column(&walk.mean_loss, &f64::INFINITY),
            default_loss: walk.default_loss,
        }
    }

    /// A rule over the part as one over all stages.
    pub fn rule(&self, rule: Component) -> Component {
        match rule {
            Component::Threshold(ThresholdRule { walk, threshold, reject }) => {
                let threshold = self.column(&threshold, &f64::INFINITY);
                ThresholdRule { walk: self.walk(&walk), threshold, reject }.into()
            }
            Component::Patience(PatienceRule { walk, patience, rejects }) => {
                PatienceRule { walk: self.walk(&walk), patience, rejects }.into()
            }
            Component::Chain(chain) => self.chain(chain).into(),
            other => other,
        }
    }

    /// The same of a rule of any kind.
    pub fn any(&self, rule: AnyRule) -> AnyRule {
        match rule {
            AnyRule::Component(rule) => AnyRule::Component(self.rule(rule)),
            other => other,
        }
    }

    /// A stage outside the part has one state, and never runs.
    fn chain(&self, rule: ChainRule) -> ChainRule {
        let ChainRule { reader, recall, default_loss, unit, loss, prior, plan } = rule;
        let reader = match reader {
            StateReader::Bins(edges) => StateReader::Bins(self.column(&edges, &Vec::new())),
            other => other,
        };
        let mut lifted =
            ChainPlan { start: self.number(plan.start), offset: vec![0], intervals: Intervals::new(), time: None };
        let mut losses = Vec::new();
        for stage in 0..self.all {
            match self.stages.binary_search(&stage) {
                Ok(at) => {
                    let rows = plan.offset[at] as usize..plan.offset[at + 1] as usize;
                    losses.extend_from_slice(&loss[rows.clone()]);
                    for row in &plan.intervals.table()[rows] {
                        lifted.intervals.push(row.stop, self.steps(&plan.intervals, row));
                    }
                }
                Err(_) => {
                    for _ in 0..2 {
                        losses.push(f64::INFINITY);
                        lifted.intervals.push(f64::INFINITY, []);
                    }
                }
            }
            lifted.offset.push(lifted.intervals.rows() as u32);
        }
        let prior = self.column(&prior, &f64::INFINITY);
        ChainRule { reader, recall, default_loss, unit, loss: losses, prior, plan: lifted }
    }

    /// Where a row leads, by limit; nowhere where it always stops.
    fn steps(&self, intervals: &Intervals, row: &Row) -> Vec<(f64, i32)> {
        let last = (row.len > 0 || row.last != STOP).then_some((f64::INFINITY, row.last));
        intervals.steps(row).chain(last).map(|(limit, next)| (limit, self.number(next))).collect()
    }
}
