//! What is known of the requests of a replay besides what stages report.

use crate::error::{Error, Result, number};

/// What is known of requests besides what stages report.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// Seconds that stages take (n, k), row by row; of exits, since the exit before.
    pub latency: Option<&'a [f64]>,
    /// Seconds that each request has.
    pub deadline: f64,
    /// What stages cost each request, over what they cost the average one (n,).
    pub cost: Option<&'a [f64]>,
}

impl Default for Circumstances<'_> {
    fn default() -> Self {
        Self { latency: None, deadline: f64::INFINITY, cost: None }
    }
}

impl Circumstances<'_> {
    /// Checks that they fit so many rows of k stages.
    pub(super) fn check(&self, rows: usize, k: usize) -> Result<()> {
        let Self { latency, deadline, cost } = *self;
        if deadline.is_nan() || deadline < 0.0 {
            return Err(Error::invalid(format!("`deadline` must be 0 or more seconds, got {deadline}")));
        }
        if latency.is_none() && deadline < f64::INFINITY {
            return Err(Error::invalid(format!(
                "`latency` must be given with a `deadline`, got a deadline of {deadline}"
            )));
        }
        if let Some(latency) = latency {
            if latency.len() != rows * k {
                return Err(Error::invalid(format!(
                    "`latency` must have the shape of `signal`, got {} entries for {}",
                    latency.len(),
                    rows * k
                )));
            }
            let bad = latency.iter().enumerate().find(|(_, seconds)| !(0.0..f64::INFINITY).contains(*seconds));
            if let Some((at, seconds)) = bad {
                let (row, stage) = (at / k, at % k);
                return Err(Error::invalid(format!(
                    "`latency[{row}, {stage}]` must be 0 or more seconds, got {seconds}"
                )));
            }
        }
        let Some(cost) = cost else { return Ok(()) };
        if cost.len() != rows {
            return Err(Error::invalid(format!("`cost` must have shape ({rows},), got ({},)", cost.len())));
        }
        match cost.iter().enumerate().find(|(_, cost)| !(0.0..f64::INFINITY).contains(*cost)) {
            Some((row, cost)) => {
                Err(Error::invalid(format!("`cost[{row}]` must be finite and at least 0, got {}", number(*cost))))
            }
            None => Ok(()),
        }
    }
}
