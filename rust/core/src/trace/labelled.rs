//! Requests whose truth is known, for others that were treated alike and whose truth is not.

use std::collections::BTreeMap;

use super::content::Trace;
use super::pattern::Pattern;
use crate::error::Result;

/// Requests of known losses from which on they stand for the others that ran the same stages.
const LEAST: usize = 20;

/// Requests that ran the same stages.
#[derive(Default)]
struct Alike {
    /// Weight of all.
    all: f64,
    /// Weight of those whose losses are known.
    known: f64,
    labelled: Vec<u32>,
    others: Vec<u32>,
}

/// The requests, and their numbers, without those of which it is known what was said and not what it would have lost,
/// where enough others ran the same stages and stand for them. None where nothing is left out. O(n k).
pub fn labelled(trace: &Trace) -> Result<Option<(Trace, Vec<u32>)>> {
    let mut ran: BTreeMap<Vec<bool>, Alike> = BTreeMap::new();
    for row in 0..trace.rows() {
        let pattern = Pattern::of(trace, row);
        let is_labelled = pattern.is_labelled();
        let alike = ran.entry(pattern.is_run).or_default();
        alike.all += trace.weight()[row];
        if is_labelled {
            alike.known += trace.weight()[row];
            alike.labelled.push(row as u32);
        } else {
            alike.others.push(row as u32);
        }
    }
    let (mut weight, mut kept) = (trace.weight().to_vec(), Vec::new());
    for alike in ran.into_values() {
        if alike.others.is_empty() || alike.labelled.len() < LEAST || alike.known <= 0.0 {
            kept.extend(alike.others);
        } else {
            for row in &alike.labelled {
                weight[*row as usize] *= alike.all / alike.known;
            }
        }
        kept.extend(alike.labelled);
    }
    if kept.len() == trace.rows() {
        return Ok(None);
    }
    kept.sort_unstable();
    let weight: Vec<f64> = kept.iter().map(|row| weight[*row as usize]).collect();
    let is_alike = weight.iter().all(|w| *w == weight[0]);
    let part = trace.part(&kept)?.weighted((!is_alike).then_some(weight))?;
    Ok(Some((part, kept)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Kind;

    #[test]
    fn labelled_requests_stand_for_those_that_ran_the_same_stages() {
        let nan = f64::NAN;
        // Of 100 requests that ran the first stage alone, a quarter is labelled; of 100 that ran both, all; of 30 more
        // that ran the second alone, none.
        let (mut signal, mut loss) = (Vec::new(), Vec::new());
        for row in 0..230 {
            let x = f64::from(row) / 230.0;
            let (said, lost) = match row {
                0..100 => ([x, nan], [if row % 4 == 0 { 1.0 } else { nan }, nan]),
                100..200 => ([x, x], [0.0, 1.0]),
                _ => ([nan, x], [nan, nan]),
            };
            signal.extend(said);
            loss.extend(lost);
        }
        let trace = Trace::from_rows(&signal, &loss, None, &[1.0, 2.0], Kind::Models).ok();
        let found = trace.and_then(|trace| labelled(&trace).ok().flatten());
        let said = found.map(|(part, kept)| {
            let weight = part.weight();
            (kept.len(), kept.contains(&3), kept[..3].to_vec(), weight[0] / weight[30], weight[30] / weight[150])
        });
        assert_eq!(said, Some((155, false, vec![0, 4, 8], 4.0, 1.0)));
    }
}
