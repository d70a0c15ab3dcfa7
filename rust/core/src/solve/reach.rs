//! Where far stages of a skip graph may be best, told from a few columns of their tables.
//!
//! `T_uj(x | s)` is convex in x, and does not fall. Between two points at which it is known it lies below the chord,
//! and above what continues the chords on either side (`seen.rs`). Where the chord of j lies below 0, or below what
//! another stage brings at least, stage u does not go to j (`look.rs`; docs/theory.md, section 3.4).
//!
//! Cost: for each pair of stages one product with every sixteenth column; fewer where what is seen soon hardly depends
//! on the state. Then O(states · columns / 16) for each stage that looks and stage looked at, whenever a stage has been
//! solved. Memory: at most as much as half of all columns.

use ndarray::{Array2, ArrayView2, Axis, Slice};

use super::grid::{Columns, LossGrid};
use super::look::Look;
use super::product::{part, times};
use super::seen::{Seen, spread};
use crate::model::Model;
use crate::parallel;

/// Columns from one at which tables are known to the next, where there are many.
const STEP: usize = 16;
/// Columns below which all are carried: nothing is to be gained.
const FEW: usize = 16 * STEP;
/// Rows of one task.
const ROWS: usize = 128;
/// A stage is looked at closer where more than one in so many of its columns is left.
const WORTH: usize = 8;

/// Points, from the last, at which it is tried how soon states are forgotten: one in so many.
const TRIED: isize = 4;
/// Part of the differences between states that is left after one transition, below which extremes alone say enough.
const FORGOTTEN: f64 = 0.25;

/// What is known, for each stage that is still to be solved, of those that have been.
pub(crate) struct Reach {
    /// Losses in hand at which tables are known, by the stage that looks. Those of a stage are among those of the next.
    point: Vec<Vec<f64>>,
    /// Stages and what is seen of them, by the stage that looks.
    known: Vec<Vec<(usize, Seen)>>,
    /// Whether after the first stage nothing but its own loss can be in hand.
    own_first: bool,
}

impl Reach {
    /// How a model of so many stages is looked at, if at all.
    pub(crate) fn new(grid: &LossGrid, stages: usize, default_loss: f64) -> Self {
        let columns = grid.after(stages.saturating_sub(1));
        // Half as many columns as stages from one point to the next keep what is seen below what is carried.
        let step = if columns.len() < FEW { usize::MAX } else { STEP.max(stages / 2) };
        Self::of(&columns, stages, default_loss, step)
    }

    /// With a point every `step` columns; none where that is `usize::MAX`.
    pub(crate) fn of(columns: &Columns, stages: usize, default_loss: f64, step: usize) -> Self {
        let looking = if step == usize::MAX { 0 } else { stages.saturating_sub(2) };
        let mut is_point = vec![false; columns.len()];
        let mut point = Vec::with_capacity(looking);
        for v in 0..looking {
            let seen: Vec<usize> = (0..columns.len()).filter(|m| columns.since[*m] <= v).collect();
            let mut gap = step;
            for m in &seen {
                is_point[*m] |= gap >= step || Some(m) == seen.last();
                gap = if is_point[*m] { 1 } else { gap + 1 };
            }
            point.push(seen.iter().filter(|m| is_point[**m]).map(|m| columns.point[*m]).collect());
        }
        let known = (0..looking).map(|_| Vec::new()).collect();
        Self { point, known, own_first: default_loss == f64::INFINITY }
    }

    /// Looks at stage j, of whose columns `left` are left, from all stages before i. `table` has `T_ij`: states in the
    /// order `row`, by columns.
    pub(crate) fn add(
        &mut self,
        model: &Model,
        (i, j): (usize, usize),
        columns: &Columns,
        (table, row): (&ArrayView2<f64>, &[usize]),
        left: usize,
    ) {
        self.known.truncate(i);
        if left * WORTH <= columns.len() {
            return;
        }
        let Some(last) = self.point[..self.known.len()].last() else {
            return;
        };
        let place: Vec<usize> = last.iter().map(|x| columns.at(*x)).collect();
        let mut behind = Array2::from_shape_fn((row.len(), place.len()), |(s, k)| table[[row[s], place[k]]]);
        if forgets(model, i, &behind) {
            return;
        }
        let mut is_settled = false;
        for u in (0..i).rev() {
            let point = &self.point[u];
            let seen = if is_settled {
                Seen::range(&behind.view(), point)
            } else {
                Seen::Exact(times(model.transition(u + 1), Some(model.marginal(u + 1)), &behind.view()))
            };
            let Some(earlier) = u.checked_sub(1).map(|before| &self.point[before]) else {
                self.known[u].push((j, seen));
                break;
            };
            let kept: Vec<usize> = earlier.iter().map(|x| point.partition_point(|point| point < x)).collect();
            if let Seen::Exact(all) = &seen {
                let all = part(all.view(), 0..model.states(u), 0..all.ncols());
                is_settled = Seen::range(&all, point).is_narrow();
                behind = all.select(Axis(1), &kept);
            } else if kept.len() < point.len() {
                behind = behind.select(Axis(1), &kept);
            }
            self.known[u].push((j, seen));
        }
    }

    /// Takes from `choice`, places among the columns of each of `sources`, those that no stage before i needs.
    pub(crate) fn narrow(
        &mut self,
        model: &Model,
        i: usize,
        columns: &Columns,
        sources: &[(usize, &[usize])],
        choice: &mut [Vec<usize>],
    ) {
        self.known.truncate(i);
        let Some(known) = self.known.first().filter(|known| !known.is_empty()) else {
            return;
        };
        let mut open = Array2::from_elem((sources.len(), columns.len()), false);
        for (((stage, column), choice), mut open) in sources.iter().zip(choice.iter()).zip(open.rows_mut()) {
            if known.iter().any(|(known, _)| known == stage) {
                for k in choice {
                    open[column[*k]] = true;
                }
            }
        }
        let stages: Vec<usize> = sources.iter().map(|(stage, _)| *stage).collect();
        let looks: Vec<Look> = (0..i)
            .map(|u| Look::new(model, u, columns, &self.point[u], &self.known[u], &stages, u == 0 && self.own_first))
            .collect();
        let tasks = looks.iter().flat_map(|look| parallel::ranges(look.rows(), ROWS).map(move |rows| (look, rows)));
        let needed = parallel::map(tasks, |(look, rows)| look.needed(rows, open.clone()));
        drop(looks);
        for (k, ((stage, column), choice)) in sources.iter().zip(choice).enumerate() {
            choice.retain(|place| {
                let at = [k, column[*place]];
                !open[at] || needed.iter().any(|needed| needed[at])
            });
            // Whoever is best nowhere is nobody's bound either.
            if choice.is_empty() {
                self.known.iter_mut().for_each(|known| known.retain(|(known, _)| known != stage));
            }
        }
    }
}

/// Whether the transition into stage i takes most of the differences between its states.
fn forgets(model: &Model, i: usize, table: &Array2<f64>) -> bool {
    let tried = table.slice_axis(Axis(1), Slice::new(0, None, -TRIED));
    let mixed = times(model.transition(i), None, &tried);
    spread(&mixed.view()) <= FORGOTTEN * spread(&tried)
}
