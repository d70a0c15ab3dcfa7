//! How long stages took, request by request.

use once_cell::race::OnceBox;
use std::sync::Arc;

use super::checks;
use super::content::Trace;
use super::table::Table;
use crate::error::Result;

impl Trace {
    /// The same requests with the seconds (n, k) that each stage took: increments, as costs are, so that a jump to a
    /// later exit waits for all in between. NaN: not known.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] for another shape, and for numbers that are negative or infinite.
    pub fn timed(self, latency: Table<f64>) -> Result<Self> {
        checks::same_shape("latency", &latency, self.rows(), self.stages())?;
        checks::seconds(&latency)?;
        let latency = Some(Arc::new(latency));
        Ok(Self {
            latency,
            expected_latency: OnceBox::new(),
            digest: OnceBox::new(),
            completed: OnceBox::new(),
            repeats: OnceBox::new(),
            ..self
        })
    }

    /// Seconds (n, k) that each stage took, if they are recorded; NaN: not known.
    pub fn latencies(&self) -> Option<&Table<f64>> {
        self.latency.as_deref()
    }

    /// Seconds of one stage (n,), if they are recorded; NaN: not known.
    pub fn latency(&self, stage: usize) -> Option<&[f64]> {
        self.latency.as_ref().map(|latency| latency.column(stage))
    }

    /// Weighted median of the seconds of each stage (k,) over the rows in which they are known, if they are recorded:
    /// the least that half of these rows do not exceed. Infinite where no row that counts knows them, so that nothing
    /// with a deadline waits for that stage. O(n k log n) the first time.
    pub fn expected_latency(&self) -> Option<&[f64]> {
        let latency = self.latency.as_ref()?;
        let medians = || latency.iter_columns().map(|column| median(column, self.weight())).collect();
        Some(self.expected_latency.get_or_init(|| Box::new(medians())))
    }

    /// Seconds (n,) that each request waits for running `next` after `last` (none: first), if latencies are recorded: for
    /// all in between, too, where stages are exits. What is not known is the expected latency of its stage. O(n k).
    pub fn delay(&self, last: Option<usize>, next: usize) -> Option<Vec<f64>> {
        let (latency, expected) = (self.latency.as_ref()?, self.expected_latency()?);
        let mut total = vec![0.0; self.rows()];
        let stages = latency.iter_columns().zip(expected).take(next + 1).skip(self.run_by(last, next));
        for (column, expected) in stages {
            for (total, seconds) in total.iter_mut().zip(column) {
                *total += if seconds.is_nan() { *expected } else { *seconds };
            }
        }
        Some(total)
    }

    /// Weighted mean seconds of each stage (k,), what is not known counting as expected, if latencies are recorded.
    /// O(n k).
    pub fn mean_latency(&self) -> Option<Vec<f64>> {
        let seconds = |stage| (0..self.rows()).map(|row| self.seconds(stage, row)).collect::<Vec<f64>>();
        self.latency.as_ref().map(|_| (0..self.stages()).map(|stage| self.mean(&seconds(stage))).collect())
    }

    /// Seconds that one request waits for running `next` after `last`, as [`Trace::delay`] has them; 0 where latencies are
    /// not recorded. O(k).
    pub(crate) fn wait(&self, last: Option<usize>, next: usize, row: usize) -> f64 {
        (self.run_by(last, next)..=next).map(|stage| self.seconds(stage, row)).sum()
    }

    /// Seconds that a stage took in one request, or is expected to take where that is not known.
    pub(crate) fn seconds(&self, stage: usize, row: usize) -> f64 {
        let (latency, expected) =
            (self.latency(stage).unwrap_or_default(), self.expected_latency().unwrap_or_default());
        let known = latency.get(row).copied().filter(|seconds| !seconds.is_nan());
        known.or_else(|| expected.get(stage).copied()).unwrap_or(0.0)
    }
}

/// The least known number that half the weight of the known ones does not exceed; infinite where none counts.
fn median(seconds: &[f64], weight: &[f64]) -> f64 {
    let known = seconds.iter().zip(weight).filter(|(seconds, w)| !seconds.is_nan() && **w > 0.0);
    let mut known: Vec<(f64, f64)> = known.map(|(seconds, w)| (*seconds, *w)).collect();
    known.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
    let half = 0.5 * known.iter().map(|(_, w)| w).sum::<f64>();
    let mut below = 0.0;
    let reached = known.iter().find(|(_, w)| {
        below += w;
        below >= half
    });
    reached.map_or(f64::INFINITY, |(seconds, _)| *seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_weighted_and_of_what_is_known() {
        assert_eq!(median(&[3.0, 1.0, 2.0], &[1.0; 3]), 2.0);
        assert_eq!(median(&[3.0, 1.0, 2.0, 9.0], &[1.0; 4]), 2.0);
        assert_eq!(median(&[3.0, f64::NAN, 2.0, 1.0], &[4.0, 1.0, 1.0, 1.0]), 3.0);
        assert_eq!(median(&[3.0, 1.0], &[0.0, 1.0]), 1.0);
        assert_eq!(median(&[f64::NAN, 1.0], &[1.0, 0.0]), f64::INFINITY);
    }
}
