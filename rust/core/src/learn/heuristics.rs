//! Heuristics, tuned on a trace: what the engine has to beat. All answer with the last stage.

use super::cut;
use super::options::Heuristic;
use super::sample::quantiles;
use super::tuning::Tuning;
use crate::error::{Error, Result};
use crate::evaluate::Objective;
use crate::parallel;
use crate::plan::STOP;
use crate::rules::{Component, NO_PREDICTION, PatienceRule, ThresholdRule, Walk};
use crate::trace::{Charge, Kind, Trace};

/// The best rule of its kind on the whole line of stages.
///
/// # Errors
/// [`Error::Invalid`] for patience on a trace without predictions.
pub fn tuned(heuristic: Heuristic, trace: &Trace, objective: Objective, tuning: &Tuning) -> Result<Component> {
    Ok(match heuristic {
        Heuristic::Static => fixed(trace, objective),
        Heuristic::Threshold => shared_threshold(trace, objective, tuning),
        Heuristic::StageThresholds => stage_thresholds(trace, objective, tuning),
        Heuristic::Patience => patience(trace, objective)?,
    })
}

/// The whole line.
fn line(trace: &Trace) -> Walk {
    let stages = trace.stages();
    let successor = (1..=stages).map(|next| if next < stages { next as i32 } else { STOP }).collect();
    Walk { entry: 0, successor, mean_loss: trace.mean_loss() }
}

/// One stage for every request: for exits the best prefix, for models the best one alone.
fn fixed(trace: &Trace, objective: Objective) -> Component {
    let mean = trace.mean_loss();
    let total = |v: usize| objective.of(mean[v], trace.jump_cost(None, v));
    let best = (0..trace.stages()).min_by(|a, b| total(*a).total_cmp(&total(*b))).unwrap_or(0);
    let mut walk = line(trace);
    walk.successor[best] = STOP;
    walk.entry = if trace.kind() == Kind::Models { best as i32 } else { 0 };
    ThresholdRule { walk, threshold: vec![f64::INFINITY; trace.stages()] }.into()
}

/// One threshold on the signal for all stages.
fn shared_threshold(trace: &Trace, objective: Objective, tuning: &Tuning) -> Component {
    let k = trace.stages();
    let pooled: Vec<f64> = trace.signals().cells().iter().copied().filter(|x| !x.is_nan()).collect();
    let mut candidates = quantiles(&pooled, tuning.shared_cuts);
    candidates.push(f64::INFINITY);
    let signal: Vec<&[f64]> = trace.signals().iter_columns().collect();
    let exit = |row: usize, t: f64| (0..k - 1).find(|v| signal[*v][row] >= t).unwrap_or(k - 1);
    let whole = WholeLine::new(trace, objective);
    let totals = parallel::map(&candidates, |t| whole.mean(|row| exit(row, *t)));
    let best = (0..candidates.len()).min_by(|a, b| totals[*a].total_cmp(&totals[*b])).unwrap_or(0);
    let threshold = vec![candidates[best]; k];
    ThresholdRule { walk: line(trace), threshold }.into()
}

/// One threshold on the signal per stage, by backward induction.
fn stage_thresholds(trace: &Trace, objective: Objective, tuning: &Tuning) -> Component {
    let k = trace.stages();
    let mut threshold = vec![f64::INFINITY; k];
    let weighted = |v: usize| trace.loss(v).iter().map(|r| objective.loss * r).collect::<Vec<f64>>();
    let counted = |totals: &[f64]| totals.iter().zip(trace.weight()).map(|(total, w)| w * total).collect::<Vec<f64>>();
    let mut ahead = weighted(k - 1);
    for v in (0..k - 1).rev() {
        let signal = trace.signal(v);
        let doubt: Vec<f64> = signal.iter().map(|x| if x.is_nan() { f64::MAX } else { -x }).collect();
        let stop = weighted(v);
        let price = trace.cost().of_stages(v + 1, v + 2).times(objective.cost);
        let go: Vec<f64> = ahead.iter().enumerate().map(|(row, ahead)| price.at(row) + ahead).collect();
        let limit = cut::threshold(&doubt, &counted(&stop), &counted(&go), tuning);
        threshold[v] = -limit;
        ahead = (0..stop.len()).map(|row| if signal[row] >= -limit { stop[row] } else { go[row] }).collect();
    }
    ThresholdRule { walk: line(trace), threshold }.into()
}

/// Stop once the prediction has repeated often enough.
fn patience(trace: &Trace, objective: Objective) -> Result<Component> {
    let k = trace.stages();
    let Some(prediction) = trace.predictions() else {
        return Err(Error::invalid("`trace` must have `prediction` for patience, got none"));
    };
    let prediction: Vec<&[i64]> = prediction.iter_columns().collect();
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
    let whole = WholeLine::new(trace, objective);
    let totals = parallel::map(1..=k, |patience| whole.mean(|row| exit(row, patience)));
    let best = (0..k).min_by(|a, b| totals[*a].total_cmp(&totals[*b])).unwrap_or(0) + 1;
    let patience = u16::try_from(best).unwrap_or(u16::MAX);
    Ok(PatienceRule { walk: line(trace), patience }.into())
}

/// The whole line of stages, and what reaching each of them costs, in units of the objective.
struct WholeLine<'a> {
    loss: Vec<&'a [f64]>,
    weight: &'a [f64],
    objective: Objective,
    reached: Vec<Charge>,
}

impl<'a> WholeLine<'a> {
    fn new(trace: &'a Trace, objective: Objective) -> Self {
        let reached = |v: usize| trace.cost().of_stages(0, v + 1).times(objective.cost);
        let loss = trace.losses().iter_columns().collect();
        Self { loss, weight: trace.weight(), objective, reached: (0..trace.stages()).map(reached).collect() }
    }

    /// Mean objective if each row leaves the line at stage `exit(row)` with that stage's answer.
    fn mean(&self, exit: impl Fn(usize) -> usize) -> f64 {
        let total = |row: usize| {
            let v = exit(row);
            self.weight[row] * (self.objective.loss * self.loss[v][row] + self.reached[v].at(row))
        };
        (0..self.weight.len()).map(total).sum::<f64>() / self.weight.len() as f64
    }
}
