//! What later stages of a skip graph bring when the stages in between are jumped over.

use ndarray::{Array2, ArrayView1, ArrayView2, Axis};

use super::grid::Columns;
use super::product::{part, times};
use super::reach::Reach;
use crate::model::Model;
use crate::model::Transition;
use crate::parallel;
use crate::plan::STOP;

/// Columns of `T_ij(x | s)` for all j behind the stages solved so far, side by side.
///
/// A column is carried on only while it can still be the best choice of some earlier stage: after each product the
/// extremes over s bound what any earlier stage can see of it, since that is an average over s; and `reach` says more.
#[derive(Default)]
pub(crate) struct Stack {
    segments: Vec<Segment>,
    /// By state number, the unknown state last where a product has been taken.
    table: Array2<f64>,
    /// Whether each row holds its last column only, one entry per segment.
    own_only: bool,
}

/// The columns of one stage: `table` columns `offset..offset + columns.len()`.
struct Segment {
    stage: usize,
    columns: Vec<usize>,
    offset: usize,
}

impl Stack {
    /// From the states of stage `j` back to those of its parent.
    ///
    /// `own`, where given, is each row's only column in which anything can be in hand: that is so after the first
    /// stage, and saves the largest products.
    pub(crate) fn push_back(
        &mut self,
        model: &Model,
        parent: Option<usize>,
        j: usize,
        own: Option<(&[Option<usize>], &[usize])>,
    ) {
        if parent.is_none() || self.segments.is_empty() {
            self.segments.clear();
            return;
        }
        self.own_only = own.is_some();
        self.table = match (own, model.transition(j)) {
            (Some((states, column)), Transition::Dense(p)) => self.own_columns(states, column, |state, place| {
                let column = self.table.column(place);
                p.row(state).iter().zip(column).map(|(p, t)| p * t).sum()
            }),
            (own, transition) => {
                let all = times(transition, Some(model.marginal(j)), &self.table.view());
                match own {
                    Some((states, column)) => self.own_columns(states, column, |state, place| all[[state, place]]),
                    None => all,
                }
            }
        };
    }

    /// One entry per state and segment: `entry` at the state's own column; −∞ where that has been dropped, and for the
    /// unknown state.
    fn own_columns(
        &self,
        states: &[Option<usize>],
        column: &[usize],
        entry: impl Fn(usize, usize) -> f64 + Sync,
    ) -> Array2<f64> {
        let mut out = Array2::from_elem((states.len(), self.segments.len()), f64::NEG_INFINITY);
        let mut column_of = vec![0; states.len()];
        for (state, m) in states.iter().zip(column) {
            if let Some(state) = state {
                column_of[*state] = *m;
            }
        }
        let rows = out.axis_iter_mut(Axis(0)).enumerate().take(states.len() - 1);
        parallel::for_each(rows, |(state, mut out)| {
            for (out, segment) in out.iter_mut().zip(&self.segments) {
                if let Ok(place) = segment.columns.binary_search(&column_of[state]) {
                    *out = entry(state, segment.offset + place);
                }
            }
        });
        out
    }

    /// The row of a state of the parent, `None` for the unknown one.
    pub(crate) fn row(&self, state: Option<usize>) -> Option<ArrayView1<'_, f64>> {
        if self.segments.is_empty() {
            return None;
        }
        let row = state.unwrap_or(self.table.nrows() - 1);
        Some(self.table.row(row))
    }

    /// Raises the best gain so far, and who brings it, in columns `..best.len()`.
    pub(crate) fn improve(
        &self,
        model: &Model,
        parent: Option<usize>,
        row: &ArrayView1<f64>,
        best: &mut [f64],
        who: &mut [i32],
    ) {
        if self.own_only {
            for (segment, t) in self.segments.iter().zip(row) {
                let gain = t - model.cost_of(parent, segment.stage);
                if let (Some(best), Some(who)) = (best.last_mut(), who.last_mut())
                    && gain > *best
                {
                    *best = gain;
                    *who = segment.stage as i32;
                }
            }
            return;
        }
        for segment in &self.segments {
            let cost = model.cost_of(parent, segment.stage);
            if cost == f64::INFINITY {
                continue;
            }
            for (m, t) in segment.columns.iter().zip(row.iter().skip(segment.offset)) {
                if *m >= best.len() {
                    break;
                }
                if t - cost > best[*m] {
                    best[*m] = t - cost;
                    who[*m] = segment.stage as i32;
                }
            }
        }
        // Where rounding breaks the order, going on stays what it was one column before.
        let mut before = STOP;
        for w in who {
            if *w == STOP {
                *w = before;
            }
            before = *w;
        }
    }

    /// Adds `T_ij` (rows in the order of `states`) and drops what no stage before `i` can use.
    pub(crate) fn take(
        &mut self,
        model: &Model,
        (i, j): (usize, usize),
        columns: &Columns,
        states: &[Option<usize>],
        table: &ArrayView2<f64>,
        reach: &mut Reach,
    ) {
        let real = states.len() - 1;
        let mut sources = self.sources(real);
        sources.push(Source {
            stage: j,
            columns: (0..columns.len()).collect(),
            range: extremes(&part(*table, 0..real, 0..columns.len())),
            view: *table,
        });
        let mut choice = choose(model, i, columns, &sources);
        let mut place = vec![0; real];
        states.iter().enumerate().for_each(|(rank, state)| {
            if let Some(state) = state {
                place[*state] = rank;
            }
        });
        let left = choice.last().map_or(0, Vec::len);
        reach.add(model, (i, j), columns, (table, &place), left);
        narrow(model, i, columns, &sources, reach, &mut choice);
        let width = choice.iter().map(Vec::len).sum();
        let mut kept = Array2::zeros((real, width));
        if width > 0 {
            parallel::for_each(kept.axis_iter_mut(Axis(0)).enumerate(), |(state, mut out)| {
                let mut out = out.iter_mut();
                for (source, choice) in sources.iter().zip(&choice) {
                    let row = source.view.row(if source.stage == j { place[state] } else { state });
                    for (k, to) in choice.iter().zip(out.by_ref()) {
                        *to = row[*k];
                    }
                }
            });
        }
        self.replace(&choice, Some(j), columns.len(), kept);
    }

    /// Drops what no stage before `i` can use.
    pub(crate) fn prune(&mut self, model: &Model, i: usize, columns: &Columns, reach: &mut Reach) {
        if i == 0 {
            self.segments.clear();
        }
        if self.segments.is_empty() {
            return;
        }
        let real = self.table.nrows() - 1;
        let sources = self.sources(real);
        let mut choice = choose(model, i, columns, &sources);
        narrow(model, i, columns, &sources, reach, &mut choice);
        let picked: Vec<usize> = self
            .segments
            .iter()
            .zip(&choice)
            .flat_map(|(segment, choice)| choice.iter().map(|k| segment.offset + k))
            .collect();
        let kept = part(self.table.view(), 0..real, 0..self.table.ncols()).select(Axis(1), &picked);
        self.replace(&choice, None, columns.len(), kept);
    }

    /// Renumbers columns: `kept` are those that remain.
    pub(crate) fn restrict(&mut self, kept: &[usize]) {
        for segment in &mut self.segments {
            for m in &mut segment.columns {
                *m = kept.partition_point(|old| *old < *m);
            }
        }
    }

    fn sources(&self, real: usize) -> Vec<Source<'_>> {
        self.segments
            .iter()
            .map(|segment| {
                let end = segment.offset + segment.columns.len();
                let view = part(self.table.view(), 0..real, segment.offset..end);
                Source { stage: segment.stage, columns: segment.columns.clone(), range: extremes(&view), view }
            })
            .collect()
    }

    fn replace(&mut self, choice: &[Vec<usize>], added: Option<usize>, width: usize, table: Array2<f64>) {
        let mut segments = std::mem::take(&mut self.segments);
        segments.extend(added.map(|stage| Segment { stage, columns: (0..width).collect(), offset: 0 }));
        let mut offset = 0;
        for (segment, choice) in segments.into_iter().zip(choice) {
            let columns: Vec<usize> = choice.iter().map(|k| segment.columns[*k]).collect();
            let next = offset + columns.len();
            if !columns.is_empty() {
                self.segments.push(Segment { stage: segment.stage, columns, offset });
            }
            offset = next;
        }
        self.table = table;
    }
}

/// Columns of one stage, with their extremes over the states.
struct Source<'a> {
    stage: usize,
    columns: Vec<usize>,
    range: Vec<(f64, f64)>,
    view: ArrayView2<'a, f64>,
}

/// Which columns of each source some stage u before `i` could prefer to stopping and to every other source.
///
/// For stage u, j is out in column x if the largest T less the cost of jumping to j does not exceed 0, or the least T
/// less its cost of another source.
fn choose(model: &Model, i: usize, columns: &Columns, sources: &[Source]) -> Vec<Vec<usize>> {
    let width = columns.len();
    let mut range = vec![vec![(f64::NEG_INFINITY, f64::NEG_INFINITY); width]; sources.len()];
    for (range, source) in range.iter_mut().zip(sources) {
        for (m, extremes) in source.columns.iter().zip(&source.range) {
            range[*m] = *extremes;
        }
    }
    let mut keep = vec![vec![false; width]; sources.len()];
    for u in 0..i {
        parallel::check();
        let cost: Vec<f64> = sources.iter().map(|source| model.cost_of(Some(u), source.stage)).collect();
        for m in (0..width).filter(|m| columns.since[*m] <= u) {
            let mut floor = 0.0;
            let mut holder = usize::MAX;
            for (k, (range, cost)) in range.iter().zip(&cost).enumerate() {
                if range[m].0 - cost > floor {
                    floor = range[m].0 - cost;
                    holder = k;
                }
            }
            for (k, (range, cost)) in range.iter().zip(&cost).enumerate() {
                keep[k][m] |= k == holder || range[m].1 - cost > floor;
            }
        }
    }
    sources
        .iter()
        .zip(keep)
        .map(|(source, keep)| source.columns.iter().enumerate().filter(|(_, m)| keep[**m]).map(|(k, _)| k).collect())
        .collect()
}

/// Drops what the bounds show not to be needed.
fn narrow(
    model: &Model,
    i: usize,
    columns: &Columns,
    sources: &[Source],
    reach: &mut Reach,
    choice: &mut [Vec<usize>],
) {
    let columns_of: Vec<(usize, &[usize])> =
        sources.iter().map(|source| (source.stage, source.columns.as_slice())).collect();
    reach.narrow(model, i, columns, &columns_of, choice);
}

/// Least and largest entry of each column.
fn extremes(table: &ArrayView2<f64>) -> Vec<(f64, f64)> {
    let none = || vec![(f64::INFINITY, f64::NEG_INFINITY); table.ncols()];
    let parts = parallel::map(table.axis_chunks_iter(Axis(0), 128), |part| {
        let mut range = none();
        for row in part.rows() {
            for (range, x) in range.iter_mut().zip(row) {
                *range = (range.0.min(*x), range.1.max(*x));
            }
        }
        range
    });
    parts.into_iter().fold(none(), |mut a, b| {
        for (a, b) in a.iter_mut().zip(b) {
            *a = (a.0.min(b.0), a.1.max(b.1));
        }
        a
    })
}
