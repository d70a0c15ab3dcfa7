//! A coin between two rules: what meets a budget exactly that each of them alone misses or wastes.
//!
//! The coin is tossed on the first report: a hash of its signal, its prediction and the seed. A request that is decided
//! again, alone, in a batch or in a replay, is therefore decided alike. Requests with the same first report follow the
//! same rule.

use serde_json::{Value, json};

use super::component::{Component, ComponentMemory};
use super::given::Given;
use super::observation::Observation;
use super::prediction::{NO_PREDICTION, tossed};
use super::progress::Progress;
use super::rule::{Entry, Rule};
use crate::error::{Checked, check};
use crate::plan::NO_STAGE;
use crate::price::Price;
use crate::random::mix64;

/// Each request follows one of two rules.
#[derive(Clone, Debug, PartialEq)]
pub struct MixtureRule {
    seed: u64,
    share: f64,
    coin: Coin,
    components: Box<[Component; 2]>,
    /// Whether both components can tell what follows a first report without a memory.
    tells_first: bool,
}

/// Heads for a share of all first reports.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Coin {
    /// The seed, mixed.
    key: u64,
    /// Heads are the hashes whose first 53 bits are a number below this.
    heads: u64,
}

impl Coin {
    fn new(seed: u64, share: f64) -> Self {
        // A product with a power of two is exact.
        Self { key: mix64(seed), heads: (share * (1_u64 << 53) as f64).ceil() as u64 }
    }

    #[inline]
    fn toss(self, signal: f64, prediction: i64) -> bool {
        // Zeros of either sign are equal, and so are all missing signals.
        let bits = if signal.is_nan() { f64::NAN.to_bits() } else { (signal + 0.0).to_bits() };
        mix64(mix64(self.key ^ bits) ^ tossed(prediction) as u64) >> 11 < self.heads
    }
}

/// What a request carries under a mixture: which component it follows, and what that remembers.
#[derive(Clone, Debug)]
pub struct MixtureMemory {
    is_first: bool,
    /// Seconds that it had left when it began.
    remaining: f64,
    /// Where it began, if it goes without some stages.
    entry: Option<Entry>,
    memory: ComponentMemory,
}

impl MixtureRule {
    /// A coin of this seed; about `share` of requests, in [0, 1], follow the first of two rules that begin with the
    /// same stage.
    pub fn new(seed: u64, share: f64, components: [Component; 2]) -> Self {
        Self { seed, share, coin: Coin::new(seed, share), components: Box::new(components), tells_first: false }
    }

    /// Of the coin.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Share of requests that follow the first component.
    pub fn share(&self) -> f64 {
        self.share
    }

    /// The two rules.
    pub fn components(&self) -> &[Component; 2] {
        &self.components
    }

    /// Whether a request with this first report follows the first component.
    #[inline]
    fn toss(&self, observation: Observation) -> bool {
        self.coin.toss(observation.signal, observation.prediction)
    }

    #[inline]
    fn component(&self, is_first: bool) -> &Component {
        let [first, second] = &*self.components;
        if is_first { first } else { second }
    }

    /// One component where a request begins that goes without some stages.
    #[cold]
    fn component_at(&self, is_first: bool, [first, second]: Entry) -> (Progress, ComponentMemory) {
        self.component(is_first).begin_at([if is_first { first } else { second }; 2])
    }

    /// Whether both components begin with the same stage there.
    fn begins_alike_at(&self, entry: Entry) -> bool {
        self.component_at(true, entry).0.next == self.component_at(false, entry).0.next
    }

    /// Whether both components begin with the same stage where so many seconds are left.
    #[inline]
    fn begins_alike(&self, remaining: f64) -> bool {
        let first_stage = |component: &Component| component.begin(Given::within(remaining)).0.next;
        let [first, second] = &*self.components;
        remaining == f64::INFINITY || first_stage(first) == first_stage(second)
    }

    /// The first stage has reported: which component does the request follow? Where so little time was left that they do
    /// not begin alike, it is the one that it began with.
    #[inline]
    fn choose(&self, progress: &mut Progress, memory: &mut MixtureMemory, observation: Observation) {
        if progress.last != NO_STAGE {
            return;
        }
        if let Some(entry) = memory.entry {
            if self.begins_alike_at(entry) {
                memory.is_first = self.toss(observation);
                (*progress, memory.memory) = self.component_at(memory.is_first, entry);
            }
        } else if self.begins_alike(memory.remaining) {
            memory.is_first = self.toss(observation);
            self.component(memory.is_first).begin_again(progress, &mut memory.memory, Given::within(memory.remaining));
        }
    }
}

impl Rule for MixtureRule {
    type Memory = MixtureMemory;

    fn complete(&mut self, stages: usize, price: &Price) -> Checked {
        check((0.0..=1.0).contains(&self.share), "the share of a mixture is not in [0, 1]")?;
        for component in self.components.iter_mut() {
            component.complete(stages, price)?;
        }
        let [first, second] = &*self.components;
        self.tells_first =
            [first, second].into_iter().all(|component| component.after_first(Observation::EMPTY).is_some());
        check(
            first.begin(Given::NOTHING).0 == second.begin(Given::NOTHING).0,
            "the components of a mixture do not begin with the same stage",
        )
    }

    fn recall(&self) -> bool {
        self.components.iter().any(Rule::recall)
    }

    fn latency(&self) -> Option<&[f64]> {
        self.components.iter().find_map(Rule::latency)
    }

    fn describe(&self) -> Value {
        let components: Vec<Value> = self.components.iter().map(Rule::describe).collect();
        json!({"type": "mixture", "seed": self.seed, "share": self.share, "components": components})
    }

    fn begin(&self, Given { remaining, .. }: Given) -> (Progress, MixtureMemory) {
        // Where they do not begin alike, requests follow the component that most requests follow.
        let is_first = self.begins_alike(remaining) || self.share >= 0.5;
        let (progress, memory) = self.component(is_first).begin(Given::within(remaining));
        (progress, MixtureMemory { is_first, remaining, entry: None, memory })
    }

    #[inline(never)]
    fn observe(&self, progress: &mut Progress, memory: &mut MixtureMemory, observation: Observation, price: &Price) {
        self.choose(progress, memory, observation);
        self.component(memory.is_first).observe(progress, &mut memory.memory, observation, price);
    }

    fn observe_without(
        &self,
        progress: &mut Progress,
        memory: &mut MixtureMemory,
        observation: Observation,
        price: &Price,
    ) {
        self.choose(progress, memory, observation);
        self.component(memory.is_first).observe_without(progress, &mut memory.memory, observation, price);
    }

    fn fail(
        &self,
        progress: &mut Progress,
        memory: &mut MixtureMemory,
        missing: &[u16],
        remaining: f64,
        price: &Price,
    ) {
        self.choose(progress, memory, Observation::EMPTY);
        self.component(memory.is_first).fail(progress, &mut memory.memory, missing, remaining, price);
    }

    fn stop(&self, progress: &mut Progress, memory: &mut MixtureMemory, price: &Price) {
        self.component(memory.is_first).stop(progress, &mut memory.memory, price);
    }

    fn alone(&self, stage: u16, observation: Observation) -> Option<f64> {
        // A stage that never answers under one of them does not under the other.
        self.component(false).alone(stage, observation).and(self.component(true).alone(stage, observation))
    }

    fn expected_loss(&self, progress: &Progress, memory: &MixtureMemory) -> f64 {
        self.component(memory.is_first).expected_loss(progress, &memory.memory)
    }

    fn is_exact_without(&self, barred: &[u16]) -> bool {
        self.components.iter().all(|component| component.is_exact_without(barred))
    }

    fn entry_without(&self, barred: &[u16]) -> Option<Entry> {
        let [first, second] = &*self.components;
        let (Some([first, _]), Some([second, _])) = (first.entry_without(barred), second.entry_without(barred)) else {
            return None;
        };
        Some([first, second])
    }

    /// Where the components do not begin alike there is no report to toss the coin on: all requests follow the component
    /// that those follow whose first stage says nothing.
    fn begin_at(&self, entry: Entry) -> (Progress, MixtureMemory) {
        let is_first = self.begins_alike_at(entry) || self.toss(Observation::EMPTY);
        let (progress, memory) = self.component_at(is_first, entry);
        (progress, MixtureMemory { is_first, remaining: f64::INFINITY, entry: Some(entry), memory })
    }

    #[inline]
    fn answer(&self, progress: &Progress, memory: &MixtureMemory) -> u16 {
        self.component(memory.is_first).answer(progress, &memory.memory)
    }

    fn default_loss(&self) -> f64 {
        self.component(true).default_loss()
    }

    fn may_decline(&self) -> bool {
        self.components.iter().any(Rule::may_decline)
    }

    #[inline]
    fn after_first(&self, observation: Observation) -> Option<u16> {
        if self.tells_first { self.component(self.toss(observation)).after_first(observation) } else { None }
    }

    /// The coin is tossed where it matters: where the components do not go on alike.
    fn after_first_of_many(&self, signal: &[f64], prediction: Option<&[i64]>, next: &mut [u16]) -> bool {
        let [first, second] = &*self.components;
        let mut other = vec![NO_STAGE; next.len()];
        if !self.tells_first
            || !first.after_first_of_many(signal, prediction, next)
            || !second.after_first_of_many(signal, prediction, &mut other)
        {
            return false;
        }
        // Each place is written, and stays where the components differ: where that is cannot be foreseen.
        let (mut differing, mut count) = (vec![0; next.len()], 0);
        for (at, (next, other)) in next.iter().zip(&other).enumerate() {
            if let Some(place) = differing.get_mut(count) {
                *place = at;
            }
            count += usize::from(next != other);
        }
        for at in differing.into_iter().take(count) {
            let said = prediction.map_or(Some(NO_PREDICTION), |prediction| prediction.get(at).copied());
            if let (Some(next), Some(other), Some(signal), Some(said)) =
                (next.get_mut(at), other.get(at), signal.get(at), said)
            {
                *next = if self.coin.toss(*signal, said) { *next } else { *other };
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::STOP;
    use crate::random::uniform;
    use crate::rules::{ThresholdRule, Walk};

    fn always(entry: i32) -> Component {
        let walk = Walk { entry, successor: vec![1, STOP], mean_loss: vec![0.5, 0.25], default_loss: f64::INFINITY };
        ThresholdRule { walk, threshold: vec![f64::NEG_INFINITY; 2], reject: f64::NEG_INFINITY }.into()
    }

    /// Stops at this signal.
    fn leaving(threshold: f64) -> Component {
        let walk = Walk { entry: 0, successor: vec![1, STOP], mean_loss: vec![0.5, 0.25], default_loss: f64::INFINITY };
        ThresholdRule { walk, threshold: vec![threshold; 2], reject: f64::NEG_INFINITY }.into()
    }

    fn coin(share: f64, seed: u64) -> MixtureRule {
        MixtureRule::new(seed, share, [always(0), always(0)])
    }

    fn toss(rule: &MixtureRule, signal: f64, prediction: i64) -> bool {
        rule.toss(Observation::new(signal, prediction))
    }

    #[test]
    fn the_coin_has_its_share() {
        for share in [0.0, 0.3, 1.0] {
            let rule = coin(share, 7);
            let heads = (0..20_000).filter(|i| toss(&rule, f64::from(*i) / 20_000.0, 1)).count();
            assert!((heads as f64 / 20_000.0 - share).abs() < 0.015, "{heads} at {share}");
        }
    }

    #[test]
    fn heads_are_the_hashes_below_the_share() {
        for share in [0.0, 1e-300, 0.3, 0.5, 1.0 - f64::EPSILON / 2.0, 1.0, f64::NAN] {
            let coin = Coin::new(7, share);
            for at in 0..5000_i64 {
                let (signal, said) = (at as f64 / 5000.0, at % 3);
                let hash = mix64(mix64(mix64(7) ^ (signal + 0.0).to_bits()) ^ said as u64);
                assert_eq!(coin.toss(signal, said), uniform(hash) < share, "{share}");
            }
        }
    }

    #[test]
    fn many_are_tossed_as_one_is() {
        let mut rule = MixtureRule::new(5, 0.4, [leaving(0.3), leaving(0.8)]);
        assert_eq!(rule.complete(2, &Price::Stage(vec![1.0, 1.0])), Ok(()));
        let signal: Vec<f64> = (0..500).map(|at| if at % 9 == 0 { f64::NAN } else { f64::from(at) / 500.0 }).collect();
        let said: Vec<i64> = (0..500).map(|at| at % 3).collect();
        for prediction in [None, Some(said.as_slice())] {
            let mut next = vec![7; 500];
            assert!(rule.after_first_of_many(&signal, prediction, &mut next));
            for ((next, signal), said) in next.iter().zip(&signal).zip(&said) {
                let said = prediction.map_or(NO_PREDICTION, |_| *said);
                assert_eq!(Some(*next), rule.after_first(Observation::new(*signal, said)));
            }
            assert!(next.contains(&1) && next.contains(&NO_STAGE));
        }
    }

    #[test]
    fn seeds_and_predictions_toss_anew_and_equal_reports_alike() {
        let (one, other) = (coin(0.5, 1), coin(0.5, 2));
        let reports: Vec<f64> = (0..1000).map(f64::from).collect();
        assert!(reports.iter().any(|x| toss(&one, *x, 0) != toss(&other, *x, 0)));
        assert!(reports.iter().any(|x| toss(&one, *x, 0) != toss(&one, *x, 1)));
        assert_eq!(toss(&one, 0.0, 3), toss(&one, -0.0, 3));
        assert_eq!(toss(&one, f64::NAN, 3), toss(&one, -f64::NAN, 3));
    }

    #[test]
    fn components_must_begin_alike() {
        let price = Price::Stage(vec![1.0, 1.0]);
        assert_eq!(coin(0.5, 0).complete(2, &price), Ok(()));
        assert!(coin(1.5, 0).complete(2, &price).is_err());
        assert!(coin(f64::NAN, 0).complete(2, &price).is_err());
        assert!(MixtureRule::new(0, 0.5, [always(0), always(1)]).complete(2, &price).is_err());
    }
}
