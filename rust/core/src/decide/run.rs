//! One request.

use crate::error::{Error, Result};
use crate::plan::{NO_STAGE, stage_number};
use crate::policy::Policy;
use crate::rules::{AnyMemory, Given, NO_PREDICTION, Observation, Progress, Rule, UNTOLD};

use super::barred::Barred;
use super::failure::Failures;

/// What a request carries under any rule: small, flat, and free of allocation but for trees.
#[derive(Clone, Debug)]
pub struct State {
    progress: Progress,
    memory: AnyMemory,
    /// Of the stages that gave nothing, if any.
    failures: Option<Box<Failures>>,
}

impl State {
    /// Before a request begins, whatever its policy.
    const EMPTY: Self = Self { progress: Progress::new(NO_STAGE), memory: AnyMemory::EMPTY, failures: None };

    /// The part that all rules share.
    #[inline]
    pub fn progress(&self) -> &Progress {
        &self.progress
    }
}

impl Policy {
    /// The state before any stage has run.
    #[inline]
    pub fn begin(&self, given: Given) -> State {
        let mut state = State::EMPTY;
        self.begin_again(&mut state, given);
        state
    }

    /// The same of a request that must not ask some stages of this policy: none of them is ever next.
    pub fn begin_without(&self, given: Given, barred: &Barred) -> State {
        let mut state = self.begin(given);
        if !barred.is_empty() {
            let failures = state.failures.get_or_insert_default();
            failures.go_without(barred, given, self.rule(), self.price(), &mut state.progress, &mut state.memory);
        }
        state
    }

    /// Makes `state`, of any policy, the one before any stage of this policy has run.
    #[inline]
    pub fn begin_again(&self, state: &mut State, given: Given) {
        self.rule().begin_again(&mut state.progress, &mut state.memory, given);
        state.failures = None;
    }

    /// One report; does nothing when nothing is waiting. `state` must come from this policy's [`Policy::begin`].
    #[expect(clippy::inline_always, reason = "one hot caller; the call itself is a tenth of the work")]
    #[inline(always)]
    pub fn advance(&self, state: &mut State, observation: Observation) {
        if !state.progress.is_waiting() {
            return;
        }
        if state.failures.is_some() {
            return self.advance_after_failures(state, observation);
        }
        self.rule().observe(&mut state.progress, &mut state.memory, observation, self.price());
    }

    /// The same where a stage gave nothing before.
    #[cold]
    #[inline(never)]
    fn advance_after_failures(&self, state: &mut State, observation: Observation) {
        if let Some(failures) = &mut state.failures {
            failures.observe(self.rule(), self.price(), &mut state.progress, &mut state.memory, observation);
        }
    }

    /// The waiting stage gave nothing, and so many seconds are left ([`UNTOLD`] where that is not said): it is paid for,
    /// is never the answer, says nothing about the others and is not asked again. Does nothing when nothing is waiting.
    /// `state` must come from this policy's [`Policy::begin`].
    #[cold]
    pub fn fail(&self, state: &mut State, remaining: f64) {
        if state.progress.is_waiting() {
            let failures = state.failures.get_or_insert_default();
            failures.fail(self.rule(), self.price(), &mut state.progress, &mut state.memory, remaining);
        }
    }

    /// The waiting stage cannot be tried: as [`Policy::fail`], but it has not run and is not paid for. Does nothing when
    /// nothing is waiting. `state` must come from this policy's [`Policy::begin`].
    #[cold]
    pub fn bar(&self, state: &mut State) {
        if state.progress.is_waiting() {
            let failures = state.failures.get_or_insert_default();
            failures.bar(self.rule(), self.price(), &mut state.progress, &mut state.memory);
        }
    }

    /// The request ends while the waiting stage is under way: it is paid for, and what is in hand stays as it is. Does
    /// nothing when nothing is waiting. `state` must come from this policy's [`Policy::begin`].
    #[cold]
    pub fn stop(&self, state: &mut State) {
        let State { progress, memory, failures } = state;
        if progress.is_waiting() {
            match failures {
                Some(failures) => failures.stop(self.rule(), self.price(), progress, memory),
                None => self.rule().stop(progress, memory, self.price()),
            }
        }
    }

    /// Whether the first report of a request without a deadline ends it with the answer of the stage that reports, where
    /// that can be told without a state; false also where it cannot.
    #[inline]
    pub fn ends_at_first(&self, observation: Observation) -> bool {
        self.tells_first() && self.rule().after_first(observation) == Some(NO_STAGE)
    }

    /// The stage whose answer would be returned now; [`NO_STAGE`] while there is none, or nothing
    /// is better. `state` must come from this policy's [`Policy::begin`].
    #[inline]
    pub fn answer(&self, state: &State) -> u16 {
        self.rule().answer(&state.progress, &state.memory)
    }

    /// Summed cost of the stages run, in the unit of the trace. `state` must come from this policy's [`Policy::begin`].
    #[inline]
    pub fn cost(&self, state: &State) -> f64 {
        self.rule().cost(&state.progress, &state.memory)
    }

    /// Expected loss of the answer in hand, in the unit of the losses; that of nothing while there is none. `state` must come
    /// from this policy's [`Policy::begin`].
    pub fn expected_loss(&self, state: &State) -> f64 {
        let resort = state.failures.as_ref().and_then(|failures| failures.expected_loss());
        resort.unwrap_or_else(|| self.rule().expected_loss(&state.progress, &state.memory))
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
        self.start_given(Given::NOTHING)
    }

    /// The same of a request of which something is known.
    #[inline]
    pub fn start_given(&self, given: Given) -> Run<'_> {
        // Made where it is wanted: what a request remembers is not small.
        let mut run = Run { policy: self, state: State::EMPTY };
        run.restart(given);
        run
    }

    /// The same of a request that must not ask some stages of this policy: none of them is ever next.
    pub fn start_without(&self, given: Given, barred: &Barred) -> Run<'_> {
        Run { policy: self, state: self.begin_without(given, barred) }
    }
}

/// One request in progress.
#[derive(Clone, Debug)]
pub struct Run<'p> {
    policy: &'p Policy,
    state: State,
}

impl Run<'_> {
    /// The stage to run now; `None` once the request is decided.
    #[inline]
    pub fn next(&self) -> Option<usize> {
        stage_number(self.state.progress.next)
    }

    /// The stage whose answer is the best in hand; `None` while there is none, or nothing is better.
    #[inline]
    pub fn answer(&self) -> Option<usize> {
        stage_number(self.policy.answer(&self.state))
    }

    /// Summed cost of the stages run, in the unit of the trace.
    pub fn cost(&self) -> f64 {
        self.policy.cost(&self.state)
    }

    /// Expected loss of the answer in hand, in the unit of the losses; that of nothing while there is none.
    pub fn expected_loss(&self) -> f64 {
        self.policy.expected_loss(&self.state)
    }

    /// Makes this the run of a new request.
    #[inline]
    pub fn restart(&mut self, given: Given) {
        self.policy.begin_again(&mut self.state, given);
    }

    /// What the stage `next()` reports; returns the new `next()`. A NaN signal is "no information".
    ///
    /// # Errors
    /// [`Error::Stopped`] if the request is decided already.
    #[inline]
    pub fn observe(&mut self, signal: f64, prediction: Option<i64>) -> Result<Option<usize>> {
        self.report(Observation::new(signal, prediction.unwrap_or(NO_PREDICTION)))
    }

    /// The same, whatever the report says.
    ///
    /// # Errors
    /// [`Error::Stopped`] if the request is decided already.
    #[inline]
    pub fn report(&mut self, observation: Observation) -> Result<Option<usize>> {
        if !self.state.progress.is_waiting() {
            return Err(Error::Stopped);
        }
        self.policy.advance(&mut self.state, observation);
        Ok(self.next())
    }

    /// The stage `next()` gave nothing; returns the new `next()`. It is paid for, is never the answer, says nothing
    /// about the others and is not asked again.
    ///
    /// # Errors
    /// [`Error::Stopped`] if the request is decided already.
    pub fn fail(&mut self) -> Result<Option<usize>> {
        self.fail_within(UNTOLD)
    }

    /// The same where so many seconds are left.
    ///
    /// # Errors
    /// [`Error::Stopped`] if the request is decided already.
    pub fn fail_within(&mut self, remaining: f64) -> Result<Option<usize>> {
        if !self.state.progress.is_waiting() {
            return Err(Error::Stopped);
        }
        self.policy.fail(&mut self.state, remaining);
        Ok(self.next())
    }

    /// The stage `next()` cannot be tried; returns the new `next()`. It is not paid for, is never the answer, says nothing
    /// about the others and is not asked again.
    ///
    /// # Errors
    /// [`Error::Stopped`] if the request is decided already.
    pub fn bar(&mut self) -> Result<Option<usize>> {
        if !self.state.progress.is_waiting() {
            return Err(Error::Stopped);
        }
        self.policy.bar(&mut self.state);
        Ok(self.next())
    }

    /// The request ends now, with the answer in hand. The stage `next()` is under way and paid for. Does nothing if the
    /// request is decided already.
    pub fn stop(&mut self) {
        self.policy.stop(&mut self.state);
    }
}
