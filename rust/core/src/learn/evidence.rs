//! How to weigh the answers of several stages against each other (theory, section 4).

use std::sync::Arc;

use super::logistic::{self, Design, Prior};
use super::tuning::Tuning;
use crate::parallel;
use crate::rules::{Evidence, Line, NO_PREDICTION, Pair};
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
    let of = |j: usize| {
        // What others say about one that never answers is asked for only while no member answers.
        if is_probe(members[j]) && !all {
            (alone(members.len(), j), 0.0)
        } else {
            evidence_of(sample, members, j, pairs, ridge, tuning)
        }
    };
    let (evidence, shares): (Vec<Vec<Evidence>>, Vec<f64>) = parallel::map(0..members.len(), of).into_iter().unzip();
    Weights { evidence: evidence.concat(), shares: if pairs.is_empty() { Vec::new() } else { shares } }
}

/// What the classes that others name say about `own`, in logits, on the rows.
fn said_by_classes(sample: &Sample, pairs: &[Arc<Pair>], own: u16, rows: &[usize]) -> Vec<f64> {
    let mut sums = vec![0.0; rows.len()];
    for pair in pairs {
        let stages = pair.stages();
        let Some(side) = stages.iter().position(|stage| *stage == own) else { continue };
        let [one, other] = stages.map(|stage| sample.said(usize::from(stage)));
        let (Some(first), Some(second)) = (one.prediction, other.prediction) else { continue };
        for (row, sum) in rows.iter().zip(&mut sums) {
            if one.is_known[*row] && other.is_known[*row] {
                *sum += pair.of([first[*row], second[*row]])[side];
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
/// predictions are equal, and their product.
fn evidence_of(
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
    if is_disputed {
        let sums = said_by_classes(sample, pairs, members[j], &rows);
        for (sum, x) in sums.iter().zip(features.chunks_exact_mut(d)) {
            x[d - 1] = *sum;
        }
    }
    let target: Vec<f64> = rows.iter().map(|row| sample.target[own][*row]).collect();
    let counted = &sample.weight;
    let weight: Vec<f64> = rows.iter().map(|row| counted[*row]).collect();
    let mut centre = vec![0.0; d];
    centre[1] = 1.0;
    if is_disputed {
        centre[d - 1] = 1.0 / others.len() as f64;
    }
    let design = Design { features: &features, target: &target, weight: &weight, offset: None };
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
