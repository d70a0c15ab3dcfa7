//! Products of transitions with tables: the plain one, and the one that a stage's gains ask for.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, Slice};
use std::ops::Range;

use crate::model::{Csr, Transition};
use crate::parallel;

/// Rows of one task: enough to pay for packing the other operand, few enough to keep all cores busy.
const ROWS: usize = 128;
/// Columns of one dense product; the staircase of the table is followed in steps of this width.
pub(crate) const COLUMNS: usize = 64;

/// Rows whose running sums are taken together.
const ABREAST: usize = 4;

/// Multiply-adds that take a few tenths of a second: no task should take more.
const LONG: usize = 1 << 30;

/// Rows and columns of a view.
pub(crate) fn part(mut view: ArrayView2<'_, f64>, rows: Range<usize>, columns: Range<usize>) -> ArrayView2<'_, f64> {
    view.slice_axis_inplace(Axis(0), Slice::from(rows));
    view.slice_axis_inplace(Axis(1), Slice::from(columns));
    view
}

/// Rows and columns of a mutable view.
fn part_mut(mut view: ArrayViewMut2<'_, f64>, rows: Range<usize>, columns: Range<usize>) -> ArrayViewMut2<'_, f64> {
    view.slice_axis_inplace(Axis(0), Slice::from(rows));
    view.slice_axis_inplace(Axis(1), Slice::from(columns));
    view
}

/// Transition times table: (K, K') · (K', g), and below it the row `extra` (K',) times table if given.
///
/// Dense, sparse and aggregated; O(non-zeros · g), in parallel over rows.
pub(crate) fn times(transition: &Transition, extra: Option<&[f64]>, table: &ArrayView2<f64>) -> Array2<f64> {
    let (rows, _) = transition.shape();
    let width = table.ncols();
    let mut out = Array2::zeros((rows + usize::from(extra.is_some()), width));
    if let Some(objective) = extra {
        let mut last = part_mut(out.view_mut(), rows..rows + 1, 0..width);
        let objective = ArrayView2::from_shape((1, objective.len()), objective);
        if let Ok(objective) = objective {
            general_mat_mul(1.0, &objective, table, 0.0, &mut last);
        }
    }
    let mut head = part_mut(out.view_mut(), 0..rows, 0..width);
    match transition {
        Transition::Dense(p) => dense_times(p, table, &mut head),
        Transition::LowRank { u, v } => {
            let mut middle = Array2::zeros((v.nrows(), width));
            dense_times(v, table, &mut middle.view_mut());
            dense_times(u, &middle.view(), &mut head);
        }
        Transition::Sparse(p) => {
            let add = |row: usize, mut out: ndarray::ArrayViewMut1<f64>| {
                let (columns, values) = p.row(row);
                for (c, x) in columns.iter().zip(values) {
                    out.scaled_add(*x, &table.row(*c as usize));
                }
            };
            if p.entries() * width < 1 << 16 {
                head.axis_iter_mut(Axis(0)).enumerate().for_each(|(row, out)| add(row, out));
            } else {
                parallel::for_each(head.axis_iter_mut(Axis(0)).enumerate(), |(row, out)| add(row, out));
            }
        }
    }
    out
}

/// The columns of a table in pieces of at most `columns`.
fn split_columns(mut table: ArrayViewMut2<'_, f64>, columns: usize) -> Vec<ArrayViewMut2<'_, f64>> {
    let mut pieces = Vec::with_capacity(table.ncols().div_ceil(columns));
    while table.ncols() > columns {
        let (piece, rest) = table.split_at(Axis(1), columns);
        pieces.push(piece);
        table = rest;
    }
    pieces.push(table);
    pieces
}

fn dense_times(p: &Array2<f64>, table: &ArrayView2<f64>, out: &mut ArrayViewMut2<f64>) {
    if p.len() * table.ncols() < 1 << 18 {
        general_mat_mul(1.0, p, table, 0.0, out);
        return;
    }
    // Split along the longer side: what is shared is packed once a task. A task is split along both where it would be
    // long.
    let tasks = 2 * parallel::threads();
    let is_wide = table.ncols() > p.nrows();
    let mut columns = if is_wide { table.ncols().div_ceil(tasks).max(4 * COLUMNS) } else { table.ncols() };
    let mut rows = if is_wide { p.nrows() } else { p.nrows().div_ceil(tasks).max(ROWS) };
    while rows * columns > ROWS * 4 * COLUMNS && rows * columns * p.ncols() > LONG {
        if rows > ROWS { rows = rows.div_ceil(2).max(ROWS) } else { columns = columns.div_ceil(2).max(4 * COLUMNS) }
    }
    let tiles = p.axis_chunks_iter(Axis(0), rows).zip(out.axis_chunks_iter_mut(Axis(0), rows));
    let tiles = tiles.flat_map(|(p, out)| {
        let tables = table.axis_chunks_iter(Axis(1), columns);
        let outs = split_columns(out, columns);
        tables.zip(outs).map(move |(table, out)| (p, table, out))
    });
    parallel::for_each(tiles, |(p, table, mut out)| general_mat_mul(1.0, &p, &table, 0.0, &mut out));
}

/// What is known of a stage when the stage before it is solved: its states in ascending order of loss.
///
/// Columns m are losses in hand, ascending (g,). With x in hand, state t of the stage brings
/// `(x − loss[t])⁺ + H(min(x, loss[t]) | t)`, H being the gain of being allowed to go on from there.
pub(crate) struct StageGains {
    /// States by rank.
    pub(crate) order: Vec<usize>,
    /// Losses by rank, ascending.
    pub(crate) loss: Vec<f64>,
    /// First column at or above the loss: from there on the state's own answer is the one in hand.
    pub(crate) from: Vec<usize>,
    /// H at the state's own loss.
    pub(crate) own: Vec<f64>,
    /// First column with a positive H, by rank.
    pub(crate) cross: Vec<usize>,
    /// H by rank and column; only columns `cross..from` are meaningful, and up to [`COLUMNS`] zeros follow them.
    pub(crate) gain: Array2<f64>,
    /// The least of `cross`: no state gains in a column before it.
    pub(crate) low: usize,
}

/// Rows of `T(x | s) = Σ P(s' | s) · [what s' brings with x in hand]`, columns `..cap[row]` of `out`.
///
/// `rows[k]` is the parent's state of row k, `None` the state that could not be read, which has objective `extra` (K',).
/// `cap` ascends. `point` are the columns (g,).
///
/// Only states that are worse than x and may gain enter the matrix product; the others enter through running sums,
/// which add non-negative terms only, so that a gain of zero comes out as exactly zero.
pub(crate) struct GainRows<'a> {
    /// The transition into the stage.
    pub(crate) transition: &'a Transition,
    /// Objective of the row without a parent's state.
    pub(crate) extra: &'a [f64],
    /// Columns.
    pub(crate) point: &'a [f64],
    /// The stage.
    pub(crate) stage: &'a StageGains,
    /// `transition`'s middle factor times the stage, where it is aggregated.
    middle: Option<Array2<f64>>,
    /// Rank of each state of the stage, for sparse rows.
    rank: Vec<usize>,
}

impl<'a> GainRows<'a> {
    /// Prepares what all rows share.
    pub(crate) fn new(transition: &'a Transition, extra: &'a [f64], point: &'a [f64], stage: &'a StageGains) -> Self {
        let mut rank = Vec::new();
        if let Transition::Sparse(_) = transition {
            rank = vec![0; stage.order.len()];
            stage.order.iter().enumerate().for_each(|(t, state)| rank[*state] = t);
        }
        let mut rows = Self { transition, extra, point, stage, middle: None, rank };
        if let Transition::LowRank { v, .. } = transition {
            let mut middle = Array2::zeros((v.nrows(), point.len()));
            let cap = vec![point.len(); v.nrows()];
            parallel::for_each(middle.axis_chunks_iter_mut(Axis(0), ROWS).enumerate(), |(part, mut out)| {
                let rows: Vec<Option<usize>> = (0..out.nrows()).map(|k| Some(part * ROWS + k)).collect();
                rows_dense(v, &[], point, stage, &rows, &cap[..rows.len()], &mut out);
            });
            rows.middle = Some(middle);
        }
        rows
    }

    /// Number of rows that make one task.
    pub(crate) fn rows_per_task(rows: usize) -> usize {
        if rows <= 32 { 32 } else { rows.div_ceil(4 * parallel::threads()).clamp(32, ROWS) }
    }

    /// Fills one block of rows.
    pub(crate) fn fill(&self, rows: &[Option<usize>], cap: &[usize], out: &mut ArrayViewMut2<f64>) {
        match (self.transition, &self.middle) {
            (Transition::Dense(p), _) => {
                rows_dense(p, self.extra, self.point, self.stage, rows, cap, out);
            }
            (Transition::Sparse(p), _) => self.rows_sparse(p, rows, cap, out),
            (Transition::LowRank { u, v }, Some(middle)) => {
                let mut objective = Array2::zeros((rows.len(), u.ncols()));
                for (row, mut objective) in rows.iter().zip(objective.rows_mut()) {
                    if let Some(state) = row {
                        objective.assign(&u.row(*state));
                    }
                }
                let (height, width) = (rows.len(), cap.last().copied().unwrap_or(0));
                let mut a = 0;
                while a < width {
                    parallel::check();
                    let b = (a + COLUMNS).min(width);
                    let row = cap.partition_point(|cap| *cap <= a);
                    let (u, m) =
                        (part(objective.view(), row..height, 0..u.ncols()), part(middle.view(), 0..u.ncols(), a..b));
                    general_mat_mul(1.0, &u, &m, 0.0, &mut part_mut(out.view_mut(), row..height, a..b));
                    a = b;
                }
                if rows.last() == Some(&None) {
                    let last = rows.len() - 1;
                    let columns = out.ncols();
                    let (cap, mut out) = (&cap[last..], part_mut(out.view_mut(), last..last + 1, 0..columns));
                    rows_dense(v, self.extra, self.point, self.stage, &[None], cap, &mut out);
                }
            }
            (Transition::LowRank { .. }, None) => {}
        }
    }

    fn rows_sparse(&self, p: &Csr, rows: &[Option<usize>], cap: &[usize], out: &mut ArrayViewMut2<f64>) {
        let stage = self.stage;
        let mut entries: Vec<(usize, f64)> = Vec::new();
        for ((row, cap), mut out) in rows.iter().zip(cap).zip(out.rows_mut()) {
            parallel::check();
            entries.clear();
            if let Some(state) = row {
                let (columns, values) = p.row(*state);
                entries.extend(columns.iter().zip(values).map(|(c, x)| (self.rank[*c as usize], *x)));
                entries.sort_unstable_by_key(|(t, _)| *t);
            } else {
                entries.extend(stage.order.iter().enumerate().map(|(t, state)| (t, self.extra[*state])));
            }
            let Some(out) = out.as_slice_mut() else {
                continue;
            };
            let out = &mut out[..*cap];
            out.fill(0.0);
            for (t, p) in entries.iter().filter(|(_, p)| *p != 0.0) {
                let (a, b) = (stage.cross[*t], stage.from[*t].min(*cap));
                if a < b {
                    let gain = stage.gain.row(*t);
                    let gain = gain.to_slice().map_or(&[][..], |gain| &gain[a..b]);
                    out[a..b].iter_mut().zip(gain).for_each(|(out, h)| *out += p * h);
                }
            }
            add_paid(entries.iter().copied(), stage, self.point, out);
        }
    }
}

fn rows_dense(
    p: &Array2<f64>,
    extra: &[f64],
    point: &[f64],
    stage: &StageGains,
    rows: &[Option<usize>],
    cap: &[usize],
    out: &mut ArrayViewMut2<f64>,
) {
    let states = stage.order.len();
    let mut objective = Vec::with_capacity(rows.len() * states);
    for row in rows {
        match row.map(|state| p.row(state)) {
            Some(row) => match row.to_slice() {
                Some(row) => objective.extend(stage.order.iter().map(|t| row[*t])),
                None => objective.extend(stage.order.iter().map(|t| row[*t])),
            },
            None => objective.extend(stage.order.iter().map(|t| extra[*t])),
        }
    }
    let Ok(objective) = Array2::from_shape_vec((rows.len(), states), objective) else {
        return;
    };
    let width = cap.last().copied().unwrap_or(0);
    let height = rows.len();
    part_mut(out.view_mut(), 0..height, 0..stage.low.min(width)).fill(0.0);
    let mut a = stage.low;
    while a < width {
        parallel::check();
        let b = (a + COLUMNS).min(width);
        let (row, t) = (cap.partition_point(|cap| *cap <= a), stage.from.partition_point(|from| *from <= a));
        let mut out = part_mut(out.view_mut(), row..height, a..b);
        if t == states {
            out.fill(0.0);
        } else {
            let p = part(objective.view(), row..height, t..states);
            let h = part(stage.gain.view(), t..states, a..b);
            general_mat_mul(1.0, &p, &h, 0.0, &mut out);
        }
        a = b;
    }
    let paid = Paid::new(stage, &point[..width]);
    let columns = out.ncols();
    let blocks = objective.axis_chunks_iter(Axis(0), ABREAST).zip(out.axis_chunks_iter_mut(Axis(0), ABREAST));
    for ((p, mut out), cap) in blocks.zip(cap.chunks(ABREAST)) {
        if let (Some(p), Some(out), Some(width)) = (p.to_slice(), out.as_slice_mut(), cap.last()) {
            if cap.len() == ABREAST {
                paid.add::<ABREAST>(p, *width, columns, out);
            } else {
                let rows = p.chunks_exact(states).zip(out.chunks_exact_mut(columns));
                rows.for_each(|(p, out)| paid.add::<1>(p, *width, columns, out));
            }
        }
    }
}

/// What the states of a stage bring whose own answer is in hand, for dense rows.
struct Paid<'a> {
    /// First column of each state.
    from: &'a [usize],
    /// What each brings there.
    term: Vec<f64>,
    /// From each column to the next.
    step: Vec<f64>,
}

impl<'a> Paid<'a> {
    fn new(stage: &'a StageGains, point: &[f64]) -> Self {
        let entering = stage.from.partition_point(|from| *from < point.len());
        let from = &stage.from[..entering];
        let term = from.iter().zip(&stage.loss).zip(&stage.own).map(|((m, loss), own)| (point[*m] - loss) + own);
        let step = std::iter::once(0.0).chain(point.iter().copied()).zip(point).map(|(last, x)| x - last);
        Self { from, term: term.collect(), step: step.collect() }
    }

    /// Adds it to the first `width` of `columns` columns of `N` rows, the chances of whose states are `p`; of several at
    /// once, so that no sum waits for another.
    fn add<const N: usize>(&self, p: &[f64], width: usize, columns: usize, out: &mut [f64]) {
        let states = p.len() / N;
        let (mut mass, mut paid, mut t) = ([0.0; N], [0.0; N], 0);
        for (m, step) in self.step.iter().enumerate().take(width) {
            for (paid, mass) in paid.iter_mut().zip(&mass) {
                *paid += mass * step;
            }
            while self.from.get(t).is_some_and(|from| *from == m) {
                for (k, (mass, paid)) in mass.iter_mut().zip(&mut paid).enumerate() {
                    let p = p[k * states + t];
                    *mass += p;
                    *paid += p * self.term[t];
                }
                t += 1;
            }
            for (k, paid) in paid.iter().enumerate() {
                out[k * columns + m] += paid;
            }
        }
    }
}

/// Adds what the states bring whose own answer is in hand: `(x − loss) + H(loss)`, in one pass over the columns.
#[inline]
fn add_paid(mut objective: impl Iterator<Item = (usize, f64)>, stage: &StageGains, point: &[f64], out: &mut [f64]) {
    let (mut mass, mut paid, mut last) = (0.0, 0.0, 0.0);
    let mut next = objective.next();
    for (m, (out, x)) in out.iter_mut().zip(point).enumerate() {
        paid += mass * (x - last);
        last = *x;
        while let Some((t, p)) = next {
            if stage.from[t] > m {
                break;
            }
            mass += p;
            paid += p * ((x - stage.loss[t]) + stage.own[t]);
            next = objective.next();
        }
        *out += paid;
    }
}
