//! What the content of a trace must be; each message names the argument, the first bad entry, what is allowed and what
//! was given.

use std::collections::BTreeSet;

use super::cost::Cost;
use super::table::Table;
use crate::error::{Error, Result, number};

fn is_allowed(x: f64) -> bool {
    x.is_finite() && x >= 0.0
}

fn refused(argument: &str, place: &str, given: f64) -> Error {
    Error::invalid(format!("`{argument}` {place} must be finite and at least 0, got {}", number(given)))
}

/// At least one row and one stage, and rows that can be numbered.
pub fn not_empty(signal: &Table<f64>) -> Result<()> {
    let (rows, columns) = (signal.rows(), signal.columns());
    if rows == 0 || columns == 0 {
        let given = format!("({rows}, {columns})");
        let message = format!("`signal` must have shape (n, k) with at least one row and one stage, got {given}");
        return Err(Error::invalid(message));
    }
    if u32::try_from(rows).is_err() {
        return Err(Error::invalid(format!("`signal` must have fewer than 2**32 rows, got {rows}")));
    }
    Ok(())
}

/// A table as large as the signals.
pub fn same_shape<T: Copy + Default + Send + Sync>(
    argument: &str,
    table: &Table<T>,
    rows: usize,
    columns: usize,
) -> Result<()> {
    let given = (table.rows(), table.columns());
    if given == (rows, columns) {
        return Ok(());
    }
    Err(Error::invalid(format!("`{argument}` must have shape ({rows}, {columns}), got {given:?}")))
}

/// Losses: numbers that are not negative, or NaN where they are not known; infinite in every row that is known, of a
/// stage that never answers, or in none, and not of all stages.
pub fn losses(table: &Table<f64>) -> Result<()> {
    if let Some((row, column, given)) = table.first(|x| x < 0.0) {
        return Err(refused("loss", &format!("row {row} column {column}"), given));
    }
    let mut answers = false;
    for (column, losses) in table.iter_columns().enumerate() {
        let Some(known) = losses.iter().position(|loss| !loss.is_nan()) else { continue };
        let is_probe = losses[known].is_infinite();
        answers |= !is_probe;
        if let Some(row) = losses.iter().position(|loss| !loss.is_nan() && loss.is_infinite() != is_probe) {
            let (first, given) = (number(losses[known]), number(losses[row]));
            let message = format!(
                "`loss` row {row} column {column} must be finite as in row {known}, or infinite in every row, of a stage \
                 that never answers: got {given} after {first}"
            );
            return Err(Error::invalid(message));
        }
    }
    if answers {
        return Ok(());
    }
    Err(Error::invalid(
        "`loss` must be known and finite for at least one stage: one of infinite loss informs and never answers",
    ))
}

/// Seconds: finite numbers that are not negative, or NaN.
pub fn seconds(table: &Table<f64>) -> Result<()> {
    match table.first(|x| !(x.is_nan() || is_allowed(x))) {
        None => Ok(()),
        Some((row, column, given)) => Err(seconds_refused(row, column, given)),
    }
}

/// What is said of seconds that are not.
#[cold]
pub fn seconds_refused(row: usize, column: usize, given: f64) -> Error {
    let given = number(given);
    Error::invalid(format!("`latency[{row}, {column}]` must be finite and at least 0, or NaN, got {given}"))
}

/// The same for a list.
pub fn none_negative(argument: &str, list: &[f64]) -> Result<()> {
    match list.iter().position(|x| !is_allowed(*x)) {
        None => Ok(()),
        Some(at) => Err(refused(argument, &format!("entry {at}"), list[at])),
    }
}

/// Costs of every stage, of all requests or of each; NaN where a stage was not run.
pub fn costs(cost: &Cost, rows: usize, columns: usize, is_missing: impl Fn(usize, usize) -> bool) -> Result<()> {
    let shape = match cost {
        Cost::Alike(cost) if cost.len() == columns => return none_negative("cost", cost),
        Cost::Rows(table) if (table.rows(), table.columns()) == (rows, columns) => {
            for (column, cost) in table.iter_columns().enumerate() {
                let is_bad = |(row, c): (usize, &f64)| !(is_allowed(*c) || (c.is_nan() && is_missing(row, column)));
                if let Some(row) = cost.iter().enumerate().position(is_bad) {
                    return Err(refused("cost", &format!("row {row} column {column}"), cost[row]));
                }
            }
            return Ok(());
        }
        Cost::Alike(cost) => format!("({},)", cost.len()),
        Cost::Rows(table) => format!("({}, {})", table.rows(), table.columns()),
    };
    Err(Error::invalid(format!("`cost` must have shape ({columns},) or ({rows}, {columns}), got {shape}")))
}

/// So many entries in all.
pub fn entries(argument: &str, given: usize, allowed: usize) -> Result<()> {
    if given == allowed {
        return Ok(());
    }
    Err(Error::invalid(format!("`{argument}` must have {allowed} entries in all, got {given}")))
}

/// One entry per row.
pub fn one_per_row(argument: &str, given: usize, rows: usize) -> Result<()> {
    if given == rows {
        return Ok(());
    }
    Err(Error::invalid(format!("`{argument}` must have shape ({rows},), got ({given},)")))
}

/// One name per stage, none empty, none twice.
pub fn names(names: &[String], columns: usize) -> Result<()> {
    if names.len() != columns {
        return Err(Error::invalid(format!("`stages` must have {columns} names, got {}", names.len())));
    }
    let mut before = BTreeSet::new();
    for (at, name) in names.iter().enumerate() {
        if name.is_empty() {
            return Err(Error::invalid(format!("`stages` entry {at} must not be empty")));
        }
        if !before.insert(name) {
            let message = format!("`stages` entry {at} must differ from the others, got '{name}' again");
            return Err(Error::invalid(message));
        }
    }
    Ok(())
}

/// Weights of which at least one counts.
pub fn weights(weight: &[f64], rows: usize) -> Result<()> {
    one_per_row("weight", weight.len(), rows)?;
    none_negative("weight", weight)?;
    if weight.iter().any(|w| *w > 0.0) {
        return Ok(());
    }
    Err(Error::invalid("`weight` must have a positive entry, got zeros only"))
}
