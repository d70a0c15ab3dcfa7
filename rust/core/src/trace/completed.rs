//! Numbers for what a log does not know, from requests that were run through every stage.
//!
//! Whether a stage was run depends on nothing but what was seen before. So what it would have said of a request is drawn
//! like what it said of others of which the same was seen (hot deck imputation: Little and Rubin, Statistical Analysis
//! with Missing Data, chapters 1 and 4).

use std::collections::BTreeMap;

use super::censored::NOTHING_SAID;
use super::content::Trace;
use super::cost::Cost;
use super::labelled::labelled;
use super::nearest::{Donors, Features};
use super::pattern::Pattern;
use super::table::Table;
use super::thin::{Thin, Thinness};
use crate::error::{Error, Result};
use crate::parallel;
use crate::random::mix64;

/// Rows that one task fills.
const CHUNK: usize = 1024;

/// Requests run through every stage that lend to others, at most: a bound on time.
const DONORS: usize = 10_000;
/// Requests to run through every stage that is advised where there are too few.
pub const ADVISED: usize = 200;

/// A trace of which everything is known, and where that says little.
#[derive(Clone, Debug)]
pub struct Completed {
    /// The same requests with numbers for what was not known, without those that others stand for.
    pub trace: Trace,
    /// Where these are from requests that are not alike.
    pub thin: Vec<Thin>,
}

impl Trace {
    /// The same with numbers for what is not known; none where everything is.
    ///
    /// O(n d k²) the first time, for d requests that were run through every stage, 10,000 at most: those far off in the
    /// last signal seen are passed over.
    ///
    /// # Errors
    /// [`Error::Invalid`] where no request that counts was run through every stage.
    pub fn completed(&self) -> Result<Option<&Completed>> {
        if !self.is_censored {
            return Ok(None);
        }
        self.completed.get_or_try_init(|| completed(self).map(Box::new)).map(Some)
    }
}

fn completed(trace: &Trace) -> Result<Completed> {
    let labelled = labelled(trace)?;
    let kept = labelled.as_ref().map(|(_, kept)| kept.as_slice());
    let trace = labelled.as_ref().map_or(trace, |(trace, _)| trace);
    if !trace.is_censored() {
        return Ok(Completed { trace: trace.clone(), thin: Vec::new() });
    }
    let through: Vec<u32> = (0..trace.rows())
        .filter(|row| trace.weight()[*row] > 0.0 && trace.chance_of(*row, |_| true).is_some())
        .map(|row| row as u32)
        .collect();
    if through.is_empty() {
        return Err(never_through(trace));
    }
    let step = through.len().div_ceil(DONORS);
    let donors: Vec<u32> = through.iter().copied().step_by(step).collect();
    let features = Features::of(trace);
    let mut donor: Vec<u32> = (0..trace.rows() as u32).collect();
    let mut thin = Thinness::new(&features, &donors);
    for (pattern, rows) in patterns(trace) {
        let near = Donors::new(&features, &pattern, &donors);
        let pieces: Vec<&[u32]> = rows.chunks(CHUNK).collect();
        let found = parallel::map(pieces, |rows| rows.iter().map(|row| near.of(*row)).collect::<Vec<_>>());
        for (row, near) in rows.iter().zip(found.into_iter().flatten()) {
            donor[*row as usize] = near[(mix64(u64::from(*row)) % near.len() as u64) as usize];
            thin.look(*row, &pattern);
        }
    }
    let thin = thin.found(through.len(), kept);
    Ok(Completed { trace: borrowed(trace, &donor)?, thin })
}

/// The requests of which not everything is known, by what is.
fn patterns(trace: &Trace) -> BTreeMap<Pattern, Vec<u32>> {
    let mut rows: BTreeMap<Pattern, Vec<u32>> = BTreeMap::new();
    for row in (0..trace.rows()).filter(|row| trace.chance_of(*row, |_| true).is_none()) {
        rows.entry(Pattern::of(trace, row)).or_default().push(row as u32);
    }
    rows
}

/// What was not known of each request, from its donor (n,); from itself where nothing is missing.
fn borrowed(trace: &Trace, donor: &[u32]) -> Result<Trace> {
    let (n, k) = (trace.rows(), trace.stages());
    let of_run = |row: usize, v: usize| if trace.is_run(v, row) { row } else { donor[row] as usize };
    let said = |row: usize, v: usize| match trace.prediction(v) {
        Some(prediction) if trace.is_run(v, row) => prediction[row],
        Some(_) => answer_like(trace, row, v, donor[row] as usize),
        None => NOTHING_SAID,
    };
    let signal = Table::from_fn(n, k, |row, v| trace.signal(v)[of_run(row, v)]);
    let loss = Table::from_fn(n, k, |row, v| {
        let own = trace.loss(v)[row];
        if !own.is_nan() {
            return own;
        }
        // Equal answers lose alike.
        let said = said(row, v);
        let is_equal = |other: &usize| {
            let known = !trace.loss(*other)[row].is_nan() && trace.loss(*other)[row].is_finite();
            let equal = trace.prediction(*other).is_some_and(|seen| said != NOTHING_SAID && seen[row] == said);
            *other != v && known && equal && trace.is_run(*other, row)
        };
        let source = (0..k).find(is_equal).map(|other| trace.loss(other)[row]);
        source.unwrap_or(trace.loss(v)[donor[row] as usize])
    });
    let cost = match trace.cost() {
        Cost::Alike(cost) => Cost::Alike(cost.clone()),
        Cost::Rows(cost) => Cost::Rows(Table::from_fn(n, k, |row, v| cost.column(v)[of_run(row, v)])),
    };
    let mut filled = Trace::new(signal, loss, cost, trace.kind())?.named(trace.names().to_vec())?;
    if trace.predictions().is_some() {
        filled = filled.predicted(Table::from_fn(n, k, said))?;
    }
    if let Some(latency) = trace.latencies() {
        filled = filled.timed(Table::from_fn(n, k, |row, v| latency.column(v)[of_run(row, v)]))?;
    }
    let filled = filled.taught(trace.teacher()).weighted(trace.given_weight().map(<[f64]>::to_vec))?;
    Ok(filled.grouped(trace.group().map(<[i64]>::to_vec))?.borrowing(donor.iter().map(|row| i64::from(*row)).collect()))
}

/// What a stage would have answered, as its donor says: the same as a stage that was seen where that is so for the donor,
/// else what the donor says, or something else where a stage that was seen says that.
fn answer_like(trace: &Trace, row: usize, v: usize, donor: usize) -> i64 {
    let said = |v: usize, row: usize| trace.prediction(v).map_or(NOTHING_SAID, |prediction| prediction[row]);
    let answer = said(v, donor);
    let seen = || (0..trace.stages()).filter(|other| trace.is_run(*other, row));
    match seen().find(|other| said(*other, donor) == answer) {
        _ if answer == NOTHING_SAID => NOTHING_SAID,
        Some(alike) => said(alike, row),
        None if seen().any(|other| said(other, row) == answer) => {
            // The code of no class: negative, and not that of no prediction.
            -((mix64(answer.cast_unsigned() ^ mix64(row as u64)) >> 2) as i64) - 1
        }
        None => answer,
    }
}

fn never_through(trace: &Trace) -> Error {
    let known = |v: &usize| trace.loss(*v).iter().filter(|loss| !loss.is_nan()).count();
    let rarest = (0..trace.stages()).min_by_key(known).unwrap_or(0);
    Error::invalid(format!(
        "`trace` must have requests that were run through every stage and whose losses are known, got none: stage '{}' has \
         {} of {}; run about {ADVISED} requests, drawn at random, through all stages",
        trace.names()[rarest],
        known(&rarest),
        trace.rows()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::uniform;
    use crate::trace::Kind;

    /// A second stage that was run where the first is not sure, and for each eighth request; it is right more often.
    fn log(rows: usize, through: impl Fn(usize) -> bool) -> Option<Trace> {
        let draw = |row: usize, salt: u64| uniform(mix64(row as u64 ^ mix64(salt)));
        let (mut signal, mut loss, mut said) = (Vec::new(), Vec::new(), Vec::new());
        for row in 0..rows {
            let x = draw(row, 1);
            let wrong = [draw(row, 2) > x, draw(row, 3) > 0.9];
            let ran = x < 0.5 || through(row);
            signal.extend([x, if ran { draw(row, 4) } else { f64::NAN }]);
            loss.extend([f64::from(u8::from(wrong[0])), if ran { f64::from(u8::from(wrong[1])) } else { f64::NAN }]);
            let answer = |wrong: bool, v: i64| if wrong { 10 + v } else { 3 };
            said.extend([answer(wrong[0], 0), if ran { answer(wrong[1], 1) } else { 77 }]);
        }
        Trace::from_rows(&signal, &loss, Some(&said), &[1.0, 4.0], Kind::Models).ok()
    }

    #[test]
    fn what_is_known_stays_and_what_is_not_is_borrowed_from_like_requests() {
        let trace = log(4000, |row| row % 8 == 0);
        let completed = trace.as_ref().and_then(|trace| trace.completed().ok().flatten().cloned());
        let Some((trace, Completed { trace: whole, thin })) = trace.zip(completed) else { panic!("not completed") };
        assert!(!whole.is_censored() && thin.is_empty());
        let (mut known, mut equal) = (0, 0);
        for row in 0..trace.rows() {
            for v in 0..2 {
                let own = trace.loss(v)[row];
                if !own.is_nan() {
                    known += 1;
                    assert_eq!((own, trace.signal(v)[row]), (whole.loss(v)[row], whole.signal(v)[row]));
                }
            }
            let said = |v: usize| whole.prediction(v).map(|said| said[row]);
            assert_ne!(said(1), Some(77));
            if said(0) == said(1) {
                equal += 1;
                assert_eq!(whole.loss(0)[row], whole.loss(1)[row]);
            }
        }
        assert!(known > 5000 && equal > 1500);
        // The first stage is right for x of the requests, which the second does not depend on.
        assert!((whole.mean_loss()[1] - 0.1).abs() < 0.03, "{:?}", whole.mean_loss());
    }

    #[test]
    fn requests_that_are_like_none_that_was_run_through_are_told() {
        let thin =
            log(4000, |_| false).and_then(|trace| Some(trace.completed().ok()??.thin.clone())).unwrap_or_default();
        assert!(matches!(thin.as_slice(), [Thin { stage: 1, seen: 0, rows: 1200.., .. }]), "{thin:?}");
    }

    #[test]
    fn a_log_in_which_nothing_was_run_through_is_refused() {
        let nan = f64::NAN;
        let trace = Trace::from_rows(&[0.5, nan, 0.7, nan], &[0.0, nan, 1.0, nan], None, &[1.0, 2.0], Kind::Models);
        let refused = trace.and_then(|trace| trace.completed().map(|_| ())).err().map(|error| error.to_string());
        assert!(refused.is_some_and(|text| text.contains("stage 'stage 1' has 0 of 2")));
    }
}
