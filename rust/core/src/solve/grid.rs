//! Sorted distinct points on which step functions and gains are tabulated.

use crate::model::Model;

/// Sorts and removes repetitions.
pub(crate) fn distinct(mut points: Vec<f64>) -> Vec<f64> {
    points.sort_unstable_by(f64::total_cmp);
    points.dedup();
    points
}

/// Every loss that can be in hand on a chain, ascending, 0 included, and the first stage after which it can be.
pub(crate) struct LossGrid {
    point: Vec<f64>,
    since: Vec<usize>,
}

impl LossGrid {
    /// The losses of all stages, 0, and the default answer's loss if it is finite.
    pub(crate) fn of(model: &Model, default_loss: f64) -> Self {
        let mut tagged: Vec<(f64, usize)> = vec![(0.0, 0)];
        if default_loss.is_finite() {
            tagged.push((default_loss, 0));
        }
        for v in 0..model.stages() {
            let losses = distinct(model.loss(v).to_vec());
            tagged.extend(losses.into_iter().map(|r| (r, v)));
        }
        tagged.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        tagged.dedup_by(|later, kept| later.0 == kept.0);
        let (point, since) = tagged.into_iter().unzip();
        Self { point, since }
    }

    /// The points that can be in hand once stage `v` has run.
    pub(crate) fn after(&self, v: usize) -> Columns {
        let (point, since) =
            self.point.iter().zip(&self.since).filter(|(_, since)| **since <= v).map(|(x, s)| (*x, *s)).unzip();
        Columns { point, since }
    }
}

/// The columns of a stage's table.
#[derive(Clone)]
pub(crate) struct Columns {
    /// Ascending losses in hand; the first one is 0.
    pub(crate) point: Vec<f64>,
    /// The first stage after which each can be in hand.
    pub(crate) since: Vec<usize>,
}

impl Columns {
    /// Number of columns.
    pub(crate) fn len(&self) -> usize {
        self.point.len()
    }

    /// The first column at or above `x`.
    pub(crate) fn at(&self, x: f64) -> usize {
        self.point.partition_point(|p| *p < x)
    }

    /// Which columns remain one stage earlier (`v` is that stage), and what they are there.
    pub(crate) fn before(&self, v: usize) -> (Vec<usize>, Columns) {
        let kept: Vec<usize> = (0..self.len()).filter(|m| self.since[*m] <= v).collect();
        let point = kept.iter().map(|m| self.point[*m]).collect();
        let since = kept.iter().map(|m| self.since[*m]).collect();
        (kept, Columns { point, since })
    }
}

/// States in ascending order of loss.
pub(crate) fn by_loss(loss: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..loss.len()).collect();
    order.sort_by(|a, b| loss[*a].total_cmp(&loss[*b]));
    order
}

/// For each of `points`, the last of `coarse` at or below it; `None` before the first. Both ascending.
pub(crate) fn last_at_or_below(coarse: &[f64], points: &[f64]) -> Vec<Option<usize>> {
    let mut next = 0;
    points
        .iter()
        .map(|x| {
            while next < coarse.len() && coarse[next] <= *x {
                next += 1;
            }
            next.checked_sub(1)
        })
        .collect()
}
