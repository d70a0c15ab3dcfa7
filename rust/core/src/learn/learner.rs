//! The face of learning: from a trace to a policy for any trade-off.

use std::sync::{Arc, OnceLock};

use super::asked::{Answered, Asked};
use super::calibrated::Calibrated;
use super::options::{Approach, Heuristic, Method, Recall, Shape};
use super::select::{self, Means, Selection};
use super::tuning::Tuning;
use super::{heuristics, markov};
use crate::error::{Error, Result, number};
use crate::evaluate::{Objective, Outcome};
use crate::policy::{Candidate, Facts, Policy, Usual};
use crate::price::Price;
use crate::rules::AnyRule;
use crate::trace::{Cost, Trace};

/// What a policy says that it was made from: names and values, in order.
pub type Provenance = Vec<(String, String)>;

/// Gives policies learned from one trace, for any trade-off.
pub struct Learner {
    /// As it was given.
    pub(super) given: Arc<Trace>,
    /// The same with numbers for what is not known.
    pub(super) trace: Trace,
    /// What is learned from, if not the trace itself.
    pub(super) condensed: Option<Trace>,
    pub(super) way: Way,
    pub(super) approach: Approach,
    /// Loss of answering with nothing; infinite: some stage has to answer.
    pub(super) default_loss: f64,
    pub(super) tuning: Tuning,
    /// What stages usually report, once somebody has asked.
    pub(super) usual: Arc<OnceLock<Vec<Usual>>>,
    /// Prices in place of those of the trace (k,).
    pub(super) prices: Option<Vec<f64>>,
}

/// A policy without decisions of its own for requests that go without some stages: it takes less time, and decides all
/// other requests as [`Learner::finished`] makes it.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The policy.
    pub policy: Policy,
    /// What beliefs decide for; none: another rule does.
    asked: Option<Asked>,
}

/// How policies are made.
pub(super) enum Way {
    /// Trade-offs share calibration and beliefs.
    Calibrated(Arc<Calibrated>),
    /// The chain is solved for each.
    Markov,
    /// The rule is tuned for each.
    Heuristic(Heuristic),
}

impl Learner {
    /// Calibrates every stage, if the method does: O(k · rows · log rows) for a sample of rows, plus one pass over all.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an order that cannot be kept, a shape or an order that the method has no use for, or a
    /// constant that learning cannot work with.
    pub fn new(trace: Trace, approach: &Approach, tuning: Tuning) -> Result<Self> {
        let tuning = tuning.checked()?;
        let Approach { method, shape, order, default_loss, deadline, known_cost } = approach;
        if let Some(loss) = default_loss.filter(|loss| !(loss.is_finite() && *loss >= 0.0)) {
            return Err(Error::invalid(format!("`default_loss` must be finite and at least 0, got {}", number(loss))));
        }
        let default_loss = default_loss.unwrap_or(f64::INFINITY);
        if *method != Method::Pathwise {
            let needs = |argument: &str| {
                Error::invalid(format!("{argument} needs the estimator 'pathwise', got '{}'", method.name()))
            };
            if *shape == Shape::Skip {
                return Err(needs("`graph` 'skip'"));
            }
            if order.is_some() {
                return Err(needs("`order`"));
            }
            if *deadline {
                return Err(needs("`deadline`"));
            }
            if *known_cost {
                return Err(needs("`known_cost`"));
            }
        }
        let completed = trace.completed()?.map(|completed| completed.trace.clone());
        let given = Arc::new(trace.clone());
        let trace = completed.unwrap_or(trace);
        if *deadline {
            check_latency(&trace)?;
        }
        if *known_cost && matches!(trace.cost(), Cost::Alike(_)) {
            return Err(Error::invalid(
                "`known_cost` needs a trace with a cost of each row, (n, k), got the same for all",
            ));
        }
        let condensed = trace.condensed(tuning.condensed_rows);
        let way = match *method {
            Method::Pathwise => {
                let learned = condensed.as_ref().unwrap_or(&trace).clone();
                let calibrated = Calibrated::new(learned, approach, tuning.clone())?;
                Way::Calibrated(Arc::new(calibrated))
            }
            Method::Markov => Way::Markov,
            Method::Heuristic(heuristic) => Way::Heuristic(heuristic),
        };
        let (approach, usual) = (approach.clone(), Arc::default());
        Ok(Self { given, trace, condensed, way, approach, default_loss, tuning, usual, prices: None })
    }

    /// The rows that it learns from: those that count, each once.
    pub(super) fn learned(&self) -> &Trace {
        self.condensed.as_ref().unwrap_or(&self.trace)
    }

    /// The trace it learned from, with numbers for what is not known of it.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// The constants of learning.
    pub fn tuning(&self) -> &Tuning {
        &self.tuning
    }

    /// The policy for one trade-off λ.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a trade-off outside [0, 1], or a rule that needs predictions on a trace without.
    pub fn policy(&self, tradeoff: f64, recall: Recall, provenance: Provenance) -> Result<Policy> {
        self.finished(self.draft(tradeoff, recall, provenance)?)
    }

    /// The draft for one trade-off λ.
    ///
    /// # Errors
    /// As [`Learner::policy`].
    pub fn draft(&self, tradeoff: f64, recall: Recall, provenance: Provenance) -> Result<Draft> {
        let objective = Objective::new(self.learned(), tradeoff)?;
        match &self.way {
            Way::Calibrated(calibrated) => {
                let (selection, candidates) = chosen(calibrated, objective, recall)?;
                self.selected(calibrated, selection, objective, Facts { provenance, candidates, ..Facts::default() })
            }
            Way::Markov => {
                let (rule, index) =
                    markov::fit(self.learned(), objective, recall != Recall::Never, self.default_loss, &self.tuning)?;
                let known = Facts { provenance, ..Facts::default() };
                let policy = self.valued(rule, facts(Method::Markov, "line", index, known), objective)?;
                Ok(Draft { policy, asked: None })
            }
            Way::Heuristic(heuristic) => {
                let known = Facts { provenance, ..Facts::default() };
                self.tuned(*heuristic, objective, known)
            }
        }
    }

    /// The policy that `draft` is a draft of.
    ///
    /// # Errors
    /// As [`Learner::policy`].
    pub fn finished(&self, draft: Draft) -> Result<Policy> {
        let Draft { policy, asked } = draft;
        let (Way::Calibrated(calibrated), Some(asked)) = (&self.way, asked) else {
            return Ok(policy);
        };
        let Some(rule) = asked.whole(calibrated) else { return Ok(policy) };
        Policy::new(policy.stages().to_vec(), policy.price().clone(), rule, policy.facts().clone())
    }

    /// The draft for one trade-off λ, with its means on rows that were not learned from, in turn; none where no rows
    /// are held back: by a method other than the default, of too few rows, or of so many that those learned from serve
    /// as well.
    ///
    /// # Errors
    /// As [`Learner::policy`].
    pub fn judged_draft(
        &self,
        tradeoff: f64,
        recall: Recall,
        provenance: Provenance,
    ) -> Result<(Draft, Option<Means>)> {
        let Way::Calibrated(calibrated) = &self.way else {
            return Ok((self.draft(tradeoff, recall, provenance)?, None));
        };
        let objective = Objective::new(self.learned(), tradeoff)?;
        let (selection, candidates) = chosen(calibrated, objective, recall)?;
        let is_whole = std::ptr::eq(calibrated.checked(), calibrated.as_ref());
        let held = match candidates.iter().find(|found| found.is_chosen && is_whole) {
            Some(found) => Some(Means { loss: found.loss, cost: found.cost }),
            None if self.learned().rows() > self.tuning.estimated_rows => None,
            None => select::estimate(calibrated, selection, objective)?,
        };
        let known = Facts { provenance, candidates, ..Facts::default() };
        Ok((self.selected(calibrated, selection, objective, known)?, held))
    }

    fn selected(
        &self,
        calibrated: &Calibrated,
        selection: Selection,
        objective: Objective,
        known: Facts,
    ) -> Result<Draft> {
        match selection {
            Selection::Belief { recall } => {
                let asked = Asked::of(calibrated, objective, recall);
                let Answered { rule, index, graph } = asked.answered(calibrated);
                let facts = facts(Method::Pathwise, graph, index, known);
                Ok(Draft { policy: self.valued(rule, facts, objective)?, asked: Some(asked) })
            }
            Selection::Simple(heuristic) => self.tuned(heuristic, objective, known),
        }
    }

    fn tuned(&self, heuristic: Heuristic, objective: Objective, known: Facts) -> Result<Draft> {
        let rule = heuristics::tuned(heuristic, self.learned(), objective, self.default_loss, &self.tuning)?;
        let facts = facts(Method::Heuristic(heuristic), "line", Vec::new(), known);
        Ok(Draft { policy: self.valued(rule.into(), facts, objective)?, asked: None })
    }

    /// What stages cost, where costs are part of decisions: those of the average request.
    fn price(&self) -> Price {
        match &self.way {
            Way::Calibrated(calibrated) if calibrated.ranges().is_some() => calibrated.trace().price(),
            _ => self.trace.price(),
        }
    }

    /// The policy of these rules, with its mean objective on the trace among its facts. O(n k).
    fn valued(&self, rule: AnyRule, facts: Facts, objective: Objective) -> Result<Policy> {
        let trace = &self.trace;
        let of_stage = |v| Usual::of_reports(trace.signal(v), trace.prediction(v));
        let usual = self.usual.get_or_init(|| (0..trace.stages()).map(of_stage).collect());
        let facts = Facts { usual: usual.clone(), ..facts };
        let policy = Policy::new(trace.names().to_vec(), self.price(), rule, facts)?;
        let value = Outcome::of_policy(&policy, trace)?.mean_objective(objective, trace.weight());
        let facts = Facts { value, ..policy.facts().clone() };
        Ok(policy.with_facts(facts))
    }
}

/// What to learn for one trade-off, and how the alternatives did. Simple rules know nothing of time, nor of what requests cost.
fn chosen(calibrated: &Calibrated, objective: Objective, recall: Recall) -> Result<(Selection, Vec<Candidate>)> {
    if recall == Recall::Auto && calibrated.is_free() && !calibrated.knows_time() && calibrated.ranges().is_none() {
        select::select(calibrated.checked(), objective)
    } else {
        Ok((Selection::Belief { recall: recall != Recall::Never }, Vec::new()))
    }
}

/// That it is known of every request how long every stage took.
fn check_latency(trace: &Trace) -> Result<()> {
    for v in 0..trace.stages() {
        let Some(latency) = trace.latency(v) else {
            return Err(Error::invalid("`deadline` needs a trace with `latency`, got one without"));
        };
        if let Some(row) = latency.iter().position(|seconds| seconds.is_nan()) {
            return Err(Error::invalid(format!(
                "`deadline` needs a number of seconds in `latency[{row}, {v}]`, got nan"
            )));
        }
    }
    Ok(())
}

fn facts(method: Method, graph: &str, index: Vec<Vec<f64>>, known: Facts) -> Facts {
    Facts { method: method.name().into(), graph: graph.into(), index, ..known }
}
