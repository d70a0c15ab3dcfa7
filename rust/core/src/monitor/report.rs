//! What a monitor has seen, in numbers.

use super::watched::Watched;

/// Standard errors of a shift of the mean below which a quantity is rather spread differently.
const CLEAR: f64 = 2.0;

/// How a quantity differs from the reference of late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum Direction {
    /// Its values are higher.
    #[serde(rename = "higher")]
    Higher,
    /// Its values are lower.
    #[serde(rename = "lower")]
    Lower,
    /// Its values are as high on average, but spread in another way.
    #[serde(rename = "spread")]
    Spread,
}

impl Direction {
    /// Of a shift in standard errors.
    pub(super) fn of(shift: f64) -> Self {
        if shift >= CLEAR {
            Self::Higher
        } else if shift <= -CLEAR {
            Self::Lower
        } else {
            Self::Spread
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Higher => "higher",
            Self::Lower => "lower",
            Self::Spread => "spread",
        }
    }
}

/// One watched quantity.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Component {
    /// Of which stage.
    pub stage: usize,
    /// Of what.
    pub watched: Watched,
    /// Logarithm of the largest capital so far over the one that alarms: 0 and more is an alarm.
    pub log_evidence: f64,
    /// Reference values.
    pub reference_rows: u64,
    /// Values of the stream.
    pub rows: u64,
    /// Mean of the finite reference values.
    pub reference_mean: f64,
    /// Mean of the finite values of the stream; NaN if there is none.
    pub mean: f64,
    /// How the values differ of late.
    pub direction: Direction,
    /// Requests that had been taken in when the evidence began to grow.
    pub since: u64,
}

/// The alarm.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alarm {
    /// Number of the component that raised it.
    pub component: u32,
    /// Requests that had been taken in then.
    pub at: u64,
    /// Requests that had been taken in when its evidence began to grow.
    pub since: u64,
    /// How its values differed then.
    pub direction: Direction,
}
