//! What is watched of a request.

use super::cuts::Ranked;
use super::watched::{Watched, word};
use crate::decide::State;
use crate::plan::stage_number;
use crate::policy::Policy;
use crate::rules::{Given, NO_PREDICTION, Observation};

/// What one stage said.
#[derive(Clone, Copy, Debug)]
pub struct Said {
    /// Its number.
    pub stage: usize,
    /// Its signal and prediction.
    pub observation: Observation,
}

/// One value of one quantity.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Of which stage.
    pub stage: usize,
    /// Of what.
    pub watched: Watched,
    /// What orders it among others; never NaN.
    pub rank: f64,
    /// What is shown of it, in its own unit.
    pub shown: f64,
}

impl Reading {
    fn plain(stage: usize, watched: Watched, value: f64) -> Self {
        Self { stage, watched, rank: if value.is_nan() { f64::NEG_INFINITY } else { value }, shown: value }
    }

    /// The value with its random word.
    pub fn ranked(&self, key: u64, request: u64) -> Ranked {
        Ranked { value: self.rank, word: word(key, request) }
    }
}

/// What the policy believed of a request.
#[derive(Clone, Copy, Debug)]
struct Belief {
    /// Expected loss right after the first report.
    first: f64,
    /// Expected loss at the end.
    last: f64,
}

/// Walks requests, with room for one that is used again.
#[derive(Clone, Debug)]
pub struct Walker {
    state: State,
    entry: Option<usize>,
    /// Where each stage stands in the request at hand, plus 1; 0: nowhere.
    place: Vec<u32>,
}

impl Walker {
    /// For requests of a policy.
    pub fn new(policy: &Policy) -> Self {
        let state = policy.begin(Given::NOTHING);
        Self { entry: stage_number(state.progress().next), state, place: vec![0; policy.stages().len()] }
    }

    /// The stage that is run first.
    pub fn entry(&self) -> Option<usize> {
        self.entry
    }

    /// Hands every value of a request to `take`. `said` is ascending by stage, each in range and there once.
    pub fn read(&mut self, policy: &Policy, said: &[Said], answer: Option<usize>, mut take: impl FnMut(Reading)) {
        for (at, one) in said.iter().enumerate() {
            if let Some(place) = self.place.get_mut(one.stage) {
                *place = at as u32 + 1;
            }
        }
        let belief = self.walk(policy, said);
        let mut before = NO_PREDICTION;
        for Said { stage, observation } in said {
            take(Reading::plain(*stage, Watched::Signal, observation.signal));
            if observation.prediction != NO_PREDICTION {
                if before != NO_PREDICTION {
                    take(Reading::plain(*stage, Watched::Agreement, f64::from(observation.prediction == before)));
                }
                before = observation.prediction;
            }
            take(Reading::plain(*stage, Watched::Answer, f64::from(answer == Some(*stage))));
        }
        for (stage, place) in self.place.iter().enumerate() {
            if self.entry != Some(stage) {
                take(Reading::plain(stage, Watched::Consulted, f64::from(*place > 0)));
            }
        }
        if let Some(belief) = belief {
            if let Some(answer) = answer {
                take(Reading::plain(answer, Watched::ExpectedLoss, belief.last));
            }
            self.difficulty(said, belief).into_iter().for_each(take);
        }
        for one in said {
            if let Some(place) = self.place.get_mut(one.stage) {
                *place = 0;
            }
        }
    }

    /// What the stage `stage` said.
    fn of(&self, said: &[Said], stage: usize) -> Option<Observation> {
        let place = *self.place.get(stage)?;
        said.get((place as usize).checked_sub(1)?).map(|said| said.observation)
    }

    /// Follows the policy as long as the stages that it asks for have said something.
    fn walk(&mut self, policy: &Policy, said: &[Said]) -> Option<Belief> {
        let first = self.of(said, self.entry?)?;
        policy.begin_again(&mut self.state, Given::NOTHING);
        policy.advance(&mut self.state, first);
        let first = policy.expected_loss(&self.state);
        let mut last = first;
        while let Some(observation) = self.state.progress().next_stage().and_then(|stage| self.of(said, stage)) {
            policy.advance(&mut self.state, observation);
            last = policy.expected_loss(&self.state);
        }
        Some(Belief { first, last })
    }

    fn difficulty(&self, said: &[Said], belief: Belief) -> Option<Reading> {
        let stage = self.entry?;
        let first = self.of(said, stage)?.prediction;
        let is_other = |prediction| prediction != first && prediction != NO_PREDICTION;
        let contradicted = first != NO_PREDICTION && said.iter().any(|said| is_other(said.observation.prediction));
        // From 0 to 1, ascending in the expected loss.
        let doubt = 1.0 - 1.0 / (1.0 + belief.first.max(0.0));
        Some(Reading {
            stage,
            watched: Watched::Difficulty,
            rank: f64::from(contradicted) + doubt,
            shown: belief.first,
        })
    }
}
