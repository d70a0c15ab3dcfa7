//! Which stages are worth having.

use super::calibrated::Calibrated;
use crate::evaluate::Objective;

/// All of a few stages, or of a line; of more, the best next one is added while that pays.
pub fn chosen_stages(calibrated: &Calibrated, objective: Objective, recall: bool) -> Vec<usize> {
    let order = calibrated.order();
    let most = calibrated.tuning().lattice_stages;
    if order.len() <= most || calibrated.is_line() {
        return order;
    }
    let scout = calibrated.scout();
    let unavoidable = scout.unavoidable(objective);
    let mut chosen: Vec<usize> = Vec::new();
    let mut best = f64::INFINITY;
    while chosen.len() < most {
        let with = |further: &usize| -> Vec<usize> {
            order.iter().copied().filter(|stage| stage == further || chosen.contains(stage)).collect()
        };
        let candidates: Vec<Vec<usize>> = order.iter().filter(|stage| !chosen.contains(stage)).map(with).collect();
        let promised = scout.values(&candidates, objective, recall);
        let values: Vec<f64> = promised.iter().map(|value| value - unavoidable).collect();
        let least = (0..values.len()).min_by(|a, b| values[*a].total_cmp(&values[*b])).unwrap_or(0);
        if values[least] >= best * (1.0 - calibrated.tuning().worthwhile) {
            break;
        }
        best = values[least];
        chosen.clone_from(&candidates[least]);
    }
    chosen
}
