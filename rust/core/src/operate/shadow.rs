//! A second policy, followed over what a request has shown that another one decided: as far as that goes.
//!
//! What a stage would have said that the request did not run is not known: a shadow that asks for one is followed no
//! further, and how it would have ended stays open.

use super::ended::{Ended, Ran};
use crate::decide::Barred;
use crate::policy::Policy;
use crate::rules::{Given, Observation, UNTOLD};

/// How far a shadow could be followed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Followed {
    /// To its end.
    Ended {
        /// Whether it ran the same stages; else fewer.
        is_same: bool,
        /// Whether it ran them in the order of the request.
        is_in_order: bool,
        /// The stage that it answers with, or [`NO_STAGE`](crate::plan::NO_STAGE).
        answer: u16,
        /// Of the stages that it ran, by its own prices.
        cost: f64,
        /// Of its answer, as it expects itself.
        expected_loss: f64,
    },
    /// Until it asked for a stage that the request did not run.
    WantedMore,
    /// Not at all: the deadline ended the request, and what else it would have run is not known.
    LeftOut,
}

/// How a shadow has been followed over many requests.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tallies {
    /// Requests in which it ran the same stages.
    pub agreed: u64,
    /// Those of them in which it ran them in another order.
    pub other_order: u64,
    /// In which it ended with fewer of the stages that they had run.
    pub stopped_earlier: u64,
    /// In which it asked for a stage that they had not run.
    pub wanted_more: u64,
    /// Which a deadline ended: they are not compared.
    pub left_out: u64,
    /// Among those in which it ended: with the answer of another stage than the request.
    pub other_answer: u64,
    /// Among those in which it ended: how many the sums are of, as all four of their numbers are finite.
    pub summed: u64,
    /// Of the requests, by the policy that decided them.
    pub cost: f64,
    /// Of the shadow, by its own prices.
    pub cost_beside: f64,
    /// Of the answers of the requests, as the policy expects that decided them.
    pub expected_loss: f64,
    /// Of the answers of the shadow, as it expects itself.
    pub expected_loss_beside: f64,
}

impl Tallies {
    /// Requests that were compared.
    pub const fn compared(&self) -> u64 {
        self.agreed + self.stopped_earlier + self.wanted_more
    }

    /// Takes in how a shadow was followed over a request.
    pub fn add(&mut self, request: &Ended, followed: &Followed) {
        let (is_same, is_in_order, answer, cost, expected_loss) = match *followed {
            Followed::Ended { is_same, is_in_order, answer, cost, expected_loss } => {
                (is_same, is_in_order, answer, cost, expected_loss)
            }
            Followed::WantedMore => {
                self.wanted_more += 1;
                return;
            }
            Followed::LeftOut => {
                self.left_out += 1;
                return;
            }
        };
        if is_same {
            self.agreed += 1;
            self.other_order += u64::from(!is_in_order);
        } else {
            self.stopped_earlier += 1;
        }
        self.other_answer += u64::from(answer != request.answer);
        if [request.cost, cost, request.expected_loss, expected_loss].iter().all(|number| number.is_finite()) {
            self.summed += 1;
            self.cost += request.cost;
            self.cost_beside += cost;
            self.expected_loss += request.expected_loss;
            self.expected_loss_beside += expected_loss;
        }
    }
}

/// Follows `policy` over a request that has ended: over the stages that it ran, in their order, without those that were
/// barred before it began (`without`) and those that were when it came to them (`barred`). It is told no time.
///
/// Total: any bit pattern may come in. O(stages that it asks) where it asks for the same ones.
pub fn follow(policy: &Policy, request: &Ended, ran: &[Ran], without: Option<&Barred>, barred: &[u16]) -> Followed {
    if request.is_late {
        return Followed::LeftOut;
    }
    let mut state = match without {
        None => policy.begin(Given::NOTHING),
        Some(without) => policy.begin_without(Given::NOTHING, without),
    };
    let (mut steps, mut is_in_order) = (0, true);
    while state.progress().is_waiting() {
        let next = state.progress().next;
        if let Some((at, stage)) = found(ran, steps, next) {
            is_in_order &= at == steps;
            steps += 1;
            if stage.has_failed {
                policy.fail(&mut state, UNTOLD);
            } else {
                policy.advance(&mut state, Observation::new(stage.signal, stage.prediction));
            }
        } else if barred.contains(&next) {
            policy.bar(&mut state);
        } else {
            return Followed::WantedMore;
        }
    }
    Followed::Ended {
        is_same: steps == ran.len(),
        is_in_order,
        answer: policy.answer(&state),
        cost: policy.cost(&state),
        expected_loss: policy.expected_loss(&state),
    }
}

/// A stage among those that ran: at `first`, for a shadow that asks for the same ones, or elsewhere.
#[inline]
fn found(ran: &[Ran], first: usize, stage: u16) -> Option<(usize, &Ran)> {
    if let Some(ran) = ran.get(first).filter(|ran| ran.stage == stage) {
        return Some((first, ran));
    }
    ran.iter().enumerate().find(|(_, ran)| ran.stage == stage)
}
