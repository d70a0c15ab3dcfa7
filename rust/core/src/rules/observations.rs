//! Reports of many requests where their caller has them: in several types of numbers and in any layout.

use std::ops::Range;

use ndarray::{ArrayView1, ArrayView2, Axis, Slice};

use super::observation::{Observation, UNTOLD};
use super::prediction::NO_PREDICTION;

/// Signals, a row a request and a column a stage.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Signals<'a> {
    /// In 64 bits.
    Double(ArrayView2<'a, f64>),
    /// In 32 bits: each is the number that it is in 64.
    Single(ArrayView2<'a, f32>),
}

/// Predictions, a row a request and a column a stage.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Predictions<'a> {
    /// Codes of 64 bits.
    Long(ArrayView2<'a, i64>),
    /// Integers of 32 bits, which are their own codes.
    Short(ArrayView2<'a, i32>),
}

impl<'a> Signals<'a> {
    /// One stage's.
    pub fn column(signal: &'a [f64]) -> Self {
        Self::Double(ArrayView1::from(signal).insert_axis(Axis(1)))
    }

    /// `None` where the numbers are no rows of `k`.
    pub fn rows_of(signal: &'a [f64], k: usize) -> Option<Self> {
        in_rows(signal, k).map(Self::Double)
    }

    /// How many rows and columns there are.
    pub fn shape(&self) -> (usize, usize) {
        match self {
            Self::Double(all) => all.dim(),
            Self::Single(all) => all.dim(),
        }
    }

    /// One of them; NaN where there is no such one.
    #[inline]
    pub fn at(&self, row: usize, column: usize) -> f64 {
        match self {
            Self::Double(all) => all.get((row, column)).copied().unwrap_or(f64::NAN),
            Self::Single(all) => all.get((row, column)).map_or(f64::NAN, |signal| f64::from(*signal)),
        }
    }

    /// Some rows of a column: where they are, or read into `room`. Empty where there are no such rows.
    pub(crate) fn piece<'b>(&self, column: usize, rows: Range<usize>, room: &'b mut Vec<f64>) -> &'b [f64]
    where
        'a: 'b,
    {
        match self {
            Self::Double(all) => piece(all, column, rows, room),
            Self::Single(all) => {
                read(all, column, rows, room, f64::from);
                room
            }
        }
    }

    /// Some rows, row by row: where they are, or read into `room`. Empty where there are no such rows.
    pub(crate) fn rows<'b>(&self, rows: Range<usize>, room: &'b mut Vec<f64>) -> &'b [f64]
    where
        'a: 'b,
    {
        match self {
            Self::Double(all) => match all.to_slice() {
                Some(there) => there.get(rows.start * all.ncols()..rows.end * all.ncols()).unwrap_or_default(),
                None => read_rows(all, rows, room, f64::NAN, |signal| signal),
            },
            Self::Single(all) => read_rows(all, rows, room, f64::NAN, f64::from),
        }
    }
}

impl<'a> Predictions<'a> {
    /// One stage's.
    pub fn column(prediction: &'a [i64]) -> Self {
        Self::Long(ArrayView1::from(prediction).insert_axis(Axis(1)))
    }

    /// `None` where the numbers are no rows of `k`.
    pub fn rows_of(prediction: &'a [i64], k: usize) -> Option<Self> {
        in_rows(prediction, k).map(Self::Long)
    }

    /// How many rows and columns there are.
    pub fn shape(&self) -> (usize, usize) {
        match self {
            Self::Long(all) => all.dim(),
            Self::Short(all) => all.dim(),
        }
    }

    /// One of them; [`NO_PREDICTION`] where there is no such one.
    #[inline]
    pub fn at(&self, row: usize, column: usize) -> i64 {
        match self {
            Self::Long(all) => all.get((row, column)).copied().unwrap_or(NO_PREDICTION),
            Self::Short(all) => all.get((row, column)).map_or(NO_PREDICTION, |said| i64::from(*said)),
        }
    }

    /// Some rows of a column: where they are, or read into `room`. Empty where there are no such rows.
    pub(crate) fn piece<'b>(&self, column: usize, rows: Range<usize>, room: &'b mut Vec<i64>) -> &'b [i64]
    where
        'a: 'b,
    {
        match self {
            Self::Long(all) => piece(all, column, rows, room),
            Self::Short(all) => {
                read(all, column, rows, room, i64::from);
                room
            }
        }
    }

    /// Some rows, row by row: where they are, or read into `room`. Empty where there are no such rows.
    pub(crate) fn rows<'b>(&self, rows: Range<usize>, room: &'b mut Vec<i64>) -> &'b [i64]
    where
        'a: 'b,
    {
        match self {
            Self::Long(all) => match all.to_slice() {
                Some(there) => there.get(rows.start * all.ncols()..rows.end * all.ncols()).unwrap_or_default(),
                None => read_rows(all, rows, room, NO_PREDICTION, |said| said),
            },
            Self::Short(all) => read_rows(all, rows, room, NO_PREDICTION, i64::from),
        }
    }
}

/// `None` where the numbers are no rows of `k`.
fn in_rows<T>(numbers: &[T], k: usize) -> Option<ArrayView2<'_, T>> {
    let rows = numbers.len().checked_div(k).filter(|rows| rows * k == numbers.len())?;
    ArrayView2::from_shape((rows, k), numbers).ok()
}

/// Some rows of a column, if there are such.
fn of_rows<'a, T>(all: &ArrayView2<'a, T>, column: usize, rows: Range<usize>) -> Option<ArrayView1<'a, T>> {
    let is_there = column < all.ncols() && rows.start <= rows.end && rows.end <= all.nrows();
    is_there.then(|| all.slice_axis_move(Axis(0), Slice::from(rows)).index_axis_move(Axis(1), column))
}

fn piece<'a: 'b, 'b, T: Copy>(
    all: &ArrayView2<'a, T>,
    column: usize,
    rows: Range<usize>,
    room: &'b mut Vec<T>,
) -> &'b [T] {
    if let Some(there) = of_rows(all, column, rows.clone()).and_then(|part| part.to_slice()) {
        return there;
    }
    read(all, column, rows, room, |number| number);
    room
}

/// Some rows of a column in place of what is in `room`.
fn read<T: Copy, N>(
    all: &ArrayView2<'_, T>,
    column: usize,
    rows: Range<usize>,
    room: &mut Vec<N>,
    of: impl Fn(T) -> N,
) {
    room.clear();
    let Some(part) = of_rows(all, column, rows.clone()) else { return };
    let k = all.ncols();
    if let Some(numbers) = part.as_slice() {
        room.extend(numbers.iter().map(|number| of(*number)));
    } else if let Some(numbers) = all.as_slice().and_then(|numbers| numbers.get(rows.start * k + column..)) {
        room.extend(numbers.iter().step_by(k).take(rows.len()).map(|number| of(*number)));
    } else {
        room.reserve(part.len());
        part.iter().for_each(|number| room.push(of(*number)));
    }
}

/// Some rows in place of what is in `room`, row by row.
fn read_rows<'b, T: Copy, N: Copy>(
    all: &ArrayView2<'_, T>,
    rows: Range<usize>,
    room: &'b mut Vec<N>,
    empty: N,
    of: impl Fn(T) -> N,
) -> &'b [N] {
    room.clear();
    let k = all.ncols();
    if let Some(there) = all.as_slice().and_then(|there| there.get(rows.start * k..rows.end * k)) {
        room.extend(there.iter().map(|number| of(*number)));
        return room;
    }
    room.resize(rows.len() * k, empty);
    for column in 0..k {
        let mut cells = room.iter_mut().skip(column).step_by(k);
        let Some(part) = of_rows(all, column, rows.clone()) else { continue };
        part.iter().for_each(|number| {
            if let Some(cell) = cells.next() {
                *cell = of(*number);
            }
        });
    }
    room
}

/// One report of each of many requests, in columns of one length.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Observations<'a> {
    /// One signal a request, in one column.
    pub signal: Signals<'a>,
    /// One prediction a request, in one column, if there are any.
    pub prediction: Option<Predictions<'a>>,
    /// Seconds that each request has left, where that is said.
    pub remaining: Option<&'a [f64]>,
}

impl<'a> Observations<'a> {
    /// Columns of one length that do not say how much time is left.
    pub fn new(signal: &'a [f64], prediction: Option<&'a [i64]>) -> Self {
        Self::of(Signals::column(signal), prediction.map(Predictions::column))
    }

    /// The same of whatever types.
    pub const fn of(signal: Signals<'a>, prediction: Option<Predictions<'a>>) -> Self {
        Self { signal, prediction, remaining: None }
    }

    /// The same where so many seconds are left, if that is said.
    #[must_use]
    pub const fn within(self, remaining: Option<&'a [f64]>) -> Self {
        Self { remaining, ..self }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.signal.shape().0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The report number `at`; empty beyond the end.
    #[inline]
    pub fn at(&self, at: usize) -> Observation {
        let prediction = self.prediction.map_or(NO_PREDICTION, |prediction| prediction.at(at, 0));
        let remaining = self.remaining.and_then(|remaining| remaining.get(at).copied()).unwrap_or(UNTOLD);
        Observation::new(self.signal.at(at, 0), prediction).within(remaining)
    }
}

/// Reports that are kept: pieces of signals, each followed by its predictions, if there are any. One block of memory, which
/// allocators hand out again where several are given back to the system.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    rows: usize,
    with_predictions: bool,
    words: Vec<u64>,
}

impl Kept {
    /// Reports of a piece, but for the last one.
    pub(crate) const PIECE: usize = 1024;

    /// None yet, with room for so many.
    pub(crate) fn with_room(rows: usize, with_predictions: bool) -> Self {
        let words = Vec::with_capacity(rows * if with_predictions { 2 } else { 1 });
        Self { rows, with_predictions, words }
    }

    /// Appends the next piece.
    pub(crate) fn push(&mut self, signal: &[f64], prediction: Option<&[i64]>) {
        self.words.extend(signal.iter().map(|signal| signal.to_bits()));
        self.words.extend(prediction.unwrap_or_default().iter().map(|said| *said as u64));
    }

    /// The report number `at`, which does not say how much time is left; empty where there is none.
    #[inline]
    pub(crate) fn at(&self, at: usize) -> Observation {
        let word = |at: usize| self.words.get(at).copied();
        if !self.with_predictions {
            return word(at)
                .map_or(Observation::EMPTY, |signal| Observation::new(f64::from_bits(signal), NO_PREDICTION));
        }
        let before = at / Self::PIECE * Self::PIECE;
        let len = self.rows.saturating_sub(before).min(Self::PIECE);
        match (word(before + at), word(before + at + len)) {
            (Some(signal), Some(said)) if at < self.rows => Observation::new(f64::from_bits(signal), said as i64),
            _ => Observation::EMPTY,
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::indexing_slicing, reason = "tests")]

    use ndarray::{Array2, ShapeBuilder};

    use super::*;

    /// Every so manyth row and column.
    fn stepped(all: &Array2<f64>, step: isize) -> ArrayView2<'_, f64> {
        let every = Slice::new(0, None, step);
        all.slice_axis(Axis(0), every).slice_axis_move(Axis(1), every)
    }

    #[test]
    fn every_layout_and_type_reads_alike() {
        let double = Array2::from_shape_fn((7, 3), |(i, j)| i as f64 - 2.5 * j as f64);
        let single = double.mapv(|x| x as f32);
        let mut fortran = Array2::zeros((7, 3).f());
        fortran.assign(&double);
        let twice = Array2::from_shape_fn((14, 6), |(i, j)| double[(i / 2, j / 2)]);
        let backwards = Array2::from_shape_fn((7, 3), |(i, j)| double[(6 - i, 2 - j)]);
        let all = [
            Signals::Double(double.view()),
            Signals::Single(single.view()),
            Signals::Double(fortran.view()),
            Signals::Double(stepped(&twice, 2)),
            Signals::Double(stepped(&backwards, -1)),
        ];
        for signals in all {
            let mut room = vec![1.0; 2];
            for (column, rows) in [(0, 0..7), (1, 2..5), (2, 6..7), (2, 3..3)] {
                let expected: Vec<f64> = rows.clone().map(|row| double[(row, column)]).collect();
                assert_eq!(signals.piece(column, rows.clone(), &mut room), expected);
                assert_eq!(rows.map(|row| signals.at(row, column)).collect::<Vec<_>>(), expected);
            }
            let expected: Vec<f64> = double.iter().skip(6).take(9).copied().collect();
            assert_eq!(signals.rows(2..5, &mut room), expected);
            assert!(signals.piece(3, 0..1, &mut room).is_empty() && signals.piece(0, 6..8, &mut room).is_empty());
            assert!(signals.at(7, 0).is_nan() && signals.at(0, 3).is_nan());
        }
    }

    #[test]
    fn short_predictions_are_their_own_codes() {
        let short = Array2::from_shape_fn((4, 2), |(i, j)| i as i32 * 3 - 5 + j as i32);
        let long = short.mapv(i64::from);
        let (short, long) = (Predictions::Short(short.view()), Predictions::Long(long.view()));
        let (mut one, mut other) = (Vec::new(), Vec::new());
        for column in 0..2 {
            assert_eq!(short.piece(column, 1..4, &mut one), long.piece(column, 1..4, &mut other));
        }
        assert_eq!(short.rows(1..4, &mut one), long.rows(1..4, &mut other));
        assert_eq!((short.at(3, 1), short.at(4, 0), short.at(0, 2)), (5, NO_PREDICTION, NO_PREDICTION));
        let said = Observations::of(Signals::column(&[0.5; 4]), Some(short));
        assert_eq!((said.at(2).prediction, said.len(), said.is_empty()), (1, 4, false));
    }

    #[test]
    fn reports_are_kept_as_they_were() {
        let n = 2 * Kept::PIECE + 7;
        let signal: Vec<f64> = (0..n).map(|at| if at % 5 == 0 { f64::NAN } else { at as f64 }).collect();
        let prediction: Vec<i64> = (0..n as i64).map(|at| if at % 3 == 0 { NO_PREDICTION } else { -at }).collect();
        for prediction in [None, Some(prediction.as_slice())] {
            let mut kept = Kept::with_room(n, prediction.is_some());
            for rows in crate::parallel::ranges(n, Kept::PIECE) {
                kept.push(&signal[rows.clone()], prediction.map(|said| &said[rows]));
            }
            let said = Observations::new(&signal, prediction);
            for at in 0..n + 2 * Kept::PIECE {
                let (one, other) = (kept.at(at), said.at(at));
                assert_eq!((one.signal.to_bits(), one.prediction), (other.signal.to_bits(), other.prediction));
            }
        }
    }
}
