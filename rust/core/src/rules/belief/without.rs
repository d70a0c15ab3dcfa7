//! Decisions of their own for requests that go without some stages, barred or failed: where these go on.

use super::reading::SLOTS;
use crate::error::{Checked, check};

/// Where requests go on that go without some stages. A set of stages is a number: bit i says whether the i-th of `stages`
/// is in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Without {
    /// All stages that may run, ascending; at most [`SLOTS`].
    pub stages: Vec<u16>,
    /// Whether requests whose stage fails go on so; else only those whose stages are barred before they begin.
    pub after_failure: bool,
    /// Ascending, each set that is missing, with each set that has run, once.
    pub detours: Vec<Detour>,
}

/// Where a request goes on when it goes without some stages and others have run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Detour {
    /// The stages that it goes without; not none.
    pub missing: u8,
    /// Those that have run, none of them missing.
    pub ran: u8,
    /// Where nothing has run, the node to begin with, [`NO_STAGE`](crate::plan::NO_STAGE) where nothing is answered at once; else one whose
    /// decisions hold.
    pub node: u16,
}

impl Without {
    /// The stages that are among all that may run, as a number.
    pub fn set_of(&self, stages: &[u16]) -> u8 {
        let bit = |(at, own): (usize, &u16)| u8::from(stages.contains(own)) << at;
        self.stages.iter().take(SLOTS).enumerate().map(bit).fold(0, |set, bit| set | bit)
    }

    /// The stages of a set.
    pub(super) fn stages_of(&self, set: u8) -> impl Iterator<Item = u16> + '_ {
        self.stages.iter().take(SLOTS).enumerate().filter(move |(at, _)| set >> at & 1 == 1).map(|(_, stage)| *stage)
    }

    /// The node of the detour for these sets.
    pub(super) fn find(&self, missing: u8, ran: u8) -> Option<u16> {
        let at = self.detours.binary_search_by_key(&(missing, ran), |detour| (detour.missing, detour.ran)).ok()?;
        self.detours.get(at).map(|detour| detour.node)
    }

    /// Checks the sets by themselves.
    pub(super) fn check(&self) -> Checked {
        let is_ascending = |stages: &[u16]| stages.iter().zip(stages.iter().skip(1)).all(|(a, b)| a < b);
        let fits = (1..=SLOTS).contains(&self.stages.len()) && is_ascending(&self.stages);
        check(fits, "the stages that may be missing are not 1 to 8 that ascend")?;
        let keys = self.detours.iter().map(|detour| (detour.missing, detour.ran));
        let ascend = keys.clone().zip(keys.skip(1)).all(|(a, b)| a < b);
        check(ascend, "the detours do not ascend")?;
        let all = self.set_of(&self.stages);
        let is_apart = |it: &Detour| it.missing != 0 && it.missing & it.ran == 0 && (it.missing | it.ran) & !all == 0;
        check(self.detours.iter().all(is_apart), "a detour is not about stages that are missing and others that ran")
    }
}
