//! Reports of a batch, by its requests.

use pyo3::prelude::*;

use crate::errors::invalid;
use crate::reports::{Report, Row};

/// Something of each stage of each request, in order, side by side.
pub struct Grouped<T> {
    all: Vec<T>,
    /// Where those of each request end.
    ends: Vec<usize>,
}

impl<T: Clone + Default> Grouped<T> {
    /// What `of` makes of the rows of reports, by which of the n requests it is about.
    ///
    /// # Errors
    /// A `ValidationError` for a row that is none of them, and what `of` raises.
    pub fn of<'py>(
        py: Python<'py>,
        n: usize,
        reports: &[&Report<'py>],
        mut of: impl FnMut(&Report<'py>, usize, &Row<'_, 'py>) -> PyResult<T>,
    ) -> PyResult<Self> {
        let mut ends = vec![0; n];
        for report in reports {
            for row in report.rows()? {
                let Some(count) = usize::try_from(*row).ok().and_then(|row| ends.get_mut(row)) else {
                    return Err(invalid(py, format!("`reports` must be of rows in 0..{n}, got {row}")));
                };
                *count += 1;
            }
        }
        // Where those of a request begin, until it has all of them.
        let mut total = 0;
        for end in &mut ends {
            total += std::mem::replace(end, total);
        }
        let mut all = vec![T::default(); total];
        for report in reports {
            report.each(|said| {
                let row = said.request as usize;
                let made = of(report, row, &said)?;
                if let Some(place) = ends.get_mut(row) {
                    if let Some(cell) = all.get_mut(*place) {
                        *cell = made;
                    }
                    *place += 1;
                }
                Ok(())
            })?;
        }
        Ok(Self { all, ends })
    }

    /// Those of a request.
    pub fn row(&self, row: usize) -> &[T] {
        let end = self.ends.get(row).copied().unwrap_or(0);
        let begin = row.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.all.get(begin..end).unwrap_or_default()
    }
}
