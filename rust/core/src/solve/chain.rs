//! Lines and skip graphs with recall: the gain of going on, stage by stage from the last.
//!
//! With x in hand after stage i in state s let `H_i(x | s)` be the gain of being allowed to go on. Then (docs/theory.md)
//!
//! `H_i(x | s) = max(0, max_j T_ij(x | s) − c_ij)`,
//! `T_ij(x | s) = Σ P_ij(s' | s) [(x − r_j(s'))⁺ + H_j(min(x, r_j(s')) | s')]`.
//!
//! What is in hand is always one of the losses, so the recursion closes on the grid of losses: values and decisions
//! are exact. With `x ≤ r_i(s)` only half of each table is needed. A line allows j = i + 1 only (T-Tamer, Algorithm 1).
//!
//! Cost: one K × K product per stage with a staircase of the grid on both sides, so a third of `k·K²·G`
//! multiply-adds; memory 2·K·G numbers, G the number of distinct losses. A skip graph adds one product per pair of
//! stages and column that can still be the best choice somewhere upstream.

use ndarray::{Array2, Axis};

use super::grid::{Columns, LossGrid, by_loss};
use super::memory;
use super::product::{COLUMNS, GainRows, StageGains};
use super::reach::Reach;
use super::stack::Stack;
use crate::error::{Error, Result};
use crate::model::{Graph, Model};
use crate::parallel;
use crate::plan::{ChainPlan, Intervals, STOP};

/// What a chain's tables say.
pub(crate) struct ChainTables {
    /// Expected total.
    pub(crate) value: f64,
    /// Index of consulting v given the state of v − 1 (lines; empty lists on skip graphs), from chords of the grid.
    pub(crate) index: Vec<Vec<f64>>,
    /// Largest possible distance of such an index from the exact one.
    pub(crate) index_error: f64,
    /// The decisions.
    pub(crate) plan: ChainPlan,
}

/// The decision in one (stage, state).
struct Row {
    stop: f64,
    steps: Vec<(f64, i32)>,
    index: f64,
    index_error: f64,
    own: f64,
    from: usize,
    cross: usize,
}

/// Solves a line or a skip graph with recall.
pub(crate) fn solve(model: &Model, default_loss: f64) -> Result<ChainTables> {
    let grid = LossGrid::of(model, default_loss);
    let looking = if *model.graph() == Graph::Line { 0 } else { model.stages() };
    let reach = Reach::new(&grid, looking, default_loss);
    solve_on(model, default_loss, &grid, reach)
}

/// Solves on a grid, whatever is known of far stages in `reach`.
pub(super) fn solve_on(model: &Model, default_loss: f64, grid: &LossGrid, mut reach: Reach) -> Result<ChainTables> {
    let stages = model.stages();
    let most = (0..stages).map(|v| model.states(v) + 1).max().unwrap_or(1);
    let last = grid.after(stages - 1).len();
    memory::ensure(2.0 * most as f64 * last as f64, "its tables of losses in hand by states")?;
    let line = *model.graph() == Graph::Line;

    let mut columns = grid.after(stages.saturating_sub(2));
    let mut next = leaf(model, stages - 1, &columns);
    let mut stack = Stack::default();
    // e_j: expected total of running j first thing with nothing in hand, its own cost not included.
    let mut unseen = vec![f64::INFINITY; stages];
    // `T_j` at the default answer's loss, the state before j unknown.
    let mut at_default = vec![0.0; stages];
    let mut rows_of: Vec<Vec<Row>> = Vec::with_capacity(stages);
    rows_of.push((0..=model.states(stages - 1)).map(|_| Row::stopped()).collect());
    let mut index = vec![Vec::new(); stages];
    let mut index_error = 0.0_f64;
    let mut spare = Array2::zeros((0, 0));

    for j in (0..stages).rev() {
        unseen[j] =
            next.order.iter().enumerate().map(|(t, s)| model.marginal(j)[*s] * (next.loss[t] - next.own[t])).sum();
        let parent = j.checked_sub(1);
        let solved = Stage { model, j, parent, columns: &columns, next: &next, unseen: &unseen, default_loss, line }
            .solve(&mut stack, &mut reach, std::mem::take(&mut spare));
        if default_loss.is_finite() {
            at_default[j] = solved.unknown[columns.at(default_loss)];
        }
        for row in &solved.rows {
            index_error = index_error.max(row.index_error);
        }
        let Some(i) = parent else {
            if line {
                index[0] = solved.rows.iter().map(|row| row.index).collect();
            }
            break;
        };
        let (kept, earlier) = columns.before(i.saturating_sub(1));
        let order = by_loss(model.loss(i));
        let mut rows = solved.rows;
        spare = std::mem::replace(&mut next, stage_gains(model, i, order, &rows, &kept, solved.gain)).gain;
        stack.restrict(&kept);
        columns = earlier;
        // Back from ascending loss to state numbers.
        let mut natural: Vec<Row> = Vec::with_capacity(rows.len());
        let unknown = rows.pop();
        let mut by_state: Vec<(usize, Row)> = next.order.iter().copied().zip(rows).collect();
        by_state.sort_unstable_by_key(|(state, _)| *state);
        natural.extend(by_state.into_iter().map(|(_, row)| row));
        if line {
            index[j] = natural.iter().map(|row| row.index).collect();
        }
        natural.extend(unknown);
        rows_of.push(natural);
    }
    rows_of.reverse();

    let (value, start) = begin(model, default_loss, &unseen, &at_default)?;
    let plan = compile(start, rows_of)?;
    Ok(ChainTables { value, index, index_error, plan })
}

/// The value and the first stage.
fn begin(model: &Model, default_loss: f64, unseen: &[f64], at_default: &[f64]) -> Result<(f64, i32)> {
    let cost = |j: usize| model.cost_of(None, j);
    if default_loss.is_finite() {
        let mut best = (0.0, STOP);
        for (j, t) in at_default.iter().enumerate() {
            if t - cost(j) > best.0 {
                best = (t - cost(j), j as i32);
            }
        }
        return Ok((default_loss - best.0, best.1));
    }
    let mut best = (f64::INFINITY, STOP);
    for (j, e) in unseen.iter().enumerate() {
        if cost(j) + e < best.0 {
            best = (cost(j) + e, j as i32);
        }
    }
    if best.1 == STOP {
        return Err(no_first_stage());
    }
    Ok(best)
}

/// The error for a skip graph that allows no first stage although one has to be run.
pub(crate) fn no_first_stage() -> Error {
    Error::invalid("`cost` row 0 must allow at least one first stage where `default_loss` is infinite, got only inf")
}

/// Rows of all stages into one plan.
fn compile(start: i32, rows_of: Vec<Vec<Row>>) -> Result<ChainPlan> {
    let steps: usize = rows_of.iter().flatten().map(|row| row.steps.len()).sum();
    let rows: usize = rows_of.iter().map(Vec::len).sum();
    if u32::try_from(steps.max(rows)).is_err() {
        return Err(Error::invalid(format!(
            "the model is too large: its plan would have {rows} rows and {steps} steps"
        )));
    }
    let mut offset = vec![0];
    let mut intervals = Intervals::new();
    for rows in rows_of {
        for row in rows {
            intervals.push(row.stop, row.steps);
        }
        offset.push(intervals.rows() as u32);
    }
    Ok(ChainPlan { start, offset, intervals, time: None })
}

/// The last stage: nothing can be gained after it.
fn leaf(model: &Model, v: usize, columns: &Columns) -> StageGains {
    let order = by_loss(model.loss(v));
    let loss: Vec<f64> = order.iter().map(|s| model.loss(v)[*s]).collect();
    let from: Vec<usize> = loss.iter().map(|r| columns.at(*r)).collect();
    let (states, width) = (order.len(), columns.len());
    StageGains {
        order,
        loss,
        from,
        own: vec![0.0; states],
        cross: vec![width; states],
        gain: Array2::zeros((0, 0)),
        low: width,
    }
}

/// The gains of stage `v` as the stage before it needs them.
fn stage_gains(
    model: &Model,
    v: usize,
    order: Vec<usize>,
    rows: &[Row],
    kept: &[usize],
    gain: Array2<f64>,
) -> StageGains {
    let loss = order.iter().map(|s| model.loss(v)[*s]).collect();
    let rows = &rows[..order.len()];
    let from = rows.iter().map(|row| row.from).collect();
    let own = rows.iter().map(|row| row.own).collect();
    let cross: Vec<usize> = rows
        .iter()
        .map(|row| {
            let cross = kept.partition_point(|m| *m < row.cross);
            // A state that never gains has nothing before its own loss.
            if cross < row.from { cross } else { kept.len() }
        })
        .collect();
    let low = cross.iter().copied().min().unwrap_or(kept.len());
    StageGains { order, loss, from, own, cross, gain, low }
}

/// One step of the recursion: stage `j` is known, its parent is solved.
struct Stage<'a> {
    model: &'a Model,
    j: usize,
    parent: Option<usize>,
    columns: &'a Columns,
    next: &'a StageGains,
    unseen: &'a [f64],
    default_loss: f64,
    line: bool,
}

/// The parent's rows in ascending order of loss, the unknown state last.
struct Solved {
    rows: Vec<Row>,
    gain: Array2<f64>,
    /// `T_j` of the unknown state, by column.
    unknown: Vec<f64>,
}

impl Stage<'_> {
    fn solve(&self, stack: &mut Stack, reach: &mut Reach, spare: Array2<f64>) -> Solved {
        let (model, width) = (self.model, self.columns.len());
        let (states, cap) = self.rows();
        // Earlier stages that may jump to j need every column of every state.
        let pushed = (0..self.parent.unwrap_or(0)).any(|u| model.cost_of(Some(u), self.j).is_finite());
        let full = vec![width; if pushed { states.len() } else { 0 }];
        let column: Vec<usize> = cap.iter().map(|cap| cap - 1).collect();
        let first_only = self.parent == Some(0) && self.default_loss == f64::INFINITY;
        stack.push_back(model, self.parent, self.j, first_only.then_some((&states, &column)));
        let kept = self.parent.map_or_else(Vec::new, |i| self.columns.before(i.saturating_sub(1)).0);

        let gains = GainRows::new(model.transition(self.j), model.marginal(self.j), &self.columns.point, self.next);
        let mut table = resized(spare, states.len(), width);
        let mut copy = Array2::zeros(if pushed { table.dim() } else { (0, 0) });
        let block = GainRows::rows_per_task(states.len());
        let mut copies: Vec<_> = copy.axis_chunks_iter_mut(Axis(0), block).map(Some).collect();
        copies.resize_with(states.len().div_ceil(block), || None);
        let tasks: Vec<_> = table.axis_chunks_iter_mut(Axis(0), block).zip(copies).enumerate().collect();
        let solved = parallel::map(tasks, |(task, (mut table, copy))| {
            let range = task * block..task * block + table.nrows();
            let (states, cap) = (&states[range.clone()], &cap[range.clone()]);
            gains.fill(states, if pushed { &full[range] } else { cap }, &mut table);
            if let Some(mut copy) = copy {
                copy.assign(&table);
            }
            let unknown = match states.last() {
                Some(None) => table.row(table.nrows() - 1).to_vec(),
                _ => Vec::new(),
            };
            let mut who = Vec::new();
            let mut decide = |((state, cap), row): ((&Option<usize>, &usize), ndarray::ArrayViewMut1<f64>)| {
                row.into_slice().map_or_else(Row::stopped, |row| self.decide(*state, *cap, stack, &kept, row, &mut who))
            };
            let rows: Vec<Row> = states.iter().zip(cap).zip(table.rows_mut()).map(&mut decide).collect();
            (rows, unknown)
        });
        if let Some(i) = self.parent {
            if pushed {
                stack.take(model, (i, self.j), self.columns, &states, &copy.view(), reach);
            } else {
                stack.prune(model, i, self.columns, reach);
            }
        }
        let mut all = Solved { rows: Vec::with_capacity(states.len()), gain: table, unknown: Vec::new() };
        for (rows, unknown) in solved {
            all.rows.extend(rows);
            all.unknown = unknown;
        }
        all
    }

    /// The parent's states in ascending order of loss, the unknown one last, and how many columns each needs: those
    /// with x ≤ `r_i(s)`.
    fn rows(&self) -> (Vec<Option<usize>>, Vec<usize>) {
        let loss = self.parent.map_or(&[][..], |i| self.model.loss(i));
        let order = by_loss(loss);
        let mut cap: Vec<usize> = order.iter().map(|s| self.columns.at(loss[*s]) + 1).collect();
        let mut states: Vec<Option<usize>> = order.into_iter().map(Some).collect();
        states.push(None);
        cap.push(self.columns.len());
        (states, cap)
    }

    /// The decision in one row; turns its T into the gains H, restricted to the columns `kept` of the stage before.
    fn decide(
        &self,
        state: Option<usize>,
        cap: usize,
        stack: &Stack,
        kept: &[usize],
        table: &mut [f64],
        who: &mut Vec<i32>,
    ) -> Row {
        let point = &self.columns.point;
        let cost = self.model.cost_of(self.parent, self.j);
        let first = table[..cap].iter().position(|t| *t > cost).unwrap_or(cap);
        let mut row = Row::stopped();
        row.cross = first;
        if self.line {
            self.chord(&mut row, state, cap, table, cost);
        }
        table[..first].fill(0.0);
        table[first..cap].iter_mut().for_each(|t| *t = (*t - cost).max(0.0));
        if let Some(far) = stack.row(state) {
            who.clear();
            who.resize(cap, self.j as i32);
            who[..first].fill(STOP);
            stack.improve(self.model, self.parent, &far, &mut table[..cap], who);
            row.cross = who.iter().position(|w| *w != STOP).unwrap_or(cap);
            row.intervals(point, who);
        } else if first < cap {
            row.steps = vec![(f64::INFINITY, self.j as i32)];
            if !self.line {
                row.stop = point[first - 1];
            }
        }
        if state.is_none() {
            self.unknown(&mut row);
        }
        row.own = table[cap - 1];
        row.from = kept.partition_point(|m| *m + 1 < cap);
        if kept.len() < point.len() {
            for (to, m) in kept.iter().enumerate().take(row.from) {
                table[to] = table[*m];
            }
        }
        let end = (row.from + COLUMNS).min(table.len());
        table[row.from..end].fill(0.0);
        row
    }

    /// The index of a line in the cell of the grid that contains it, and how wrong it may be.
    ///
    /// T is convex in x between its values on the grid: the chord gives a lower bound, the neighbouring chords an upper one.
    fn chord(&self, row: &mut Row, state: Option<usize>, cap: usize, t: &[f64], cost: f64) {
        let (point, m) = (&self.columns.point, row.cross);
        if m == cap {
            let top = point[cap - 1];
            row.stop = f64::INFINITY;
            row.index = f64::INFINITY;
            if state.is_none() {
                // Beyond the grid nothing is known but that T(x) ≥ x − e.
                row.index = (self.unseen[self.j] + cost).max(top);
                let slack = row.index - (top + (cost - t[cap - 1]).max(0.0)).min(row.index);
                row.index_error = if self.parent.is_none() { slack } else { 0.0 };
            }
            return;
        }
        let (x0, x1, t0, t1) = (point[m - 1], point[m], t[m - 1], t[m]);
        let chord = (x0 + (cost - t0) / (t1 - t0) * (x1 - x0)).clamp(x0, x1.next_down());
        let mut upper = x1;
        if m >= 2 && t0 > t[m - 2] {
            upper = upper.min(x0 + (cost - t0) * (x0 - point[m - 2]) / (t0 - t[m - 2]));
        }
        let after = if m + 1 < cap { (t[m + 1] - t1) / (point[m + 1] - x1) } else { 1.0 };
        if after > 0.0 {
            upper = upper.min(x1 - (t1 - cost) / after);
        }
        row.stop = chord;
        row.index = chord;
        row.index_error = (upper - chord).max(0.0);
    }

    /// In an unknown state nothing may be in hand: with x infinite the run goes on wherever it can.
    fn unknown(&self, row: &mut Row) {
        row.index_error = if self.parent.is_none() { row.index_error } else { 0.0 };
        let mut best = (f64::INFINITY, STOP);
        for j in self.j..self.model.stages() {
            let total = self.model.cost_of(self.parent, j) + self.unseen[j];
            if total < best.0 {
                best = (total, j as i32);
            }
        }
        let top = self.columns.point.last().copied().unwrap_or(0.0);
        match row.steps.last_mut() {
            _ if best.1 == STOP => *row = Row { cross: row.cross, ..Row::stopped() },
            None => {
                row.stop = best.0.max(top);
                row.steps = vec![(f64::INFINITY, best.1)];
            }
            Some(last) if last.1 != best.1 => {
                last.0 = top;
                row.steps.push((f64::INFINITY, best.1));
            }
            Some(_) => {}
        }
    }
}

impl Row {
    fn stopped() -> Self {
        Self {
            stop: f64::INFINITY,
            steps: Vec::new(),
            index: f64::INFINITY,
            index_error: 0.0,
            own: 0.0,
            from: 0,
            cross: 0,
        }
    }

    /// The sorted intervals of a row in which `who[m]` is next with column m in hand.
    fn intervals(&mut self, point: &[f64], who: &[i32]) {
        self.stop = f64::INFINITY;
        self.steps.clear();
        if self.cross == who.len() {
            return;
        }
        self.stop = point[self.cross - 1];
        for (x, next) in point.iter().zip(who).skip(self.cross) {
            match self.steps.last_mut() {
                Some(last) if last.1 == *next || *next == STOP => last.0 = *x,
                _ => self.steps.push((*x, *next)),
            }
        }
        if let Some(last) = self.steps.last_mut() {
            last.0 = f64::INFINITY;
        }
    }
}

/// A table of the given shape, in the memory of `spare` where it fits; entries are arbitrary.
fn resized(spare: Array2<f64>, rows: usize, width: usize) -> Array2<f64> {
    let (mut data, _) = spare.into_raw_vec_and_offset();
    data.resize(rows * width, 0.0);
    Array2::from_shape_vec((rows, width), data).unwrap_or_else(|_| Array2::zeros((rows, width)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_merged() {
        let mut row = Row { cross: 1, ..Row::stopped() };
        row.intervals(&[0.0, 1.0, 2.0, 3.0], &[STOP, 4, 4, 2]);
        assert_eq!((row.stop, row.steps), (0.0, vec![(2.0, 4), (f64::INFINITY, 2)]));
    }

    #[test]
    fn slices_follow_shapes() {
        assert_eq!(resized(Array2::zeros((3, 4)), 2, 3).dim(), (2, 3));
    }
}
