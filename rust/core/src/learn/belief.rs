//! Belief and pathwise index on a line of stages (theory, section 4).

use rayon::prelude::*;

use super::calibrate;
use super::logistic::sigmoid;
use super::pathwise;
use super::trace::{Trace, Weights};
use super::weigh::{self, Evidence};
use crate::plan::Intervals;
use crate::rules::{BeliefRule, EntryCuts, LOGIT_LIMIT, NO_LABEL, Rule};

/// Calibration and weights are fitted on at most this many evenly spaced rows; indices on all of them.
const SAMPLE: usize = 50_000;
/// Rows walked by one task.
const CHUNK: usize = 4096;

/// Everything about a path of stages that does not depend on the trade-off.
pub struct PathBelief {
    path: Vec<usize>,
    rule: BeliefRule,
    /// `belief[d][row]` after the first d + 1 stages of the path.
    belief: Vec<Vec<f64>>,
    /// `loss[d][row]` of the answer in hand then.
    loss: Vec<Vec<f64>>,
}

impl PathBelief {
    /// Calibrates every stage and learns how to weigh the answers along `path`.
    pub fn new(trace: &Trace, path: &[usize], recall: bool) -> Self {
        let scale = trace.scale();
        let stride = trace.rows().div_ceil(SAMPLE).max(1);
        let rows: Vec<u32> = (0..trace.rows() as u32).step_by(stride).collect();
        let sample = trace.select(&rows);
        let target: Vec<Vec<f64>> =
            sample.loss.iter().map(|column| column.iter().map(|loss| loss / scale).collect()).collect();
        let sensor: Vec<_> = (0..trace.stages())
            .into_par_iter()
            .map(|v| {
                let label = sample.label.as_ref().map(|label| label[v].as_slice());
                calibrate::sensor(&sample.signal[v], &target[v], label, scale)
            })
            .collect();
        let logit: Vec<Vec<f64>> = (0..trace.stages())
            .into_par_iter()
            .map(|v| {
                let label = |row: usize| sample.label.as_ref().map_or(NO_LABEL, |label| label[v][row]);
                let read = |row: usize| sensor[v].read(sample.signal[v][row], label(row));
                (0..rows.len()).map(read).map(|z| if z.is_finite() { z } else { sensor[v].mean_logit }).collect()
            })
            .collect();
        let evidence = Evidence { logit: &logit, target: &target, label: sample.label.as_deref() };
        let nodes = (1..=path.len())
            .into_par_iter()
            .map(|depth| {
                let before = depth.checked_sub(2).map(|at| path[at]);
                weigh::node(&evidence, &path[..depth], trace.jump_cost(before, path[depth - 1]))
            })
            .collect();
        let rule = BeliefRule { recall, scale, sensor, nodes, decide: Intervals::new(), entry: EntryCuts::default() };
        let (belief, loss) = walk(trace, &rule);
        Self { path: path.to_vec(), rule, belief, loss }
    }

    /// The rule for one trade-off: backward induction over the recorded paths. O(rows · depth).
    pub fn rule(&self, trace: &Trace, weights: Weights) -> BeliefRule {
        let depth = self.path.len();
        let weighted = |d: usize| self.loss[d].iter().map(|loss| weights.loss * loss).collect::<Vec<f64>>();
        let mut stop_at = vec![f64::INFINITY; depth];
        let mut ahead = weighted(depth - 1);
        for d in (0..depth - 1).rev() {
            let price = weights.cost * trace.jump_cost(Some(self.path[d]), self.path[d + 1]);
            let stop = weighted(d);
            let go: Vec<f64> = ahead.iter().map(|ahead| price + ahead).collect();
            stop_at[d] = pathwise::threshold(&self.belief[d], &stop, &go);
            let best = self.belief[d].iter().zip(stop.iter().zip(&go));
            ahead = best.map(|(belief, (stop, go))| if *belief <= stop_at[d] { *stop } else { *go }).collect();
        }
        let mut decide = Intervals::new();
        for (d, stop) in stop_at.iter().enumerate() {
            let go = (d + 1 < depth).then_some((f64::INFINITY, (d + 1) as i32));
            decide.push(*stop, go);
        }
        BeliefRule { decide, ..self.rule.clone() }
    }

    /// Indices of `rule` as expected losses: of consulting each stage of the path but the first.
    pub fn index(&self, rule: &BeliefRule) -> Vec<Vec<f64>> {
        let mut index = vec![Vec::new(); rule.sensor.len()];
        for (stage, row) in self.path.iter().skip(1).zip(rule.decide.table()) {
            index[*stage] = vec![rule.scale * sigmoid(row.stop)];
        }
        index
    }
}

/// Belief and realised loss of the answer in hand at every node of a line of nodes, on every row; computed by the
/// code that runs online.
fn walk(trace: &Trace, rule: &BeliefRule) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
    let n = trace.rows();
    let depth = rule.nodes.len();
    let walk_row = |row: usize, out: &mut [(f64, f64)]| {
        let (mut flat, mut seen) = rule.begin();
        for (node, out) in rule.nodes.iter().zip(out) {
            let stage = usize::from(node.stage);
            let label = trace.label.as_ref().map_or(NO_LABEL, |label| label[stage][row]);
            rule.report(node, &mut flat, &mut seen, trace.signal[stage][row], label);
            *out = (flat.best.min(LOGIT_LIMIT + 1.0), trace.loss[usize::from(flat.answer)][row]);
        }
    };
    let mut by_row = vec![(0.0, 0.0); n * depth];
    by_row.par_chunks_mut(CHUNK * depth).enumerate().for_each(|(chunk, out)| {
        for (row, out) in out.chunks_exact_mut(depth).enumerate() {
            walk_row(chunk * CHUNK + row, out);
        }
    });
    let column = |d: usize, of: fn(&(f64, f64)) -> f64| by_row.iter().skip(d).step_by(depth).map(of).collect();
    let belief = (0..depth).into_par_iter().map(|d| column(d, |cell| cell.0)).collect();
    let loss = (0..depth).into_par_iter().map(|d| column(d, |cell| cell.1)).collect();
    (belief, loss)
}
