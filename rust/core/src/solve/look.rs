//! What one stage knows of those far behind it, and where it may go to them.

use std::ops::Range;

use ndarray::Array2;

use super::grid::Columns;
use super::seen::Seen;
use crate::model::Model;

/// Part of the largest loss by which rounding may move a bound, at most.
const SLACK: f64 = 1e-9;
/// Nobody.
const NONE: usize = usize::MAX;

/// One stage that looks.
pub(crate) struct Look<'a> {
    /// Its losses, by state.
    loss: &'a [f64],
    /// Losses in hand at which something is known.
    point: &'a [f64],
    /// Columns that can be in hand, and what they are.
    column: Vec<usize>,
    x: Vec<f64>,
    /// Which of them lie behind each point, up to and with the next.
    inside: Vec<Range<usize>>,
    /// The stages that it can go to.
    far: Vec<Far<'a>>,
    /// Whether nothing but its own loss can be in hand.
    own_only: bool,
    slack: f64,
}

/// A stage that is looked at.
struct Far<'a> {
    /// Its place among all.
    place: usize,
    cost: f64,
    seen: &'a Seen,
}

impl<'a> Look<'a> {
    /// Stage u looks at `stages`, of which it knows what is in `known`.
    pub(crate) fn new(
        model: &'a Model,
        u: usize,
        columns: &Columns,
        point: &'a [f64],
        known: &'a [(usize, Seen)],
        stages: &[usize],
        own_only: bool,
    ) -> Self {
        let column: Vec<usize> = (0..columns.len()).filter(|m| columns.since[*m] <= u).collect();
        let x: Vec<f64> = column.iter().map(|m| columns.point[*m]).collect();
        let end: Vec<usize> = point.iter().map(|p| x.partition_point(|x| x <= p)).collect();
        let far = known.iter().filter_map(|(stage, seen)| {
            let place = stages.iter().position(|of| of == stage)?;
            let cost = model.cost_of(Some(u), *stage);
            cost.is_finite().then_some(Far { place, cost, seen })
        });
        Self {
            loss: model.loss(u),
            point,
            inside: end.windows(2).map(|end| end[0]..end[1]).collect(),
            far: far.collect(),
            own_only,
            slack: SLACK * columns.point.last().copied().unwrap_or(0.0),
            column,
            x,
        }
    }

    /// Its states, and the unknown one where that matters. One for all where they are not told apart.
    pub(crate) fn rows(&self) -> usize {
        if self.is_blind() { 1 } else { self.loss.len() + usize::from(!self.own_only) }
    }

    fn is_blind(&self) -> bool {
        !self.far.iter().any(|far| far.seen.is_exact())
    }

    /// Which of the columns that are `open`, by place and column, some state of `rows` may need.
    pub(crate) fn needed(&self, rows: Range<usize>, mut open: Array2<bool>) -> Array2<bool> {
        let mut needed = Array2::from_elem(open.dim(), false);
        // How many are open behind each point, by stage.
        let mut left = Array2::from_shape_fn((self.inside.len(), self.far.len()), |(at, k)| {
            self.column[self.inside[at].clone()].iter().filter(|m| open[[self.far[k].place, **m]]).count()
        });
        let mut best = vec![0.0; self.point.len()];
        let mut holder = vec![NONE; self.point.len()];
        let mut floor = Vec::new();
        for row in rows {
            self.best(row, &mut best, &mut holder);
            let reached = self.reached(row);
            for (at, (inside, mut left)) in self.inside.iter().zip(left.rows_mut()).enumerate() {
                let inside = inside.start.max(reached.start)..inside.end.min(reached.end);
                if inside.is_empty() || left.iter().all(|left| *left == 0) {
                    continue;
                }
                let gap = match (holder[at], holder[at + 1]) {
                    (a, b) if a == b && a != NONE => self.far[a].seen.gap(row, at, self.point),
                    _ => f64::INFINITY,
                };
                floor.clear();
                for (far, left) in self.far.iter().zip(&mut left).filter(|(_, left)| **left > 0) {
                    let [a, b] = [far.most(row, at), far.most(row, at + 1)];
                    // Below 0 at both ends, or so far below the best that no bend of that matters.
                    if a.max(b) < -self.slack || (a - best[at]).max(b - best[at + 1]) + gap < -self.slack {
                        continue;
                    }
                    if floor.is_empty() {
                        self.floor(row, at, inside.clone(), &mut floor);
                    }
                    let (start, slope) = (self.point[at], (b - a) / (self.point[at + 1] - self.point[at]));
                    for ((m, x), floor) in self.column[inside.clone()].iter().zip(&self.x[inside.clone()]).zip(&floor) {
                        let at = [far.place, *m];
                        if open[at] && a + slope * (x - start) > floor - self.slack {
                            (open[at], needed[at]) = (false, true);
                            *left -= 1;
                        }
                    }
                }
            }
        }
        needed
    }

    /// The best at each point that is sure, and whose it is.
    fn best(&self, row: usize, best: &mut [f64], holder: &mut [usize]) {
        best.fill(0.0);
        holder.fill(NONE);
        for (k, far) in self.far.iter().enumerate() {
            for (at, (best, holder)) in best.iter_mut().zip(&mut *holder).enumerate() {
                let least = far.least(row, at);
                if least > *best {
                    (*best, *holder) = (least, k);
                }
            }
        }
    }

    /// Which columns can be in hand in a state.
    fn reached(&self, row: usize) -> Range<usize> {
        let all = self.x.len();
        let own = self.loss.get(row).map_or(all, |loss| self.x.partition_point(|x| x < loss));
        match (self.is_blind(), self.own_only) {
            (true, _) => 0..all,
            (false, true) => own..(own + 1).min(all),
            (false, false) => 0..(own + 1).min(all),
        }
    }

    /// What going on brings at least in the columns `inside`, which lie between point `at` and the next.
    fn floor(&self, row: usize, at: usize, inside: Range<usize>, floor: &mut Vec<f64>) {
        floor.resize(inside.len(), 0.0);
        let (start, end) = (self.point[at], self.point[at + 1]);
        for far in &self.far {
            let (a, before) = (far.least(row, at), far.seen.slope_before(row, at, self.point));
            let (b, after) = (far.least(row, at + 1), far.seen.slope_after(row, at + 1, self.point));
            for (floor, x) in floor.iter_mut().zip(&self.x[inside.clone()]) {
                *floor = floor.max(a + before * (x - start)).max(b - after * (end - x));
            }
        }
    }
}

impl Far<'_> {
    /// The least that it brings at a point, its cost taken off.
    fn least(&self, row: usize, at: usize) -> f64 {
        self.seen.least(row, at) - self.cost
    }

    /// The most.
    fn most(&self, row: usize, at: usize) -> f64 {
        self.seen.most(row, at) - self.cost
    }
}
