//! Situations in which it matters which classes their members name.

use super::node::{Dispute, Node};
use super::pairs::Pair;
use super::reading::{Readings, SLOTS};

impl Node {
    /// The same where what named classes say counts so much for each member.
    #[must_use]
    pub fn sharing(self, shares: &[f64]) -> Self {
        Self { shares: shares.into(), ..self }
    }

    /// The same where it matters which classes members name: the tables that are about two of them, if they have a share.
    #[must_use]
    pub fn disputed(self, pairs: &[Pair]) -> Self {
        let place = |stage: u16| self.members.iter().position(|member| *member == stage);
        let dispute = |(number, pair): (usize, &Pair)| {
            let [one, other] = pair.stages().map(place);
            Some(Dispute { members: [one? as u8, other? as u8], pair: u16::try_from(number).ok()? })
        };
        let found =
            if self.shares.is_empty() { Vec::new() } else { pairs.iter().enumerate().filter_map(dispute).collect() };
        Self { disputes: found, ..self }
    }

    /// What the classes that its members name add to the logit of each; `hand` is what each said.
    #[inline]
    pub(super) fn offsets(&self, pairs: &[Pair], hand: &Readings) -> [f64; SLOTS] {
        let mut offsets = [0.0; SLOTS];
        for Dispute { members, pair } in &self.disputes {
            let [one, other] = members.map(usize::from);
            let Some(pair) = pairs.get(usize::from(*pair)) else { continue };
            let (first, second) = (hand.get(one), hand.get(other));
            if !first.is_known() || !second.is_known() {
                continue;
            }
            for (at, offset) in [one, other].into_iter().zip(pair.of([first.prediction, second.prediction])) {
                if let (Some(sum), Some(share)) = (offsets.get_mut(at), self.shares.get(at)) {
                    *sum += share * offset;
                }
            }
        }
        offsets
    }
}
