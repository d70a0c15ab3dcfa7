//! What a stage reports about a request.

use super::prediction::NO_PREDICTION;

/// One report of the stage that a request waits for.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Observation {
    /// How sure the stage is, on the scale of the calibration trace; NaN: no information.
    pub signal: f64,
    /// A number that is the same exactly where two stages say the same; [`NO_PREDICTION`] where nothing was said.
    pub prediction: i64,
}

impl Observation {
    /// A report without a signal and without a prediction.
    pub const EMPTY: Self = Self::new(f64::NAN, NO_PREDICTION);

    /// A report.
    #[inline]
    pub const fn new(signal: f64, prediction: i64) -> Self {
        Self { signal, prediction }
    }
}

/// Reports of many requests, in columns of one length.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Observations<'a> {
    /// One signal a request.
    pub signal: &'a [f64],
    /// One prediction a request, if there are any.
    pub prediction: Option<&'a [i64]>,
}

impl<'a> Observations<'a> {
    /// Columns of one length.
    pub const fn new(signal: &'a [f64], prediction: Option<&'a [i64]>) -> Self {
        Self { signal, prediction }
    }

    /// The report number `at`; empty beyond the end.
    #[inline]
    pub fn at(&self, at: usize) -> Observation {
        let prediction = self.prediction.and_then(|prediction| prediction.get(at).copied());
        Observation::new(self.signal.get(at).copied().unwrap_or(f64::NAN), prediction.unwrap_or(NO_PREDICTION))
    }
}
