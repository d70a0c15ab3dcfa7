//! What a deadline makes of a model.

use crate::model::{Graph, Model};

/// What no answer loses, once a request may end without one.
pub(crate) fn nothing(model: &Model, default_loss: f64) -> f64 {
    if default_loss.is_finite() {
        return default_loss;
    }
    (0..model.stages()).flat_map(|v| model.loss(v)).copied().fold(0.0, f64::max)
}

/// The parents of every stage of a tree or general graph.
pub(crate) fn parents(model: &Model) -> Vec<Vec<usize>> {
    match model.graph() {
        Graph::Dag { parents } => parents.clone(),
        _ => (0..model.stages()).map(|v| model.parent(v).into_iter().collect()).collect(),
    }
}
