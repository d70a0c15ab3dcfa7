//! Stages that give nothing: the request goes on without them, in the last resort with a stage out of its turn.

use super::barred::Barred;
use crate::plan::{NO_STAGE, stage_number};
use crate::price::Price;
use crate::rules::{Given, Observation, Progress, Rule, UNTOLD};

/// The stages that gave one request nothing.
#[derive(Clone, Debug, Default)]
pub struct Failures {
    /// Those that failed or are barred, whether the request has come to them or not.
    stages: Vec<u16>,
    /// The stage that ran last, where others have been barred since: the rule takes the last of them for it.
    ran: Option<u16>,
    /// Where no decision of the rule leads on and nothing is in hand: what the answer of the stage that runs out of its
    /// turn is expected to lose, infinite until it reports.
    resort: Option<f64>,
    /// Those that the request goes without, whether it has come to them or not.
    barred: Option<Barred>,
}

impl Failures {
    /// The request, which has just begun, goes without some stages.
    pub fn go_without<R: Rule>(
        &mut self,
        barred: &Barred,
        given: Given,
        rule: &R,
        price: &Price,
        progress: &mut Progress,
        memory: &mut R::Memory,
    ) {
        self.barred = Some(barred.clone());
        self.stages.extend(barred.stages());
        if let Some(begun) = rule.begin_without(barred.stages(), given) {
            (*progress, *memory) = begun;
        }
        self.pass_over(rule, price, progress, memory);
    }

    /// Whether the request must not ask `stage`.
    fn must_pass(&self, stage: u16) -> bool {
        self.barred.as_ref().is_some_and(|barred| barred.contains(stage))
    }

    /// Bars what is next for as long as it must not be asked.
    fn pass_over<R: Rule>(&mut self, rule: &R, price: &Price, progress: &mut Progress, memory: &mut R::Memory) {
        while progress.is_waiting() && self.must_pass(progress.next) {
            self.bar_next(rule, price, progress, memory);
        }
    }

    /// Expected loss of the answer in hand, where a stage runs or has run out of its turn.
    pub fn expected_loss(&self) -> Option<f64> {
        self.resort
    }

    /// The waiting stage reports. If it runs out of its turn, nothing else can answer.
    #[cold]
    pub fn observe<R: Rule>(
        &mut self,
        rule: &R,
        price: &Price,
        progress: &mut Progress,
        memory: &mut R::Memory,
        observation: Observation,
    ) {
        let cost = self.cost_after(price, progress);
        if self.resort.is_some() {
            progress.answer = progress.pay_from(price);
            progress.next = NO_STAGE;
            self.resort = rule.alone(progress.answer, observation);
        } else {
            rule.observe_without(progress, memory, observation, price);
        }
        self.book(cost, progress);
        self.pass_over(rule, price, progress, memory);
    }

    /// The waiting stage gave nothing. Where the rule then ends with empty hands, the stage with the least expected loss
    /// that has not been tried is next.
    pub fn fail<R: Rule>(
        &mut self,
        rule: &R,
        price: &Price,
        progress: &mut Progress,
        memory: &mut R::Memory,
        remaining: f64,
    ) {
        let cost = self.cost_after(price, progress);
        self.go_on(rule, price, progress, memory, remaining);
        self.book(cost, progress);
        self.seek(rule, price, progress, memory);
        self.pass_over(rule, price, progress, memory);
    }

    /// The same of a stage that cannot be tried: it has not run, and is not paid for.
    pub fn bar<R: Rule>(&mut self, rule: &R, price: &Price, progress: &mut Progress, memory: &mut R::Memory) {
        self.bar_next(rule, price, progress, memory);
        self.pass_over(rule, price, progress, memory);
    }

    fn bar_next<R: Rule>(&mut self, rule: &R, price: &Price, progress: &mut Progress, memory: &mut R::Memory) {
        let (cost, ran) = (progress.cost, self.ran.unwrap_or(progress.last));
        self.go_on(rule, price, progress, memory, UNTOLD);
        progress.cost = cost;
        self.ran = Some(ran);
        self.seek(rule, price, progress, memory);
    }

    /// The request ends while the waiting stage, which is paid for, is under way.
    pub fn stop<R: Rule>(&mut self, rule: &R, price: &Price, progress: &mut Progress, memory: &mut R::Memory) {
        let cost = self.cost_after(price, progress);
        rule.stop(progress, memory, price);
        self.book(cost, progress);
    }

    /// What the request has cost once the waiting stage is paid for, where the stage before it has been barred: that
    /// did not run, so that the jump is from the one that did, if there is a price of that.
    fn cost_after(&self, price: &Price, progress: &Progress) -> Option<f64> {
        let (ran, next) = (self.ran?, usize::from(progress.next));
        price.allows(ran, next).then(|| progress.cost + price.of(ran, next))
    }

    /// The waiting stage has been paid for, by the rule's own price or by this one.
    fn book(&mut self, cost: Option<f64>, progress: &mut Progress) {
        self.ran = None;
        progress.cost = cost.unwrap_or(progress.cost);
    }

    /// The rule goes on without the waiting stage; a request whose stage ran out of its turn ends.
    fn go_on<R: Rule>(
        &mut self,
        rule: &R,
        price: &Price,
        progress: &mut Progress,
        memory: &mut R::Memory,
        remaining: f64,
    ) {
        self.stages.push(progress.next);
        if self.resort.is_some() {
            progress.pay_from(price);
            progress.next = NO_STAGE;
        } else {
            rule.fail(progress, memory, &self.stages, remaining, price);
        }
    }

    /// Where the request has ended with empty hands, another stage is next.
    fn seek<R: Rule>(&mut self, rule: &R, price: &Price, progress: &mut Progress, memory: &R::Memory) {
        let is_empty_handed =
            rule.answer(progress, memory) == NO_STAGE && rule.expected_loss(progress, memory) == f64::INFINITY;
        if !progress.is_waiting() && is_empty_handed {
            progress.next = self.untried(rule, price, self.ran.unwrap_or(progress.last));
            self.resort = stage_number(progress.next).map(|_| f64::INFINITY);
        }
    }

    /// The stage with the least expected loss that has given nothing yet and may run after `last`.
    fn untried<R: Rule>(&self, rule: &R, price: &Price, last: u16) -> u16 {
        let is_open = |stage: u16| !self.stages.contains(&stage) && !self.must_pass(stage);
        let may_run = |stage: &u16| is_open(*stage) && price.may_follow(last, *stage);
        let open = (0..price.stages() as u16).filter(may_run);
        let known = open.filter_map(|stage| Some((rule.alone(stage, Observation::EMPTY)?, stage)));
        known.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(NO_STAGE, |(_, stage)| stage)
    }
}
