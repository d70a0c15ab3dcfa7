//! How to weigh the answers of several stages against each other (theory, section 4).

use rayon::prelude::*;

use super::logistic::{self, Design};
use crate::rules::{Line, Node, SLOTS, Witness};

/// Strength of the pull of every coefficient towards "believe each stage as calibrated".
const RIDGE: f64 = 5.0;

/// Calibrated logits and losses of the rows that weights are fitted on.
pub struct Evidence<'a> {
    /// `logit[v][row]`, every entry finite.
    pub logit: &'a [Vec<f64>],
    /// `target[v][row]`: loss in [0, 1].
    pub target: &'a [Vec<f64>],
    /// `label[v][row]`.
    pub label: Option<&'a [Vec<i64>]>,
}

/// The node reached by running `path`, in order, where the last stage costs `price`; on a path longer than [`SLOTS`] the oldest answers are let go.
///
/// O(rows · m³) time for m members.
pub fn node(evidence: &Evidence, path: &[usize], price: f64) -> Node {
    let depth = path.len();
    let m = depth.min(SLOTS);
    let slot = (depth - 1) % SLOTS;
    let mut members = vec![0_u16; m];
    for (step, stage) in path.iter().enumerate() {
        members[step % SLOTS] = *stage as u16;
    }
    let witness = if m == 1 {
        vec![[Line { offset: 0.0, slope: 1.0 }; 3]]
    } else {
        (0..m).into_par_iter().flat_map_iter(|j| witnesses_of(evidence, &members, j)).collect()
    };
    Node { stage: members[slot], slot: slot as u8, price, members, witness }
}

/// Logistic regression of member `j`'s loss on its own logit and, for each other member, its logit, whether the two
/// labels are equal, and their product.
fn witnesses_of(evidence: &Evidence, members: &[u16], j: usize) -> Vec<Witness> {
    let stage = |i: usize| usize::from(members[i]);
    let others: Vec<usize> = (0..members.len()).filter(|i| *i != j).collect();
    let per_other = if evidence.label.is_some() { 3 } else { 1 };
    let d = 2 + per_other * others.len();
    let own = &evidence.logit[stage(j)];
    let n = own.len();
    let mut features = vec![0.0; n * d];
    let mut agreeing = vec![0_usize; members.len()];
    for (row, x) in features.chunks_exact_mut(d).enumerate() {
        x[0] = 1.0;
        x[1] = own[row];
        for (cell, i) in x[2..].chunks_exact_mut(per_other).zip(&others) {
            let logit = evidence.logit[stage(*i)][row];
            let labels = evidence.label.map(|label| (&label[stage(*i)], &label[stage(j)]));
            if labels.is_some_and(|(other, own)| other[row] == own[row]) {
                agreeing[*i] += 1;
                cell[1] = 1.0;
                cell[2] = logit;
            } else {
                cell[0] = logit;
            }
        }
    }
    let mut prior = vec![0.0; d];
    prior[1] = 1.0;
    let design = Design { features: &features, target: &evidence.target[stage(j)], offset: None };
    let t = logistic::fit(&design, &prior, &logistic::ridge(d, RIDGE));
    let mut witnesses = vec![Witness::default(); members.len()];
    for (t, i) in t[2..].chunks_exact(per_other).zip(&others) {
        let differ = Line { offset: 0.0, slope: t[0] };
        let (equal, share) = match t {
            [_, offset, slope] => (Line { offset: *offset, slope: *slope }, agreeing[*i] as f64 / n as f64),
            _ => (differ, 0.0),
        };
        let mix = |a: f64, b: f64| a + share * (b - a);
        let unknown = Line { offset: mix(differ.offset, equal.offset), slope: mix(differ.slope, equal.slope) };
        witnesses[*i] = [differ, equal, unknown];
    }
    witnesses[j] = [Line { offset: t[0], slope: t[1] }; 3];
    witnesses
}
