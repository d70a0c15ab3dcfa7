//! Lines for the most frequent classes, where they differ.

use super::rows::Signalled;
use crate::learn::logistic::{self, Design, Prior, sigmoid};
use crate::learn::sample;
use crate::learn::tuning::Tuning;
use crate::random::mix64;
use crate::rules::LOGIT_LIMIT;

/// Rows of one class, one fold and nearly the same base logit.
#[derive(Clone, Copy, Default)]
struct Bin {
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
struct Binned<'a> {
    tuning: &'a Tuning,
    class: Vec<usize>,
    bins: Vec<Vec<Bin>>,
    /// All rows with a signal, whatever their class.
    rows: f64,
    centre: f64,
    spread: f64,
}

impl<'a> Binned<'a> {
    /// `None` where no class is frequent enough, or there is only one.
    fn new(base: &[f64], known: &Signalled, prediction: &[i64], tuning: &'a Tuning) -> Option<Self> {
        let folds = tuning.class_folds;
        let class_of = |prediction: i64| usize::try_from(prediction).ok().filter(|class| *class < tuning.class_numbers);
        let mut count = vec![0_usize; tuning.class_numbers];
        for class in prediction.iter().filter_map(|prediction| class_of(*prediction)) {
            count[class] += 1;
        }
        let mut class: Vec<usize> =
            (0..tuning.class_numbers).filter(|class| count[*class] as f64 >= tuning.class_rows).collect();
        class.sort_by_key(|class| std::cmp::Reverse(count[*class]));
        class.truncate(tuning.classes);
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
        let edges = sample::knots(&sample::sorted(base), tuning.curve_cells);
        let mut place = vec![usize::MAX; tuning.class_numbers];
        for (at, class) in class.iter().enumerate() {
            place[*class] = at;
        }
        let mut all = vec![Bin::default(); class.len() * edges.len() * folds];
        for (row, prediction) in prediction.iter().enumerate() {
            let Some(at) = class_of(*prediction).map(|class| place[class]).filter(|at| *at < class.len()) else {
                continue;
            };
            let cell = edges.partition_point(|edge| *edge < base[row]).min(edges.len() - 1);
            // A group stays on one side; without groups every row is one.
            let unit = known.group.as_ref().map_or(row as u64, |group| group[row] as u64);
            let fold = mix64(unit) as usize % folds;
            let bin = &mut all[(at * edges.len() + cell) * folds + fold];
            let (w, y) = (known.weight[row], known.target[row]);
            bin.fold = fold;
            bin.rows += 1.0;
            bin.weight += w;
            bin.base += if bin.weight > 0.0 { (base[row] - bin.base) * w / bin.weight } else { 0.0 };
            bin.lost += w * y;
            bin.squares[0] += w * w;
            bin.squares[1] += w * w * y;
            bin.squares[2] += w * w * y * y;
        }
        let bins = all
            .chunks_exact(edges.len() * folds)
            .map(|bins| bins.iter().copied().filter(|bin| bin.weight > 0.0).collect())
            .collect();
        Some(Self { tuning, class, bins, rows: prediction.len() as f64, centre, spread })
    }

    /// The line of one class, from the bins outside fold `held`.
    fn line(&self, bins: &[Bin], held: Option<usize>, ridge: f64) -> ClassLine {
        let used: Vec<&Bin> = bins.iter().filter(|bin| Some(bin.fold) != held).collect();
        if used.iter().map(|bin| bin.rows).sum::<f64>() < self.tuning.class_rows {
            return None;
        }
        let features: Vec<f64> = used.iter().flat_map(|bin| [1.0, self.standardised(bin)]).collect();
        let target: Vec<f64> = used.iter().map(|bin| bin.lost / bin.weight).collect();
        let weight: Vec<f64> = used.iter().map(|bin| bin.weight).collect();
        let offset: Vec<f64> = used.iter().map(|bin| bin.base).collect();
        let design = Design { features: &features, target: &target, weight: &weight, offset: Some(&offset) };
        let t =
            logistic::fit(&design, &Prior { centre: &[0.0, 0.0], penalty: &logistic::ridge(2, ridge) }, self.tuning);
        Some([t[0], t[1]])
    }

    fn standardised(&self, bin: &Bin) -> f64 {
        (bin.base - self.centre) / self.spread
    }

    /// Mean decrease of the log loss out of sample, and its standard error.
    fn gain(&self, ridge: f64) -> (f64, f64) {
        let (mut sum, mut squares) = (0.0, 0.0);
        for bins in &self.bins {
            for fold in 0..self.tuning.class_folds {
                let Some([offset, slope]) = self.line(bins, Some(fold), ridge) else { continue };
                for bin in bins.iter().filter(|bin| bin.fold == fold) {
                    let limited = |z: f64| sigmoid(z.clamp(-LOGIT_LIMIT, LOGIT_LIMIT));
                    let before = limited(bin.base);
                    let after = limited(bin.base + offset + slope * self.standardised(bin));
                    // The decrease is w · (constant + tilt · y) on each row.
                    let constant = ((1.0 - after) / (1.0 - before)).ln();
                    let tilt = (after / before).ln() - constant;
                    let [w2, w2y, w2y2] = bin.squares;
                    sum += constant * bin.weight + tilt * bin.lost;
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
pub fn classes(base: &[f64], known: &Signalled, prediction: &[i64], tuning: &Tuning) -> Vec<[f64; 2]> {
    let Some(binned) = Binned::new(base, known, prediction, tuning) else { return Vec::new() };
    let mut best = (0.0, None);
    for ridge in tuning.class_ridges {
        let (gain, error) = binned.gain(ridge);
        if gain > tuning.class_errors * error && gain > best.0 {
            best = (gain, Some(ridge));
        }
    }
    let Some(ridge) = best.1 else { return Vec::new() };
    let mut table = vec![[0.0, 1.0]; binned.class.iter().max().map_or(0, |class| class + 1)];
    for (class, bins) in binned.class.iter().zip(&binned.bins) {
        if let Some([offset, slope]) = binned.line(bins, None, ridge) {
            let slope = slope / binned.spread;
            table[*class] = [offset - slope * binned.centre, 1.0 + slope];
        }
    }
    table
}
