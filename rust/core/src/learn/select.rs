//! Which of several rules to trust: judged on rows held back, one part after the other.

use rayon::prelude::*;

use super::learner::{Fold, Learner};
use super::{Method, tuned};
use crate::error::Result;
use crate::policy::{Candidate, Facts, Policy};
use crate::rules::AnyRule;
use crate::trace::{Objective, Trace};

/// Standard errors by which another rule must beat the default to replace it.
const CLEAR: f64 = 2.0;

/// Simple rules that the default is held against.
const SIMPLE: [Method; 4] = [Method::Static, Method::Threshold, Method::StageThresholds, Method::Patience];

/// Name of the default without recall in reports.
const NO_RECALL: &str = "pathwise, no recall";

/// A rule that may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The default, with or without recall.
    Belief { recall: bool },
    /// A simple rule.
    Simple(Method),
}

impl Choice {
    fn name(self) -> &'static str {
        match self {
            Self::Belief { recall: true } => Method::Pathwise.name(),
            Self::Belief { recall: false } => NO_RECALL,
            Self::Simple(method) => method.name(),
        }
    }
}

/// Loss and cost of each row under one policy.
pub struct Outcome {
    /// Loss of the answer.
    pub loss: Vec<f64>,
    /// Summed cost.
    pub cost: Vec<f64>,
}

/// What `policy` does on every row of `trace`. O(n·k), all cores.
pub fn outcome(policy: &Policy, trace: &Trace) -> Outcome {
    let total = |row: usize| {
        let mut run = policy.start();
        while let Some(stage) = run.next() {
            let prediction = trace.prediction.as_ref().map(|prediction| prediction[stage][row]);
            if run.observe(trace.signal[stage][row], prediction).is_err() {
                break;
            }
        }
        (run.answer().map_or(0.0, |answer| trace.loss[answer][row]), run.cost())
    };
    let (loss, cost) = (0..trace.rows()).into_par_iter().map(total).unzip();
    Outcome { loss, cost }
}

/// The rules of one choice, made into a policy without a history.
fn policy(choice: Choice, fold: &Fold, stages: &[usize], objective: Objective) -> Result<Policy> {
    let trace = fold.learner.trace();
    let rules = match choice {
        Choice::Belief { recall } => AnyRule::Component(fold.learner.rule_among(stages, objective, recall).rule.into()),
        Choice::Simple(method) => tuned(method, trace, objective, true)?.0,
    };
    let names = (0..trace.stages()).map(|stage| stage.to_string()).collect();
    Policy::new(names, trace.price(), rules, Facts::default())
}

/// What a choice does on rows that it was not learned from, all folds after one another.
fn held_out(learner: &Learner, choice: Choice, objective: Objective) -> Result<Outcome> {
    let stages = match choice {
        Choice::Belief { recall } => learner.chosen_stages(objective, recall),
        Choice::Simple(_) => Vec::new(),
    };
    let parts: Vec<Outcome> = learner
        .folds()
        .par_iter()
        .map(|fold| Ok(outcome(&policy(choice, fold, &stages, objective)?, &fold.held)))
        .collect::<Result<_>>()?;
    let mut joined = Outcome { loss: Vec::new(), cost: Vec::new() };
    for part in parts {
        joined.loss.extend(part.loss);
        joined.cost.extend(part.cost);
    }
    Ok(joined)
}

/// Weighted mean and its standard error.
fn mean(values: &[f64], weight: &[f64]) -> (f64, f64) {
    let mass: f64 = weight.iter().sum();
    if mass <= 0.0 {
        return (0.0, 0.0);
    }
    let mean = values.iter().zip(weight).map(|(x, w)| x * w).sum::<f64>() / mass;
    let squares: f64 = values.iter().zip(weight).map(|(x, w)| (w * (x - mean)).powi(2)).sum();
    (mean, squares.sqrt() / mass)
}

fn weights_of(folds: &[Fold]) -> Vec<f64> {
    folds.iter().flat_map(|fold| fold.held.weight.iter().copied()).collect()
}

/// Mean loss and mean cost of a choice on rows held back; `None` where the rows are too few to hold any back.
///
/// # Errors
/// [`crate::Error::Invalid`] as for fitting.
pub fn estimate(learner: &Learner, choice: Choice, objective: Objective) -> Result<Option<(f64, f64)>> {
    let weight = weights_of(learner.folds());
    if weight.is_empty() {
        return Ok(None);
    }
    let found = held_out(learner, choice, objective)?;
    Ok(Some((mean(&found.loss, &weight).0, mean(&found.cost, &weight).0)))
}

/// The choice to trust, and how all of them did: the default with recall, unless another is better by more than two
/// standard errors of the difference.
///
/// # Errors
/// [`crate::Error::Invalid`] as for fitting.
pub fn select(learner: &Learner, objective: Objective) -> Result<(Choice, Vec<Candidate>)> {
    let default = Choice::Belief { recall: true };
    let weight = weights_of(learner.folds());
    if weight.is_empty() {
        return Ok((default, Vec::new()));
    }
    let has_predictions = learner.trace().prediction.is_some();
    let simple = SIMPLE.into_iter().filter(|method| has_predictions || *method != Method::Patience);
    let choices: Vec<Choice> =
        [default, Choice::Belief { recall: false }].into_iter().chain(simple.map(Choice::Simple)).collect();
    let found: Vec<Outcome> =
        choices.iter().map(|choice| held_out(learner, *choice, objective)).collect::<Result<_>>()?;
    let total = |found: &Outcome| {
        found.loss.iter().zip(&found.cost).map(|(loss, cost)| objective.loss * loss + objective.cost * cost).collect()
    };
    let totals: Vec<Vec<f64>> = found.iter().map(total).collect();
    let mut report = Vec::new();
    let mut best = (0.0, default);
    for ((choice, found), total) in choices.iter().zip(&found).zip(&totals) {
        let paired: Vec<f64> = total.iter().zip(&totals[0]).map(|(a, b)| a - b).collect();
        let (difference, error) = mean(&paired, &weight);
        if difference < -CLEAR * error && difference < best.0 {
            best = (difference, *choice);
        }
        report.push(Candidate {
            name: choice.name().into(),
            loss: mean(&found.loss, &weight).0,
            cost: mean(&found.cost, &weight).0,
            objective: mean(total, &weight).0,
            difference,
            error,
            is_chosen: false,
        });
    }
    for (choice, candidate) in choices.iter().zip(&mut report) {
        candidate.is_chosen = *choice == best.1;
    }
    Ok((best.1, report))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weighted_means_have_standard_errors() {
        let (centre, error) = mean(&[1.0, 3.0, 100.0], &[1.0, 1.0, 0.0]);
        assert_eq!(centre, 2.0);
        assert!((error - 0.5_f64.sqrt()).abs() < 1e-12, "{error}");
        assert_eq!(mean(&[], &[]), (0.0, 0.0));
    }
}
