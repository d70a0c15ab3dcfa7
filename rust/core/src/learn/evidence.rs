//! How to weigh the answers of several stages against each other (theory, section 4).

use std::sync::Arc;

use super::logistic::{self, Prior};
use super::patterned::Patterned;
use super::tuning::Tuning;
use crate::parallel;
use crate::rules::{Evidence, Line, NO_PREDICTION, Pair, SLOTS};
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

/// How the answers of some stages are weighed.
pub struct Weights {
    /// What the members, ascending, say about each other: `evidence[j * m + i]`, member i about member j.
    pub evidence: Vec<Evidence>,
    /// How much of what the classes that are named say counts for each member; empty where nothing is known of that.
    pub shares: Vec<f64>,
}

/// How the answers of the members, ascending, are weighed, where `pairs` are the tables of named classes that are about two
/// of them. Every coefficient is pulled by `ridge` towards "believe each stage as calibrated", and that of what named classes
/// say, summed over the other members, to their mean.
///
/// O(rows · m³) time for m members.
pub fn evidences(
    sample: &Sample,
    members: &[u16],
    pairs: &[Arc<Pair>],
    is_probe: impl Fn(u16) -> bool + Sync,
    ridge: f64,
    tuning: &Tuning,
) -> Weights {
    let all = members.iter().all(|member| is_probe(*member));
    if members.len() == 1 {
        return Weights { evidence: vec![[Line { offset: 0.0, slope: 1.0 }; 3]], shares: Vec::new() };
    }
    // One copy of the loops per number of columns, so that they are unrolled.
    let weighed = match 1 + members.len() + usize::from(!pairs.is_empty()) {
        3 => evidence_of::<3>,
        4 => evidence_of::<4>,
        5 => evidence_of::<5>,
        6 => evidence_of::<6>,
        7 => evidence_of::<7>,
        8 => evidence_of::<8>,
        _ => evidence_of::<{ SLOTS + 2 }>,
    };
    let of = |j: usize| {
        // What others say about one that never answers is asked for only while no member answers.
        if is_probe(members[j]) && !all {
            (alone(members.len(), j), 0.0)
        } else {
            weighed(sample, members, j, pairs, ridge, tuning)
        }
    };
    let (evidence, shares): (Vec<Vec<Evidence>>, Vec<f64>) = parallel::map(0..members.len(), of).into_iter().unzip();
    Weights { evidence: evidence.concat(), shares: if pairs.is_empty() { Vec::new() } else { shares } }
}

/// What the classes that others name say about `own`, in logits, on every row.
fn said_by_classes(sample: &Sample, pairs: &[Arc<Pair>], own: u16) -> Vec<f64> {
    let mut sums = vec![0.0; sample.trace.rows()];
    for pair in pairs {
        let stages = pair.stages();
        let Some(side) = stages.iter().position(|stage| *stage == own) else { continue };
        let [one, other] = stages.map(|stage| sample.said(usize::from(stage)));
        let (Some(first), Some(second)) = (one.prediction, other.prediction) else { continue };
        for (row, sum) in sums.iter_mut().enumerate() {
            if one.is_known[row] && other.is_known[row] {
                *sum += pair.of([first[row], second[row]])[side];
            }
        }
    }
    sums
}

/// A member of which nobody but itself says anything.
fn alone(members: usize, j: usize) -> Vec<Evidence> {
    let mut evidences = vec![Evidence::default(); members];
    evidences[j] = [Line { offset: 0.0, slope: 1.0 }; 3];
    evidences
}

/// Logistic regression of member `j`'s loss on its own logit and, for each other member, its logit, whether the two
/// predictions are equal, and their product; and on what named classes say, where something is known of that. Coefficients:
/// an offset, the own slope, of each other member the slope where predictions differ, then offset and slope where they are
/// equal; last, what named classes say.
fn evidence_of<const C: usize>(
    sample: &Sample,
    members: &[u16],
    j: usize,
    pairs: &[Arc<Pair>],
    ridge: f64,
    tuning: &Tuning,
) -> (Vec<Evidence>, f64) {
    let others: Vec<usize> = (0..members.len()).filter(|i| *i != j).collect();
    let own = usize::from(members[j]);
    let per_other = if sample.trace.predictions().is_some() { 3 } else { 1 };
    let is_disputed = !pairs.is_empty();
    let d = 2 + per_other * others.len() + usize::from(is_disputed);
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
    // Columns: 1, the own logit, those of the others, what named classes say.
    let sums = is_disputed.then(|| said_by_classes(sample, pairs, members[j]));
    let logits: Vec<&[f64]> =
        [j].iter().chain(&others).map(|i| sample.logit[usize::from(members[*i])].as_slice()).collect();
    let of = |row: usize| {
        let mut columns = [1.0; C];
        for (x, of) in columns[1..].iter_mut().zip(logits.iter().copied().chain(sums.as_deref())) {
            *x = of[row];
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
        if is_disputed {
            features[2 + others.len()].push(d - 1);
        }
        design.add(features, rows_of, of);
    }
    let mut centre = vec![0.0; d];
    centre[1] = 1.0;
    if is_disputed {
        centre[d - 1] = 1.0 / others.len() as f64;
    }
    let t = logistic::fit(&design, &Prior { centre: &centre, penalty: &logistic::ridge(d, ridge) }, tuning);
    let mut evidences = vec![Evidence::default(); members.len()];
    for (t, i) in t[2..2 + per_other * others.len()].chunks_exact(per_other).zip(&others) {
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
    (evidences, if is_disputed { t[d - 1] } else { 0.0 })
}

/// The logit of the loss of each of two stages on every row, where it does not matter which classes they name.
pub fn logits_of_two(sample: &Sample, stages: [u16; 2], evidence: &[Evidence]) -> [Vec<f64>; 2] {
    let said = stages.map(|stage| sample.said(usize::from(stage)));
    std::array::from_fn(|own| {
        let other = 1 - own;
        let [by_own, by_other] = [own, other].map(|stage| &sample.logit[usize::from(stages[stage])]);
        let [differ, equal, _] = evidence[2 * own + other];
        let [line, ..] = evidence[3 * own];
        let logit = |row: usize| {
            let witness = if said[own].agrees(&said[other], row) { equal } else { differ };
            line.offset + line.slope * by_own[row] + witness.offset + witness.slope * by_other[row]
        };
        (0..by_own.len()).map(logit).collect()
    })
}
