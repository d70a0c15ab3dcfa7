//! What stages said on the rows of a trace, read as beliefs read it.

use super::evidence::Sample;
use crate::parallel;
use crate::rules::{Beliefs, NO_PREDICTION};
use crate::trace::Trace;

/// Rows read by one task.
const CHUNK: usize = 4096;

/// The rows that weights are fitted on, calibrated.
pub fn weighed_sample(some: &Trace, beliefs: &Beliefs, target: Vec<Vec<f64>>, weight: Vec<f64>) -> Sample {
    let read = logits(some, beliefs);
    let is_known = read.iter().map(|column| column.iter().map(|z| z.is_finite()).collect()).collect();
    let filled = read.into_iter().zip(&beliefs.calibration).map(|(column, calibration)| {
        column.into_iter().map(|z| if z.is_finite() { z } else { calibration.missing_logit }).collect()
    });
    Sample { logit: filled.collect(), is_known, target, weight, trace: some.clone() }
}

/// Calibrated logits of every stage, infinite without a signal.
pub fn logits(trace: &Trace, beliefs: &Beliefs) -> Vec<Vec<f64>> {
    let read = |v: usize| {
        let (signal, prediction) = (trace.signal(v), trace.prediction(v));
        let mut column = vec![0.0; trace.rows()];
        parallel::for_each(column.chunks_mut(CHUNK).enumerate(), |(chunk, out)| {
            for (at, out) in out.iter_mut().enumerate() {
                let row = chunk * CHUNK + at;
                *out = beliefs.calibration[v]
                    .read(signal[row], prediction.map_or(NO_PREDICTION, |prediction| prediction[row]));
            }
        });
        column
    };
    parallel::map(0..trace.stages(), read)
}
