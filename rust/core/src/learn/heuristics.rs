//! Heuristics, tuned on a trace: what the engine has to beat. All answer with the last stage.

use rayon::prelude::*;

use super::calibrate::quantiles;
use super::cut;
use crate::error::{Error, Result};
use crate::plan::STOP;
use crate::rules::{Component, NO_PREDICTION, PatienceRule, ThresholdRule, Walk};
use crate::trace::{Kind, Objective, Trace};

/// Candidate values of a threshold that all stages share.
const CUTS: usize = 80;

/// The whole line.
fn line(trace: &Trace) -> Walk {
    let stages = trace.stages();
    let successor = (1..=stages).map(|next| if next < stages { next as i32 } else { STOP }).collect();
    Walk { entry: 0, successor, mean_loss: trace.mean_loss() }
}

/// One stage for every request: for exits the best prefix, for models the best one alone.
pub fn fixed(trace: &Trace, objective: Objective) -> Component {
    let mean = trace.mean_loss();
    let total = |v: usize| objective.loss * mean[v] + objective.cost * trace.jump_cost(None, v);
    let best = (0..trace.stages()).min_by(|a, b| total(*a).total_cmp(&total(*b))).unwrap_or(0);
    let mut walk = line(trace);
    walk.successor[best] = STOP;
    walk.entry = if trace.kind == Kind::Models { best as i32 } else { 0 };
    ThresholdRule { walk, threshold: vec![f64::INFINITY; trace.stages()] }.into()
}

/// One confidence threshold for all stages.
pub fn shared_threshold(trace: &Trace, objective: Objective) -> Component {
    let k = trace.stages();
    let pooled: Vec<f64> = trace.signal.iter().flatten().copied().filter(|x| !x.is_nan()).collect();
    let mut candidates = quantiles(&pooled, CUTS);
    candidates.push(f64::INFINITY);
    let exit = |row: usize, t: f64| (0..k - 1).find(|v| trace.signal[*v][row] >= t).unwrap_or(k - 1);
    let totals: Vec<f64> = candidates.par_iter().map(|t| mean_over(trace, objective, |row| exit(row, *t))).collect();
    let best = (0..candidates.len()).min_by(|a, b| totals[*a].total_cmp(&totals[*b])).unwrap_or(0);
    let threshold = vec![candidates[best]; k];
    ThresholdRule { walk: line(trace), threshold }.into()
}

/// One confidence threshold per stage, by backward induction.
pub fn stage_thresholds(trace: &Trace, objective: Objective) -> Component {
    let k = trace.stages();
    let mut threshold = vec![f64::INFINITY; k];
    let weighted = |v: usize| trace.loss[v].iter().map(|r| objective.loss * r).collect::<Vec<f64>>();
    let counted = |totals: &[f64]| totals.iter().zip(&trace.weight).map(|(total, w)| w * total).collect::<Vec<f64>>();
    let mut ahead = weighted(k - 1);
    for v in (0..k - 1).rev() {
        let doubt: Vec<f64> = trace.signal[v].iter().map(|x| if x.is_nan() { f64::MAX } else { -x }).collect();
        let stop = weighted(v);
        let go: Vec<f64> = ahead.iter().map(|ahead| objective.cost * trace.cost[v + 1] + ahead).collect();
        let limit = cut::threshold(&doubt, &counted(&stop), &counted(&go));
        threshold[v] = -limit;
        ahead = (0..stop.len()).map(|row| if trace.signal[v][row] >= -limit { stop[row] } else { go[row] }).collect();
    }
    ThresholdRule { walk: line(trace), threshold }.into()
}

/// Stop once the prediction has repeated often enough.
pub fn patience(trace: &Trace, objective: Objective) -> Result<Component> {
    let k = trace.stages();
    let Some(prediction) = &trace.prediction else {
        return Err(Error::invalid("`trace` must have `prediction` for patience, got none"));
    };
    let exit = |row: usize, patience: usize| {
        let mut streak = 0;
        (1..k)
            .find(|v| {
                let here = prediction[*v][row];
                streak = if here == prediction[v - 1][row] && here != NO_PREDICTION { streak + 1 } else { 0 };
                streak >= patience
            })
            .unwrap_or(k - 1)
    };
    let totals: Vec<f64> =
        (1..=k).into_par_iter().map(|patience| mean_over(trace, objective, |row| exit(row, patience))).collect();
    let best = (0..k).min_by(|a, b| totals[*a].total_cmp(&totals[*b])).unwrap_or(0) + 1;
    let patience = u16::try_from(best).unwrap_or(u16::MAX);
    Ok(PatienceRule { walk: line(trace), patience }.into())
}

/// Mean weighted total if each row leaves the line at stage `exit(row)` with that stage's answer.
fn mean_over(trace: &Trace, objective: Objective, exit: impl Fn(usize) -> usize) -> f64 {
    let prefix: Vec<f64> = (0..trace.stages()).map(|v| objective.cost * trace.cost[..=v].iter().sum::<f64>()).collect();
    let total = |row: usize| {
        let v = exit(row);
        trace.weight[row] * (objective.loss * trace.loss[v][row] + prefix[v])
    };
    (0..trace.rows()).map(total).sum::<f64>() / trace.rows() as f64
}
