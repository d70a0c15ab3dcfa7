//! What a decision rule is, and the one place where the kind of a rule is asked for.

use std::fmt::Debug;

use serde_json::Value;

use super::given::Given;
use super::observation::Observation;
use super::prediction::NO_PREDICTION;
use super::progress::Progress;
use crate::error::Checked;
use crate::plan::NO_STAGE;
use crate::price::Price;

/// A decision rule: a pure function from what a request carries and the next report to what it carries then.
///
/// It is total: any bit pattern may come in, a documented safe action comes out, nothing panics, and nothing but
/// [`Rule::begin`] allocates. A request carries a [`Progress`] and a memory of the rule's own type.
pub trait Rule: Sized + Sync {
    /// What the rule remembers of one request besides its progress.
    type Memory: Clone + Debug + Send + Sync + 'static;

    /// Checks that the rule can be executed over so many stages at these prices, and derives what follows from all
    /// three. To be called once, before anything is decided.
    ///
    /// # Errors
    /// Names the part that does not fit.
    fn complete(&mut self, stages: usize, price: &Price) -> Checked;

    /// Whether an earlier answer than the last may be returned.
    fn recall(&self) -> bool;

    /// Seconds that each stage is expected to take (k,), where the rule takes into account how much time is left.
    fn latency(&self) -> Option<&[f64]> {
        None
    }

    /// Whether decisions depend on what a request is told that its stages cost.
    fn knows_cost(&self) -> bool {
        false
    }

    /// The rule for people and tools: an object whose `type` is its name.
    fn describe(&self) -> Value;

    /// Before any stage has run.
    fn begin(&self, given: Given) -> (Progress, Self::Memory);

    /// The same, in place of another request of this rule.
    #[inline]
    fn begin_again(&self, progress: &mut Progress, memory: &mut Self::Memory, given: Given) {
        (*progress, *memory) = self.begin(given);
    }

    /// The waiting stage reports: books its price, decides what is next. Must not be called when nothing is waiting.
    fn observe(&self, progress: &mut Progress, memory: &mut Self::Memory, observation: Observation, price: &Price);

    /// The same of a request that goes without some stages.
    fn observe_without(
        &self,
        progress: &mut Progress,
        memory: &mut Self::Memory,
        observation: Observation,
        price: &Price,
    ) {
        self.observe(progress, memory, observation, price);
    }

    /// The waiting stage gave nothing, and so many seconds are left ([`UNTOLD`](super::UNTOLD) where that is not said):
    /// books its price, and decides as if it had not been asked, without it. It is never the answer, and no evidence about
    /// the others. `missing` are all stages that the request goes without, this one among them. Must not be called when
    /// nothing is waiting.
    fn fail(&self, progress: &mut Progress, memory: &mut Self::Memory, missing: &[u16], remaining: f64, price: &Price);

    /// The request ends while the waiting stage is under way: books its price; what is in hand stays as it is. Must not
    /// be called when nothing is waiting.
    fn stop(&self, progress: &mut Progress, _memory: &mut Self::Memory, price: &Price) {
        progress.pay_from(price);
        progress.next = NO_STAGE;
    }

    /// Expected loss, in the unit of the losses, of the answer of a stage that reports this and nothing else has
    /// answered; `None` where a stage may not run out of its turn.
    fn alone(&self, stage: u16, observation: Observation) -> Option<f64>;

    /// Expected loss of the answer in hand, in the unit of the losses; that of nothing while there is none.
    fn expected_loss(&self, progress: &Progress, memory: &Self::Memory) -> f64;

    /// Summed cost of the stages run, in the unit of the trace.
    #[inline]
    fn cost(&self, progress: &Progress, _memory: &Self::Memory) -> f64 {
        progress.cost
    }

    /// The stage whose answer would be returned now: the one in hand, unless nothing is better ([`NO_STAGE`]).
    #[inline]
    fn answer(&self, progress: &Progress, _memory: &Self::Memory) -> u16 {
        progress.answer
    }

    /// Loss of answering with nothing, in the unit of the losses; infinite where some stage has to answer.
    fn default_loss(&self) -> f64;

    /// Whether [`Rule::answer`] may be none where a stage is in hand.
    #[inline]
    fn may_decline(&self) -> bool {
        false
    }

    /// The stage that follows this first report ([`NO_STAGE`]: the request ends), where that can be told without a
    /// memory and the first stage's answer is the one in hand whatever it reports. `None` for every report, or for none.
    #[inline]
    fn after_first(&self, _observation: Observation) -> Option<u16> {
        None
    }

    /// Whether requests that fail at the `barred` stages, ascending, wherever they come to them, are decided as if there
    /// were no such stages, whatever the others report, if that can be read.
    fn is_exact_without(&self, barred: &[u16]) -> bool;

    /// Where requests begin that must not ask the `barred` stages, where there are decisions of their own for them: they
    /// come to none of these stages.
    fn entry_without(&self, _barred: &[u16]) -> Option<Entry> {
        None
    }

    /// Before any stage has run, at an entry that [`Rule::entry_without`] has named.
    fn begin_at(&self, _entry: Entry) -> (Progress, Self::Memory) {
        self.begin(Given::NOTHING)
    }

    /// Before any stage has run, of a request that must not ask the `barred` stages, where there are decisions of their own
    /// for it.
    fn begin_without(&self, barred: &[u16], _given: Given) -> Option<(Progress, Self::Memory)> {
        self.entry_without(barred).map(|entry| self.begin_at(entry))
    }

    /// Many first reports at once, in columns of one length: sets what is next for every request. False, and nothing is
    /// set, where [`Rule::after_first`] is `None`.
    fn after_first_of_many(&self, signal: &[f64], prediction: Option<&[i64]>, next: &mut [u16]) -> bool {
        let tells_first = self.after_first(Observation::EMPTY).is_some();
        if tells_first {
            for (at, (next, signal)) in next.iter_mut().zip(signal).enumerate() {
                let said = prediction.and_then(|prediction| prediction.get(at).copied()).unwrap_or(NO_PREDICTION);
                *next = self.after_first(Observation::new(*signal, said)).unwrap_or(NO_STAGE);
            }
        }
        tells_first
    }

    /// Calls `visitor` with the concrete rule.
    fn visit<V: Visitor>(&self, visitor: V) -> V::Output {
        visitor.visit(self)
    }
}

/// A place to begin at: of a mixture one of each component, else one twice.
pub type Entry = [u16; 2];

/// Work that is compiled once for every concrete rule.
pub trait Visitor {
    /// What the work gives.
    type Output;

    /// Does the work with one concrete rule.
    fn visit<R: Rule>(self, rule: &R) -> Self::Output;
}

/// One enum over rules, one over their memories, and the rule that asks the kind and hands over: nobody else who decides
/// does.
///
/// A memory of another kind of rule (of another policy) changes nothing and expects no answer. The kind named `first` is asked
/// for first wherever a request is decided.
macro_rules! rules {
    ($(#[$meta:meta])* $rules:ident, $(#[$memory_meta:meta])* $memory:ident, first $first:ident {
        $($(#[$doc:meta])* $name:ident($rule:ty)),+ $(,)?
    }) => {
        // A byte of its own for the kind: reading it costs less than one that hides in a field.
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum $rules {
            $($(#[$doc])* $name($rule)),+
        }

        $(#[$memory_meta])*
        #[derive(Clone, Debug)]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum $memory {
            $($(#[$doc])* $name(<$rule as Rule>::Memory)),+
        }

        $(impl From<$rule> for $rules {
            fn from(rule: $rule) -> Self {
                Self::$name(rule)
            }
        })+

        impl $rules {
            #[inline(never)]
            fn begin_any_again(&self, progress: &mut Progress, memory: &mut $memory, given: Given) {
                match (self, memory) {
                    $((Self::$name(rule), $memory::$name(memory)) => rule.begin_again(progress, memory, given),)+
                    (_, memory) => (*progress, *memory) = self.begin(given),
                }
            }

            #[inline(never)]
            fn observe_any(
                &self,
                progress: &mut Progress,
                memory: &mut $memory,
                observation: Observation,
                price: &Price,
            ) {
                match (self, memory) {
                    $((Self::$name(rule), $memory::$name(memory)) => {
                        rule.observe(progress, memory, observation, price);
                    })+
                    _ => {}
                }
            }
        }

        impl Rule for $rules {
            type Memory = $memory;

            fn complete(&mut self, stages: usize, price: &Price) -> Checked {
                match self {
                    $(Self::$name(rule) => rule.complete(stages, price)),+
                }
            }

            fn recall(&self) -> bool {
                match self {
                    $(Self::$name(rule) => rule.recall()),+
                }
            }

            fn latency(&self) -> Option<&[f64]> {
                match self {
                    $(Self::$name(rule) => rule.latency()),+
                }
            }

            fn knows_cost(&self) -> bool {
                match self {
                    $(Self::$name(rule) => rule.knows_cost()),+
                }
            }

            fn describe(&self) -> Value {
                match self {
                    $(Self::$name(rule) => rule.describe()),+
                }
            }

            #[inline(always)]
            fn begin(&self, given: Given) -> (Progress, $memory) {
                match self {
                    $(Self::$name(rule) => {
                        let (progress, memory) = rule.begin(given);
                        (progress, $memory::$name(memory))
                    })+
                }
            }

            #[inline]
            fn begin_again(&self, progress: &mut Progress, memory: &mut $memory, given: Given) {
                if let (Self::$first(rule), $memory::$first(memory)) = (self, &mut *memory) {
                    return rule.begin_again(progress, memory, given);
                }
                self.begin_any_again(progress, memory, given);
            }

            #[inline(always)]
            fn observe(
                &self,
                progress: &mut Progress,
                memory: &mut $memory,
                observation: Observation,
                price: &Price,
            ) {
                if let (Self::$first(rule), $memory::$first(memory)) = (self, &mut *memory) {
                    return rule.observe(progress, memory, observation, price);
                }
                self.observe_any(progress, memory, observation, price);
            }

            fn observe_without(
                &self,
                progress: &mut Progress,
                memory: &mut $memory,
                observation: Observation,
                price: &Price,
            ) {
                match (self, memory) {
                    $((Self::$name(rule), $memory::$name(memory)) => {
                        rule.observe_without(progress, memory, observation, price);
                    })+
                    _ => {}
                }
            }

            fn fail(
                &self,
                progress: &mut Progress,
                memory: &mut $memory,
                missing: &[u16],
                remaining: f64,
                price: &Price,
            ) {
                match (self, memory) {
                    $((Self::$name(rule), $memory::$name(memory)) => {
                        rule.fail(progress, memory, missing, remaining, price);
                    })+
                    _ => {}
                }
            }

            fn stop(&self, progress: &mut Progress, memory: &mut $memory, price: &Price) {
                match (self, memory) {
                    $((Self::$name(rule), $memory::$name(memory)) => rule.stop(progress, memory, price),)+
                    _ => {}
                }
            }

            fn alone(&self, stage: u16, observation: Observation) -> Option<f64> {
                match self {
                    $(Self::$name(rule) => rule.alone(stage, observation)),+
                }
            }

            fn expected_loss(&self, progress: &Progress, memory: &$memory) -> f64 {
                match (self, memory) {
                    $((Self::$name(rule), $memory::$name(memory)) => rule.expected_loss(progress, memory),)+
                    _ => f64::INFINITY,
                }
            }

            #[inline]
            fn cost(&self, progress: &Progress, memory: &$memory) -> f64 {
                match (self, memory) {
                    $((Self::$name(rule), $memory::$name(memory)) => rule.cost(progress, memory),)+
                    _ => progress.cost,
                }
            }

            #[inline]
            fn answer(&self, progress: &Progress, memory: &$memory) -> u16 {
                if let (Self::$first(rule), $memory::$first(memory)) = (self, memory) {
                    return rule.answer(progress, memory);
                }
                match (self, memory) {
                    $((Self::$name(rule), $memory::$name(memory)) => rule.answer(progress, memory),)+
                    _ => progress.answer,
                }
            }

            fn default_loss(&self) -> f64 {
                match self {
                    $(Self::$name(rule) => rule.default_loss()),+
                }
            }

            #[inline]
            fn may_decline(&self) -> bool {
                match self {
                    $(Self::$name(rule) => rule.may_decline()),+
                }
            }

            #[inline]
            fn after_first(&self, observation: Observation) -> Option<u16> {
                match self {
                    $(Self::$name(rule) => rule.after_first(observation)),+
                }
            }

            fn after_first_of_many(&self, signal: &[f64], prediction: Option<&[i64]>, next: &mut [u16]) -> bool {
                match self {
                    $(Self::$name(rule) => rule.after_first_of_many(signal, prediction, next)),+
                }
            }

            fn is_exact_without(&self, barred: &[u16]) -> bool {
                match self {
                    $(Self::$name(rule) => rule.is_exact_without(barred)),+
                }
            }

            fn entry_without(&self, barred: &[u16]) -> Option<Entry> {
                match self {
                    $(Self::$name(rule) => rule.entry_without(barred)),+
                }
            }

            fn begin_at(&self, entry: Entry) -> (Progress, $memory) {
                match self {
                    $(Self::$name(rule) => {
                        let (progress, memory) = rule.begin_at(entry);
                        (progress, $memory::$name(memory))
                    })+
                }
            }

            fn begin_without(&self, barred: &[u16], given: Given) -> Option<(Progress, $memory)> {
                match self {
                    $(Self::$name(rule) => {
                        let (progress, memory) = rule.begin_without(barred, given)?;
                        Some((progress, $memory::$name(memory)))
                    })+
                }
            }

            fn visit<V: Visitor>(&self, visitor: V) -> V::Output {
                match self {
                    $(Self::$name(rule) => rule.visit(visitor)),+
                }
            }
        }
    };
}
pub(super) use rules;
