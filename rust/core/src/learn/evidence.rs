//! How to weigh the answers of several stages against each other (theory, section 4).

use super::logistic::{self, Design, Prior};
use super::tuning::Tuning;
use crate::parallel;
use crate::rules::{Evidence, Line, NO_PREDICTION};
use crate::trace::Trace;

/// Calibrated logits and losses of the rows that weights are fitted on.
pub struct Sample {
    /// `logit[v][row]`, every entry finite.
    pub logit: Vec<Vec<f64>>,
    /// `is_known[v][row]`: whether there was a signal.
    pub is_known: Vec<Vec<bool>>,
    /// `target[v][row]`: loss in [0, 1].
    pub target: Vec<Vec<f64>>,
    /// How much each row says (n,).
    pub weight: Vec<f64>,
    /// The rows themselves.
    pub trace: Trace,
}

impl Sample {
    /// What one stage said on the rows.
    fn said(&self, stage: usize) -> Said<'_> {
        Said { is_known: &self.is_known[stage], prediction: self.trace.prediction(stage) }
    }
}

/// Signals that are known, and predictions, of one stage.
struct Said<'a> {
    is_known: &'a [bool],
    prediction: Option<&'a [i64]>,
}

impl Said<'_> {
    /// Whether it is known that both gave the same answer.
    #[inline]
    fn agrees(&self, other: &Self, row: usize) -> bool {
        let is_equal = match (self.prediction, other.prediction) {
            (Some(one), Some(other)) => one[row] == other[row] && one[row] != NO_PREDICTION,
            _ => false,
        };
        is_equal && self.is_known[row] && other.is_known[row]
    }
}

/// What the members, ascending, say about each other: `evidence[j * m + i]`, member i about member j. Every coefficient
/// is pulled by `ridge` towards "believe each stage as calibrated".
///
/// O(rows · m³) time for m members.
pub fn evidences(
    sample: &Sample,
    members: &[u16],
    is_probe: impl Fn(u16) -> bool + Sync,
    ridge: f64,
    tuning: &Tuning,
) -> Vec<Evidence> {
    let all = members.iter().all(|member| is_probe(*member));
    if members.len() == 1 {
        return vec![[Line { offset: 0.0, slope: 1.0 }; 3]];
    }
    let of = |j: usize| {
        // What others say about one that never answers is asked for only while no member answers.
        if is_probe(members[j]) && !all {
            alone(members.len(), j)
        } else {
            evidence_of(sample, members, j, ridge, tuning)
        }
    };
    parallel::map(0..members.len(), of).concat()
}

/// A member of which nobody but itself says anything.
fn alone(members: usize, j: usize) -> Vec<Evidence> {
    let mut evidences = vec![Evidence::default(); members];
    evidences[j] = [Line { offset: 0.0, slope: 1.0 }; 3];
    evidences
}

/// Logistic regression of member `j`'s loss on its own logit and, for each other member, its logit, whether the two
/// predictions are equal, and their product.
fn evidence_of(sample: &Sample, members: &[u16], j: usize, ridge: f64, tuning: &Tuning) -> Vec<Evidence> {
    let others: Vec<usize> = (0..members.len()).filter(|i| *i != j).collect();
    let own = usize::from(members[j]);
    let per_other = if sample.trace.predictions().is_some() { 3 } else { 1 };
    let d = 2 + per_other * others.len();
    let mut rows: Vec<usize> = (0..sample.trace.rows()).filter(|row| sample.is_known[own][*row]).collect();
    if rows.is_empty() {
        rows = (0..sample.trace.rows()).collect();
    }
    let mut features = vec![0.0; rows.len() * d];
    for (row, x) in rows.iter().zip(features.chunks_exact_mut(d)) {
        x[0] = 1.0;
        x[1] = sample.logit[own][*row];
    }
    let mut share = vec![0.0; members.len()];
    for (at, i) in others.iter().enumerate() {
        let other = usize::from(members[*i]);
        let column = &sample.logit[other];
        let (said, own_said) = (sample.said(other), sample.said(own));
        let mut agreeing = 0_usize;
        for (row, x) in rows.iter().zip(features.chunks_exact_mut(d)) {
            let cell = &mut x[2 + at * per_other..];
            if per_other == 3 && said.agrees(&own_said, *row) {
                agreeing += 1;
                cell[1] = 1.0;
                cell[2] = column[*row];
            } else {
                cell[0] = column[*row];
            }
        }
        share[*i] = agreeing as f64 / rows.len().max(1) as f64;
    }
    let target: Vec<f64> = rows.iter().map(|row| sample.target[own][*row]).collect();
    let counted = &sample.weight;
    let weight: Vec<f64> = rows.iter().map(|row| counted[*row]).collect();
    let mut centre = vec![0.0; d];
    centre[1] = 1.0;
    let design = Design { features: &features, target: &target, weight: &weight, offset: None };
    let t = logistic::fit(&design, &Prior { centre: &centre, penalty: &logistic::ridge(d, ridge) }, tuning);
    let mut evidences = vec![Evidence::default(); members.len()];
    for (t, i) in t[2..].chunks_exact(per_other).zip(&others) {
        let differ = Line { offset: 0.0, slope: t[0] };
        let (equal, share) = match t {
            [_, offset, slope] => (Line { offset: *offset, slope: *slope }, share[*i]),
            _ => (differ, 0.0),
        };
        let mix = |a: f64, b: f64| a + share * (b - a);
        let unknown = Line { offset: mix(differ.offset, equal.offset), slope: mix(differ.slope, equal.slope) };
        evidences[*i] = [differ, equal, unknown];
    }
    evidences[j] = [Line { offset: t[0], slope: t[1] }; 3];
    evidences
}
