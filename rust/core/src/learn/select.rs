//! Which of several rules to trust: judged on rows held back, one part after the other.

use super::asked::Asked;
use super::calibrated::{Calibrated, Fold};
use super::heuristics;
use super::options::{Heuristic, Method};
use crate::error::Result;
use crate::evaluate::{Estimate, Objective, Outcome};
use crate::parallel;
use crate::policy::{Candidate, Facts, Policy};
use crate::trace::Trace;

/// Name of the default without recall among the candidates.
const NO_RECALL: &str = "pathwise, no recall";

/// A rule that may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// The default, with or without recall.
    Belief { recall: bool },
    /// A simple rule.
    Simple(Heuristic),
}

impl Selection {
    fn name(self) -> &'static str {
        match self {
            Self::Belief { recall: true } => Method::Pathwise.name(),
            Self::Belief { recall: false } => NO_RECALL,
            Self::Simple(heuristic) => heuristic.name(),
        }
    }
}

/// Mean loss and mean cost per request, in the units of the trace.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Means {
    /// Mean loss.
    pub loss: f64,
    /// Mean cost.
    pub cost: f64,
}

/// What is wanted of each part of the rows.
enum Wanted {
    Belief(Asked),
    Simple(Heuristic),
}

/// The rule that is asked for, or a simple one, made into a policy without a history.
fn policy(asked: &Wanted, fold: &Fold, objective: Objective) -> Result<Policy> {
    let calibrated = &fold.calibrated;
    let trace = calibrated.trace();
    let rule = match asked {
        Wanted::Belief(asked) => asked.answered(calibrated).rule,
        Wanted::Simple(heuristic) => {
            heuristics::tuned(*heuristic, trace, objective, calibrated.default_loss(), calibrated.tuning())?.into()
        }
    };
    Policy::new(trace.names().to_vec(), trace.price(), rule, Facts::default())
}

/// What a selection does on rows that it was not learned from, all folds after one another.
fn held_out(calibrated: &Calibrated, selection: Selection, objective: Objective) -> Result<Outcome> {
    let wanted = match selection {
        Selection::Belief { recall } => Wanted::Belief(Asked::of(calibrated, objective, recall)),
        Selection::Simple(heuristic) => Wanted::Simple(heuristic),
    };
    let parts =
        parallel::map(calibrated.folds(), |fold| Outcome::of_policy(&policy(&wanted, fold, objective)?, &fold.held));
    let parts: Vec<Outcome> = parts.into_iter().collect::<Result<_>>()?;
    Ok(Outcome::joined(calibrated.trace().stages(), &parts.iter().collect::<Vec<_>>()))
}

fn weights_of(folds: &[Fold]) -> Vec<f64> {
    folds.iter().flat_map(|fold| fold.held.weight().iter().copied()).collect()
}

/// How several rules did on rows held back, all parts after one another, the first of them being what the others are held
/// against; none of them is chosen yet.
pub fn judged(
    held: &[&Trace],
    found: &[Outcome],
    objective: Objective,
    name: impl Fn(usize) -> &'static str,
) -> Vec<Candidate> {
    let weight: Vec<f64> = held.iter().flat_map(|held| held.weight().iter().copied()).collect();
    let groups: Option<Vec<&[i64]>> = held.iter().map(|held| held.group()).collect();
    let group = groups.filter(|groups| !groups.is_empty()).map(|groups| groups.concat());
    let totals: Vec<Vec<f64>> = found.iter().map(|found| found.objective(objective)).collect();
    let candidate = |(at, (found, total)): (usize, (&Outcome, &Vec<f64>))| {
        let paired: Vec<f64> = total.iter().zip(&totals[0]).map(|(a, b)| a - b).collect();
        let difference = Estimate::of_units(&paired, &weight, group.as_deref());
        Candidate {
            name: name(at).into(),
            loss: Estimate::new(found.loss(), &weight).mean,
            cost: Estimate::new(found.cost(), &weight).mean,
            objective: Estimate::new(total, &weight).mean,
            difference: difference.mean,
            error: difference.error,
            is_chosen: false,
        }
    };
    found.iter().zip(&totals).enumerate().map(candidate).collect()
}

/// Means of a selection on rows held back; `None` where the rows are too few to hold any back.
///
/// # Errors
/// [`crate::Error::Invalid`] as for fitting.
pub fn estimate(calibrated: &Calibrated, selection: Selection, objective: Objective) -> Result<Option<Means>> {
    let weight = weights_of(calibrated.folds());
    if weight.is_empty() {
        return Ok(None);
    }
    let found = held_out(calibrated, selection, objective)?;
    let mean = |value: &[f64]| Estimate::new(value, &weight).mean;
    Ok(Some(Means { loss: mean(found.loss()), cost: mean(found.cost()) }))
}

/// The selection to trust, and how all of them did: the default with recall, unless another is better by more than
/// some standard errors of the difference.
///
/// # Errors
/// [`crate::Error::Invalid`] as for fitting.
pub fn select(calibrated: &Calibrated, objective: Objective) -> Result<(Selection, Vec<Candidate>)> {
    let default = Selection::Belief { recall: true };
    let weight = weights_of(calibrated.folds());
    if weight.is_empty() {
        return Ok((default, Vec::new()));
    }
    let has_predictions = calibrated.trace().predictions().is_some();
    let simple = Heuristic::ALL.into_iter().filter(|one| has_predictions || *one != Heuristic::Patience);
    let selections: Vec<Selection> =
        [default, Selection::Belief { recall: false }].into_iter().chain(simple.map(Selection::Simple)).collect();
    let found: Vec<Outcome> =
        selections.iter().map(|selection| held_out(calibrated, *selection, objective)).collect::<Result<_>>()?;
    let held: Vec<&Trace> = calibrated.folds().iter().map(|fold| &fold.held).collect();
    let mut candidates = judged(&held, &found, objective, |at| selections[at].name());
    let mut best = (0.0, default);
    for (selection, Candidate { difference, error, .. }) in selections.iter().zip(&candidates) {
        if *difference < -calibrated.tuning().select_errors * error && *difference < best.0 {
            best = (*difference, *selection);
        }
    }
    for (selection, candidate) in selections.iter().zip(&mut candidates) {
        candidate.is_chosen = *selection == best.1;
    }
    Ok((best.1, candidates))
}
