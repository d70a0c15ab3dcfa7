//! Transition matrices: dense, sparse, or aggregated into a few meta-states.

use crate::error::{Error, Result};
use crate::parallel;
use ndarray::Array2;

/// Largest deviation of a row sum from 1 that is taken for rounding, to single precision: the row is divided by its sum.
pub const ROW_SUM_TOLERANCE: f64 = 1e-5;

/// Deviation of a row sum up to which a row is left as it is.
const EXACT: f64 = 1e-12;

/// Entries that are checked at a time.
const CHECKED: usize = 65_536;

/// P(state of a stage | state of its parent), rows summing to 1.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Transition {
    /// Every entry (K, K').
    Dense(Array2<f64>),
    /// The non-zero entries; a matrix counted from N traces has at most N.
    Sparse(Csr),
    /// `u` (K, q) times `v` (q, K'), both row-stochastic: soft aggregation into q meta-states (Singh, Jaakkola and
    /// Jordan 1995).
    LowRank {
        /// Memberships (K, q).
        u: Array2<f64>,
        /// What a meta-state leads to (q, K').
        v: Array2<f64>,
    },
}

/// A matrix by its non-zero entries, row after row, columns ascending.
#[derive(Clone, Debug)]
pub struct Csr {
    columns: usize,
    first: Vec<usize>,
    column: Vec<u32>,
    value: Vec<f64>,
}

impl Csr {
    /// From coordinates; entries that share a place are added. O(entries · log).
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for arrays of different lengths and places outside `shape`.
    pub fn from_coordinates(row: &[usize], column: &[usize], value: &[f64], shape: (usize, usize)) -> Result<Self> {
        if row.len() != column.len() || row.len() != value.len() {
            return Err(Error::invalid(format!(
                "row, column and value must have the same length, got {}, {} and {}",
                row.len(),
                column.len(),
                value.len()
            )));
        }
        if u32::try_from(shape.1).is_err() {
            return Err(Error::invalid(format!("a sparse transition has too many columns: {}", shape.1)));
        }
        let mut first = vec![0_usize; shape.0 + 1];
        for (k, (r, c)) in row.iter().zip(column).enumerate() {
            if *r >= shape.0 || *c >= shape.1 {
                return Err(Error::invalid(format!(
                    "entry {k} must lie inside shape ({}, {}), got row {r} column {c}",
                    shape.0, shape.1
                )));
            }
            first[r + 1] += 1;
        }
        for r in 0..shape.0 {
            first[r + 1] += first[r];
        }
        let mut place = first.clone();
        let mut entries = vec![(0_u32, 0.0_f64); row.len()];
        for ((r, c), p) in row.iter().zip(column).zip(value) {
            entries[place[*r]] = (*c as u32, *p);
            place[*r] += 1;
        }
        let mut csr = Self { columns: shape.1, first: vec![0], column: Vec::new(), value: Vec::new() };
        for r in 0..shape.0 {
            let entries = &mut entries[first[r]..first[r + 1]];
            entries.sort_by_key(|(c, _)| *c);
            let from = csr.column.len();
            for (c, p) in entries.iter() {
                if csr.column.len() > from && csr.column.last() == Some(c) {
                    if let Some(last) = csr.value.last_mut() {
                        *last += p;
                    }
                } else {
                    csr.column.push(*c);
                    csr.value.push(*p);
                }
            }
            csr.first.push(csr.column.len());
        }
        Ok(csr)
    }

    /// (rows, columns).
    pub fn shape(&self) -> (usize, usize) {
        (self.first.len() - 1, self.columns)
    }

    /// Number of stored entries.
    pub fn entries(&self) -> usize {
        self.value.len()
    }

    /// Columns and values of one row, columns ascending.
    #[inline]
    pub fn row(&self, row: usize) -> (&[u32], &[f64]) {
        let range = self.first[row]..self.first[row + 1];
        (&self.column[range.clone()], &self.value[range])
    }
}

impl Transition {
    /// From coordinates; see [`Csr::from_coordinates`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn from_coordinates(row: &[usize], column: &[usize], value: &[f64], shape: (usize, usize)) -> Result<Self> {
        Csr::from_coordinates(row, column, value, shape).map(Self::Sparse)
    }

    /// (rows, columns).
    pub fn shape(&self) -> (usize, usize) {
        match self {
            Self::Dense(p) => p.dim(),
            Self::Sparse(p) => p.shape(),
            Self::LowRank { u, v } => (u.nrows(), v.ncols()),
        }
    }

    /// Checks the entries and the row sums of `transition[stage]`; rows that sum to 1 but for rounding are divided by their sum.
    pub(crate) fn normalise(&mut self, stage: usize) -> Result<()> {
        let name = format!("`transition[{stage}]`");
        match self {
            Self::Dense(p) => normalise_dense(p, &name),
            Self::LowRank { u, v } => {
                if u.ncols() != v.nrows() {
                    return Err(Error::invalid(format!(
                        "{name} factors must share their meta-states, got {} columns and {} rows",
                        u.ncols(),
                        v.nrows()
                    )));
                }
                normalise_dense(u, &format!("{name} first factor"))?;
                normalise_dense(v, &format!("{name} second factor"))
            }
            Self::Sparse(p) => (0..p.shape().0).try_for_each(|row| {
                let range = p.first[row]..p.first[row + 1];
                let columns = &p.column[range.clone()];
                normalise_row(&mut p.value[range], &name, row, |k| columns.get(k).map_or(k, |c| *c as usize))
            }),
        }
    }

    /// Row vector times matrix (rows,) → (columns,).
    pub fn push_forward(&self, weights: &[f64]) -> Vec<f64> {
        match self {
            Self::Dense(p) => push_forward_dense(p, weights),
            Self::LowRank { u, v } => push_forward_dense(v, &push_forward_dense(u, weights)),
            Self::Sparse(p) => {
                let mut out = vec![0.0; p.columns];
                for (row, w) in weights.iter().enumerate() {
                    let (columns, values) = p.row(row);
                    for (c, x) in columns.iter().zip(values) {
                        out[*c as usize] += w * x;
                    }
                }
                out
            }
        }
    }

    /// One row (columns,); rows are counted from 0.
    pub(crate) fn row(&self, row: usize) -> Vec<f64> {
        match self {
            Self::Dense(p) => p.row(row).to_vec(),
            Self::LowRank { u, v } => push_forward_dense(v, &u.row(row).to_vec()),
            Self::Sparse(p) => {
                let mut out = vec![0.0; p.columns];
                let (columns, values) = p.row(row);
                columns.iter().zip(values).for_each(|(c, x)| out[*c as usize] = *x);
                out
            }
        }
    }

    /// Matrix times column vector (columns,) → (rows,).
    pub fn expect(&self, values: &[f64]) -> Vec<f64> {
        match self {
            Self::Dense(p) => expect_dense(p, values),
            Self::LowRank { u, v } => expect_dense(u, &expect_dense(v, values)),
            Self::Sparse(p) => (0..p.shape().0)
                .map(|row| {
                    let (columns, entries) = p.row(row);
                    columns.iter().zip(entries).map(|(c, x)| x * values[*c as usize]).sum()
                })
                .collect(),
        }
    }

    /// Multiply-adds of a product with one column.
    pub(crate) fn work(&self) -> usize {
        match self {
            Self::Dense(p) => p.len(),
            Self::Sparse(p) => p.entries(),
            Self::LowRank { u, v } => u.len() + v.len(),
        }
    }
}

fn normalise_dense(p: &mut Array2<f64>, name: &str) -> Result<()> {
    let (rows, columns) = p.dim();
    if !p.is_standard_layout() {
        *p = p.as_standard_layout().into_owned();
    }
    match p.as_slice_mut() {
        Some(entries) if columns > 0 => {
            let together = (CHECKED / columns).max(1);
            let checked = parallel::map(entries.chunks_mut(together * columns).enumerate(), |(piece, entries)| {
                let mut rows = entries.chunks_mut(columns).enumerate();
                rows.try_for_each(|(row, values)| normalise_row(values, name, piece * together + row, |k| k))
            });
            checked.into_iter().collect()
        }
        _ => (0..rows).try_for_each(|row| normalise_row(&mut [], name, row, |k| k)),
    }
}

fn normalise_row(values: &mut [f64], name: &str, row: usize, column: impl Fn(usize) -> usize) -> Result<()> {
    // Several running sums: a single one would wait for each addition.
    let mut sums = [0.0_f64; 8];
    let mut least = [0.0_f64; 8];
    let chunks = values.chunks_exact(8);
    for p in chunks.remainder() {
        sums[0] += p;
        least[0] = least[0].min(*p);
    }
    for chunk in chunks {
        for ((sum, least), p) in sums.iter_mut().zip(&mut least).zip(chunk) {
            *sum += p;
            *least = least.min(*p);
        }
    }
    let sum: f64 = sums.iter().sum();
    if least.iter().any(|p| *p < 0.0) || !sum.is_finite() {
        let bad = values.iter().position(|p| p.is_nan() || *p < 0.0 || p.is_infinite());
        if let Some(k) = bad {
            return Err(Error::invalid(format!(
                "{name} row {row} column {} must be a probability, at least 0, got {}",
                column(k),
                values[k]
            )));
        }
    }
    // Also false for a sum that overflowed.
    if (sum - 1.0).abs() <= EXACT {
        return Ok(());
    }
    if (sum - 1.0).abs() <= ROW_SUM_TOLERANCE {
        for p in values {
            *p /= sum;
        }
        return Ok(());
    }
    Err(Error::invalid(format!("{name} row {row} must sum to 1, got {}", short(sum))))
}

/// Ten digits, without trailing zeros.
pub(super) fn short(x: f64) -> String {
    let text = format!("{x:.10}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn push_forward_dense(p: &Array2<f64>, weights: &[f64]) -> Vec<f64> {
    let rows = p.nrows();
    let add = |mut sum: Vec<f64>, part: Vec<f64>| {
        sum.iter_mut().zip(part).for_each(|(a, b)| *a += b);
        sum
    };
    // Parts are summed in order, so that the result does not depend on timing; the split depends on the size alone.
    let block = if rows * p.ncols() < 1 << 16 { rows.max(1) } else { 256 };
    let parts = parallel::map(parallel::ranges(rows, block), |part| {
        let mut out = vec![0.0; p.ncols()];
        for (row, w) in part.clone().zip(&weights[part]) {
            out.iter_mut().zip(p.row(row)).for_each(|(a, x)| *a += w * x);
        }
        out
    });
    parts.into_iter().reduce(add).unwrap_or_default()
}

fn expect_dense(p: &Array2<f64>, values: &[f64]) -> Vec<f64> {
    p.dot(&ndarray::ArrayView1::from(values)).to_vec()
}
