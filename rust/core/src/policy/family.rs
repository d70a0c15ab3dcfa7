//! Policies of one calibration for many trade-offs, from the cheapest to the dearest.

use std::sync::Arc;

use once_cell::race::OnceBox;

use super::compiled::Policy;
use super::usual::Usual;
use crate::error::{Error, Result, number};
use crate::price::Price;

/// Policies that a family may have: a file of a family takes at most as often as long to read as one of a policy.
pub const MOST_MEMBERS: usize = 64;

/// One policy of a family.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// The λ that it was fitted for, in [0, 1].
    pub tradeoff: f64,
    /// Its mean loss, in the unit of the losses.
    pub loss: f64,
    /// Its mean cost, in the unit of the trace.
    pub cost: f64,
    /// What decides.
    pub policy: Arc<Policy>,
}

/// Policies of one calibration, by ascending trade-off.
#[derive(Clone, Debug)]
pub struct Family {
    members: Vec<Member>,
    is_held_out: bool,
    /// Hexadecimal digest of the bytes it is stored as, once somebody has asked; never waited for.
    pub(super) digest: OnceBox<String>,
}

impl PartialEq for Family {
    fn eq(&self, other: &Self) -> bool {
        (&self.members, self.is_held_out) == (&other.members, other.is_held_out)
    }
}

impl Family {
    /// Checks that the members are of one calibration. Nothing else makes a family.
    ///
    /// # Errors
    /// [`Error::Invalid`] where there are none or more than [`MOST_MEMBERS`], where trade-offs do not ascend in [0, 1], means
    /// are not finite and at least 0, or stages, prices or usual reports differ.
    pub fn new(members: Vec<Member>, is_held_out: bool) -> Result<Self> {
        fn one(member: &Member) -> (&[String], &Price, &Vec<Usual>) {
            let policy = member.policy.as_ref();
            (policy.stages(), policy.price(), &policy.facts().usual)
        }
        let refuse = |what: String| Err(Error::invalid(format!("family: {what}")));
        if !(1..=MOST_MEMBERS).contains(&members.len()) {
            return refuse(format!("it must have 1 to {MOST_MEMBERS} policies, got {}", members.len()));
        }
        let mut before = -1.0;
        for (at, member) in members.iter().enumerate() {
            let Member { tradeoff, loss, cost, .. } = *member;
            if !(tradeoff > before && tradeoff <= 1.0 && tradeoff.is_sign_positive()) {
                let given = number(tradeoff);
                return refuse(format!("trade-offs must ascend between 0 and 1, got {given} at {at}"));
            }
            if ![loss, cost].iter().all(|mean| mean.is_finite() && *mean >= 0.0) {
                let (loss, cost) = (number(loss), number(cost));
                return refuse(format!(
                    "means must be finite and at least 0, got a loss of {loss}, a cost of {cost} at {at}"
                ));
            }
            before = tradeoff;
        }
        if let Some(at) = members.iter().position(|member| Some(one(member)) != members.first().map(one)) {
            return refuse(format!("policies must be of one calibration, number {at} is of another one"));
        }
        Ok(Self { members, is_held_out, digest: OnceBox::new() })
    }

    /// The policies, by ascending trade-off.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Whether losses and costs are those of rows that were not learned from, else those of the trace itself.
    pub fn is_held_out(&self) -> bool {
        self.is_held_out
    }

    /// Names of the stages (k,).
    pub fn stages(&self) -> &[String] {
        self.members.first().map_or(&[], |member| member.policy.stages())
    }

    /// The number of the policy for exactly this trade-off.
    ///
    /// # Errors
    /// [`Error::Invalid`] where there is none; lists those there are.
    pub fn at(&self, tradeoff: f64) -> Result<usize> {
        self.members.iter().position(|member| member.tradeoff == tradeoff).ok_or_else(|| {
            let known: Vec<String> = self.members.iter().map(|member| number(member.tradeoff)).collect();
            Error::invalid(format!("`tradeoff` must be one of {}, got {}", known.join(", "), number(tradeoff)))
        })
    }
}
