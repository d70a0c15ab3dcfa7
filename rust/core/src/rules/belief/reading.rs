//! What the stages in hand have said.

use super::super::prediction::NO_PREDICTION;

/// Answers that are weighed against each other; on a longer path the oldest is let go.
pub const SLOTS: usize = 8;

/// What one stage said.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// Calibrated logit of its expected loss; infinite if its signal was not a number, NaN if it gave nothing at all.
    pub logit: f32,
    /// Its prediction.
    pub prediction: i64,
}

/// What some stages said, in columns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Readings {
    /// Calibrated logits.
    pub(super) logit: [f32; SLOTS],
    /// Predictions.
    pub(super) prediction: [i64; SLOTS],
}

impl Reading {
    /// A stage that ran and gave nothing: it is no answer, and no evidence about the others.
    pub const FAILED: Self = Self { logit: f32::NAN, prediction: NO_PREDICTION };

    /// Whether the stage gave nothing at all.
    #[inline]
    pub(super) fn is_failed(&self) -> bool {
        self.logit.is_nan()
    }

    /// Whether it has both a signal and a prediction.
    #[inline]
    pub fn is_complete(&self) -> bool {
        self.is_known() && self.prediction != NO_PREDICTION
    }

    /// Whether its signal was a number.
    #[inline]
    pub(super) fn is_known(&self) -> bool {
        self.logit < f32::INFINITY
    }
}

impl Readings {
    /// Room for all.
    pub const EMPTY: Self = Self { logit: [0.0; SLOTS], prediction: [0; SLOTS] };

    /// What the stage of a slot said; nothing where there is no such slot.
    #[inline]
    pub(super) fn get(&self, slot: usize) -> Reading {
        match (self.logit.get(slot), self.prediction.get(slot)) {
            (Some(logit), Some(prediction)) => Reading { logit: *logit, prediction: *prediction },
            _ => Reading::FAILED,
        }
    }

    /// The stage of a slot has said something.
    #[inline]
    pub fn put(&mut self, slot: usize, Reading { logit, prediction }: Reading) {
        if let (Some(own), Some(said)) = (self.logit.get_mut(slot), self.prediction.get_mut(slot)) {
            (*own, *said) = (logit, prediction);
        }
    }

    /// The stage of a slot has given a prediction; what its signal means is not known yet.
    #[inline]
    pub(super) fn say(&mut self, slot: u8, prediction: i64) {
        if let Some(said) = self.prediction.get_mut(usize::from(slot)) {
            *said = prediction;
        }
    }

    /// What the stages of the first slots said.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = Reading> + ExactSizeIterator + '_ {
        let of = |(logit, prediction): (&f32, &i64)| Reading { logit: *logit, prediction: *prediction };
        self.logit.iter().zip(&self.prediction).map(of)
    }
}
