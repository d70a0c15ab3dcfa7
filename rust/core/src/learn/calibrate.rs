//! From raw signals to logits of the expected loss, one stage at a time (theory, section 4).

use super::logistic::{self, Design, logit};
use crate::rules::{Curve, KNOTS, LOGIT_LIMIT, Sensor};

/// Strength of the penalty on second differences of the curve's values.
const SMOOTHNESS: f64 = 5.0;
/// Strength of the pull of the curve's values towards the overall mean.
const RIDGE: f64 = 1e-3;
/// Strength of the pull of a class's line towards the curve of all classes.
const CLASS_RIDGE: f64 = 3.0;
/// Classes with fewer rows keep the curve of all classes.
const CLASS_ROWS: usize = 10;
/// Labels from here on are taken for hashes, not for class numbers.
const CLASSES: usize = 1024;

/// Calibrates one stage. `target` is the loss in [0, 1] (n,), `scale` what it was divided by.
pub fn sensor(signal: &[f64], target: &[f64], label: Option<&[i64]>, scale: f64) -> Sensor {
    let n = target.len() as f64;
    let mean = target.iter().sum::<f64>() / n;
    let smoothed = (mean * n + 0.5) / (n + 1.0);
    let mean_logit = logit(smoothed).clamp(-LOGIT_LIMIT, LOGIT_LIMIT);
    let known: Vec<usize> = (0..signal.len()).filter(|row| !signal[*row].is_nan()).collect();
    let signal: Vec<f64> = known.iter().map(|row| signal[*row].clamp(f64::MIN, f64::MAX)).collect();
    let target: Vec<f64> = known.iter().map(|row| target[*row]).collect();
    let curve = curve(&signal, &target, mean_logit);
    let class = match label {
        Some(label) => {
            let label: Vec<i64> = known.iter().map(|row| label[*row]).collect();
            let base: Vec<f64> = signal.iter().map(|x| curve.at(*x)).collect();
            classes(&base, &target, &label)
        }
        None => Vec::new(),
    };
    Sensor { curve, class, mean_loss: mean * scale, mean_logit }
}

/// A curve through at most [`KNOTS`] quantiles of the signal, smooth on the scale of ranks.
fn curve(signal: &[f64], target: &[f64], mean_logit: f64) -> Curve {
    let knots = quantiles(signal, KNOTS);
    let m = knots.len();
    if m < 2 {
        return Curve::constant(mean_logit);
    }
    let mut features = vec![0.0; signal.len() * m];
    for (x, row) in signal.iter().zip(features.chunks_exact_mut(m)) {
        let left = knots.partition_point(|knot| knot <= x).clamp(1, m - 1) - 1;
        // Halves keep the difference of two huge signals finite.
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
    let design = Design { features: &features, target, offset: None };
    let values = logistic::fit(&design, &vec![mean_logit; m], &penalty);
    Curve::through(&knots, &values).unwrap_or_else(|| Curve::constant(mean_logit))
}

/// Up to `count` distinct order statistics at evenly spaced ranks, the smallest and largest among them.
pub fn quantiles(values: &[f64], count: usize) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return Vec::new() };
    let mut knots: Vec<f64> = (0..count).map(|q| sorted[q * last / (count - 1)]).collect();
    knots.dedup_by(|b, a| *b <= *a);
    knots
}

/// `offset, slope` per label: the base logit's line, pulled towards the identity.
fn classes(base: &[f64], target: &[f64], label: &[i64]) -> Vec<[f64; 2]> {
    let n = base.len() as f64;
    let centre = base.iter().sum::<f64>() / n;
    let spread = (base.iter().map(|z| (z - centre).powi(2)).sum::<f64>() / n).sqrt() + 1e-6;
    let mut rows: Vec<Vec<usize>> = Vec::new();
    for (row, label) in label.iter().enumerate() {
        if let Some(class) = usize::try_from(*label).ok().filter(|class| *class < CLASSES) {
            if rows.len() <= class {
                rows.resize(class + 1, Vec::new());
            }
            rows[class].push(row);
        }
    }
    let line = |rows: &Vec<usize>| {
        if rows.len() < CLASS_ROWS {
            return [0.0, 1.0];
        }
        let features: Vec<f64> = rows.iter().flat_map(|row| [1.0, (base[*row] - centre) / spread]).collect();
        let target: Vec<f64> = rows.iter().map(|row| target[*row]).collect();
        let offset: Vec<f64> = rows.iter().map(|row| base[*row]).collect();
        let design = Design { features: &features, target: &target, offset: Some(&offset) };
        let t = logistic::fit(&design, &[0.0, 0.0], &logistic::ridge(2, CLASS_RIDGE));
        [t[0] - t[1] * centre / spread, 1.0 + t[1] / spread]
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::super::logistic::sigmoid;
    use super::*;

    #[test]
    fn recovers_a_logistic_curve() {
        let n = 20_000;
        let signal: Vec<f64> = (0..n).map(|i| (f64::from(i) + 0.5) / f64::from(n)).collect();
        let target: Vec<f64> = signal.iter().map(|x| sigmoid(2.0 - 4.0 * x)).collect();
        let sensor = sensor(&signal, &target, None, 1.0);
        for x in [0.05, 0.3, 0.5, 0.77, 0.95] {
            assert!((sensor.read(x, 0) - (2.0 - 4.0 * x)).abs() < 0.05, "at {x}: {}", sensor.read(x, 0));
        }
    }

    #[test]
    fn one_distinct_signal_gives_the_mean() {
        let sensor = sensor(&[0.5; 40], &[0.25; 40], None, 1.0);
        let read = sigmoid(sensor.read(0.7, 3));
        assert!((read - 0.25).abs() < 0.02, "{read}");
    }

    #[test]
    fn classes_differ_where_they_do() {
        let signal = [0.5; 2000];
        let label: Vec<i64> = (0..2000).map(|i| i % 2).collect();
        let target: Vec<f64> = label.iter().map(|l| if *l == 0 { 0.1 } else { 0.6 }).collect();
        let sensor = sensor(&signal, &target, Some(&label), 1.0);
        assert!((sigmoid(sensor.read(0.5, 0)) - 0.1).abs() < 0.02);
        assert!((sigmoid(sensor.read(0.5, 1)) - 0.6).abs() < 0.02);
    }
}
