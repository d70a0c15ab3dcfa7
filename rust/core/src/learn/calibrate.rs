//! From raw signals to logits of the expected loss, one stage at a time (theory, section 4).

use std::iter::repeat_n;

use super::logistic::{self, Design, Prior, logit, sigmoid};
use super::sample;
use crate::random::mix64;
use crate::rules::{Calibration, Curve, KNOTS, LOGIT_LIMIT};

/// Strength of the penalty on second differences of the curve's values.
const SMOOTHNESS: f64 = 20.0;
/// Strength of the pull of the curve's values towards the overall mean.
const RIDGE: f64 = 1e-3;
/// A curve may rise only where that lowers the summed log loss by more than this.
const RISE: f64 = 3.0;
/// Cells that rows are gathered in before a curve is fitted.
const CELLS: usize = 256;
/// Strengths of the pull of a class towards the curve of all classes, in the order in which they are tried.
const CLASS_RIDGES: [f64; 3] = [50.0, 10.0, 2.0];
/// Classes with fewer rows keep the curve of all classes.
const CLASS_ROWS: f64 = 10.0;
/// So many of the most frequent classes get a line of their own.
const CLASSES: usize = 64;
/// Labels from here on are taken for hashes, not for class numbers.
const PREDICTIONS: usize = 1024;
/// Standard errors by which class lines must win out of sample.
const CLEAR: f64 = 2.0;
const FOLDS: usize = 4;

/// What one stage said, and what its answers cost.
pub struct Column<'a> {
    /// NaN: unknown (n,).
    pub signal: &'a [f64],
    /// Loss in [0, 1] (n,).
    pub target: &'a [f64],
    /// Weight of each row (n,).
    pub weight: &'a [f64],
    /// (n,), if there are any.
    pub prediction: Option<&'a [i64]>,
}

/// Rows with a signal.
struct Known {
    signal: Vec<f64>,
    target: Vec<f64>,
    weight: Vec<f64>,
}

/// Calibrates one stage; `scale` is what the losses were divided by.
pub fn calibration(column: &Column, scale: f64) -> Calibration {
    let mass = |rows: &mut dyn Iterator<Item = usize>| {
        rows.fold((0.0, 0.0), |(w, wy), row| (w + column.weight[row], wy + column.weight[row] * column.target[row]))
    };
    let is_known = |row: &usize| !column.signal[*row].is_nan();
    let n = column.signal.len();
    let (all, lost) = mass(&mut (0..n));
    let (dark, lost_dark) = mass(&mut (0..n).filter(|row| !is_known(row)));
    let share = (lost + 0.5) / (all + 1.0);
    let limited = |p: f64| logit(p).clamp(-LOGIT_LIMIT, LOGIT_LIMIT);
    let missing_logit = limited((lost_dark + share) / (dark + 1.0));
    let rows: Vec<usize> = (0..n).filter(is_known).collect();
    let known = Known {
        signal: rows.iter().map(|row| column.signal[*row].clamp(f64::MIN, f64::MAX)).collect(),
        target: rows.iter().map(|row| column.target[*row]).collect(),
        weight: rows.iter().map(|row| column.weight[*row]).collect(),
    };
    let curve = curve(&known).unwrap_or_else(|| Curve::constant(missing_logit));
    let class = column.prediction.map_or(Vec::new(), |prediction| {
        let prediction: Vec<i64> = rows.iter().map(|row| prediction[*row]).collect();
        let base: Vec<f64> = known.signal.iter().map(|x| curve.at(*x)).collect();
        classes(&base, &known, &prediction)
    });
    let mean_loss = if all > 0.0 { lost / all * scale } else { 0.0 };
    Calibration { curve, class, mean_loss, missing_logit }
}

/// Sums over the rows of a cell.
#[derive(Clone, Copy, Default)]
struct Cell {
    weight: f64,
    signal: f64,
    target: f64,
}

impl Cell {
    fn add(&mut self, weight: f64, signal: f64, target: f64) {
        if weight > 0.0 {
            self.weight += weight;
            let share = weight / self.weight;
            // Halves keep the difference of two huge signals finite.
            let half = (signal / 2.0 - self.signal / 2.0) * share;
            self.signal = self.signal + half + half;
            self.target += (target - self.target) * share;
        }
    }
}

/// A curve through quantiles of the signal, smooth on the scale of ranks; `None` without any signal.
fn curve(known: &Known) -> Option<Curve> {
    let sorted = sample::sorted(&known.signal);
    let knots = sample::knots(&sorted, KNOTS - 1);
    let (mass, lost) =
        known.weight.iter().zip(&known.target).fold((0.0, 0.0), |(w, wy), (weight, y)| (w + weight, wy + weight * y));
    let base = logit((lost + 0.5) / (mass + 1.0));
    let m = knots.len();
    if m < 2 {
        return (m == 1).then(|| Curve::constant(base));
    }
    let edges = sample::knots(&sorted, CELLS);
    let mut cells = vec![Cell::default(); edges.len()];
    for ((x, y), w) in known.signal.iter().zip(&known.target).zip(&known.weight) {
        let cell = edges.partition_point(|edge| edge < x).min(edges.len() - 1);
        cells[cell].add(*w, *x, *y);
    }
    cells.retain(|cell| cell.weight > 0.0);
    let mut features = vec![0.0; cells.len() * m];
    for (cell, row) in cells.iter().zip(features.chunks_exact_mut(m)) {
        let x = cell.signal;
        let left = knots.partition_point(|knot| *knot <= x).clamp(1, m - 1) - 1;
        let share = (x / 2.0 - knots[left] / 2.0) / (knots[left + 1] / 2.0 - knots[left] / 2.0);
        let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
        row[left] = 1.0 - share;
        row[left + 1] = share;
    }
    let mut penalty = logistic::ridge(m, RIDGE);
    for left in 0..m.saturating_sub(2) {
        let second = [(left, 1.0), (left + 1, -2.0), (left + 2, 1.0)];
        for (a, wa) in second {
            for (b, wb) in second {
                penalty[a * m + b] += SMOOTHNESS * wa * wb;
            }
        }
    }
    let target: Vec<f64> = cells.iter().map(|cell| cell.target).collect();
    let weight: Vec<f64> = cells.iter().map(|cell| cell.weight).collect();
    let design = Design { features: &features, target: &target, weight: &weight, offset: None };
    let values = logistic::fit(&design, &Prior { centre: &vec![base; m], penalty: &penalty });
    let values = falling(&design, values);
    Curve::through(&knots, &values).or_else(|| Some(Curve::constant(base)))
}

/// The same values at the knots, pooled so that they never rise (more confidence, no more loss), unless that is much less
/// likely.
fn falling(design: &Design, values: Vec<f64>) -> Vec<f64> {
    let mut mass = vec![f64::MIN_POSITIVE; values.len()];
    for (row, w) in design.features.chunks_exact(values.len()).zip(design.weight) {
        for (mass, x) in mass.iter_mut().zip(row) {
            *mass += w * x;
        }
    }
    // Pairs of neighbours that rise become one block with their mean.
    let mut blocks: Vec<(f64, f64, usize)> = Vec::new();
    for (value, mass) in values.iter().zip(&mass) {
        blocks.push((*value, *mass, 1));
        while let [.., (left, a, p), (right, b, q)] = blocks.as_slice()
            && left < right
        {
            let joined = ((left * a + right * b) / (a + b), a + b, p + q);
            blocks.truncate(blocks.len() - 2);
            blocks.push(joined);
        }
    }
    let pooled: Vec<f64> = blocks.iter().flat_map(|(value, _, knots)| repeat_n(*value, *knots)).collect();
    if logistic::loss(design, &pooled) - logistic::loss(design, &values) <= RISE { pooled } else { values }
}

/// Up to `count` distinct order statistics at evenly spaced ranks, the smallest and largest among them.
pub fn quantiles(values: &[f64], count: usize) -> Vec<f64> {
    let sorted = sample::sorted(values);
    let Some(last) = sorted.len().checked_sub(1) else { return Vec::new() };
    let mut knots: Vec<f64> = (0..count).map(|q| sorted[q * last / (count - 1)]).collect();
    knots.dedup_by(|b, a| *b <= *a);
    knots
}

/// Rows of one class, one fold and nearly the same base logit.
#[derive(Clone, Copy, Default)]
struct Group {
    fold: usize,
    rows: f64,
    /// Weighted mean of the base logit.
    base: f64,
    weight: f64,
    lost: f64,
    /// Sums of w², w²y and w²y².
    squares: [f64; 3],
}

/// Offset and slope of one class, on the standardised base logit.
type ClassLine = Option<[f64; 2]>;

/// The rows of every class that may get a line.
struct Grouped {
    class: Vec<usize>,
    groups: Vec<Vec<Group>>,
    /// All rows with a signal, whatever their class.
    rows: f64,
    centre: f64,
    spread: f64,
}

impl Grouped {
    /// `None` where no class is frequent enough, or there is only one.
    fn new(base: &[f64], known: &Known, prediction: &[i64]) -> Option<Self> {
        let class_of = |prediction: i64| usize::try_from(prediction).ok().filter(|class| *class < PREDICTIONS);
        let mut count = [0_usize; PREDICTIONS];
        for class in prediction.iter().filter_map(|prediction| class_of(*prediction)) {
            count[class] += 1;
        }
        let mut class: Vec<usize> = (0..PREDICTIONS).filter(|class| count[*class] as f64 >= CLASS_ROWS).collect();
        class.sort_by_key(|class| std::cmp::Reverse(count[*class]));
        class.truncate(CLASSES);
        let first = prediction.first()?;
        if class.is_empty() || prediction.iter().all(|prediction| prediction == first) {
            return None;
        }
        let mass: f64 = known.weight.iter().sum();
        let centre = base.iter().zip(&known.weight).map(|(z, w)| z * w).sum::<f64>() / mass;
        let spread = base.iter().zip(&known.weight).map(|(z, w)| w * (z - centre).powi(2)).sum::<f64>() / mass;
        let spread = spread.sqrt() + 1e-6;
        if !centre.is_finite() || !spread.is_finite() {
            return None;
        }
        let edges = sample::knots(&sample::sorted(base), CELLS);
        let mut place = [usize::MAX; PREDICTIONS];
        for (at, class) in class.iter().enumerate() {
            place[*class] = at;
        }
        let mut all = vec![Group::default(); class.len() * edges.len() * FOLDS];
        for (row, prediction) in prediction.iter().enumerate() {
            let Some(at) = class_of(*prediction).map(|class| place[class]).filter(|at| *at < class.len()) else {
                continue;
            };
            let cell = edges.partition_point(|edge| *edge < base[row]).min(edges.len() - 1);
            let fold = mix64(row as u64) as usize % FOLDS;
            let group = &mut all[(at * edges.len() + cell) * FOLDS + fold];
            let (w, y) = (known.weight[row], known.target[row]);
            group.fold = fold;
            group.rows += 1.0;
            group.weight += w;
            group.base += if group.weight > 0.0 { (base[row] - group.base) * w / group.weight } else { 0.0 };
            group.lost += w * y;
            group.squares[0] += w * w;
            group.squares[1] += w * w * y;
            group.squares[2] += w * w * y * y;
        }
        let groups = all
            .chunks_exact(edges.len() * FOLDS)
            .map(|groups| groups.iter().copied().filter(|group| group.weight > 0.0).collect())
            .collect();
        Some(Self { class, groups, rows: prediction.len() as f64, centre, spread })
    }

    /// The line of one class, from the groups outside fold `held`.
    fn line(&self, groups: &[Group], held: Option<usize>, ridge: f64) -> ClassLine {
        let used: Vec<&Group> = groups.iter().filter(|group| Some(group.fold) != held).collect();
        if used.iter().map(|group| group.rows).sum::<f64>() < CLASS_ROWS {
            return None;
        }
        let features: Vec<f64> = used.iter().flat_map(|group| [1.0, self.standardised(group)]).collect();
        let target: Vec<f64> = used.iter().map(|group| group.lost / group.weight).collect();
        let weight: Vec<f64> = used.iter().map(|group| group.weight).collect();
        let offset: Vec<f64> = used.iter().map(|group| group.base).collect();
        let design = Design { features: &features, target: &target, weight: &weight, offset: Some(&offset) };
        let t = logistic::fit(&design, &Prior { centre: &[0.0, 0.0], penalty: &logistic::ridge(2, ridge) });
        Some([t[0], t[1]])
    }

    fn standardised(&self, group: &Group) -> f64 {
        (group.base - self.centre) / self.spread
    }

    /// Mean decrease of the log loss out of sample, and its standard error.
    fn gain(&self, ridge: f64) -> (f64, f64) {
        let (mut sum, mut squares) = (0.0, 0.0);
        for groups in &self.groups {
            for fold in 0..FOLDS {
                let Some([offset, slope]) = self.line(groups, Some(fold), ridge) else { continue };
                for group in groups.iter().filter(|group| group.fold == fold) {
                    let limited = |z: f64| sigmoid(z.clamp(-LOGIT_LIMIT, LOGIT_LIMIT));
                    let before = limited(group.base);
                    let after = limited(group.base + offset + slope * self.standardised(group));
                    // The decrease is w · (constant + tilt · y) on each row.
                    let constant = ((1.0 - after) / (1.0 - before)).ln();
                    let tilt = (after / before).ln() - constant;
                    let [w2, w2y, w2y2] = group.squares;
                    sum += constant * group.weight + tilt * group.lost;
                    squares += constant * constant * w2 + 2.0 * constant * tilt * w2y + tilt * tilt * w2y2;
                }
            }
        }
        let mean = sum / self.rows;
        (mean, ((squares / self.rows - mean * mean).max(0.0) / self.rows).sqrt())
    }
}

/// `offset, slope` per prediction: the base logit's line, pulled towards the identity as strongly as is best out of sample;
/// empty where lines are not clearly better than none.
fn classes(base: &[f64], known: &Known, prediction: &[i64]) -> Vec<[f64; 2]> {
    let Some(grouped) = Grouped::new(base, known, prediction) else { return Vec::new() };
    let mut best = (0.0, None);
    for ridge in CLASS_RIDGES {
        let (gain, error) = grouped.gain(ridge);
        if gain > CLEAR * error && gain > best.0 {
            best = (gain, Some(ridge));
        }
    }
    let Some(ridge) = best.1 else { return Vec::new() };
    let mut table = vec![[0.0, 1.0]; grouped.class.iter().max().map_or(0, |class| class + 1)];
    for (class, groups) in grouped.class.iter().zip(&grouped.groups) {
        if let Some([offset, slope]) = grouped.line(groups, None, ridge) {
            let slope = slope / grouped.spread;
            table[*class] = [offset - slope * grouped.centre, 1.0 + slope];
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(signal: &[f64], target: &[f64], prediction: Option<&[i64]>) -> Calibration {
        calibration(&Column { signal, target, weight: &vec![1.0; target.len()], prediction }, 1.0)
    }

    #[test]
    fn recovers_a_logistic_curve() {
        let n = 20_000;
        let signal: Vec<f64> = (0..n).map(|i| (f64::from(i) + 0.5) / f64::from(n)).collect();
        let target: Vec<f64> = signal.iter().map(|x| sigmoid(2.0 - 4.0 * x)).collect();
        let calibration = fitted(&signal, &target, None);
        for x in [0.05, 0.3, 0.5, 0.77, 0.95] {
            assert!((calibration.read(x, 0) - (2.0 - 4.0 * x)).abs() < 0.05, "at {x}: {}", calibration.read(x, 0));
        }
    }

    #[test]
    fn curves_fall_unless_rows_say_clearly_that_they_rise() {
        let signal: Vec<f64> = (0..400).map(|i| f64::from(i) / 400.0).collect();
        let noise = |i: usize| (mix64(i as u64) % 100) as f64 / 100.0;
        let drawn = |chance: fn(f64) -> f64| -> Vec<f64> {
            signal.iter().enumerate().map(|(i, x)| f64::from(u8::from(noise(i) < chance(*x)))).collect()
        };
        let values =
            |target: &[f64]| -> Vec<f64> { fitted(&signal, target, None).curve.points().map(|p| p.1).collect() };
        assert!(values(&drawn(|_| 0.1)).is_sorted_by(|a, b| a >= b));
        let rising = values(&drawn(|x| 0.1 + 0.8 * x));
        assert!(rising.is_sorted_by(|a, b| a <= b) && rising[15] - rising[0] > 2.0, "{rising:?}");
    }

    #[test]
    fn one_distinct_signal_gives_the_mean() {
        let calibration = fitted(&[0.5; 40], &[0.25; 40], None);
        let read = sigmoid(calibration.read(0.7, 3));
        assert!((read - 0.25).abs() < 0.02, "{read}");
    }

    #[test]
    fn classes_differ_where_they_do() {
        let prediction: Vec<i64> = (0..2000).map(|i| i % 2).collect();
        let target: Vec<f64> = prediction.iter().map(|l| if *l == 0 { 0.1 } else { 0.6 }).collect();
        let calibration = fitted(&[0.5; 2000], &target, Some(&prediction));
        assert!((sigmoid(calibration.read(0.5, 0)) - 0.1).abs() < 0.02);
        assert!((sigmoid(calibration.read(0.5, 1)) - 0.6).abs() < 0.02);
    }

    #[test]
    fn classes_that_do_not_differ_get_no_lines() {
        let prediction: Vec<i64> = (0..2000).map(|i| i % 7).collect();
        let target: Vec<f64> = (0..2000).map(|i| (mix64(i) % 2) as f64).collect();
        assert!(fitted(&[0.5; 2000], &target, Some(&prediction)).class.is_empty());
    }

    #[test]
    fn unknown_signals_have_a_logit_of_their_own() {
        let signal: Vec<f64> = (0..2000).map(|i| if i % 4 == 0 { f64::NAN } else { 0.5 }).collect();
        let target: Vec<f64> = (0..2000).map(|i| if i % 4 == 0 { 0.9 } else { 0.1 }).collect();
        let calibration = fitted(&signal, &target, None);
        assert!((sigmoid(calibration.missing_logit) - 0.9).abs() < 0.01, "{}", calibration.missing_logit);
        assert!((sigmoid(calibration.read(0.5, 0)) - 0.1).abs() < 0.01);
    }

    #[test]
    fn huge_signals_and_single_rows_stay_finite() {
        for signal in [vec![f64::MAX, f64::MIN, 0.0, f64::INFINITY], vec![f64::NAN; 4], vec![1e308, -1e308, 1.0, 2.0]] {
            assert_eq!(fitted(&signal, &[1.0, 0.0, 0.5, 0.0], Some(&[0, 1, 0, 1])).check(), Ok(()));
        }
        assert_eq!(fitted(&[0.3], &[1.0], Some(&[2])).check(), Ok(()));
    }
}
