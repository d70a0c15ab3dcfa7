//! The quantities that are watched of a stage, and the random words that order equal values of them.

use crate::random::{STEP, mix};

/// A quantity that is watched of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum Watched {
    /// Its signal, among the requests that reach it.
    #[serde(rename = "signal")]
    Signal,
    /// Whether it says the same as the stage run with the next lower number, where both say something.
    #[serde(rename = "agreement")]
    Agreement,
    /// Whether its answer is returned, among the requests that reach it.
    #[serde(rename = "answer")]
    Answer,
    /// Whether it is run at all.
    #[serde(rename = "consulted")]
    Consulted,
    /// The expected loss of the requests that it answers.
    #[serde(rename = "expected loss")]
    ExpectedLoss,
    /// How hard a request is for it, of the stage that is run first: the expected loss of its answer right after its
    /// report; a request in which a later stage says something else is harder than any in which none does.
    #[serde(rename = "difficulty")]
    Difficulty,
}

impl Watched {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Signal, Self::Agreement, Self::Answer, Self::Consulted, Self::ExpectedLoss, Self::Difficulty];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::Agreement => "agreement",
            Self::Answer => "answer",
            Self::Consulted => "consulted",
            Self::ExpectedLoss => "expected loss",
            Self::Difficulty => "difficulty",
        }
    }

    /// Words for equal values: of a quantity of a stage under a seed.
    pub(super) fn key(self, stage: usize, seed: u64) -> u64 {
        let number = (Self::ALL.len() * stage) as u64 + self as u64;
        mix(number.wrapping_add(seed.wrapping_add(1).wrapping_mul(STEP)))
    }
}

/// The word of a request under a key.
#[inline]
pub fn word(key: u64, request: u64) -> u64 {
    mix(request.wrapping_mul(STEP) ^ key)
}
