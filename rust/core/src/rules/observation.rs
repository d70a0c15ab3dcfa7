//! What a stage reports about a request.

use super::prediction::NO_PREDICTION;

/// In place of the seconds that a request has left: nobody says; what was said last still holds.
pub const UNTOLD: f64 = f64::NAN;

/// One report of the stage that a request waits for.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Observation {
    /// How sure the stage is, on the scale of the calibration trace; NaN: no information.
    pub signal: f64,
    /// A number that is the same exactly where two stages say the same; [`NO_PREDICTION`] where nothing was said.
    pub prediction: i64,
    /// Seconds that the request has left, infinite without a deadline; [`UNTOLD`] where that is not said.
    pub remaining: f64,
}

/// So many seconds are left, where that is said; else as many as were said last.
#[inline]
pub(super) fn look_at_clock(remaining: &mut f64, said: f64) {
    if !said.is_nan() {
        *remaining = said;
    }
}

impl Observation {
    /// A report without a signal and without a prediction.
    pub const EMPTY: Self = Self::new(f64::NAN, NO_PREDICTION);

    /// A report that does not say how much time is left.
    #[inline]
    pub const fn new(signal: f64, prediction: i64) -> Self {
        Self { signal, prediction, remaining: UNTOLD }
    }

    /// The same where so many seconds are left.
    #[inline]
    #[must_use]
    pub const fn within(self, remaining: f64) -> Self {
        Self { remaining, ..self }
    }
}
