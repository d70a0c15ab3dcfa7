//! Stages that give nothing: the request goes on without them, in the last resort with a stage out of its turn.

use crate::plan::{NO_STAGE, stage_number};
use crate::price::Price;
use crate::rules::{Observation, Progress, Rule};

/// The failures of one request.
#[derive(Clone, Debug, Default)]
pub struct Failures {
    /// The stages that failed, in their order.
    stages: Vec<u16>,
    /// Where no decision of the rule leads on and nothing is in hand: what the answer of the stage that runs out of its
    /// turn is expected to lose, infinite until it reports.
    resort: Option<f64>,
}

impl Failures {
    /// Whether a stage runs, or has run, out of its turn: its report is not for the rule.
    pub fn is_last_resort(&self) -> bool {
        self.resort.is_some()
    }

    /// Expected loss of the answer in hand, where a stage runs or has run out of its turn.
    pub fn expected_loss(&self) -> Option<f64> {
        self.resort
    }

    /// The waiting stage gave nothing. Where the rule then ends with empty hands, the stage with the least expected loss
    /// that has not been tried is next.
    pub fn fail<R: Rule>(&mut self, rule: &R, price: &Price, progress: &mut Progress, memory: &mut R::Memory) {
        self.stages.push(progress.next);
        if self.is_last_resort() {
            progress.pay_from(price);
            progress.next = NO_STAGE;
        } else {
            rule.fail(progress, memory, price);
        }
        let is_empty_handed = progress.answer == NO_STAGE && rule.expected_loss(progress, memory) == f64::INFINITY;
        if !progress.is_waiting() && is_empty_handed {
            progress.next = self.untried(rule, price, progress.last);
            self.resort = stage_number(progress.next).map(|_| f64::INFINITY);
        }
    }

    /// The stage that runs out of its turn reports: nothing else can answer.
    pub fn resort_to<R: Rule>(&mut self, rule: &R, price: &Price, progress: &mut Progress, observation: Observation) {
        progress.answer = progress.pay_from(price);
        progress.next = NO_STAGE;
        self.resort = rule.alone(progress.answer, observation);
    }

    /// The stage with the least expected loss that has not failed and may run after `last`.
    fn untried<R: Rule>(&self, rule: &R, price: &Price, last: u16) -> u16 {
        let may_run = |stage: &u16| !self.stages.contains(stage) && price.may_follow(last, *stage);
        let open = (0..price.stages() as u16).filter(may_run);
        let known = open.filter_map(|stage| Some((rule.alone(stage, Observation::EMPTY)?, stage)));
        known.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(NO_STAGE, |(_, stage)| stage)
    }
}
