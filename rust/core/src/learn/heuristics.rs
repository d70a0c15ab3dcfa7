//! Heuristics, tuned on a trace: what the engine has to beat. All answer with the last stage, or, where nothing is an
//! answer, with that: instead of any stage, below a signal of the last stage (Chow 1970), or where too few agree.

use super::cut;
use super::lifted::Lift;
use super::options::Heuristic;
use super::sample::quantiles;
use super::tuning::Tuning;
use crate::error::{Error, Result};
use crate::evaluate::Objective;
use crate::parallel;
use crate::plan::STOP;
use crate::rules::{Component, NO_PREDICTION, PatienceRule, ThresholdRule, Walk};
use crate::trace::{Charge, Kind, Trace};

/// The best rule of its kind on the whole line of stages that can answer.
///
/// # Errors
/// [`Error::Invalid`] for patience on a trace without predictions.
pub fn tuned(
    heuristic: Heuristic,
    trace: &Trace,
    objective: Objective,
    default_loss: f64,
    tuning: &Tuning,
) -> Result<Component> {
    if let Some((part, stages)) = trace.without_probes() {
        let lift = Lift { stages: &stages, all: trace.stages() };
        return Ok(lift.rule(tuned(heuristic, &part, objective, default_loss, tuning)?));
    }
    let goal = Goal { trace, objective, default_loss };
    Ok(match heuristic {
        Heuristic::Static => fixed(goal),
        Heuristic::Threshold => shared_threshold(goal, tuning),
        Heuristic::StageThresholds => stage_thresholds(goal, tuning),
        Heuristic::Patience => patience(goal)?,
    })
}

/// What rules are tuned for.
#[derive(Clone, Copy)]
struct Goal<'a> {
    trace: &'a Trace,
    objective: Objective,
    /// Loss of answering with nothing, in the unit of the losses; infinite: some stage has to answer.
    default_loss: f64,
}

/// The whole line.
fn line(goal: Goal) -> Walk {
    let Goal { trace, default_loss, .. } = goal;
    let stages = trace.stages();
    let successor = (1..=stages).map(|next| if next < stages { next as i32 } else { STOP }).collect();
    Walk { entry: 0, successor, mean_loss: trace.mean_loss(), default_loss }
}

/// A rule that goes along this walk whatever the stages say.
fn unconditional(walk: Walk) -> Component {
    let threshold = vec![f64::INFINITY; walk.successor.len()];
    ThresholdRule { walk, threshold, reject: f64::NEG_INFINITY }.into()
}

/// Nothing for every request.
pub fn nothing(trace: &Trace, objective: Objective, default_loss: f64) -> Component {
    unconditional(Walk { entry: STOP, ..line(Goal { trace, objective, default_loss }) })
}

/// One stage for every request: for exits the best prefix, for models the best one alone; or nothing.
fn fixed(goal: Goal) -> Component {
    let Goal { trace, objective, default_loss } = goal;
    let mean = trace.mean_loss();
    let total = |v: usize| objective.of(mean[v], trace.jump_cost(None, v));
    let best = (0..trace.stages()).min_by(|a, b| total(*a).total_cmp(&total(*b))).unwrap_or(0);
    if objective.of_nothing(default_loss) < total(best) {
        return nothing(trace, objective, default_loss);
    }
    let mut walk = line(goal);
    walk.successor[best] = STOP;
    walk.entry = if trace.kind() == Kind::Models { best as i32 } else { 0 };
    unconditional(walk)
}

/// The least signal of the last stage that is an answer, and what the last stage then loses (n,): there is none where
/// nothing loses less.
fn rejection(goal: Goal, tuning: &Tuning) -> (f64, Vec<f64>) {
    let Goal { trace, default_loss, .. } = goal;
    let last = trace.stages() - 1;
    let (signal, loss) = (trace.signal(last), trace.loss(last));
    if default_loss == f64::INFINITY {
        return (f64::NEG_INFINITY, loss.to_vec());
    }
    let answered: Vec<f64> = loss.iter().zip(trace.weight()).map(|(loss, w)| w * loss).collect();
    let rejected: Vec<f64> = trace.weight().iter().map(|w| w * default_loss).collect();
    let reject = -cut::threshold(&doubt(signal), &answered, &rejected, tuning);
    let is_answer = |x: f64| reject == f64::NEG_INFINITY || x >= reject;
    let lost = signal.iter().zip(loss).map(|(x, loss)| if is_answer(*x) { *loss } else { default_loss });
    (reject, lost.collect())
}

/// Signals (n,) as doubts, ascending; without a signal the largest.
fn doubt(signal: &[f64]) -> Vec<f64> {
    signal.iter().map(|x| if x.is_nan() { f64::MAX } else { -x }).collect()
}

/// One threshold on the signal for all stages.
fn shared_threshold(goal: Goal, tuning: &Tuning) -> Component {
    let trace = goal.trace;
    let k = trace.stages();
    let pooled: Vec<f64> = trace.signals().cells().iter().copied().filter(|x| !x.is_nan()).collect();
    let mut candidates = quantiles(&pooled, tuning.shared_cuts);
    candidates.push(f64::INFINITY);
    let signal: Vec<&[f64]> = trace.signals().iter_columns().collect();
    let exit = |row: usize, t: f64| (0..k - 1).find(|v| signal[*v][row] >= t).unwrap_or(k - 1);
    let (reject, last) = rejection(goal, tuning);
    let mut whole = WholeLine::new(trace, goal.objective);
    whole.loss[k - 1] = &last;
    let totals = parallel::map(&candidates, |t| whole.mean(|row| exit(row, *t)));
    let best = (0..candidates.len()).min_by(|a, b| totals[*a].total_cmp(&totals[*b])).unwrap_or(0);
    let threshold = vec![candidates[best]; k];
    ThresholdRule { walk: line(goal), threshold, reject }.into()
}

/// One threshold on the signal per stage, by backward induction.
fn stage_thresholds(goal: Goal, tuning: &Tuning) -> Component {
    let Goal { trace, objective, .. } = goal;
    let k = trace.stages();
    let mut threshold = vec![f64::INFINITY; k];
    let weighted = |loss: &[f64]| loss.iter().map(|r| objective.loss * r).collect::<Vec<f64>>();
    let counted = |totals: &[f64]| totals.iter().zip(trace.weight()).map(|(total, w)| w * total).collect::<Vec<f64>>();
    let (reject, last) = rejection(goal, tuning);
    let mut ahead = weighted(&last);
    for v in (0..k - 1).rev() {
        let signal = trace.signal(v);
        let stop = weighted(trace.loss(v));
        let price = trace.cost().of_stages(v + 1, v + 2).times(objective.cost);
        let go: Vec<f64> = ahead.iter().enumerate().map(|(row, ahead)| price.at(row) + ahead).collect();
        let limit = cut::threshold(&doubt(signal), &counted(&stop), &counted(&go), tuning);
        threshold[v] = -limit;
        ahead = (0..stop.len()).map(|row| if signal[row] >= -limit { stop[row] } else { go[row] }).collect();
    }
    ThresholdRule { walk: line(goal), threshold, reject }.into()
}

/// Stop once the prediction has repeated often enough; where it never has, answer with the last stage or with nothing.
fn patience(goal: Goal) -> Result<Component> {
    let Goal { trace, objective, default_loss } = goal;
    let k = trace.stages();
    let Some(prediction) = trace.predictions() else {
        return Err(Error::invalid("`trace` must have `prediction` for patience, got none"));
    };
    let prediction: Vec<&[i64]> = prediction.iter_columns().collect();
    // Where the line is left, and whether because enough agreed.
    let exit = |row: usize, patience: usize| {
        let mut streak = 0;
        let agreed = (1..k).find(|v| {
            let here = prediction[*v][row];
            streak = if here == prediction[v - 1][row] && here != NO_PREDICTION { streak + 1 } else { 0 };
            streak >= patience
        });
        (agreed.unwrap_or(k - 1), agreed.is_some())
    };
    let whole = WholeLine::new(trace, objective);
    let ways = if default_loss < f64::INFINITY { &[false, true][..] } else { &[false] };
    let choices: Vec<(usize, bool)> =
        ways.iter().flat_map(|rejects| (1..=k).map(|patience| (patience, *rejects))).collect();
    let mean = |(patience, rejects): (usize, bool)| {
        whole.mean_of(|row| {
            let (v, agreed) = exit(row, patience);
            (v, if agreed || !rejects { whole.loss[v][row] } else { default_loss })
        })
    };
    let totals = parallel::map(choices.iter().copied(), mean);
    let best = (0..choices.len()).min_by(|a, b| totals[*a].total_cmp(&totals[*b])).unwrap_or(0);
    let (patience, rejects) = choices[best];
    let patience = u16::try_from(patience).unwrap_or(u16::MAX);
    Ok(PatienceRule { walk: line(goal), patience, rejects }.into())
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
        self.mean_of(|row| {
            let v = exit(row);
            (v, self.loss[v][row])
        })
    }

    /// The same if each row leaves the line at a stage, and loses so much.
    fn mean_of(&self, end: impl Fn(usize) -> (usize, f64)) -> f64 {
        let total = |row: usize| {
            let (v, loss) = end(row);
            self.weight[row] * (self.objective.loss * loss + self.reached[v].at(row))
        };
        (0..self.weight.len()).map(total).sum::<f64>() / self.weight.len() as f64
    }
}
