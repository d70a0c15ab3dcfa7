//! What a policy keeps of the requests that it was learned from.

use crate::error::Result;
use crate::random::mix64;
use crate::trace::Trace;

/// Requests of a trace, so many that beliefs can be found anew: the trace itself where it has few, shared, else a sample
/// of them, which does not keep the others.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The requests.
    pub trace: Trace,
    /// Whether they are all.
    pub is_whole: bool,
}

impl Kept {
    /// Requests that are kept, at most: more change beliefs by little.
    pub const MOST_ROWS: usize = 20_000;

    /// Of a trace with numbers for what is not known, if it has more rows than are kept. O(rows kept · k).
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] as for [`Trace::completed`].
    pub fn of(trace: &Trace) -> Result<Self> {
        let rows = trace.rows();
        if rows <= Self::MOST_ROWS {
            return Ok(Self { trace: trace.clone(), is_whole: true });
        }
        let whole = trace.completed()?.map_or(trace, |completed| &completed.trace);
        Ok(Self { trace: whole.select(&spread(whole.rows(), Self::MOST_ROWS)), is_whole: false })
    }
}

/// So many of `rows` rows, ascending: one of each of as many pieces; all of them if they are no more.
fn spread(rows: usize, most: usize) -> Vec<u32> {
    let most = most.min(rows);
    let one_of = |at: usize| {
        let (first, next) = (at * rows / most, (at + 1) * rows / most);
        (first as u64 + mix64(at as u64) % (next - first) as u64) as u32
    };
    (0..most).map(one_of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_rows_are_kept_one_of_each_piece() {
        assert_eq!(spread(5, 9), [0, 1, 2, 3, 4]);
        for rows in [101, 150, 199, 12_345] {
            let kept = spread(rows, 100);
            assert!(kept.len() == 100 && kept.is_sorted_by(|one, next| one < next));
            assert!(kept.iter().all(|row| (*row as usize) < rows));
        }
    }
}
