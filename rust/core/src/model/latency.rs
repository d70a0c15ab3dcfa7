//! How long stages take: discrete distributions of seconds.

use super::transition::{ROW_SUM_TOLERANCE, short};
use crate::error::{Error, Result};

/// A discrete distribution of the seconds that a stage takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Latency {
    seconds: Vec<f64>,
    probability: Vec<f64>,
}

/// What a jump over stages takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jumps {
    /// The seconds of the stage that it leads to: separate models.
    Alone,
    /// The seconds of all stages up to that one: exits of one network, which runs what lies between.
    Through,
}

impl Latency {
    /// `probability[i]` of `seconds[i]`; checked by [`super::Model::with_latency`].
    pub fn new(seconds: Vec<f64>, probability: Vec<f64>) -> Self {
        Self { seconds, probability }
    }

    /// The seconds (m,).
    pub fn seconds(&self) -> &[f64] {
        &self.seconds
    }

    /// How likely each is (m,).
    pub fn probability(&self) -> &[f64] {
        &self.probability
    }

    /// Seconds that may occur, with their probability.
    pub fn likely(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.seconds.iter().copied().zip(self.probability.iter().copied()).filter(|(_, p)| *p > 0.0)
    }

    /// Expected seconds.
    pub fn mean(&self) -> f64 {
        self.likely().map(|(seconds, p)| seconds * p).sum()
    }

    /// Checks the numbers; probabilities that sum to 1 but for rounding are divided by their sum.
    fn checked(mut self, name: &str) -> Result<Self> {
        let (many, chances) = (self.seconds.len(), self.probability.len());
        if many == 0 || many != chances {
            return Err(Error::invalid(format!(
                "`{name}` must have as many probabilities as seconds, at least one, got {chances} and {many}"
            )));
        }
        if let Some((at, bad)) = self.seconds.iter().enumerate().find(|(_, t)| !t.is_finite() || **t < 0.0) {
            return Err(Error::invalid(format!("`{name}` seconds {at} must be finite and at least 0, got {bad}")));
        }
        if let Some((at, bad)) = self.probability.iter().enumerate().find(|(_, p)| !p.is_finite() || **p < 0.0) {
            return Err(Error::invalid(format!("`{name}` probability {at} must be at least 0, got {bad}")));
        }
        let sum: f64 = self.probability.iter().sum();
        if (sum - 1.0).abs() > ROW_SUM_TOLERANCE {
            return Err(Error::invalid(format!("`{name}` probabilities must sum to 1, got {}", short(sum))));
        }
        self.seconds.iter_mut().for_each(|t| *t += 0.0); // −0 becomes 0
        self.probability.iter_mut().for_each(|p| *p /= sum);
        Ok(self)
    }
}

/// Latencies of all stages, checked against the number of states of each.
pub(super) fn checked(latency: Vec<Vec<Latency>>, states: &[usize]) -> Result<Vec<Vec<Latency>>> {
    if latency.len() != states.len() {
        return Err(Error::invalid(format!(
            "`latency` must have one entry per stage, {} like `loss`, got {}",
            states.len(),
            latency.len()
        )));
    }
    let stage = |(v, (given, states)): (usize, (Vec<Latency>, &usize))| {
        if given.len() != 1 && given.len() != *states {
            return Err(Error::invalid(format!(
                "`latency[{v}]` must be one distribution, or one per state of the stage, {states}, got {}",
                given.len()
            )));
        }
        let is_one = given.len() == 1;
        let name = |s: usize| if is_one { format!("latency[{v}]") } else { format!("latency[{v}][{s}]") };
        given.into_iter().enumerate().map(|(s, latency)| latency.checked(&name(s))).collect()
    };
    latency.into_iter().zip(states).enumerate().map(stage).collect()
}
