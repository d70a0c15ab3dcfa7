//! From a solved model to a policy that runs.

use super::compiled::Policy;
use super::facts::Facts;
use super::usual::Usual;
use crate::error::{Error, Result};
use crate::model::{Graph, Jumps, Model};
use crate::plan::Plan;
use crate::price::Price;
use crate::rules::{AnyRule, ChainRule, Component, DagRule, StateReader, TreeRule};
use crate::solve::{Certificate, Solution, SolveOptions, solve};

/// Solves `model` and compiles its policy; stages are named by their numbers.
///
/// # Errors
/// As [`solve`], and where the model has more stages than a policy may have.
pub fn compile(model: &Model, options: &SolveOptions) -> Result<Policy> {
    let solution = solve(model, options)?;
    let mut provenance = vec![("recall".to_owned(), options.recall.to_string())];
    if options.deadline.is_finite() {
        provenance.push(("deadline".to_owned(), options.deadline.to_string()));
    }
    let facts = Facts {
        method: "exact".into(),
        graph: model.graph().name().into(),
        value: solution.value,
        index: solution.index.clone(),
        index_error: solution.index_error,
        provenance,
        candidates: Vec::new(),
        usual: (0..model.stages()).map(|v| Usual::of_states(model.loss(v).len())).collect(),
    };
    let names = (0..model.stages()).map(|v| format!("stage {v}")).collect();
    let rule = rule_of(model, options, solution, StateReader::State, 1.0);
    Policy::new(names, price_of(model), rule, facts)
}

/// What following `policy` pays on `model`, and how far from optimal that can be; see [`crate::solve::verify`].
///
/// # Errors
/// [`Error::Invalid`] for a policy that was not made by solving a model, or of another graph or shape.
pub fn verify(model: &Model, policy: &Policy) -> Result<Certificate> {
    let facts = policy.facts();
    let (plan, prior_loss, default_loss) = match policy.rule() {
        AnyRule::Component(Component::Chain(rule)) => {
            (Plan::Chain(rule.plan.clone()), rule.prior.clone(), rule.default_loss)
        }
        AnyRule::Tree(rule) => (Plan::Tree(rule.plan().clone()), rule.prior().to_vec(), rule.default_loss()),
        AnyRule::Dag(rule) => (Plan::Dag(rule.plan.clone()), rule.prior.clone(), rule.default_loss),
        _ => return Err(Error::invalid("`policy` must come from solving a model, got a fitted one")),
    };
    let solution = Solution {
        value: facts.value,
        index: facts.index.clone(),
        index_error: facts.index_error,
        plan,
        prior_loss,
        recall: policy.recall(),
        default_loss,
    };
    crate::solve::verify(model, &solution)
}

/// The rule that executes `solution`; `unit` is what one unit of the model's losses is outside.
pub(crate) fn rule_of(
    model: &Model,
    options: &SolveOptions,
    solution: Solution,
    reader: StateReader,
    unit: f64,
) -> AnyRule {
    let losses = (0..model.stages()).map(|v| model.loss(v));
    match solution.plan {
        Plan::Chain(plan) => AnyRule::from(Component::from(ChainRule {
            reader,
            recall: options.recall,
            default_loss: options.default_loss,
            unit,
            loss: losses.flat_map(|loss| loss.iter().copied().chain([f64::INFINITY])).collect(),
            prior: solution.prior_loss,
            plan,
        })),
        Plan::Tree(plan) => {
            let losses = losses.map(<[f64]>::to_vec).collect();
            AnyRule::Tree(TreeRule::new(options.default_loss, losses, solution.prior_loss, plan))
        }
        Plan::Dag(plan) => AnyRule::Dag(DagRule {
            default_loss: options.default_loss,
            loss: losses.map(<[f64]>::to_vec).collect(),
            prior: solution.prior_loss,
            plan,
        }),
    }
}

/// What running each stage of `model` costs.
fn price_of(model: &Model) -> Price {
    let stages = model.stages();
    match model.graph() {
        Graph::Skip => {
            let last = |row: usize| row.checked_sub(1);
            let row = |row| (0..stages).map(move |v| if v < row { 0.0 } else { model.cost_of(last(row), v) });
            let alone = model.jumps() == Jumps::Alone;
            Price::Jump { stages, jump: (0..stages).flat_map(row).collect(), alone }
        }
        Graph::Line => Price::Stage((0..stages).map(|v| model.cost_of(v.checked_sub(1), v)).collect()),
        Graph::Tree { .. } | Graph::Dag { .. } => Price::Stage((0..stages).map(|v| model.cost_of(None, v)).collect()),
    }
}
