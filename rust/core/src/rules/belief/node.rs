//! The situations that a request can pass through: which stages have run, and how to weigh their answers.

use std::sync::Arc;

use super::super::checks;
use super::reading::{Readings, SLOTS};
use crate::error::{Checked, check};

/// `offset + slope · logit`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Line {
    /// Constant term, in logits.
    pub offset: f64,
    /// Factor of the logit.
    pub slope: f64,
}

/// What another answer says about one: a line in its logit for predictions that differ, are equal, or are not known.
pub type Evidence = [Line; 3];

/// Two members of a situation that a table of classes is about, and its number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Dispute {
    pub(super) members: [u8; 2],
    pub(super) pair: u16,
}

/// A set of stages that have run, entered by running one of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The stage that runs when this node is entered.
    pub stage: u16,
    /// The slot that its report goes to.
    pub slot: u8,
    /// The stages whose answers are weighed, ascending; at most [`SLOTS`].
    pub members: Vec<u16>,
    /// The member whose answer is favoured when answers are compared.
    pub favoured: u16,
    /// The slot of each member; empty where that is 0, 1, ….
    pub places: Vec<u8>,
    /// `evidence[j * m + i]`: what member i says about member j; a member is evidence of itself. Nodes of the same members
    /// share it.
    pub evidence: Arc<[Evidence]>,
    /// How much of what named classes say counts for each member; empty where it does not matter which they name.
    pub shares: Arc<[f64]>,
    /// What running the stage costs; follows from the prices of the policy.
    pub(super) price: f64,
    /// The member that answers where the last one does: the last that can.
    pub(super) last: u16,
    /// Members that never answer, one bit each; none where no member can.
    pub(super) mute: u8,
    /// The tables of named classes that are about two members.
    pub(super) disputes: Vec<Dispute>,
}

impl Node {
    /// The node that `stage` enters; `slot_of` is the slot of every stage, empty where that is the place among the
    /// members.
    pub fn new(members: &[u16], stage: u16, favoured: u16, evidence: &[Evidence], slot_of: &[u8]) -> Self {
        let slot = |stage: u16| slot_of.get(usize::from(stage)).copied().unwrap_or(0);
        let mut places: Vec<u8> = members.iter().map(|member| slot(*member)).collect();
        if slot_of.is_empty() || places.iter().enumerate().all(|(at, place)| usize::from(*place) == at) {
            places.clear();
        }
        let (members, evidence) = (members.to_vec(), evidence.into());
        let (shares, disputes) = (Arc::default(), Vec::new());
        let (slot, price, last, mute) = (slot(stage), 0.0, stage, 0);
        Self { stage, slot, members, favoured, places, evidence, shares, price, last, mute, disputes }
    }

    /// The same where some members never answer, and `last` is the last to have run of those that do.
    #[must_use]
    pub fn among(self, is_probe: impl Fn(u16) -> bool, last: u16) -> Self {
        let all = self.members.iter().all(|member| is_probe(*member));
        let bit = |(at, member): (usize, &u16)| u8::from(!all && is_probe(*member)) << at;
        let mute = self.members.iter().enumerate().map(bit).fold(0, |bits, bit| bits | bit);
        Self { mute, last: if all { self.stage } else { last }, ..self }
    }

    /// What its members said, in their order.
    #[inline]
    pub(super) fn hand(&self, readings: &Readings) -> Readings {
        let mut hand = *readings;
        for (at, place) in self.places.iter().enumerate() {
            hand.put(at, readings.get(usize::from(*place)));
        }
        hand
    }

    /// The slot that what `member` said is read from.
    pub(super) fn place_of(&self, member: u16) -> Option<usize> {
        let at = self.members.iter().position(|other| *other == member)?;
        if self.places.is_empty() { Some(at) } else { self.places.get(at).map(|place| usize::from(*place)) }
    }

    /// Checks the node by itself, over so many stages.
    pub(super) fn check(&self, stages: usize) -> Checked {
        let m = self.members.len();
        check((1..=SLOTS).contains(&m), "a situation does not have 1 to 8 members")?;
        let is_stage = |member: &u16| usize::from(*member) < stages;
        check(self.members.iter().all(is_stage), "a member of a situation is not one of the stages")?;
        let is_ascending = self.members.iter().zip(self.members.iter().skip(1)).all(|(a, b)| a < b);
        check(is_ascending, "the members of a situation do not ascend")?;
        check(self.members.contains(&self.favoured), "the favoured stage of a situation is not a member")?;
        check(self.members.contains(&self.stage), "the stage that enters a situation is not a member")?;
        let fits = self.places.is_empty() || self.places.len() == m;
        check(
            fits && self.places.iter().all(|place| usize::from(*place) < SLOTS),
            "the slots of a situation do not fit",
        )?;
        let is_read = self.place_of(self.stage) == Some(usize::from(self.slot));
        check(is_read, "a report goes to another slot than it is read from")?;
        check(self.evidence.len() == m * m, "the evidence is not one entry per pair of members")?;
        let is_summable = |line: &Line| checks::is_summable(line.offset) && checks::is_summable(line.slope);
        check(self.evidence.iter().flatten().all(is_summable), "a weight of the evidence is not within 1e100 of 0")?;
        let fits = self.shares.is_empty() || self.shares.len() == m;
        check(
            fits && self.shares.iter().all(|share| checks::is_summable(*share)),
            "the shares of a situation do not fit",
        )
    }
}
