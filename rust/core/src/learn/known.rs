//! What is known once certain stages have run.

use std::sync::Arc;

use super::evidence::Weights;

/// Beliefs of every row once certain stages have run; nothing in it depends on the trade-off.
pub struct Known {
    /// How the answers of those stages are weighed against each other.
    pub weights: Arc<Weights>,
    /// Belief in the best answer in hand (n,), as the logit of its expected loss over that of a target of 1.
    pub belief: Vec<f64>,
    /// What stopping costs (n,), in the unit of the loss: partly the realised loss, partly the believed one.
    pub loss: Vec<f64>,
    /// Cell of the belief (n,).
    pub cell: Vec<u8>,
    /// The limits between the cells, ascending.
    pub cuts: Vec<f64>,
    /// Whether none of those stages can answer.
    pub is_silent: bool,
}

impl Known {
    /// The same of the given rows, in that order.
    pub fn select(&self, rows: &[u32]) -> Self {
        let of = |column: &[f64]| rows.iter().map(|row| column[*row as usize]).collect();
        Self {
            weights: Arc::clone(&self.weights),
            belief: of(&self.belief),
            loss: of(&self.loss),
            cell: rows.iter().map(|row| self.cell[*row as usize]).collect(),
            cuts: self.cuts.clone(),
            is_silent: self.is_silent,
        }
    }
}
