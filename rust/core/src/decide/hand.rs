//! What each request of a batch has in hand: whose answer would be returned, and what that is expected to lose.

use super::failure::Failures;
use super::known::{First, Known};
use crate::price::Price;
use crate::rules::{Given, Progress, Rule, Visitor};

/// The requests of a batch.
pub(super) struct Requests<'a> {
    pub(super) known: &'a Known,
    pub(super) len: usize,
    pub(super) price: &'a Price,
}

impl Requests<'_> {
    /// What holds `of` each request; `other` where nothing is known of it.
    fn each<R: Rule, T: Clone>(
        &self,
        rule: &R,
        other: T,
        of: impl Fn(&Progress, &R::Memory, Option<&Failures>) -> T,
    ) -> Vec<T> {
        let Self { known, len, price } = *self;
        let after = |(progress, memory): &(Progress, R::Memory)| of(progress, memory, None);
        let after_first = |first: &First| (0..len).map(|row| after(&first.state(rule, price, row))).collect();
        match known {
            Known::Nothing => vec![after(&rule.begin(Given::NOTHING)); len],
            Known::First(first) => after_first(first),
            Known::States { rows, progress, memory, failures } => {
                let mut all = rows.as_ref().map_or_else(|| vec![other; len], |(_, first)| after_first(first));
                let memory = memory.downcast_ref::<Vec<R::Memory>>().into_iter().flatten();
                for (at, (progress, memory)) in progress.iter().zip(memory).enumerate() {
                    let row = rows.as_ref().map_or(Some(at), |(rows, _)| rows.get(at).copied());
                    if let Some(cell) = row.and_then(|row| all.get_mut(row)) {
                        *cell = of(progress, memory, failures.get(&at));
                    }
                }
                all
            }
        }
    }
}

/// What each request expects to lose with the answer in hand.
pub(super) struct Losses<'a>(pub(super) Requests<'a>);

impl Visitor for Losses<'_> {
    type Output = Vec<f64>;

    fn visit<R: Rule>(self, rule: &R) -> Vec<f64> {
        self.0.each(rule, f64::INFINITY, |progress, memory, failures| {
            let resort = failures.and_then(Failures::expected_loss);
            resort.unwrap_or_else(|| rule.expected_loss(progress, memory))
        })
    }
}

/// What each request has cost.
pub(super) struct Costs<'a>(pub(super) Requests<'a>);

impl Visitor for Costs<'_> {
    type Output = Vec<f64>;

    fn visit<R: Rule>(self, rule: &R) -> Vec<f64> {
        self.0.each(rule, 0.0, |progress, memory, _| rule.cost(progress, memory))
    }
}

/// The stage whose answer each request would return.
pub(super) struct Answers<'a>(pub(super) Requests<'a>);

impl Visitor for Answers<'_> {
    type Output = Vec<u16>;

    fn visit<R: Rule>(self, rule: &R) -> Vec<u16> {
        self.0.each(rule, crate::plan::NO_STAGE, |progress, memory, _| rule.answer(progress, memory))
    }
}
