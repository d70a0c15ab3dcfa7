//! A policy on the rows of another domain: what signals mean is learned anew from few rows, on top of what was known; how
//! answers are weighed stays.

use std::sync::Arc;

use super::calibrated::Calibrated;
use super::options::{Approach, Shape};
use super::parts;
use super::readings::weighed_sample;
use super::scale::{Scale, with_probes};
use super::select::judged;
use super::subset::chosen_stages;
use super::tilts::tilted;
use super::tuning::Tuning;
use super::weigher::Weigher;
use super::whole::whole_rule;
use crate::error::{Error, Result};
use crate::evaluate::{Objective, Outcome};
use crate::parallel;
use crate::policy::{Facts, Policy, Usual};
use crate::rules::{AnyRule, BeliefRule, Component, Rule};
use crate::trace::Trace;

/// How much of a policy is learned anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Anew {
    Nothing,
    Calibration,
    Decisions,
    All,
}

impl Anew {
    const EACH: [Self; 4] = [Self::Nothing, Self::Calibration, Self::Decisions, Self::All];

    fn name(self) -> &'static str {
        match self {
            Self::Nothing => "as it was",
            Self::Calibration => "calibration",
            Self::Decisions => "calibration and decisions",
            Self::All => "all",
        }
    }
}

/// A policy that weighs beliefs, and what it was made for.
struct Subject<'a> {
    policy: &'a Policy,
    rule: &'a BeliefRule,
    approach: Approach,
    objective: Objective,
    tuning: Arc<Tuning>,
}

/// `policy`, which weighs beliefs, for requests like those of `trace`, whose stages are its own: as it was, with every stage
/// calibrated anew, with decisions found anew as well, or learned from these rows alone; what is best on rows held back, in
/// turn. The policy itself where nothing is clearly better.
///
/// A stage is calibrated anew by a line on top of each of its curves, in logits, pulled to what it was: a few hundred rows
/// are enough. How answers are weighed against each other stays. O(n k log n), and O(n) for each set of stages.
///
/// # Errors
/// [`Error::Invalid`] for a policy that weighs no beliefs, or does not say what it was made for; for too few rows to hold
/// any back.
pub fn recalibrated(policy: &Policy, trace: &Trace, tuning: Tuning) -> Result<Policy> {
    let completed = trace.completed()?.map(|completed| completed.trace.clone());
    let trace = completed.as_ref().unwrap_or(trace);
    let subject = Subject::of(policy, trace, tuning.checked()?)?;
    let parts = parts::parts(trace, subject.tuning.folds);
    if parts.is_empty() {
        return Err(Error::invalid(format!(
            "`trace` must have enough requests to hold some back in {} parts, got {}",
            subject.tuning.folds,
            trace.rows()
        )));
    }
    // Decisions by the time left are not found anew.
    let may_decide = subject.rule.time().is_none();
    let is_open = |way: &Anew| may_decide || matches!(way, Anew::Nothing | Anew::Calibration);
    let ways: Vec<Anew> = Anew::EACH.into_iter().filter(is_open).collect();
    let found = parallel::map(parts, |[rest, held]| {
        let (rest, held) = (trace.select(&rest), trace.select(&held));
        let outcome = |rule: AnyRule| Outcome::of_policy(&subject.made(rule, Facts::default())?, &held);
        let outcomes = subject.rules(&ways, &rest, false)?.into_iter().map(outcome).collect::<Result<Vec<_>>>()?;
        Ok((held, outcomes))
    });
    let found: Vec<(Trace, Vec<Outcome>)> = found.into_iter().collect::<Result<_>>()?;
    let held: Vec<&Trace> = found.iter().map(|(held, _)| held).collect();
    let joined = |way: usize| {
        let parts: Vec<&Outcome> = found.iter().map(|(_, outcomes)| &outcomes[way]).collect();
        Outcome::joined(trace.stages(), &parts)
    };
    let outcomes: Vec<Outcome> = (0..ways.len()).map(joined).collect();
    let mut candidates = judged(&held, &outcomes, subject.objective, |at| ways[at].name());
    let is_better = |at: &usize| candidates[*at].difference < -subject.tuning.tilt_errors * candidates[*at].error;
    let least = |one: &usize, other: &usize| candidates[*one].objective.total_cmp(&candidates[*other].objective);
    let best = (1..ways.len()).filter(is_better).min_by(least).unwrap_or(0);
    if ways[best] == Anew::Nothing {
        return Ok(policy.clone());
    }
    candidates[best].is_chosen = true;
    let Some(rule) = subject.rules(&ways[best..=best], trace, true)?.pop() else { return Ok(policy.clone()) };
    let provenance = subject.provenance(trace)?;
    let of_stage = |v| Usual::of_reports(trace.signal(v), trace.prediction(v));
    let usual = (0..trace.stages()).map(of_stage).collect();
    let facts = Facts { provenance, candidates, usual, index: Vec::new(), ..policy.facts().clone() };
    let made = subject.made(rule, facts)?;
    let value = Outcome::of_policy(&made, trace)?.mean_objective(subject.objective, trace.weight());
    let facts = Facts { value, ..made.facts().clone() };
    Ok(made.with_facts(facts))
}

impl<'a> Subject<'a> {
    fn of(policy: &'a Policy, trace: &Trace, tuning: Tuning) -> Result<Self> {
        let AnyRule::Component(Component::Belief(rule)) = policy.rule() else {
            let got = match policy.rule() {
                AnyRule::Mixture(_) => "a mixture of two",
                AnyRule::Priced(_) => "one that knows what requests cost",
                _ => policy.facts().method.as_str(),
            };
            return Err(Error::invalid(format!(
                "`recalibrated` needs a policy that weighs beliefs, for one trade-off, got {got}: fit to the new requests \
                 instead"
            )));
        };
        let said = |name: &str| policy.facts().provenance.iter().find(|entry| entry.0 == name).map(|entry| &entry.1);
        let tradeoff = said("tradeoff").and_then(|found| found.parse().ok()).ok_or_else(|| {
            Error::invalid("`recalibrated` needs a policy that says its trade-off in its provenance, got one without")
        })?;
        let shape = said("graph").and_then(|name| Shape::ALL.into_iter().find(|shape| shape.name() == name));
        let order = said("order").and_then(|order| order.split(',').map(|stage| stage.parse().ok()).collect());
        let default_loss = Some(rule.default_loss()).filter(|loss| loss.is_finite());
        let approach = Approach { shape: shape.unwrap_or_default(), order, default_loss, ..Approach::default() };
        let objective = Objective::new(trace, tradeoff)?;
        Ok(Self { policy, rule, approach, objective, tuning: Arc::new(tuning) })
    }

    fn made(&self, rule: AnyRule, facts: Facts) -> Result<Policy> {
        Policy::new(self.policy.stages().to_vec(), self.policy.price().clone(), rule, facts)
    }

    /// The rules of some ways, learned from `trace`; `is_whole`: with decisions of their own for requests that go without
    /// some stages.
    fn rules(&self, ways: &[Anew], trace: &Trace, is_whole: bool) -> Result<Vec<AnyRule>> {
        let beliefs = self.rule.beliefs();
        let unit = if beliefs.scale > 0.0 { beliefs.scale } else { 1.0 };
        let targets = |stage: usize| {
            if trace.is_probe(stage) {
                return Vec::new();
            }
            trace.loss(stage).iter().map(|loss| (loss / unit).min(1.0)).collect()
        };
        let target = with_probes((0..trace.stages()).map(targets).collect(), trace.rows());
        let calibration = parallel::map(0..trace.stages(), |stage| {
            tilted(&beliefs.calibration[stage], trace, stage, &target[stage], unit, &self.tuning)
        });
        let anew = self.rule.recalibrated(calibration);
        let rule = |way: &Anew| -> Result<BeliefRule> {
            Ok(match way {
                Anew::Nothing => self.rule.clone(),
                Anew::Calibration => anew.clone(),
                Anew::Decisions => self.decided(&self.knowing(&anew, trace, target.clone()), is_whole),
                Anew::All => {
                    let fresh = Calibrated::new(trace.clone(), &self.approach, Tuning::clone(&self.tuning))?;
                    self.decided(&fresh, is_whole)
                }
            })
        };
        ways.iter().map(|way| Ok(AnyRule::Component(rule(way)?.into()))).collect()
    }

    /// The beliefs of `anew`, with `trace` to find decisions on.
    fn knowing(&self, anew: &BeliefRule, trace: &Trace, target: Vec<Vec<f64>>) -> Calibrated {
        let beliefs = anew.beliefs();
        let sample = weighed_sample(trace, beliefs, target, trace.weight().to_vec());
        let weigher = Weigher::knowing(anew, sample, &self.tuning);
        let Approach { shape, order, default_loss, .. } = &self.approach;
        let asked = (*shape, order.clone(), default_loss.unwrap_or(f64::INFINITY));
        let tuning = Arc::clone(&self.tuning);
        Calibrated::believing(trace.clone(), asked, Scale::up_to(beliefs.scale), beliefs.clone(), weigher, tuning)
    }

    /// The best decisions of these beliefs.
    fn decided(&self, calibrated: &Calibrated, is_whole: bool) -> BeliefRule {
        let recall = self.rule.recall();
        let stages = chosen_stages(calibrated, self.objective, recall);
        let whole = is_whole.then(|| whole_rule(calibrated, &stages, self.objective, recall)).flatten();
        whole.unwrap_or_else(|| calibrated.rule_among(&stages, self.objective, recall).rule)
    }

    /// That of the policy, and what it was recalibrated to.
    fn provenance(&self, trace: &Trace) -> Result<Vec<(String, String)>> {
        let mut provenance = self.policy.facts().provenance.clone();
        provenance.retain(|(name, _)| !name.starts_with("recalibrated_"));
        provenance.push(("recalibrated_from".into(), self.policy.digest()?.into()));
        provenance.push(("recalibrated_rows".into(), trace.rows().to_string()));
        provenance.push(("recalibrated_trace".into(), trace.digest().into()));
        Ok(provenance)
    }
}
