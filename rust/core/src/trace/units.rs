//! Which rows belong together: those of one group; without groups, rows that repeat each other.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::content::Trace;
use super::cost::Cost;
use super::table::Table;
use crate::parallel;
use crate::random::mix64;

/// Rows that one task reads.
const CHUNK: usize = 65_536;
/// Signals that tell contents apart for each that is there with several, where a single stage is to do so.
const TELLING: usize = 10;
/// Stands for what is not a number: unknown signals are equal to each other.
const UNKNOWN: u64 = u64::MAX;

impl Trace {
    /// Numbers (n,) that are equal exactly where rows never stand on both sides of a fold or a split: those of the
    /// groups; without groups, equal for rows that repeat each other, and none where no row repeats another.
    ///
    /// A row repeats another if both are equal in all their content, weights aside, and a signal tells their content
    /// from all others: at some stage it is known, and no row of other content has the same. Rows that are equal because
    /// signals are coarse are requests of their own; so are all rows where there is one content only, and those of a
    /// single stage unless nearly all of its equal signals come with equal content.
    ///
    /// O(n k log n) the first time.
    pub fn units(&self) -> Option<&[i64]> {
        self.group().or_else(|| self.repeats())
    }

    /// The same without regard to groups: numbers (n,) that are equal exactly where rows repeat each other.
    fn repeats(&self) -> Option<&[i64]> {
        self.repeats.get_or_init(|| Box::new(repeats(self).map(Arc::new))).as_ref().map(|units| units.as_slice())
    }

    /// How many rows that are independent and count alike say as much: `(Σ w)² / Σ (weight of a group)²` (Kish 1965).
    /// O(n log n).
    pub fn effective_rows(&self) -> f64 {
        let weight = self.weight();
        let mass: f64 = weight.iter().sum();
        let squares = match self.group() {
            None => weight.iter().map(|w| w * w).sum::<f64>(),
            Some(group) => by_unit(group, weight).map(|w| w * w).sum(),
        };
        mass * mass / squares
    }

    /// The rows that say something, each once: without those of weight 0, and one for all that repeat each other within
    /// a group, which counts as much as they do. None where that is every row, and as long as fewer than `least` would
    /// be left of rows that repeat each other.
    pub(crate) fn condensed(&self, least: usize) -> Option<Self> {
        let counted: Vec<u32> = (0..self.rows() as u32).filter(|row| self.weight()[*row as usize] > 0.0).collect();
        let kept = if counted.len() < self.rows() { Some(self.with_weights_of(&counted)) } else { None };
        let trace = kept.as_ref().unwrap_or(self);
        let merged = trace.repeats().and_then(|repeats| trace.merged(repeats, least));
        merged.or(kept)
    }

    /// One row for all of one number in `repeats` and one group, the first of them; none where fewer than `least` would
    /// be left.
    fn merged(&self, repeats: &[i64], least: usize) -> Option<Self> {
        let mut place: BTreeMap<(i64, i64), usize> = BTreeMap::new();
        let (mut first, mut weight) = (Vec::new(), Vec::new());
        for (row, unit) in repeats.iter().enumerate() {
            let group = self.group().map_or(0, |group| group[row]);
            let at = *place.entry((*unit, group)).or_insert(first.len());
            if at == first.len() {
                first.push(row as u32);
                weight.push(0.0);
            }
            weight[at] += self.weight()[row];
        }
        if first.len() < least || first.len() == self.rows() {
            return None;
        }
        self.select(&first).weighted(Some(weight)).ok()
    }

    /// The given rows, with weights of mean 1 among themselves.
    fn with_weights_of(&self, rows: &[u32]) -> Self {
        let part = self.select(rows);
        let weight = part.weight().to_vec();
        part.clone().weighted(Some(weight)).unwrap_or(part)
    }
}

/// Sums of `value` over the rows of each unit, in the order of the units' numbers. O(n log n).
pub fn by_unit<'a>(unit: &'a [i64], value: &'a [f64]) -> impl Iterator<Item = f64> {
    let mut sums: BTreeMap<i64, f64> = BTreeMap::new();
    for (unit, value) in unit.iter().zip(value) {
        *sums.entry(*unit).or_insert(0.0) += value;
    }
    sums.into_values()
}

/// The same number for rows that repeat each other, another one for every other row; none where no row does.
fn repeats(trace: &Trace) -> Option<Vec<i64>> {
    let content = contents(trace);
    let twice = repeated(&content);
    if twice.is_empty() {
        return None;
    }
    let mut is_told = vec![false; twice.len()];
    let mut is_fine = false;
    for signal in trace.signals().iter_columns() {
        is_fine |= tell(signal, &content, &twice, &mut is_told);
    }
    // Several signals are hardly ever all equal by chance; a single one may be.
    if !is_told.contains(&true) || (trace.stages() == 1 && !is_fine) {
        return None;
    }
    let unit = |(row, content): (usize, &u64)| match twice.binary_search(content) {
        Ok(at) if !is_told[at] => mix64(content ^ mix64(row as u64)),
        _ => *content,
    };
    Some(content.iter().enumerate().map(unit).map(u64::cast_signed).collect())
}

/// A number for the content of each row (n,): signals, losses, predictions, latencies, and costs where they vary by row.
/// O(n k).
fn contents(trace: &Trace) -> Vec<u64> {
    let costs = match trace.cost() {
        Cost::Alike(_) => None,
        Cost::Rows(cost) => Some(cost),
    };
    let tables = [Some(trace.signals()), Some(trace.losses()), costs, trace.latencies()];
    let floats: Vec<&[f64]> = tables.into_iter().flatten().flat_map(Table::iter_columns).collect();
    let integers: Vec<&[i64]> = trace.predictions().map_or(Vec::new(), |table| table.iter_columns().collect());
    let mut content = vec![0_u64; trace.rows()];
    parallel::for_each(content.chunks_mut(CHUNK).enumerate(), |(chunk, content)| {
        for column in &floats {
            for (content, x) in content.iter_mut().zip(&column[chunk * CHUNK..]) {
                *content = mix64(content.rotate_left(1) ^ bits(*x));
            }
        }
        for column in &integers {
            for (content, x) in content.iter_mut().zip(&column[chunk * CHUNK..]) {
                *content = mix64(content.rotate_left(1) ^ x.cast_unsigned());
            }
        }
    });
    content
}

/// Equal for equal numbers, and for all that are unknown.
fn bits(x: f64) -> u64 {
    if x.is_nan() { UNKNOWN } else { (x + 0.0).to_bits() }
}

/// The contents of more than one row, ascending; none where all rows are of one content. O(n log n).
fn repeated(content: &[u64]) -> Vec<u64> {
    let mut sorted = content.to_vec();
    sorted.sort_unstable();
    if sorted.first() == sorted.last() {
        return Vec::new();
    }
    let mut twice: Vec<u64> = sorted.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    twice.dedup();
    twice
}

/// Marks the contents that a signal of this stage tells from all others, and whether nearly all signals that are there
/// more than once do so. O(n log n).
fn tell(signal: &[f64], content: &[u64], twice: &[u64], is_told: &mut [bool]) -> bool {
    let known = signal.iter().zip(content).filter(|(x, _)| !x.is_nan());
    let mut said: Vec<(u64, u64)> = known.map(|(x, content)| (bits(*x), *content)).collect();
    said.sort_unstable();
    let (mut telling, mut others) = (0_usize, 0_usize);
    for alike in said.chunk_by(|one, next| one.0 == next.0) {
        match alike {
            [(_, content), .., (_, last)] if content == last => {
                telling += 1;
                if let Ok(at) = twice.binary_search(content) {
                    is_told[at] = true;
                }
            }
            [_, _, ..] => others += 1,
            _ => {}
        }
    }
    telling >= TELLING * others
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Kind;

    fn trace(signal: &[f64], loss: &[f64], stages: usize) -> Option<Trace> {
        Trace::from_rows(signal, loss, None, &vec![1.0; stages], Kind::Models).ok()
    }

    /// Numbers of units in the order in which they appear.
    fn units(trace: Option<Trace>) -> Option<Vec<usize>> {
        let trace = trace?;
        let units = trace.units()?;
        let mut seen: Vec<i64> = Vec::new();
        let number = |unit: &i64| {
            seen.iter().position(|known| known == unit).unwrap_or_else(|| {
                seen.push(*unit);
                seen.len() - 1
            })
        };
        Some(units.iter().map(number).collect())
    }

    #[test]
    fn equal_rows_are_one_unit() {
        assert_eq!(units(trace(&[0.1, 0.2, 0.1, 0.3], &[0.0, 1.0, 0.0, 0.0], 1)), Some(vec![0, 1, 0, 2]));
        assert_eq!(units(trace(&[0.1, 0.2, 0.3, 0.4], &[0.0; 4], 1)), None);
        // −0 is 0, and unknown signals are equal: another stage tells the rows apart.
        let signal = [0.0, f64::NAN, -0.0, f64::NAN, 0.5, f64::NAN];
        assert_eq!(units(trace(&signal, &[0.0; 6], 2)), Some(vec![0, 0, 1]));
    }

    #[test]
    fn equal_rows_of_coarse_signals_are_requests_of_their_own() {
        // The same signal with another loss, or with another signal of the other stage.
        assert_eq!(units(trace(&[0.5, 0.5, 0.5, 0.6], &[1.0, 1.0, 0.0, 0.0], 1)), None);
        let signal = [0.5, 0.5, 0.5, 0.5, 0.5, 0.7, 0.7, 0.5];
        assert_eq!(units(trace(&signal, &[0.0; 8], 2)), None);
        // One of two is told apart by its signal.
        let signal = [0.5, 0.1, 0.5, 0.1, 0.5, 0.1, 0.6, 0.1, 0.6, 0.1];
        let loss = [1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        assert_eq!(units(trace(&signal, &loss, 2)), Some(vec![0, 1, 2, 3, 3]));
        // A single signal that is there with several losses is coarse.
        let coarse = [0.5, 0.5, 0.7, 0.7, 0.6, 0.6];
        assert_eq!(units(trace(&coarse, &[1.0, 0.0, 0.0, 1.0, 0.0, 0.0], 1)), None);
        assert_eq!(units(trace(&[0.5; 4], &[0.0; 4], 1)), None);
        assert_eq!(units(trace(&[f64::NAN; 4], &[0.0, 0.0, 1.0, 1.0], 1)), None);
    }

    #[test]
    fn whatever_differs_makes_another_row() {
        let (signal, loss) = ([0.1, 0.1, 0.9], [0.0; 3]);
        let made = || trace(&signal, &loss, 1);
        assert_eq!(units(made()), Some(vec![0, 0, 1]));
        let predicted =
            |said: &[i64]| made().and_then(|t| t.predicted(crate::Table::from_rows("p", said, 1).ok()?).ok());
        assert_eq!(units(predicted(&[3, 3, 3])), Some(vec![0, 0, 1]));
        assert_eq!(units(predicted(&[3, 4, 3])), None);
        let costs = |cost: &[f64]| {
            let table = |name: &str, cells: &[f64]| crate::Table::from_rows(name, cells, 1).ok();
            let cost = Cost::Rows(table("cost", cost)?);
            Trace::new(table("signal", &signal)?, table("loss", &loss)?, cost, Kind::Models).ok()
        };
        assert_eq!(units(costs(&[1.0, 1.0, 2.0])), Some(vec![0, 0, 1]));
        assert_eq!(units(costs(&[1.0, 3.0, 2.0])), None);
        let timed = |seconds: &[f64]| made().and_then(|t| t.timed(crate::Table::from_rows("t", seconds, 1).ok()?).ok());
        assert_eq!(units(timed(&[0.1, 0.1, 0.1])), Some(vec![0, 0, 1]));
        assert_eq!(units(timed(&[f64::NAN, f64::NAN, 0.1])), Some(vec![0, 0, 1]));
        assert_eq!(units(timed(&[0.1, 0.2, 0.1])), None);
        let grouped = made().and_then(|t| t.grouped(Some(vec![5, 6, 6])).ok());
        assert_eq!(units(grouped), Some(vec![0, 1, 1]));
    }

    #[test]
    fn rows_that_repeat_each_other_count_as_one() {
        let made = |weight: Option<Vec<f64>>| {
            trace(&[0.1, 0.2, 0.1, 0.3], &[0.0, 1.0, 0.0, 0.0], 1).and_then(|trace| trace.weighted(weight).ok())
        };
        let kept = |trace: Option<Trace>, least: usize| {
            trace?.condensed(least).map(|kept| (kept.signal(0).to_vec(), kept.weight().to_vec()))
        };
        assert_eq!(kept(made(None), 3), Some((vec![0.1, 0.2, 0.3], vec![1.5, 0.75, 0.75])));
        assert_eq!(kept(made(None), 4), None);
        let weight = vec![3.0, 0.0, 0.0, 1.0];
        assert_eq!(kept(made(Some(weight)), 2), Some((vec![0.1, 0.3], vec![1.5, 0.5])));
        let apart = made(None).and_then(|trace| trace.grouped(Some(vec![1, 1, 2, 2])).ok());
        assert_eq!(kept(apart, 2), None);
        assert_eq!(kept(trace(&[0.1, 0.2], &[0.0; 2], 1), 1), None);
    }

    #[test]
    fn groups_count_once() {
        let size = |group: Option<Vec<i64>>, weight: Option<Vec<f64>>| {
            let made = trace(&[0.1, 0.2, 0.3, 0.4], &[0.0; 4], 1);
            made.and_then(|t| t.grouped(group).ok()?.weighted(weight).ok()).map(|t| t.effective_rows())
        };
        assert_eq!(size(None, None), Some(4.0));
        assert_eq!(size(Some(vec![1, 1, 2, 2]), None), Some(2.0));
        assert_eq!(size(Some(vec![1, 2, 3, 4]), Some(vec![1.0, 1.0, 0.0, 0.0])), Some(2.0));
        assert_eq!(by_unit(&[7, -1, 7], &[1.0, 2.0, 4.0]).collect::<Vec<_>>(), [2.0, 5.0]);
    }
}
