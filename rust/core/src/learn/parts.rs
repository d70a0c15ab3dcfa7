//! Parts of the rows of a trace: samples of them, and parts that are held back in turn. The same for every call.

use std::collections::{BTreeMap, BTreeSet};

use super::sample;
use crate::random::mix64;
use crate::trace::Trace;

/// About `most` rows; `None` where that is all of them.
pub fn spread(trace: &Trace, most: usize) -> Option<Vec<u32>> {
    (trace.rows() > most).then(|| sample::spread(trace.rows(), most))
}

/// The rows in some parts, each once held back: those to learn from, and those held back; none where a part would be
/// empty.
pub fn parts(trace: &Trace, folds: u64) -> Vec<[Vec<u32>; 2]> {
    let fold_of = folds_of(trace, folds);
    let part = |held: bool, fold: u64| -> Vec<u32> {
        let is_held = |row: &u32| fold_of[*row as usize] == fold;
        (0..trace.rows() as u32).filter(|row| is_held(row) == held).collect()
    };
    let parts: Vec<[Vec<u32>; 2]> = (0..folds).map(|fold| [part(false, fold), part(true, fold)]).collect();
    if parts.iter().flatten().any(Vec::is_empty) { Vec::new() } else { parts }
}

/// The part of each row (n,), below `folds`. Groups are dealt out in turn, in an order that depends on their numbers alone.
fn folds_of(trace: &Trace, folds: u64) -> Vec<u64> {
    let Some(group) = trace.lender().or_else(|| trace.units()) else {
        return (0..trace.rows() as u64).map(|row| mix64(!row) % folds).collect();
    };
    let distinct: BTreeSet<i64> = group.iter().copied().collect();
    let mut shuffled: Vec<i64> = distinct.into_iter().collect();
    shuffled.sort_by_key(|group| mix64(!(*group as u64)));
    let fold_of: BTreeMap<i64, u64> = shuffled.into_iter().zip((0..folds).cycle()).collect();
    group.iter().map(|group| fold_of.get(group).copied().unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Kind;

    fn grouped(group: Option<Vec<i64>>) -> Option<Trace> {
        let signal: Vec<f64> = (0..400).map(|row| mix64(row) as f64).collect();
        Trace::from_rows(&signal, &[0.5; 400], None, &[1.0], Kind::Models).and_then(|trace| trace.grouped(group)).ok()
    }

    #[test]
    fn groups_stay_on_one_side_and_fill_every_part() {
        let group: Vec<i64> = (0..400).map(|row| (mix64(row) % 30) as i64 - 7).collect();
        let part = grouped(Some(group.clone())).map(|trace| folds_of(&trace, 4)).unwrap_or_default();
        let pairs: BTreeSet<(i64, u64)> = group.iter().copied().zip(part).collect();
        assert_eq!(pairs.len(), 30);
        let sizes: Vec<usize> = (0..4).map(|fold| pairs.iter().filter(|pair| pair.1 == fold).count()).collect();
        assert_eq!(sizes, [8, 8, 7, 7]);
    }

    #[test]
    fn too_few_groups_hold_nothing_back() {
        let folds = |group| grouped(group).map(|trace| parts(&trace, 4).len());
        assert_eq!(folds(None), Some(4));
        assert_eq!(folds(Some((0..400).map(|row| row % 4).collect())), Some(4));
        assert_eq!(folds(Some((0..400).map(|row| row % 3).collect())), Some(0));
    }
}
