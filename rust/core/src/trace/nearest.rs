//! Requests that are alike as far as something is known of them.

use super::censored::NOTHING_SAID;
use super::content::Trace;
use super::pattern::Pattern;
use crate::parallel;

/// The most like a request among those that may lend, one of which does: fewer are like it by chance, more are less alike.
const NEAR: usize = 5;
/// What the largest difference of a known loss counts, where one of ranks of a signal counts 1.
const LOSS: f64 = 3.0;
/// What it counts that two answers are equal in one request and not in the other.
const AGREEMENT: f32 = 3.0;

/// What requests are compared by.
pub struct Features<'a> {
    trace: &'a Trace,
    /// Ranks (k, n) of the signals among those of the stage, in [0, 1]; −1 where there is none.
    rank: Vec<Vec<f32>>,
    /// The largest loss of each stage (k,); 1 where there is none.
    largest: Vec<f64>,
}

impl<'a> Features<'a> {
    /// O(n k log n).
    pub fn of(trace: &'a Trace) -> Self {
        let largest = |v: usize| trace.loss(v).iter().filter(|loss| loss.is_finite()).copied().fold(0.0, f64::max);
        Self {
            trace,
            rank: parallel::map(0..trace.stages(), |v| ranks(trace.signal(v))),
            largest: (0..trace.stages()).map(largest).map(|most| if most > 0.0 { most } else { 1.0 }).collect(),
        }
    }

    /// What a request is compared by with others of which as much is known: the last signal first.
    fn point(&self, row: usize, pattern: &Pattern) -> Vec<f32> {
        let run: Vec<usize> = pattern.run().rev().collect();
        let mut point: Vec<f32> = run.iter().map(|v| self.rank[*v][row]).collect();
        for v in (0..pattern.is_known.len()).filter(|v| pattern.is_known[*v] && !self.trace.is_probe(*v)) {
            point.push((LOSS * self.trace.loss(v)[row] / self.largest[v]) as f32);
        }
        let said = |v: usize| self.trace.prediction(v).map_or(NOTHING_SAID, |prediction| prediction[row]);
        for (at, one) in run.iter().enumerate() {
            for other in &run[..at] {
                let is_equal = said(*one) == said(*other) && said(*one) != NOTHING_SAID;
                point.push(if is_equal { AGREEMENT } else { 0.0 });
            }
        }
        point
    }

    /// Rank of a signal among those of its stage, in [0, 1]; −1 where there is none.
    pub fn rank(&self, stage: usize, row: u32) -> f32 {
        self.rank[stage][row as usize]
    }

    /// Number of stages.
    pub fn stages(&self) -> usize {
        self.rank.len()
    }

    /// Number of requests.
    pub fn rows(&self) -> usize {
        self.trace.rows()
    }
}

/// Requests that may lend, in the order of what is compared first.
pub struct Donors<'a> {
    features: &'a Features<'a>,
    pattern: &'a Pattern,
    /// What each is compared by, and its row.
    known: Vec<(Vec<f32>, u32)>,
}

impl<'a> Donors<'a> {
    /// Of `rows`, as seen by requests of which so much is known.
    pub fn new(features: &'a Features<'a>, pattern: &'a Pattern, rows: &[u32]) -> Self {
        let mut known: Vec<(Vec<f32>, u32)> =
            rows.iter().map(|row| (features.point(*row as usize, pattern), *row)).collect();
        known.sort_by(|one, other| first(&one.0).total_cmp(&first(&other.0)).then(one.1.cmp(&other.1)));
        Self { features, pattern, known }
    }

    /// The few that are most like a request, the nearest first; at least one.
    pub fn of(&self, row: u32) -> Vec<u32> {
        let point = self.features.point(row as usize, self.pattern);
        let mut best: Vec<(f32, u32)> = Vec::with_capacity(NEAR + 1);
        let gap = |place: usize| (first(&self.known[place].0) - first(&point)).powi(2);
        let mut above = self.known.partition_point(|donor| first(&donor.0) < first(&point));
        let mut below = above;
        loop {
            let down = below.checked_sub(1).map(|place| (gap(place), place));
            let up = (above < self.known.len()).then(|| (gap(above), above));
            let next = match (down, up) {
                (Some(down), Some(up)) if down.0 <= up.0 => down,
                (_, Some(up)) => up,
                (Some(down), None) => down,
                (None, None) => break,
            };
            if best.len() == NEAR && best.last().is_some_and(|last| next.0 >= last.0) {
                break;
            }
            if down == Some(next) {
                below = next.1;
            } else {
                above = next.1 + 1;
            }
            let (donor, row) = &self.known[next.1];
            let distance = donor.iter().zip(&point).map(|(a, b)| (a - b) * (a - b)).sum();
            let place = best.partition_point(|found| found.0 <= distance);
            best.insert(place, (distance, *row));
            best.truncate(NEAR);
        }
        best.into_iter().map(|found| found.1).collect()
    }
}

/// What is compared first; 0 where nothing was seen.
fn first(point: &[f32]) -> f32 {
    point.first().copied().unwrap_or(0.0)
}

/// Shares of the known numbers that are smaller; −1 for what is not known.
fn ranks(values: &[f64]) -> Vec<f32> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|x| !x.is_nan()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let rank = |x: &f64| {
        if x.is_nan() { -1.0 } else { sorted.partition_point(|y| y < x) as f32 / sorted.len() as f32 }
    };
    values.iter().map(rank).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::mix64;
    use crate::trace::Kind;

    #[test]
    fn the_nearest_are_those_of_a_search_of_all() {
        let signal: Vec<f64> = (0..900).map(|at| (mix64(at) % 50) as f64).collect();
        let loss: Vec<f64> = (0..900).map(|at| (mix64(at + 5000) % 2) as f64).collect();
        let said: Vec<i64> = (0..900).map(|at| (mix64(at + 9000) % 3) as i64).collect();
        let Ok(trace) = Trace::from_rows(&signal, &loss, Some(&said), &[1.0; 3], Kind::Models) else {
            panic!("no trace")
        };
        let features = Features::of(&trace);
        let pattern = Pattern { is_run: vec![true, true, false], is_known: vec![true, false, false] };
        let rows: Vec<u32> = (0..200).collect();
        let donors = Donors::new(&features, &pattern, &rows);
        for row in 200..300 {
            let own = features.point(row as usize, &pattern);
            let distance = |other: u32| -> f32 {
                features.point(other as usize, &pattern).iter().zip(&own).map(|(a, b)| (a - b) * (a - b)).sum()
            };
            let mut all: Vec<f32> = rows.iter().map(|other| distance(*other)).collect();
            all.sort_by(f32::total_cmp);
            let found: Vec<f32> = donors.of(row).into_iter().map(distance).collect();
            assert_eq!(found, all[..NEAR]);
        }
    }

    #[test]
    fn ranks_are_shares_of_what_is_known() {
        assert_eq!(ranks(&[3.0, f64::NAN, 1.0, 3.0, 2.0]), [0.5, -1.0, 0.0, 0.5, 0.25]);
    }
}
