//! Backward induction along recorded requests: where to stop and what to run next (theory, section 4; after Longstaff
//! and Schwartz 2001).

use rayon::prelude::*;

use super::belief::Known;
use super::graph::{Graph, Situation};
use super::trace::Weights;

/// Rows that one task works on; sums are taken chunk by chunk, so that they do not depend on the number of threads.
const CHUNK: usize = 65_536;
/// Rounds of smoothing over neighbouring cells.
const PASSES: usize = 4;

/// What to do by the belief in hand: pairs of limit and action, ascending, the last limit infinite. Up to a limit,
/// inclusive, its action is best; action 0 stops, action c + 1 takes choice c.
pub type Decision = Vec<(f64, usize)>;

/// What is best in every situation.
pub struct Plan {
    /// One per situation.
    pub decisions: Vec<Decision>,
    /// Number of the entry to take.
    pub entry: usize,
    /// Mean objective on the rows, in the units of `Weights`.
    pub value: f64,
}

/// Finds the best decisions in every situation of `graph`; `known[s]` is what is known in situation s, `weight` that
/// of each row. O(rows · choices).
pub fn plan(graph: &Graph, known: &[&Known], weight: &[f64], weights: Weights) -> Plan {
    let n = graph.situations.len();
    let mut decisions: Vec<Decision> = vec![Vec::new(); n];
    let mut ahead: Vec<Vec<f64>> = vec![Vec::new(); n];
    let deepest = graph.situations.iter().map(|situation| situation.depth).max().unwrap_or(0);
    for depth in (1..=deepest).rev() {
        let level: Vec<usize> = (0..n).filter(|at| graph.situations[*at].depth == depth).collect();
        let solved: Vec<(Decision, Vec<f64>)> =
            level.par_iter().map(|at| solve(&graph.situations[*at], known[*at], &ahead, weight, weights)).collect();
        for (at, (decision, value)) in level.into_iter().zip(solved) {
            decisions[at] = decision;
            ahead[at] = value;
        }
        for at in (0..n).filter(|at| graph.situations[*at].depth == depth + 1) {
            ahead[at] = Vec::new();
        }
    }
    let mass: f64 = weight.iter().sum();
    let values = graph.entries.iter().map(|entry| {
        let later = ahead[entry.to].iter().zip(weight).map(|(v, w)| v * w).sum::<f64>() / mass;
        weights.cost * entry.price + later
    });
    let (entry, value) =
        values.enumerate().fold((0, f64::INFINITY), |best, (at, v)| if v < best.1 { (at, v) } else { best });
    Plan { decisions, entry, value }
}

/// The decision in one situation, and the cost that is still to come from there on every row.
fn solve(
    situation: &Situation,
    known: &Known,
    ahead: &[Vec<f64>],
    weight: &[f64],
    weights: Weights,
) -> (Decision, Vec<f64>) {
    let stop = |row: usize| weights.loss * known.loss[row];
    let options: Vec<(f64, &[f64])> =
        situation.choices.iter().map(|choice| (weights.cost * choice.price, ahead[choice.to].as_slice())).collect();
    let rows = known.loss.len();
    if options.is_empty() {
        return (vec![(f64::INFINITY, 0)], (0..rows).map(stop).collect());
    }
    let cells = known.cuts.len() + 1;
    let width = options.len() + 1;
    let summed = |chunk: usize| {
        let mut sums = vec![0.0; cells * width];
        for row in chunk * CHUNK..((chunk + 1) * CHUNK).min(rows) {
            let cell = &mut sums[usize::from(known.cell[row]) * width..][..width];
            cell[0] += weight[row];
            for (sum, (price, later)) in cell[1..].iter_mut().zip(&options) {
                *sum += weight[row] * (stop(row) - (price + later[row]));
            }
        }
        sums
    };
    let parts: Vec<Vec<f64>> = (0..rows.div_ceil(CHUNK)).into_par_iter().map(summed).collect();
    let mut sums = vec![0.0; cells * width];
    for part in parts {
        for (sum, part) in sums.iter_mut().zip(part) {
            *sum += part;
        }
    }
    smooth(&mut sums, width);
    let decision = decide(&known.cuts, &sums, width);
    let action = |row: usize| {
        let x = known.belief[row];
        decision.iter().find(|(limit, _)| x <= *limit).map_or(0, |(_, action)| *action)
    };
    let value = |row: usize| match action(row).checked_sub(1).and_then(|choice| options.get(choice)) {
        None => stop(row),
        Some((price, later)) => price + later[row],
    };
    let mut values = vec![0.0; rows];
    values.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, values)| {
        for (at, out) in values.iter_mut().enumerate() {
            *out = value(chunk * CHUNK + at);
        }
    });
    (decision, values)
}

/// [1 2 1] / 4 over neighbouring cells, the outermost repeated.
fn smooth(sums: &mut Vec<f64>, width: usize) {
    let cells = sums.len() / width;
    for _ in 0..PASSES {
        let at = |cell: usize, column: usize| sums[cell * width + column];
        *sums = (0..cells * width)
            .map(|i| {
                let (cell, column) = (i / width, i % width);
                let before = at(cell.saturating_sub(1), column);
                let after = at((cell + 1).min(cells - 1), column);
                (before + 2.0 * at(cell, column) + after) / 4.0
            })
            .collect();
    }
}

/// Stopping, unless a choice gains; among equals the first. `cell` is the weight and the summed gain of each choice.
fn best_action(cell: &[f64]) -> usize {
    let mut best = (0, 0.0);
    for (choice, gain) in cell.iter().enumerate().skip(1) {
        if *gain > best.1 && cell[0] > 0.0 {
            best = (choice, *gain);
        }
    }
    best.0
}

/// The best action of every cell, neighbouring cells with the same action joined. Cells with the same limit hold equal
/// beliefs: they are decided together.
fn decide(cuts: &[f64], sums: &[f64], width: usize) -> Decision {
    let mut decision: Decision = Vec::new();
    let mut block = vec![0.0; width];
    let mut limits = cuts.iter().copied().chain([f64::INFINITY]).peekable();
    for cell in sums.chunks_exact(width) {
        for (sum, part) in block.iter_mut().zip(cell) {
            *sum += part;
        }
        let limit = limits.next().unwrap_or(f64::INFINITY);
        if limits.peek() == Some(&limit) {
            continue;
        }
        let action = best_action(&block);
        match decision.last_mut() {
            Some(last) if last.1 == action => last.0 = limit,
            _ => decision.push((limit, action)),
        }
        block.fill(0.0);
    }
    decision
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_cells_with_the_same_action() {
        let sums = [[1.0, -1.0, -1.0], [1.0, 2.0, 1.0], [1.0, 3.0, 4.0], [1.0, 1.0, -2.0]].concat();
        assert_eq!(decide(&[1.0, 2.0, 3.0], &sums, 3), [(1.0, 0), (2.0, 1), (3.0, 2), (f64::INFINITY, 1)]);
        let same = [[1.0, 2.0], [1.0, 1.0], [1.0, -1.0]].concat();
        assert_eq!(decide(&[1.0, 2.0], &same, 2), [(2.0, 1), (f64::INFINITY, 0)]);
    }

    #[test]
    fn equal_beliefs_are_decided_together() {
        let sums = [[1.0, 1.0], [9.0, -2.0], [1.0, 0.5], [1.0, 1.0]].concat();
        assert_eq!(decide(&[2.0, 2.0, 2.0], &sums, 2), [(2.0, 0), (f64::INFINITY, 1)]);
        assert_eq!(decide(&[f64::INFINITY; 3], &sums, 2), [(f64::INFINITY, 1)]);
    }

    #[test]
    fn smoothing_keeps_a_constant() {
        let mut sums = vec![3.0; 10];
        smooth(&mut sums, 2);
        assert_eq!(sums, [3.0; 10]);
        let mut peak = vec![0.0, 0.0, 256.0, 0.0, 0.0];
        smooth(&mut peak, 1);
        assert!(peak[2] < 256.0 && peak[1] == peak[3] && peak[0] > 0.0);
    }
}
