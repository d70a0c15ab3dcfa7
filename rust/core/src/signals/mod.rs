//! Signals from what a model says: how sure it is, by the logits of its classes or by those of its tokens.

mod exponential;
mod row;

use ndarray::{ArrayView1, ArrayView2, ArrayViewMut2, Axis};

pub(crate) use exponential::exponential;
pub use row::{Logit, NO_CLASS, Signal, read};

use crate::error::{Error, Result};
use crate::mean::sum;
use crate::parallel;

/// From so many logits on, rows are read on several threads.
const MANY: usize = 1 << 20;
/// Logits that one thread reads in one piece.
const PIECE: usize = 1 << 17;
/// Rows whose logits do not lie side by side are copied so many at a time: a line of memory holds as many floats.
const COPIED: usize = 16;

/// How rows are read: [`read()`], compiled for some processor.
pub type Read<T> = fn(&[T], usize, Signal, &mut [f64], &mut [i64]);

/// Signals and classes of n rows.
pub struct Readings {
    /// (n,) NaN where a row says nothing.
    pub signal: Vec<f64>,
    /// (n,) the first class with the largest logit, [`NO_CLASS`] where a row says nothing.
    pub argmax: Vec<i64>,
}

/// The signals of rows of logits (n, c), in any layout. O(n c) time, O(n) memory; 16 rows more where the logits
/// of a row do not lie side by side.
///
/// # Errors
/// [`Error::Invalid`] for no classes, or for more rows than there is memory for; [`Error::Interrupted`].
pub fn of_logits<T: Logit>(logits: &ArrayView2<'_, T>, signal: Signal, read: Read<T>) -> Result<Readings> {
    let (n, c) = logits.dim();
    if c == 0 {
        return Err(Error::invalid(format!("`logits` must have at least 1 class, got an array of shape ({n}, 0)")));
    }
    let mut readings = Readings { signal: filled("logits", n, f64::NAN)?, argmax: filled("logits", n, NO_CLASS)? };
    let rows = rows_a_piece(n, c);
    let columns = readings.signal.chunks_mut(rows).zip(readings.argmax.chunks_mut(rows));
    let pieces = logits.axis_chunks_iter(Axis(0), rows).zip(columns);
    parallel::for_each(pieces, |(logits, (mut signals, mut classes))| {
        each_run(&logits, |rows| {
            let (now, later) = std::mem::take(&mut signals).split_at_mut(rows.len() / c);
            let (classes_now, classes_later) = std::mem::take(&mut classes).split_at_mut(rows.len() / c);
            read(rows, c, signal, now, classes_now);
            (signals, classes) = (later, classes_later);
        });
    });
    Ok(readings)
}

/// The signal of the logits (c,) of one request, and its class.
///
/// # Errors
/// [`Error::Invalid`] for no classes.
pub fn of_one<T: Logit>(logits: &ArrayView1<'_, T>, signal: Signal, read: Read<T>) -> Result<(f64, i64)> {
    let c = logits.len();
    if c == 0 {
        return Err(Error::invalid("`logits` must have at least 1 class, got an array of shape (0,)"));
    }
    let (mut signals, mut classes) = ([f64::NAN], [NO_CLASS]);
    match logits.as_slice() {
        Some(row) => read(row, c, signal, &mut signals, &mut classes),
        None => read(&logits.to_vec(), c, signal, &mut signals, &mut classes),
    }
    let ([signal], [class]) = (signals, classes);
    Ok((signal, class))
}

/// Means of the log-probabilities of tokens (n, t): NaN is padding, and a row without a token has NaN, as has one with
/// plus infinity. O(n t) time.
///
/// # Errors
/// [`Error::Invalid`] for more rows than there is memory for; [`Error::Interrupted`].
pub fn mean_logprobs<T: Logit>(logprobs: &ArrayView2<'_, T>) -> Result<Vec<f64>> {
    let (n, t) = logprobs.dim();
    let mut means = filled("logprobs", n, f64::NAN)?;
    let rows = rows_a_piece(n, t);
    let pieces = logprobs.axis_chunks_iter(Axis(0), rows).zip(means.chunks_mut(rows));
    parallel::for_each(pieces, |(logprobs, means)| {
        let mut places = means.iter_mut();
        each_run(&logprobs, |rows| {
            for (row, place) in rows.chunks(t).zip(&mut places) {
                *place = mean_logprob(row);
            }
        });
    });
    Ok(means)
}

/// The mean of one row, as in [`mean_logprobs`].
pub fn mean_logprob<T: Logit>(row: &[T]) -> f64 {
    let known = |i: usize| row.get(i).map_or(f64::NAN, |&logprob| logprob.into());
    let count = (0..row.len()).filter(|&i| !known(i).is_nan()).count();
    let total = sum(row.len(), |i| if known(i).is_nan() { 0.0 } else { known(i) });
    if total == f64::INFINITY { f64::NAN } else { total / count as f64 }
}

/// All numbers in turn, in runs of whole rows that lie one behind the other.
fn each_run<T: Logit>(rows: &ArrayView2<'_, T>, mut take: impl FnMut(&[T])) {
    if rows.is_empty() {
        return;
    }
    if let Some(all) = rows.as_slice() {
        return take(all);
    }
    if rows.row(0).as_slice().is_some() {
        return rows.outer_iter().filter_map(|row| row.to_slice()).for_each(take);
    }
    let mut copied = vec![T::default(); rows.ncols() * COPIED.min(rows.nrows())];
    for some in rows.axis_chunks_iter(Axis(0), COPIED) {
        let (copy, _) = copied.split_at_mut(some.len());
        if let Ok(mut place) = ArrayViewMut2::from_shape(some.dim(), &mut *copy) {
            place.assign(&some);
        }
        take(copy);
    }
}

/// All rows in one piece, or few enough that several threads have work.
fn rows_a_piece(n: usize, c: usize) -> usize {
    if n.saturating_mul(c) < MANY { n.max(1) } else { (PIECE / c).max(1) }
}

/// `n` times this value.
fn filled<V: Clone>(argument: &str, n: usize, value: V) -> Result<Vec<V>> {
    let mut values = Vec::new();
    if values.try_reserve_exact(n).is_err() {
        return Err(Error::invalid(format!("`{argument}` must have as many rows as fit in memory, got {n}")));
    }
    values.resize(n, value);
    Ok(values)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "these rows are allowed")]

    use ndarray::{Array2, Slice};

    use super::*;

    const SIGNALS: [Signal; 4] = [Signal::MaxProbability, Signal::Margin, Signal::NegativeEntropy, Signal::Energy];

    /// Numbers in [-4, 4), some of them equal.
    fn made(n: usize, c: usize) -> Array2<f64> {
        Array2::from_shape_fn((n, c), |(i, j)| ((i * 7919 + j * 104_729) % 1009 % 257) as f64 / 32.0 - 4.0)
    }

    /// From the definitions.
    fn plain(row: &[f64], signal: Signal) -> (f64, i64) {
        let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = row.iter().map(|x| (x - most).exp()).sum();
        let mut p: Vec<f64> = row.iter().map(|x| (x - most).exp() / total).collect();
        let at = row.iter().position(|&x| x == most).map_or(NO_CLASS, |at| at as i64);
        p.sort_by(|a, b| b.total_cmp(a));
        let signal = match signal {
            Signal::MaxProbability => p[0],
            Signal::Margin => p[0] - p.get(1).unwrap_or(&0.0),
            Signal::NegativeEntropy => p.iter().filter(|&&p| p > 0.0).map(|p| p * p.ln()).sum(),
            Signal::Energy => most + total.ln(),
        };
        (signal, at)
    }

    #[test]
    fn signals_are_what_they_are_defined_to_be() {
        for c in (1..70).chain([255, 256, 1000]) {
            let rows = made(3, c);
            for signal in SIGNALS {
                for read in [read::<f64, true>, read::<f64, false>] {
                    let found = of_logits(&rows.view(), signal, read).unwrap();
                    for (i, row) in rows.outer_iter().enumerate() {
                        let (expected, class) = plain(row.as_slice().unwrap(), signal);
                        assert!((found.signal[i] - expected).abs() < 1e-13, "{signal:?} of {c} classes");
                        assert_eq!(found.argmax[i], class);
                        assert_eq!(of_one(&row, signal, read).unwrap(), (found.signal[i], class));
                    }
                }
            }
        }
    }

    #[test]
    fn layouts_and_pieces_do_not_matter() {
        let rows = made(40_000, 30);
        let single = rows.mapv(|x| x as f32);
        let turned = rows.t().as_standard_layout().into_owned();
        let wide = ndarray::concatenate![Axis(1), rows, rows];
        for signal in SIGNALS {
            let expected = of_logits(&rows.view(), signal, read::<f64, false>).unwrap();
            for same in [turned.t(), wide.slice_axis(Axis(1), Slice::from(30..))] {
                let found = of_logits(&same, signal, read::<f64, false>).unwrap();
                assert_eq!((&found.signal, &found.argmax), (&expected.signal, &expected.argmax));
            }
            let of_single = of_logits(&single.view(), signal, read::<f32, false>).unwrap();
            assert_eq!((&of_single.signal, &of_single.argmax), (&expected.signal, &expected.argmax));
        }
    }

    #[test]
    fn rows_that_say_nothing() {
        for c in [1, 10, 16, 40] {
            for (bad, rest) in [(f64::NAN, 0.0), (f64::INFINITY, 0.0), (f64::NEG_INFINITY, f64::NEG_INFINITY)] {
                for at in 0..c {
                    let mut rows = Array2::zeros((3, c));
                    rows.row_mut(1).fill(rest);
                    rows[[1, at]] = bad;
                    let found = of_logits(&rows.view(), Signal::Margin, read::<f64, false>).unwrap();
                    assert_eq!(found.signal.iter().map(|x| x.is_nan()).collect::<Vec<_>>(), [false, true, false]);
                    assert_eq!(found.argmax, [0, NO_CLASS, 0]);
                }
            }
        }
    }

    #[test]
    fn there_is_a_class() {
        assert!(of_logits(&Array2::<f64>::zeros((2, 0)).view(), Signal::Energy, read::<f64, false>).is_err());
        assert!(of_one(&ArrayView1::<f32>::from(&[]), Signal::Energy, read::<f32, false>).is_err());
        let none = of_logits(&Array2::<f32>::zeros((0, 3)).view(), Signal::Energy, read::<f32, false>).unwrap();
        assert!(none.signal.is_empty() && none.argmax.is_empty());
    }

    #[test]
    fn means_leave_out_what_is_padding() {
        let rows = ndarray::array![[-1.0, f64::NAN, -3.0], [f64::NAN; 3], [f64::NEG_INFINITY, -1.0, f64::NAN]];
        let found = mean_logprobs(&rows.view()).unwrap();
        assert_eq!((found[0], found[1].is_nan(), found[2]), (-2.0, true, f64::NEG_INFINITY));
        let turned = rows.t().as_standard_layout().into_owned();
        assert_eq!(mean_logprobs(&turned.t()).unwrap()[0], -2.0);
        assert!(mean_logprob(&[f64::INFINITY, -1.0]).is_nan() && mean_logprob::<f32>(&[]).is_nan());
        assert_eq!(mean_logprobs(&Array2::<f64>::zeros((2, 0)).view()).unwrap().len(), 2);
    }
}
