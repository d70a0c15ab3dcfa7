//! Lines and skip graphs without recall: the last answer is returned, so nothing but the state matters.

use super::chain::no_first_stage;
use crate::error::Result;
use crate::model::Model;
use crate::parallel;
use crate::plan::{ChainPlan, Intervals, STOP};

/// Optimal stopping by backward induction: `V_i(s) = min(r_i(s), min_j c_ij + E[V_j | s])`. A tie stops.
///
/// The default answer counts before anything has run only. O(non-zeros) a pair of stages that may follow each other.
pub(crate) fn solve(model: &Model, default_loss: f64) -> Result<(f64, ChainPlan)> {
    let stages = model.stages();
    // Expected V_j seen from the states of the stage solved last, for each j that an earlier stage may jump to.
    let mut seen: Vec<(usize, Vec<f64>)> = Vec::new();
    let mut unseen = vec![f64::INFINITY; stages];
    let mut rows: Vec<Vec<(bool, i32)>> = Vec::with_capacity(stages);
    for i in (0..stages).rev() {
        for (_, values) in &mut seen {
            parallel::check();
            *values = model.transition(i + 1).expect(values);
        }
        let mut decisions = Vec::with_capacity(model.states(i) + 1);
        let mut value = Vec::with_capacity(model.states(i));
        for (s, r) in model.loss(i).iter().enumerate() {
            let (best, next) = cheapest(seen.iter().map(|(j, v)| (*j, model.cost_of(Some(i), *j) + v[s])), *r);
            value.push(best);
            decisions.push((next == STOP, next));
        }
        let prior = model.prior_loss(i);
        let later = (i + 1..stages).map(|j| (j, model.cost_of(Some(i), j) + unseen[j]));
        let (_, next) = cheapest(later, prior);
        decisions.push((next == STOP, next));
        rows.push(decisions);
        unseen[i] = model.marginal(i).iter().zip(&value).map(|(p, v)| p * v).sum();
        seen.push((i, value));
        seen.retain(|(j, _)| (0..i).any(|u| model.cost_of(Some(u), *j).is_finite()));
    }
    let first = (0..stages).map(|j| (j, model.cost_of(None, j) + unseen[j]));
    let (value, start) = cheapest(first, default_loss);
    if value == f64::INFINITY {
        return Err(no_first_stage());
    }
    let mut offset = vec![0];
    let mut intervals = Intervals::new();
    for stage in rows.into_iter().rev() {
        for (stops, next) in stage {
            if stops {
                intervals.push(f64::INFINITY, []);
            } else {
                intervals.push(f64::NEG_INFINITY, [(f64::INFINITY, next)]);
            }
        }
        offset.push(intervals.rows() as u32);
    }
    Ok((value, ChainPlan { start, offset, intervals, time: None }))
}

/// The least of `stop` and the offers; a tie stops, then takes the earlier stage.
fn cheapest(offers: impl Iterator<Item = (usize, f64)>, stop: f64) -> (f64, i32) {
    offers.fold((stop, STOP), |best, (j, total)| if total < best.0 { (total, j as i32) } else { best })
}
