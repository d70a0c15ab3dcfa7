//! What losses are divided by before beliefs are fitted to them.

use std::collections::BTreeMap;

use super::sample::quantiles;
use super::tuning::Tuning;
use crate::trace::Trace;

/// From losses, in any unit, to targets in [0, 1], and back.
///
/// Beliefs are fitted to clipped losses, so that no row and no group can move them far; decisions are found on the real
/// ones, or, where nothing tells how bad a wrong answer is, on what clipped ones stand for: severities are noise there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// The loss that is target 1, as are all above it.
    pub cap: f64,
    /// The loss that a target of 1 stands for on average, but for the trace's tail.
    pub unit: f64,
    /// How much a row says, against one whose loss is 0 or `cap`: targets between 0 and 1 vary less.
    pub mass: f64,
    /// How much of the difference between a loss and what its target stands for is noise to decisions: at most 1.
    pub noise: f64,
}

/// A loss above 0 of one stage on one row.
#[derive(Clone, Copy)]
struct Lost {
    stage: usize,
    row: usize,
    /// At most that outside the trace's tail, over it.
    loss: f64,
    weight: f64,
}

impl Scale {
    /// Of losses that are 0 or the cap, but for a few.
    pub const fn up_to(cap: f64) -> Self {
        Self { cap, unit: cap, mass: 1.0, noise: 0.0 }
    }

    /// Of the losses of a trace; 1 where there are none.
    ///
    /// Most losses are of answers that are right or wrong, and where signals do not tell how bad a wrong one is, targets
    /// do not either: the cap is the median loss above 0. Where they do, or hardly any loss is 0, it is the largest but
    /// for the trace's tail. O(n k log n), O(n k) where losses are 0 or all alike.
    pub fn of(trace: &Trace, tuning: &Tuning) -> Self {
        let most = trace.tail().most;
        let mut lost = losses(trace, most);
        if lost.iter().all(|cell| cell.loss >= 1.0) {
            return Self::up_to(if most > 0.0 { most } else { 1.0 });
        }
        let mass = |cells: &[Lost]| cells.iter().map(|cell| cell.weight).sum::<f64>();
        let all = trace.weight().iter().sum::<f64>() * trace.answering().len() as f64;
        let is_event =
            mass(&lost) <= (1.0 - tuning.scale_zeros) * all && told(trace, &lost, tuning) <= tuning.scale_told;
        let cap = if is_event { median(&mut lost) } else { 1.0 };
        let (mut sum, mut squares, mut real) = (0.0, 0.0, 0.0);
        for Lost { loss, weight, .. } in lost {
            let target = loss.min(cap) / cap;
            sum += weight * target;
            squares += weight * target * target;
            real += weight * loss;
        }
        let noise = if is_event { tuning.scale_settled } else { 0.0 };
        Self { cap: most * cap, unit: most * (real / sum), mass: sum / squares, noise }
    }

    /// The targets of losses.
    pub fn targets(&self, loss: &[f64]) -> Vec<f64> {
        loss.iter().map(|loss| self.target(*loss)).collect()
    }

    /// The loss that decisions are found on.
    #[inline]
    pub fn settled(&self, loss: f64) -> f64 {
        (1.0 - self.noise) * loss + self.noise * self.unit * self.target(loss)
    }

    /// The target of a loss, in [0, 1].
    #[inline]
    pub fn target(&self, loss: f64) -> f64 {
        loss.min(self.cap) / self.cap
    }
}

/// The targets of every stage (k, n), where those of stages that never answer are empty: these become the mean of the
/// others, which is what such a stage informs about.
pub fn with_probes(target: Vec<Vec<f64>>, rows: usize) -> Vec<Vec<f64>> {
    if target.iter().all(|target| !target.is_empty()) {
        return target;
    }
    let mut mean = vec![0.0; rows];
    let answering: Vec<&Vec<f64>> = target.iter().filter(|target| !target.is_empty()).collect();
    for target in &answering {
        for (mean, target) in mean.iter_mut().zip(*target) {
            *mean += target / answering.len() as f64;
        }
    }
    target.into_iter().map(|target| if target.is_empty() { mean.clone() } else { target }).collect()
}

/// All losses above 0 that count.
fn losses(trace: &Trace, most: f64) -> Vec<Lost> {
    let of_stage = |(stage, column): (usize, &'_ [f64])| {
        let cells = column.iter().zip(trace.weight()).enumerate().filter(|(_, (loss, w))| **loss > 0.0 && **w > 0.0);
        let lost = |(row, (loss, weight)): (usize, (&f64, &f64))| Lost {
            stage,
            row,
            loss: loss.min(most) / most,
            weight: *weight,
        };
        cells.map(lost).collect::<Vec<_>>()
    };
    trace.answering().into_iter().map(|stage| (stage, trace.loss(stage))).flat_map(of_stage).collect()
}

/// Half of the weight has a loss up to this. O(n log n).
fn median(lost: &mut [Lost]) -> f64 {
    lost.sort_by(|one, other| one.loss.total_cmp(&other.loss));
    let half = 0.5 * lost.iter().map(|cell| cell.weight).sum::<f64>();
    let mut below = 0.0;
    let middle = lost.iter().find(|cell| {
        below += cell.weight;
        below >= half
    });
    middle.or(lost.last()).map_or(1.0, |cell| cell.loss)
}

/// How much of the variance of losses above 0 is told by the stage and its signal, or the stage and its prediction, as a
/// share adjusted for the number of cells; at most 1, about 0 where they tell nothing. O(n k log n).
fn told(trace: &Trace, lost: &[Lost], tuning: &Tuning) -> f64 {
    let edges: Vec<Vec<f64>> = (0..trace.stages())
        .map(|stage| {
            let signal = trace.signal(stage);
            let said = lost.iter().filter(|cell| cell.stage == stage).map(|cell| signal[cell.row]);
            quantiles(&said.filter(|x| !x.is_nan()).collect::<Vec<_>>(), tuning.scale_cells + 1)
        })
        .collect();
    let by_signal = |cell: &Lost| {
        let x = trace.signal(cell.stage)[cell.row];
        if x.is_nan() { usize::MAX } else { edges[cell.stage].partition_point(|edge| *edge < x) }
    };
    let by_prediction = |cell: &Lost| {
        let class = trace.prediction(cell.stage).and_then(|said| usize::try_from(said[cell.row]).ok());
        class.filter(|class| *class < tuning.class_numbers).unwrap_or(usize::MAX)
    };
    explained(lost, by_signal).max(explained(lost, by_prediction))
}

/// Share of the variance between the cells of a stage, adjusted for their number.
fn explained(lost: &[Lost], cell_of: impl Fn(&Lost) -> usize) -> f64 {
    /// Sums of the weight, the loss and its square.
    type Sums = [f64; 3];
    let add = |sums: &mut Sums, cell: &Lost| {
        for (sum, power) in sums.iter_mut().zip([1.0, cell.loss, cell.loss * cell.loss]) {
            *sum += cell.weight * power;
        }
    };
    let spread = |[weight, sum, squares]: &Sums| squares - sum * sum / weight;
    let mut cells: BTreeMap<(usize, usize), Sums> = BTreeMap::new();
    let mut all = [0.0; 3];
    for cell in lost {
        add(cells.entry((cell.stage, cell_of(cell))).or_default(), cell);
        add(&mut all, cell);
    }
    let (n, m) = (lost.len() as f64, cells.len() as f64);
    if n <= m || spread(&all) <= 0.0 {
        return 0.0;
    }
    let within: f64 = cells.values().map(spread).sum();
    1.0 - (within / (n - m)) / (spread(&all) / (n - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{self, mix64};
    use crate::trace::Kind;

    const ROWS: usize = 2000;

    fn uniform(seed: u64, at: usize) -> f64 {
        random::uniform(mix64(mix64(seed) ^ at as u64))
    }

    /// The scale of losses (n, 2), given by stage, row and signal.
    fn scale(loss: impl Fn(usize, usize, f64) -> f64) -> Scale {
        let signal: Vec<f64> = (0..2 * ROWS).map(|at| uniform(1, at)).collect();
        let loss: Vec<f64> = signal.iter().enumerate().map(|(at, x)| loss(at % 2, at / 2, *x)).collect();
        let trace = Trace::from_rows(&signal, &loss, None, &[1.0, 2.0], Kind::Models);
        trace
            .map_or(Scale { cap: 0.0, unit: 0.0, mass: 0.0, noise: 0.0 }, |trace| Scale::of(&trace, &Tuning::default()))
    }

    fn is_wrong(stage: usize, row: usize, signal: f64) -> f64 {
        f64::from(u8::from(uniform(2, 2 * row + stage) > signal))
    }

    #[test]
    fn losses_all_alike_are_divided_by_themselves() {
        assert_eq!(scale(is_wrong), Scale { cap: 1.0, unit: 1.0, mass: 1.0, noise: 0.0 });
        assert_eq!(
            scale(|v, row, x| 1e300 * is_wrong(v, row, x)),
            Scale { cap: 1e300, unit: 1e300, mass: 1.0, noise: 0.0 }
        );
        assert_eq!(scale(|_, _, _| 0.0), Scale { cap: 1.0, unit: 1.0, mass: 1.0, noise: 0.0 });
    }

    #[test]
    fn no_row_moves_the_scale() {
        for huge in [3.0, 1e9, 1e300] {
            let found = scale(|v, row, x| if row == 17 { huge } else { is_wrong(v, row, x) });
            assert_eq!(found, Scale { cap: 1.0, unit: 1.0, mass: 1.0, noise: 0.0 });
        }
    }

    #[test]
    fn severities_that_nothing_tells_are_clipped_at_their_median() {
        let severe = |row: usize| if uniform(3, row) < 0.1 { 5.0 } else { 1.0 };
        let found = scale(|v, row, x| severe(row) * is_wrong(v, row, x));
        assert_eq!((found.cap, found.mass), (1.0, 1.0));
        assert!((found.unit - 1.4).abs() < 0.1, "{found:?}");
        let tenfold = scale(|v, row, x| 10.0 * severe(row) * is_wrong(v, row, x));
        assert_eq!(tenfold.cap, 10.0);
        assert!((tenfold.unit / found.unit - 10.0).abs() < 1e-9);
        assert_eq!([1.0, 5.0, 0.0].map(|loss| found.settled(loss)), [found.unit, found.unit, 0.0]);
    }

    #[test]
    fn severities_that_a_signal_or_a_stage_tells_are_kept() {
        let by_signal = scale(|v, row, x| is_wrong(v, row, x) * if x < 0.2 { 5.0 } else { 1.0 });
        let by_stage = scale(|v, row, x| is_wrong(v, row, x) * if v == 0 { 5.0 } else { 1.0 });
        for found in [by_signal, by_stage] {
            assert_eq!((found.cap, found.unit), (5.0, 5.0));
            assert!(found.mass > 1.1, "{found:?}");
            assert_eq!([0.5, 9.0].map(|loss| found.settled(loss)), [0.5, 9.0]);
        }
    }

    #[test]
    fn losses_that_are_hardly_ever_0_are_kept() {
        let found = scale(|v, row, _| uniform(4, 2 * row + v) + 1e-6);
        assert!(found.cap > 0.98 && found.cap == found.unit, "{found:?}");
        assert!((found.mass - 1.5).abs() < 0.05, "{found:?}");
        assert_eq!((found.target(2.0), found.target(0.0)), (1.0, 0.0));
        assert!((found.target(0.25) - 0.25 / found.cap).abs() < 1e-12);
    }

    #[test]
    fn half_of_the_weight_is_up_to_the_median() {
        let cell = |(loss, weight): (f64, f64)| Lost { stage: 0, row: 0, loss, weight };
        let of = |cells: &[(f64, f64)]| median(&mut cells.iter().copied().map(cell).collect::<Vec<_>>());
        assert_eq!(of(&[(3.0, 1.0), (1.0, 1.0), (2.0, 1.0)]), 2.0);
        assert_eq!(of(&[(2.0, 1.0), (1.0, 1.0)]), 1.0);
        assert_eq!(of(&[(2.0, 3.0), (1.0, 1.0)]), 2.0);
    }
}
