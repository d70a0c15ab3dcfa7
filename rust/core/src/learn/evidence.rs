//! How to weigh the answers of several stages against each other (theory, section 4).

use super::logistic::{self, Prior};
use super::patterned::Patterned;
use super::tuning::Tuning;
use crate::parallel;
use crate::rules::{Evidence, Line, NO_PREDICTION, SLOTS};
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
    // One copy of the loops per number of members, so that they are unrolled.
    let weighed = match members.len() {
        2 => evidence_of::<3>,
        3 => evidence_of::<4>,
        4 => evidence_of::<5>,
        5 => evidence_of::<6>,
        6 => evidence_of::<7>,
        7 => evidence_of::<8>,
        _ => evidence_of::<{ SLOTS + 1 }>,
    };
    let of = |j: usize| {
        // What others say about one that never answers is asked for only while no member answers.
        if is_probe(members[j]) && !all { alone(members.len(), j) } else { weighed(sample, members, j, ridge, tuning) }
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
/// predictions are equal, and their product. Coefficients: an offset, the own slope, and of each other member the slope
/// where predictions differ, then offset and slope where they are equal.
fn evidence_of<const C: usize>(
    sample: &Sample,
    members: &[u16],
    j: usize,
    ridge: f64,
    tuning: &Tuning,
) -> Vec<Evidence> {
    let others: Vec<usize> = (0..members.len()).filter(|i| *i != j).collect();
    let own = usize::from(members[j]);
    let per_other = if sample.trace.predictions().is_some() { 3 } else { 1 };
    let d = 2 + per_other * others.len();
    let mut rows: Vec<usize> = (0..sample.trace.rows()).filter(|row| sample.is_known[own][*row]).collect();
    if rows.is_empty() {
        rows = (0..sample.trace.rows()).collect();
    }
    // Rows of one pattern agree with the same members: those whose bits are set.
    let mut agreeing = vec![0_usize; rows.len()];
    for (at, i) in others.iter().enumerate() {
        let (said, own_said) = (sample.said(usize::from(members[*i])), sample.said(own));
        for (agreeing, row) in agreeing.iter_mut().zip(&rows) {
            *agreeing |= usize::from(said.agrees(&own_said, *row)) << at;
        }
    }
    let mut by_pattern = vec![Vec::new(); 1 << others.len()];
    for (agreeing, row) in agreeing.iter().zip(&rows) {
        by_pattern[*agreeing].push(*row);
    }
    let mut share = vec![0.0; members.len()];
    // Columns: 1, the own logit, those of the others.
    let logits: Vec<&[f64]> =
        [j].iter().chain(&others).map(|i| sample.logit[usize::from(members[*i])].as_slice()).collect();
    let of = |row: usize| {
        let mut columns = [1.0; C];
        for (x, logit) in columns[1..].iter_mut().zip(&logits) {
            *x = logit[row];
        }
        (columns, sample.target[own][row], sample.weight[row])
    };
    let mut design = Patterned::<C>::new();
    for (agreeing, rows_of) in by_pattern.iter().enumerate().filter(|(_, rows_of)| !rows_of.is_empty()) {
        let mut features = std::array::from_fn(|_| Vec::new());
        (features[0], features[1]) = (vec![0], vec![1]);
        for (at, i) in others.iter().enumerate() {
            let first = 2 + at * per_other;
            if agreeing >> at & 1 == 1 {
                features[0].push(first + 1);
                features[2 + at].push(first + 2);
                share[*i] += rows_of.len() as f64 / rows.len() as f64;
            } else {
                features[2 + at].push(first);
            }
        }
        design.add(features, rows_of, of);
    }
    let mut centre = vec![0.0; d];
    centre[1] = 1.0;
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
