//! Cells of nearly equal beliefs: what decisions are made by.

use super::sample;
use super::tuning::Tuning;
use crate::parallel;
use crate::random::mix64;

/// Rows that one task works on.
const CHUNK: usize = 4096;

/// The cell of every row, and the limits between the cells, ascending; at most 256 cells. O(n log n) for few rows.
pub fn cells(belief: &[f64], tuning: &Tuning) -> (Vec<u8>, Vec<f64>) {
    if belief.len() <= tuning.exact_cell_rows { exact(belief, tuning) } else { sampled(belief, tuning) }
}

/// Where the cells end, as counts of rows in ascending order of belief: finer at both ends, because the best limit
/// often lies among the last few rows.
fn ends(rows: usize, tuning: &Tuning) -> Vec<usize> {
    let cells = tuning.belief_cells.min(rows);
    let end = |cell: usize| {
        let share = 0.5 - 0.5 * (std::f64::consts::PI * cell as f64 / cells as f64).cos();
        ((rows as f64 * share + 0.5) as usize).min(rows)
    };
    let mut ends: Vec<usize> = (1..=cells).map(end).filter(|end| *end > 0).collect();
    ends.dedup();
    ends
}

/// Limits between the cells: halfway to the next distinct belief, so that no limit is met by a row.
fn between(sorted: &[f64], ends: &[usize]) -> Vec<f64> {
    let inner = ends.split_last().map_or(&[][..], |(_, inner)| inner);
    let limit = |end: &usize| {
        let (below, from) = (sorted[end - 1], &sorted[*end..]);
        from.get(from.partition_point(|x| *x <= below)).map_or(f64::INFINITY, |above| 0.5 * (below + above))
    };
    inner.iter().map(limit).collect()
}

/// Cells of a few rows: equal beliefs may fall into different cells, as their ranks have it, all of which end at one limit.
fn exact(belief: &[f64], tuning: &Tuning) -> (Vec<u8>, Vec<f64>) {
    let mut order: Vec<u32> = (0..belief.len() as u32).collect();
    order.sort_unstable_by(|a, b| belief[*a as usize].total_cmp(&belief[*b as usize]).then(a.cmp(b)));
    let ends = ends(order.len(), tuning);
    let sorted: Vec<f64> = order.iter().map(|row| belief[*row as usize]).collect();
    let cuts = between(&sorted, &ends);
    let mut cell = vec![0_u8; belief.len()];
    let mut from = 0;
    for (number, end) in ends.iter().enumerate() {
        // Beliefs that the cell before ends within belong to that one, where this cell ends within larger ones.
        let before = number.checked_sub(1).filter(|before| cuts.get(*before) != cuts.get(number));
        for row in &order[from..*end] {
            let is_before = |before: &usize| belief[*row as usize] <= cuts[*before];
            cell[*row as usize] = before.filter(is_before).unwrap_or(number) as u8;
        }
        from = *end;
    }
    (cell, cuts)
}

/// Cells of many rows: limits from a sample.
fn sampled(belief: &[f64], tuning: &Tuning) -> (Vec<u8>, Vec<f64>) {
    let rows = sample::spread(belief.len(), tuning.exact_cell_rows);
    let some: Vec<f64> = rows.iter().map(|row| belief[*row as usize]).collect();
    let sorted = sample::sorted(&some);
    let cuts = between(&sorted, &ends(sorted.len(), tuning));
    // Cells that end at the same limit share the rows below it.
    let limit = |cell: usize| cuts.get(cell).copied().unwrap_or(f64::INFINITY);
    let sharing = |first: usize| (first..=cuts.len()).take_while(|cell| limit(*cell) == limit(first)).count() as u64;
    let shared: Vec<u64> = (0..=cuts.len()).map(sharing).collect();
    let mut cell = vec![0_u8; belief.len()];
    parallel::for_each(cell.chunks_mut(CHUNK).zip(belief.chunks(CHUNK)).enumerate(), |(chunk, (cell, belief))| {
        for (at, (cell, x)) in cell.iter_mut().zip(belief).enumerate() {
            let first = cuts.partition_point(|cut| cut < x);
            *cell = (first as u64 + mix64((chunk * CHUNK + at) as u64) % shared[first]) as u8;
        }
    });
    (cell, cuts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_finer_at_the_ends() {
        let tuning = Tuning::default();
        let found = ends(10_000, &tuning);
        assert_eq!(found.len(), tuning.belief_cells);
        assert_eq!(found.last(), Some(&10_000));
        assert!(found[0] < 20 && found[32] - found[31] > 200, "{found:?}");
        assert_eq!(ends(1, &tuning), [1]);
        assert_eq!(ends(2, &tuning).last(), Some(&2));
    }

    #[test]
    fn exact_and_sampled_cells_agree_on_distinct_beliefs() {
        let belief: Vec<f64> = (0..5000).map(|i| (mix64(i) % 1_000_003) as f64).collect();
        let tuning = Tuning::default();
        assert_eq!(exact(&belief, &tuning), sampled(&belief, &tuning));
    }

    #[test]
    fn equal_beliefs_fill_the_cells_of_their_ranks() {
        let belief: Vec<f64> = (0..5000).map(|i| (mix64(1 << 32 | i) % 3) as f64).collect();
        let tuning = Tuning::default();
        let counts = |cell: &[u8]| {
            let mut counts = vec![0_usize; tuning.belief_cells];
            for cell in cell {
                counts[usize::from(*cell)] += 1;
            }
            counts
        };
        let ((by_rank, ends), (by_lot, limits)) = (exact(&belief, &tuning), sampled(&belief, &tuning));
        assert_eq!(ends, limits);
        assert!(counts(&by_lot).iter().all(|rows| *rows > 0), "{:?}", counts(&by_lot));
        let below =
            |cell: &[u8], limit: usize| belief.iter().zip(cell).filter(|(_, at)| usize::from(**at) < limit).count();
        for limit in (1..limits.len()).filter(|at| limits[*at - 1] < limits[*at]) {
            assert_eq!(below(&by_rank, limit), below(&by_lot, limit), "up to cell {limit}");
        }
    }
}
