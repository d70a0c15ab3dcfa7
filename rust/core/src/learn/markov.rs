//! The literal recipe: quantile states of each stage's own confidence, a chain of counts, the exact index
//! (theory, sections 3 and 4). Right where states reveal losses; a baseline where they only hint at them.

use ndarray::Array2;

use super::heuristics;
use super::lifted::Lift;
use super::sample::quantiles;
use super::tuning::Tuning;
use crate::error::Result;
use crate::evaluate::Objective;
use crate::model::Model;
use crate::model::Transition;
use crate::policy::rule_of;
use crate::rules::{AnyRule, StateReader};
use crate::solve::{SolveOptions, solve};
use crate::trace::Trace;

/// The compiled rule, and the index of each stage per state of the one before (in units of weighted loss).
pub fn fit(
    trace: &Trace,
    objective: Objective,
    recall: bool,
    default_loss: f64,
    tuning: &Tuning,
) -> Result<(AnyRule, Vec<Vec<f64>>)> {
    if let Some((part, stages)) = trace.without_probes() {
        let lift = Lift { stages: &stages, all: trace.stages() };
        let (rule, index) = fit(&part, objective, recall, default_loss, tuning)?;
        let index = if index.is_empty() { index } else { lift.column(&index, &Vec::new()) };
        return Ok((lift.any(rule), index));
    }
    if objective.loss <= 0.0 && default_loss < f64::INFINITY {
        // Losses do not count: what is free is best.
        return Ok((heuristics::nothing(trace, objective, default_loss).into(), Vec::new()));
    }
    let bins = tuning.markov_bins;
    let edges: Vec<Vec<f64>> = trace.signals().iter_columns().map(|signal| inner_edges(signal, bins)).collect();
    let sizes: Vec<usize> = edges.iter().map(|edges| edges.len() + 1).collect();
    let reader = StateReader::Bins(edges);
    let states: Vec<Vec<usize>> = trace
        .signals()
        .iter_columns()
        .enumerate()
        .map(|(v, signal)| signal.iter().map(|x| reader.read(v, sizes[v], *x)).collect())
        .collect();
    let mean = trace.mean_loss();
    let loss = (0..trace.stages())
        .map(|v| {
            let mut sum = vec![(0.0, 0.0); sizes[v] + 1];
            for ((state, loss), w) in states[v].iter().zip(trace.loss(v)).zip(trace.weight()) {
                sum[*state].0 += w * loss;
                sum[*state].1 += w;
            }
            let known = &sum[..sizes[v]];
            known.iter().map(|(sum, n)| objective.loss * if *n > 0.0 { sum / n } else { mean[v] }).collect()
        })
        .collect();
    let transition = (0..trace.stages())
        .map(|v| match v.checked_sub(1) {
            None => {
                Transition::Dense(frequencies(&vec![0; states[v].len()], &states[v], trace.weight(), (1, sizes[v])))
            }
            Some(u) => Transition::Dense(frequencies(&states[u], &states[v], trace.weight(), (sizes[u], sizes[v]))),
        })
        .collect();
    let cost = trace.mean_cost().iter().map(|c| objective.cost * c).collect();
    let model = Model::line(loss, cost, transition)?;
    let options = SolveOptions { recall, default_loss: objective.of_nothing(default_loss), ..SolveOptions::default() };
    let solution = solve(&model, &options)?;
    let index = solution.index.clone();
    let unit = if objective.loss > 0.0 { objective.loss.recip() } else { 0.0 };
    Ok((rule_of(&model, &options, solution, reader, unit), index))
}

/// Quantiles that cut a column into at most so many bins.
fn inner_edges(signal: &[f64], bins: usize) -> Vec<f64> {
    let known: Vec<f64> = signal.iter().copied().filter(|x| !x.is_nan()).collect();
    let mut edges = quantiles(&known, bins + 1);
    // The lowest order statistic would cut off an empty bin, the highest a bin of the maximum alone.
    if !edges.is_empty() {
        edges.remove(0);
    }
    if edges.len() >= bins {
        edges.pop();
    }
    edges
}

/// Relative frequencies of `to` given `from`; rows never seen get those of all rows.
fn frequencies(from: &[usize], to: &[usize], weight: &[f64], (rows, columns): (usize, usize)) -> Array2<f64> {
    let mut count = Array2::<f64>::zeros((rows, columns));
    let mut all = vec![0.0; columns];
    for ((a, b), w) in from.iter().zip(to).zip(weight).filter(|((a, b), _)| **a < rows && **b < columns) {
        count[[*a, *b]] += w;
        all[*b] += w;
    }
    let seen: f64 = all.iter().sum();
    for mut row in count.rows_mut() {
        let total = row.sum();
        for (cell, all) in row.iter_mut().zip(&all) {
            *cell = match (total > 0.0, seen > 0.0) {
                (true, _) => *cell / total,
                (false, true) => all / seen,
                (false, false) => 1.0 / columns as f64,
            };
        }
    }
    count
}
