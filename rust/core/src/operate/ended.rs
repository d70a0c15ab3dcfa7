//! A request that has been decided, as those who look on are told of it.

use crate::plan::NO_STAGE;
use crate::rules::NO_PREDICTION;

/// One stage that a request has run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ran {
    /// Its number.
    pub stage: u16,
    /// Whether it gave no answer.
    pub has_failed: bool,
    /// What it said; NaN: no information.
    pub signal: f64,
    /// Code of its prediction.
    pub prediction: i64,
}

impl Default for Ran {
    /// One that gave nothing, and is no stage.
    fn default() -> Self {
        Self { stage: NO_STAGE, has_failed: true, signal: f64::NAN, prediction: NO_PREDICTION }
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ended {
    /// The stage that answered, or [`NO_STAGE`].
    pub answer: u16,
    /// Whether the deadline ended it.
    pub is_late: bool,
    /// Of the stages that it ran.
    pub cost: f64,
    /// Of its answer.
    pub expected_loss: f64,
}

/// How a request ended, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Outcome {
    /// With the answer of the stage run last.
    Stopped,
    /// With that of an earlier one.
    Recalled,
    /// The deadline ended it, and the best in hand was returned, or the default.
    Deadline,
    /// The stage run last gave none, and the best in hand was returned, or the default.
    Failed,
    /// With none, as the policy prefers its default.
    Abstained,
    /// With none, and there is no default.
    Nothing,
}

impl Outcome {
    /// All of them, in their order.
    pub const ALL: [Self; 6] =
        [Self::Stopped, Self::Recalled, Self::Deadline, Self::Failed, Self::Abstained, Self::Nothing];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Recalled => "recalled",
            Self::Deadline => "deadline",
            Self::Failed => "failed",
            Self::Abstained => "abstained",
            Self::Nothing => "none",
        }
    }
}

impl Ended {
    /// In a word, of a request that ran `last` last and was last answered by `answered`, both [`NO_STAGE`] where there
    /// is none.
    pub fn outcome(&self, last: u16, answered: u16) -> Outcome {
        let (has_answer, has_default) = (self.answer != NO_STAGE, self.expected_loss < f64::INFINITY);
        if !has_answer && !has_default {
            Outcome::Nothing
        } else if self.is_late {
            Outcome::Deadline
        } else if last != answered {
            Outcome::Failed
        } else if !has_answer {
            Outcome::Abstained
        } else if self.answer == last {
            Outcome::Stopped
        } else {
            Outcome::Recalled
        }
    }
}

/// What became of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Became {
    /// It gave an answer.
    Answered,
    /// It was begun and gave none.
    Failed,
    /// It was not tried.
    Barred,
}

/// What became of a stage for some rows of a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report<'a> {
    /// Its number.
    pub stage: u16,
    /// The rows, each once.
    pub rows: &'a [i64],
    /// The same for all of them.
    pub became: Became,
    /// How long it took; NaN: nobody measured.
    pub seconds: f64,
}

/// How n requests ended, in columns, and what became of their stages, in order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reported<'a> {
    /// The stages that answered, negative for none.
    pub answer: &'a [i32],
    /// Whether the deadline ended them; none of them where that is not said.
    pub is_late: Option<&'a [bool]>,
    /// Of the stages that they ran.
    pub cost: &'a [f64],
    /// Of their answers.
    pub expected_loss: &'a [f64],
    /// What became of their stages.
    pub reports: &'a [Report<'a>],
}

impl Reported<'_> {
    /// How a request ended; none beyond the last.
    pub fn ended(&self, row: usize) -> Option<Ended> {
        Some(Ended {
            answer: u16::try_from(*self.answer.get(row)?).unwrap_or(NO_STAGE),
            is_late: self.is_late.is_some_and(|late| late.get(row) == Some(&true)),
            cost: *self.cost.get(row)?,
            expected_loss: *self.expected_loss.get(row)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDED: Ended = Ended { answer: 1, is_late: false, cost: 1.0, expected_loss: 0.5 };

    #[test]
    fn outcomes() {
        let nobody = Ended { answer: NO_STAGE, ..ENDED };
        let lost = Ended { expected_loss: f64::INFINITY, ..nobody };
        assert_eq!(ENDED.outcome(1, 1), Outcome::Stopped);
        assert_eq!(ENDED.outcome(2, 2), Outcome::Recalled);
        assert_eq!(ENDED.outcome(2, 1), Outcome::Failed);
        assert_eq!(nobody.outcome(2, 1), Outcome::Failed);
        assert_eq!(nobody.outcome(1, 1), Outcome::Abstained);
        assert_eq!(nobody.outcome(NO_STAGE, NO_STAGE), Outcome::Abstained);
        assert_eq!(Ended { is_late: true, ..ENDED }.outcome(2, 1), Outcome::Deadline);
        assert_eq!(Ended { is_late: true, ..nobody }.outcome(NO_STAGE, NO_STAGE), Outcome::Deadline);
        assert_eq!(Ended { is_late: true, ..lost }.outcome(1, NO_STAGE), Outcome::Nothing);
        assert_eq!(lost.outcome(1, NO_STAGE), Outcome::Nothing);
        // A loss that nobody knows is no default.
        assert_eq!(Ended { expected_loss: f64::NAN, ..nobody }.outcome(1, 1), Outcome::Nothing);
    }
}
