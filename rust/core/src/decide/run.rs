//! One request.

use crate::error::{Error, Result};
use crate::policy::Policy;
use crate::rules::{MixtureMemory, NO_PREDICTION, OpenStages, Progress, Reading, Rule, Rules, SLOTS, stage_number};

/// What any rule remembers of a request besides the progress state.
#[derive(Clone, Debug)]
enum Memory {
    /// Nothing: tables, thresholds, patience.
    None,
    /// What each stage said: beliefs.
    Reading([Reading; SLOTS]),
    /// Which stages are open: trees.
    Open(OpenStages),
    /// Which rule it follows, and what that remembers: mixtures.
    Mixture(MixtureMemory),
}

/// What a request carries under any rule.
#[derive(Clone, Debug)]
pub struct AnyState {
    progress: Progress,
    memory: Memory,
}

impl AnyState {
    /// The part that all rules share.
    #[inline]
    pub fn progress(&self) -> &Progress {
        &self.progress
    }
}

impl Policy {
    /// The state before any stage has run.
    #[inline]
    pub fn begin(&self) -> AnyState {
        let plain = |progress| AnyState { progress, memory: Memory::None };
        match self.rules() {
            Rules::Belief(rule) => {
                let (progress, seen) = rule.begin();
                AnyState { progress, memory: Memory::Reading(seen) }
            }
            Rules::Chain(rule) => plain(rule.begin().0),
            Rules::Threshold(rule) => plain(rule.begin().0),
            Rules::Patience(rule) => plain(rule.begin().0),
            Rules::Dag(rule) => plain(rule.begin().0),
            Rules::Tree(rule) => {
                let (progress, open) = rule.begin();
                AnyState { progress, memory: Memory::Open(open) }
            }
            Rules::Mixture(rule) => {
                let (progress, mixed) = rule.begin();
                AnyState { progress, memory: Memory::Mixture(mixed) }
            }
        }
    }

    /// Makes `state`, of any policy, the one before any stage of this policy has run.
    #[inline]
    pub fn begin_again(&self, state: &mut AnyState) {
        match (self.rules(), &state.memory) {
            // What an earlier request saw is overwritten before it is read.
            (Rules::Belief(rule), Memory::Reading(_)) => state.progress = rule.begin().0,
            _ => *state = self.begin(),
        }
    }

    /// One signal; does nothing when nothing is waiting. `state` must come from this policy's [`Policy::begin`].
    #[expect(clippy::inline_always, reason = "one hot caller; the call itself is a tenth of the work")]
    #[inline(always)]
    pub fn advance(&self, state: &mut AnyState, signal: f64, prediction: i64) {
        let AnyState { progress, memory } = state;
        if !progress.is_waiting() {
            return;
        }
        match (self.rules(), memory) {
            (Rules::Belief(rule), Memory::Reading(seen)) => rule.step(progress, seen, signal, prediction, self.price()),
            (Rules::Chain(rule), _) => rule.step(progress, &mut (), signal, prediction, self.price()),
            (Rules::Threshold(rule), _) => rule.step(progress, &mut (), signal, prediction, self.price()),
            (Rules::Patience(rule), _) => rule.step(progress, &mut (), signal, prediction, self.price()),
            (Rules::Dag(rule), _) => rule.step(progress, &mut (), signal, prediction, self.price()),
            (Rules::Tree(rule), Memory::Open(open)) => rule.step(progress, open, signal, prediction, self.price()),
            (Rules::Mixture(rule), Memory::Mixture(mixed)) => {
                rule.step(progress, mixed, signal, prediction, self.price());
            }
            _ => {}
        }
    }

    /// Expected loss of the answer in hand, in the unit of the losses; infinite while there is none. `state` must come
    /// from this policy's [`Policy::begin`].
    pub fn expected_loss(&self, state: &AnyState) -> f64 {
        let AnyState { progress, memory } = state;
        match (self.rules(), memory) {
            (Rules::Belief(rule), Memory::Reading(seen)) => rule.expected_loss(progress, seen),
            (Rules::Chain(rule), _) => rule.expected_loss(progress, &()),
            (Rules::Threshold(rule), _) => rule.expected_loss(progress, &()),
            (Rules::Patience(rule), _) => rule.expected_loss(progress, &()),
            (Rules::Dag(rule), _) => rule.expected_loss(progress, &()),
            (Rules::Tree(rule), Memory::Open(open)) => rule.expected_loss(progress, open),
            (Rules::Mixture(rule), Memory::Mixture(mixed)) => rule.expected_loss(progress, mixed),
            _ => f64::INFINITY,
        }
    }

    /// A new request.
    ///
    /// # Example
    /// ```
    /// use ndarray::array;
    /// use ttamer::{Model, SolveOptions, Transition, compile};
    /// let first = Transition::Dense(array![[0.5, 0.5]]);
    /// let second = Transition::Dense(array![[1.0, 0.0], [0.0, 1.0]]);
    /// let model = Model::line(vec![vec![0.1, 0.9], vec![0.0, 0.2]], vec![0.05, 0.1], vec![first, second])?;
    /// let policy = compile(&model, &SolveOptions::default())?;
    /// let mut run = policy.start();
    /// while let Some(stage) = run.next() {
    ///     let state = if stage == 0 { 1.0 } else { 0.0 }; // run the stage here
    ///     run.observe(state, None)?;
    /// }
    /// assert_eq!(run.answer(), Some(1));
    /// # Ok::<(), ttamer::Error>(())
    /// ```
    #[inline]
    pub fn start(&self) -> Run<'_> {
        Run { policy: self, state: self.begin() }
    }
}

/// One request in progress.
#[derive(Clone, Debug)]
pub struct Run<'p> {
    policy: &'p Policy,
    state: AnyState,
}

impl Run<'_> {
    /// The stage to run now; `None` once the request is decided.
    #[inline]
    pub fn next(&self) -> Option<usize> {
        stage_number(self.state.progress().next)
    }

    /// The stage whose answer is the best in hand; `None` while there is none.
    #[inline]
    pub fn answer(&self) -> Option<usize> {
        stage_number(self.state.progress().answer)
    }

    /// Summed cost of the stages run.
    pub fn cost(&self) -> f64 {
        self.state.progress().cost
    }

    /// Expected loss of the answer in hand; infinite while there is none.
    pub fn expected_loss(&self) -> f64 {
        self.policy.expected_loss(&self.state)
    }

    /// Makes this the run of a new request.
    #[inline]
    pub fn restart(&mut self) {
        self.policy.begin_again(&mut self.state);
    }

    /// What the stage `next()` reports; returns the new `next()`. A NaN signal is "no information".
    ///
    /// # Errors
    /// [`Error::Stopped`] if the request is decided already.
    #[inline]
    pub fn observe(&mut self, signal: f64, prediction: Option<i64>) -> Result<Option<usize>> {
        if !self.state.progress().is_waiting() {
            return Err(Error::Stopped);
        }
        self.policy.advance(&mut self.state, signal, prediction.unwrap_or(NO_PREDICTION));
        Ok(self.next())
    }
}
