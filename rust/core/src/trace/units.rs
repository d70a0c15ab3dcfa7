//! Which rows are one request: what stands on one side of a fold, and what a standard error counts once.

use std::collections::{BTreeMap, HashMap};

use super::content::Trace;
use super::cost::Cost;
use crate::random::mix64;

impl Trace {
    /// Numbers (n,) that are equal exactly where rows are one unit; `None` where every row is one by itself.
    ///
    /// Units are the groups. Without groups, rows that are equal in signals, predictions, losses and costs are one unit:
    /// a request that was recorded twice says no more than once. Signals that are too coarse to tell requests apart prove
    /// no such thing: where all rows have the same signals, or most of those that share theirs with others differ in the
    /// rest, every row is one by itself. O(n k) the first time.
    pub fn units(&self) -> Option<&[i64]> {
        self.group().or_else(|| self.repeats.get_or_init(|| repeats(self)).as_deref())
    }
}

/// Sums of `value` over the rows of each unit, in the order of the units' numbers. O(n log n).
pub fn by_unit(unit: &[i64], value: &[f64]) -> impl Iterator<Item = f64> {
    let mut sums: BTreeMap<i64, f64> = BTreeMap::new();
    for (unit, value) in unit.iter().zip(value) {
        *sums.entry(*unit).or_insert(0.0) += value;
    }
    sums.into_values()
}

/// Numbers of equal marks in the order in which they appear, and how many there are.
fn numbered(marks: &[u128]) -> (Vec<i64>, usize) {
    let mut known = HashMap::new();
    let number = marks
        .iter()
        .map(|mark| {
            let next = known.len() as i64;
            *known.entry(*mark).or_insert(next)
        })
        .collect();
    (number, known.len())
}

fn repeats(trace: &Trace) -> Option<Vec<i64>> {
    let rows = trace.rows();
    let mut mark = vec![0_u128; rows];
    trace.signals().iter_columns().for_each(|column| with_numbers(&mut mark, column));
    let (seen, classes) = numbered(&mark);
    if classes == rows {
        return None;
    }
    trace.losses().iter_columns().for_each(|column| with_numbers(&mut mark, column));
    for column in trace.predictions().iter().flat_map(|table| table.iter_columns()) {
        mark.iter_mut().zip(column).for_each(|(mark, said)| with_word(mark, *said as u64));
    }
    if let Cost::Rows(table) = trace.cost() {
        table.iter_columns().for_each(|column| with_numbers(&mut mark, column));
    }
    let (unit, units) = numbered(&mark);
    (units < rows && !are_coarse(&seen, &unit, classes)).then_some(unit)
}

/// Whether signals do not tell requests apart: all are the same, or most of the rows that share theirs with others stand
/// beside one that is unlike them in the rest.
fn are_coarse(seen: &[i64], unit: &[i64], classes: usize) -> bool {
    let (mut count, mut first, mut is_mixed) = (vec![0_usize; classes], vec![-1; classes], vec![false; classes]);
    for (class, unit) in seen.iter().zip(unit) {
        let class = *class as usize;
        count[class] += 1;
        if first[class] < 0 {
            first[class] = *unit;
        }
        is_mixed[class] |= first[class] != *unit;
    }
    let shared: usize = count.iter().filter(|rows| **rows > 1).sum();
    let mixed: usize = count.iter().zip(&is_mixed).filter(|(_, is_mixed)| **is_mixed).map(|(rows, _)| rows).sum();
    classes == 1 || 2 * mixed > shared
}

/// Fingerprints of rows, going on with a column in which −0 is 0 and every NaN is the same.
fn with_numbers(mark: &mut [u128], column: &[f64]) {
    for (mark, x) in mark.iter_mut().zip(column) {
        with_word(mark, if x.is_nan() { f64::NAN.to_bits() } else { (x + 0.0).to_bits() });
    }
}

/// Two chains of mixed words: different rows have different ones, but for odds of n² in 2¹²⁸.
fn with_word(mark: &mut u128, word: u64) {
    let (high, low) = ((*mark >> 64) as u64, *mark as u64);
    let (high, low) = (mix64(high ^ word), mix64(low.rotate_left(23) ^ !word));
    *mark = u128::from(high) << 64 | u128::from(low);
}

#[cfg(test)]
mod tests {
    use crate::trace::{Kind, Trace};

    fn units(signal: &[f64], loss: &[f64], prediction: Option<&[i64]>, group: Option<Vec<i64>>) -> Option<Vec<i64>> {
        let trace = Trace::from_rows(signal, loss, prediction, &[1.0], Kind::Models).ok()?;
        trace.grouped(group).ok()?.units().map(<[i64]>::to_vec)
    }

    #[test]
    fn groups_are_units() {
        let given = units(&[0.1, 0.2, 0.3], &[0.0; 3], None, Some(vec![7, -7, 7]));
        assert_eq!(given, Some(vec![7, -7, 7]));
        assert_eq!(units(&[0.1, 0.1], &[0.0; 2], None, Some(vec![1, 2])), Some(vec![1, 2]));
    }

    #[test]
    fn equal_rows_are_one_unit() {
        assert_eq!(units(&[0.1, 0.2, 0.1], &[0.0, 0.0, 0.0], None, None), Some(vec![0, 1, 0]));
        assert_eq!(units(&[0.0, -0.0, f64::NAN, -f64::NAN], &[0.0; 4], None, None), Some(vec![0, 0, 1, 1]));
        assert_eq!(units(&[0.1, 0.2, 0.3], &[0.0; 3], None, None), None);
    }

    #[test]
    fn coarse_signals_do_not_tell_requests_apart() {
        assert_eq!(units(&[0.5; 4], &[0.0, 1.0, 0.0, 1.0], None, None), None);
        assert_eq!(units(&[0.5; 3], &[0.0; 3], Some(&[1, 2, 1]), None), None);
        assert_eq!(units(&[0.5; 3], &[0.0; 3], None, None), None);
        // One pair that differs among many that do not.
        let (signal, mut loss) = ([0.1, 0.1, 0.2, 0.2, 0.3, 0.3], [0.0; 6]);
        loss[5] = 1.0;
        assert_eq!(units(&signal, &loss, None, None), Some(vec![0, 0, 1, 1, 2, 3]));
    }
}
