//! Trees and forests with recall: equivalent losses as step functions, from the leaves to the roots.
//!
//! For stage u given its parent's state s (docs/theory.md; Weitzman 1979 for boxes without states):
//!
//! `Y_u = min(r_u(s_u), min over children w of W_w(s_u))`, `E[(σ_u − Y_u)⁺ | s] = c_u`, `W_u = max(σ_u, Y_u)`.
//!
//! Distribution functions F(x) = P(· ≤ x) are kept instead of survival functions: they are sums of non-negative terms,
//! so that zero stays exactly zero and free stages get the largest of their indices. Each table lives on the points
//! of its own subtree, and only where it can matter: from its least index to its parent's largest loss.
//!
//! Cost: one `K_parent × K_u` product with as many columns as the subtree has points, at most `2·K` a stage.

use ndarray::Array2;

use super::grid::{distinct, last_at_or_below};
use super::memory;
use super::product::times;
use crate::error::Result;
use crate::model::Model;
use crate::parallel;

/// Indices and value.
pub(crate) struct TreeTables {
    /// Expected total.
    pub(crate) value: f64,
    /// `index[v][s]` for the parent's state s; the last entry for a parent in an unknown state (a root has two equal
    /// entries).
    pub(crate) index: Vec<Vec<f64>>,
}

/// Distribution functions of equivalent losses: `table[[s, m]]` = P(W ≤ x | s) for `point[m] ≤ x < point[m + 1]`.
pub(crate) struct Steps {
    pub(crate) point: Vec<f64>,
    pub(crate) table: Array2<f64>,
}

/// Solves a tree, forest or line with recall. Sources: docs/theory.md.
pub(crate) fn solve(model: &Model, default_loss: f64) -> Result<TreeTables> {
    let stages = model.stages();
    let mut open: Vec<Vec<Steps>> = (0..stages).map(|_| Vec::new()).collect();
    let mut roots = Vec::new();
    let mut index = vec![Vec::new(); stages];
    for v in (0..stages).rev() {
        let offer = best_of(model, v, std::mem::take(&mut open[v]))?;
        let seen = seen_from_parent(model, v, offer);
        index[v] = seen.indices(model.cost_of(model.parent(v), v));
        let equivalent = seen.floor(model, v, &index[v])?;
        if let Some(parent) = model.parent(v) {
            open[parent].push(equivalent);
        } else {
            roots.push(equivalent);
            let only = index[v][0];
            index[v] = vec![only, only];
        }
    }
    Ok(TreeTables { value: expected_minimum(&roots, default_loss), index })
}

/// `min(r_v, min W_w)` by the stage's own state.
pub(crate) fn best_of(model: &Model, v: usize, children: Vec<Steps>) -> Result<Steps> {
    let loss = model.loss(v);
    let mut point = loss.to_vec();
    for child in &children {
        point.extend_from_slice(&child.point);
    }
    let point = distinct(point);
    let rows = loss.len().max(model.parent(v).map_or(1, |p| model.states(p) + 1));
    memory::ensure(2.0 * rows as f64 * point.len() as f64, &format!("the step functions of stage {v}"))?;
    let mut table = Array2::zeros((loss.len(), point.len()));
    for child in children {
        let place = last_at_or_below(&child.point, &point);
        for (mut row, child) in table.rows_mut().into_iter().zip(child.table.rows()) {
            parallel::check();
            for (f, m) in row.iter_mut().zip(&place) {
                if let Some(m) = m {
                    *f += (1.0 - *f) * child[*m];
                }
            }
        }
    }
    for (mut row, r) in table.rows_mut().into_iter().zip(loss) {
        let from = point.partition_point(|x| x < r);
        row.iter_mut().skip(from).for_each(|f| *f = 1.0);
    }
    Ok(Steps { point, table })
}

/// `Y_v` by the parent's state, the unknown one last.
pub(crate) fn seen_from_parent(model: &Model, v: usize, offer: Steps) -> Steps {
    let extra = model.parent(v).map(|_| model.marginal(v));
    let mut table = times(model.transition(v), extra, &offer.table.view());
    table.mapv_inplace(|f| f.min(1.0));
    Steps { point: offer.point, table }
}

impl Steps {
    /// The largest σ with E[(σ − Y)⁺] = cost, by row: where the integral of F reaches the cost.
    fn indices(&self, cost: f64) -> Vec<f64> {
        let last = self.point.len() - 1;
        self.table
            .rows()
            .into_iter()
            .map(|f| {
                parallel::check();
                let mut paid = 0.0;
                for m in 0..last {
                    let more = paid + f[m] * (self.point[m + 1] - self.point[m]);
                    if more > cost {
                        return (self.point[m] + (cost - paid) / f[m]).clamp(self.point[m], self.point[m + 1]);
                    }
                    paid = more;
                }
                self.point[last] + (cost - paid) / f[last]
            })
            .collect()
    }

    /// E[(x − Y)⁺] in one row.
    pub(crate) fn paid(&self, row: usize, x: f64) -> f64 {
        let f = self.table.row(row);
        let ends = self.point.iter().skip(1).copied().chain([f64::INFINITY]);
        self.point.iter().zip(ends).zip(f).map(|((from, to), f)| f * (x.min(to) - from).max(0.0)).sum()
    }

    /// W = max(σ, Y), by the parent's states, where it can matter.
    pub(crate) fn floor(self, model: &Model, v: usize, index: &[f64]) -> Result<Self> {
        let rows = model.parent(v).map_or(1, |p| model.states(p));
        let index = &index[..rows];
        let least = index.iter().copied().fold(f64::INFINITY, f64::min);
        let most = match model.parent(v) {
            Some(p) => model.loss(p).iter().copied().fold(0.0, f64::max),
            None => f64::INFINITY,
        };
        let mut point = index.to_vec();
        point.extend_from_slice(&self.point);
        point.retain(|x| *x >= least && *x < most);
        let point = distinct(point);
        memory::ensure(rows as f64 * point.len() as f64, &format!("the equivalent losses of stage {v}"))?;
        let place = last_at_or_below(&self.point, &point);
        let mut table = Array2::zeros((rows, point.len()));
        for ((mut row, f), sigma) in table.rows_mut().into_iter().zip(self.table.rows()).zip(index) {
            for ((w, x), m) in row.iter_mut().zip(&point).zip(&place) {
                if let (Some(m), true) = (m, x >= sigma) {
                    *w = f[*m];
                }
            }
        }
        Ok(Self { point, table })
    }
}

/// E[min(`most`, min over roots of W)]: the integral of the product of survival functions.
pub(crate) fn expected_minimum(roots: &[Steps], most: f64) -> f64 {
    let mut point = vec![0.0];
    for root in roots {
        point.extend_from_slice(&root.point);
    }
    if most.is_finite() {
        point.push(most);
    }
    point.retain(|x| *x <= most);
    let point = distinct(point);
    let mut survival = vec![1.0; point.len()];
    for root in roots {
        for (survival, m) in survival.iter_mut().zip(last_at_or_below(&root.point, &point)) {
            if let Some(m) = m {
                *survival *= 1.0 - root.table[[0, m]];
            }
        }
    }
    point.windows(2).zip(survival).map(|(x, survival)| (x[1] - x[0]) * survival).sum()
}
