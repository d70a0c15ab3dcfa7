//! A coin between two rules: what meets a budget exactly that each of them alone misses or wastes.
//!
//! The coin is tossed on the first report: a hash of its signal, its prediction and the seed. A request that is decided
//! again, alone, in a batch or in a replay, is therefore decided alike. Requests with the same first report follow the
//! same rule.

use serde::{Deserialize, Serialize};

use super::{BeliefRule, ChainRule, NO_STAGE, PatienceRule, Progress, Reading, Rule, Rules, SLOTS, ThresholdRule};
use crate::price::Price;
use crate::random::mix64;

/// One of the two rules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Component {
    /// As [`Rules::Chain`].
    Chain(ChainRule),
    /// As [`Rules::Belief`].
    Belief(BeliefRule),
    /// As [`Rules::Threshold`].
    Threshold(ThresholdRule),
    /// As [`Rules::Patience`].
    Patience(PatienceRule),
}

impl Component {
    /// A rule that may be mixed; `None` for rules of trees and graphs, and for mixtures.
    pub fn new(rules: &Rules) -> Option<Self> {
        match rules {
            Rules::Chain(rule) => Some(Self::Chain(rule.clone())),
            Rules::Belief(rule) => Some(Self::Belief(rule.clone())),
            Rules::Threshold(rule) => Some(Self::Threshold(rule.clone())),
            Rules::Patience(rule) => Some(Self::Patience(rule.clone())),
            Rules::Tree(_) | Rules::Dag(_) | Rules::Mixture(_) => None,
        }
    }

    fn begin(&self) -> Progress {
        match self {
            Self::Chain(rule) => rule.begin().0,
            Self::Belief(rule) => rule.begin().0,
            Self::Threshold(rule) => rule.begin().0,
            Self::Patience(rule) => rule.begin().0,
        }
    }

    fn recall(&self) -> bool {
        match self {
            Self::Chain(rule) => rule.recall,
            Self::Belief(rule) => rule.recall,
            Self::Threshold(_) | Self::Patience(_) => false,
        }
    }

    fn problem(&self, stages: usize) -> Option<&'static str> {
        match self {
            Self::Chain(rule) => rule.problem(stages),
            Self::Belief(rule) => rule.problem(stages),
            Self::Threshold(rule) => rule.problem(stages),
            Self::Patience(rule) => rule.problem(stages),
        }
    }
}

/// Each request follows one of two rules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MixtureRule {
    /// Of the coin.
    pub seed: u64,
    /// Share of requests, in [0, 1], that follow the first rule.
    pub share: f64,
    /// Two rules that begin with the same stage.
    pub parts: Box<[Component; 2]>,
}

/// What a request carries under a mixture.
#[derive(Clone, Copy, Debug)]
pub struct MixtureMemory {
    is_first: bool,
    seen: [Reading; SLOTS],
}

impl MixtureRule {
    /// Derives what is not stored.
    pub(crate) fn prepare(&mut self) {
        for part in self.parts.iter_mut() {
            if let Component::Belief(rule) = part {
                rule.prepare();
            }
        }
    }

    /// Whether a request with this first report follows the first rule.
    #[inline]
    fn toss(&self, signal: f64, prediction: i64) -> bool {
        // Zeros of either sign are equal, and so are all missing signals.
        let bits = if signal.is_nan() { f64::NAN.to_bits() } else { (signal + 0.0).to_bits() };
        let hash = mix64(mix64(mix64(self.seed) ^ bits) ^ prediction as u64);
        ((hash >> 11) as f64) < self.share * (1_u64 << 53) as f64
    }

    fn part(&self, is_first: bool) -> &Component {
        let [first, second] = &*self.parts;
        if is_first { first } else { second }
    }

    /// Whether either rule may return an earlier answer.
    pub fn recall(&self) -> bool {
        self.parts.iter().any(Component::recall)
    }

    /// Why this rule could not be executed, if so.
    pub fn problem(&self, stages: usize) -> Option<&'static str> {
        let [first, second] = &*self.parts;
        if !(0.0..=1.0).contains(&self.share) {
            Some("the share of a mixture is not in [0, 1]")
        } else if first.begin().next != second.begin().next {
            Some("the parts of a mixture do not begin with the same stage")
        } else {
            first.problem(stages).or_else(|| second.problem(stages))
        }
    }
}

impl Rule for MixtureRule {
    type Memory = MixtureMemory;

    fn begin(&self) -> (Progress, MixtureMemory) {
        (self.part(true).begin(), MixtureMemory { is_first: true, seen: [Reading::NONE; SLOTS] })
    }

    #[inline(never)]
    fn step(&self, progress: &mut Progress, memory: &mut MixtureMemory, signal: f64, prediction: i64, price: &Price) {
        if progress.last == NO_STAGE {
            memory.is_first = self.toss(signal, prediction);
            *progress = self.part(memory.is_first).begin();
        }
        match self.part(memory.is_first) {
            Component::Chain(rule) => rule.step(progress, &mut (), signal, prediction, price),
            Component::Belief(rule) => rule.step(progress, &mut memory.seen, signal, prediction, price),
            Component::Threshold(rule) => rule.step(progress, &mut (), signal, prediction, price),
            Component::Patience(rule) => rule.step(progress, &mut (), signal, prediction, price),
        }
    }

    fn expected_loss(&self, progress: &Progress, memory: &MixtureMemory) -> f64 {
        match self.part(memory.is_first) {
            Component::Chain(rule) => rule.expected_loss(progress, &()),
            Component::Belief(rule) => rule.expected_loss(progress, &memory.seen),
            Component::Threshold(rule) => rule.expected_loss(progress, &()),
            Component::Patience(rule) => rule.expected_loss(progress, &()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::STOP;

    fn always(entry: i32) -> Component {
        let (threshold, successor) = (vec![f64::NEG_INFINITY; 2], vec![1, STOP]);
        Component::Threshold(ThresholdRule { entry, threshold, successor, prior: vec![0.5, 0.25] })
    }

    fn coin(share: f64, seed: u64) -> MixtureRule {
        MixtureRule { seed, share, parts: Box::new([always(0), always(0)]) }
    }

    #[test]
    fn the_coin_has_its_share() {
        for share in [0.0, 0.3, 1.0] {
            let rule = coin(share, 7);
            let heads = (0..20_000).filter(|i| rule.toss(f64::from(*i) / 20_000.0, 1)).count();
            assert!((heads as f64 / 20_000.0 - share).abs() < 0.015, "{heads} at {share}");
        }
    }

    #[test]
    fn seeds_and_predictions_toss_anew_and_equal_reports_alike() {
        let (one, other) = (coin(0.5, 1), coin(0.5, 2));
        let reports: Vec<f64> = (0..1000).map(f64::from).collect();
        assert!(reports.iter().any(|x| one.toss(*x, 0) != other.toss(*x, 0)));
        assert!(reports.iter().any(|x| one.toss(*x, 0) != one.toss(*x, 1)));
        assert_eq!(one.toss(0.0, 3), one.toss(-0.0, 3));
        assert_eq!(one.toss(f64::NAN, 3), one.toss(-f64::NAN, 3));
    }

    #[test]
    fn parts_must_begin_alike() {
        assert_eq!(coin(0.5, 0).problem(2), None);
        assert!(coin(1.5, 0).problem(2).is_some());
        assert!(coin(f64::NAN, 0).problem(2).is_some());
        let apart = MixtureRule { parts: Box::new([always(0), always(1)]), ..coin(0.5, 0) };
        assert!(apart.problem(2).is_some());
    }
}
