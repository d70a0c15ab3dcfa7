//! Backward induction along recorded requests: where to stop and what to run next (theory, section 4; after Longstaff
//! and Schwartz 2001).

use super::known::Known;
use super::situations::{Choice, Situations};
use super::tuning::Tuning;
use crate::evaluate::Objective;
use crate::parallel;
use crate::rules::Nothing;
use crate::trace::{Charge, Trace};

/// Rows that one task works on; sums are taken chunk by chunk, so that they do not depend on the number of threads.
const CHUNK: usize = 65_536;
/// What to do by the belief in hand: pairs of limit and action, ascending, the last limit infinite. Up to a limit,
/// inclusive, its action is best; action 0 stops, action c + 1 takes choice c.
pub type Decision = Vec<(f64, usize)>;

/// What is best in every situation.
#[derive(Clone, Debug)]
pub struct Induced {
    /// One per situation.
    pub decisions: Vec<Decision>,
    /// Number of the entry to take.
    pub entry: usize,
    /// Whether running nothing is better than any entry.
    pub at_once: bool,
    /// Mean objective on the rows.
    pub value: f64,
}

/// Recorded requests that decisions are found on.
pub struct Recorded<'a> {
    /// The requests: what they cost and how much they count.
    pub rows: &'a Trace,
    /// Their effective number.
    pub size: f64,
    /// `known[s]`: what is known in situation s.
    pub known: &'a [&'a Known],
    /// What is minimised.
    pub objective: Objective,
    /// What it costs to answer with nothing.
    pub nothing: Nothing,
    /// Whether a request may end without an answer: where nothing is one, or time may run out.
    pub may_end: bool,
    /// The constants of learning.
    pub tuning: &'a Tuning,
}

/// Finds the best decisions in every situation. O(rows · choices).
pub fn induce(situations: &Situations, recorded: &Recorded) -> Induced {
    let list = &situations.list;
    let mut decisions: Vec<Decision> = vec![Vec::new(); list.len()];
    let mut ahead: Vec<Vec<f64>> = vec![Vec::new(); list.len()];
    let deepest = list.iter().map(|situation| situation.depth).max().unwrap_or(0);
    for depth in (1..=deepest).rev() {
        let level: Vec<usize> = (0..list.len()).filter(|at| list[*at].depth == depth).collect();
        let solved = parallel::map(&level, |at| {
            let options = list[*at]
                .choices
                .iter()
                .map(|choice| Going { price: price(choice, recorded), later: &ahead[choice.to] });
            solve(recorded.known[*at], &options.collect::<Vec<_>>(), recorded)
        });
        for (at, (decision, value)) in level.into_iter().zip(solved) {
            decisions[at] = decision;
            ahead[at] = value;
        }
        for at in (0..list.len()).filter(|at| list[*at].depth == depth + 1) {
            ahead[at] = Vec::new();
        }
    }
    let nothing = recorded.objective.of_nothing(recorded.nothing.loss);
    first(decisions, situations, recorded, nothing, |entry, row| ahead[situations.entries[entry].to][row])
}

/// The decisions with the entry to take, and the mean objective that follows, where entry number `entry` leads to
/// `later(entry, row)`, and running nothing comes to `nothing`.
pub(super) fn first(
    decisions: Vec<Decision>,
    situations: &Situations,
    recorded: &Recorded,
    nothing: f64,
    later: impl Fn(usize, usize) -> f64,
) -> Induced {
    let weight = recorded.rows.weight();
    let mass: f64 = weight.iter().sum();
    let values = situations.entries.iter().enumerate().map(|(at, entry)| {
        let later = weight.iter().enumerate().map(|(row, w)| later(at, row) * w).sum::<f64>() / mass;
        recorded.objective.cost * entry.price + later
    });
    let (entry, value) =
        values.enumerate().fold((0, f64::INFINITY), |best, (at, v)| if v < best.1 { (at, v) } else { best });
    Induced { decisions, entry, at_once: nothing < value, value: value.min(nothing) }
}

/// What running the stage of a choice adds to the objective of every row.
pub(super) fn price(choice: &Choice, recorded: &Recorded) -> Charge {
    recorded.rows.charge(choice.after, usize::from(choice.stage)).times(recorded.objective.cost)
}

/// What stopping with the answer in hand costs a row.
#[inline]
pub(super) fn stop(known: &Known, recorded: &Recorded, row: usize) -> f64 {
    recorded.objective.loss * known.loss[row]
}

/// What a situation costs that no request may end in, in units of the objective.
const IMPOSSIBLE: f64 = 1e30;

/// The decision in a situation with these ways to go on, and the cost that is still to come from there on every row.
pub(super) fn solve(known: &Known, options: &[Going], recorded: &Recorded) -> (Decision, Vec<f64>) {
    let Recorded { rows: trace, size, nothing, tuning, .. } = *recorded;
    let weight = trace.weight();
    // Without any answer in hand a request has to go on.
    let must_go = known.is_silent && !recorded.may_end;
    let stop = |row: usize| if must_go { 0.0 } else { stop(known, recorded, row) };
    let rows = known.loss.len();
    if options.is_empty() {
        let end = |row: usize| if must_go { IMPOSSIBLE } else { stop(row) };
        return (vec![(f64::INFINITY, 0)], (0..rows).map(end).collect());
    }
    let cells = known.cuts.len() + 1;
    let width = options.len() + 1;
    let summed = |rows: std::ops::Range<usize>| {
        let mut sums = vec![0.0; cells * width];
        let (weight, cell) = (&weight[rows.clone()], &known.cell[rows.clone()]);
        for (w, cell) in weight.iter().zip(cell) {
            sums[usize::from(*cell) * width] += w;
        }
        let stopping: Vec<f64> = rows.clone().map(stop).collect();
        for (choice, going) in options.iter().enumerate() {
            going.each(rows.clone(), |at, cost| {
                sums[usize::from(cell[at]) * width + choice + 1] += weight[at] * (stopping[at] - cost);
            });
        }
        sums
    };
    let parts = parallel::map(parallel::ranges(rows, CHUNK), summed);
    let mut sums = vec![0.0; cells * width];
    for part in parts {
        for (sum, part) in sums.iter_mut().zip(part) {
            *sum += part;
        }
    }
    let mut smoothed = sums.clone();
    smooth(&mut smoothed, width, rounds(size, tuning));
    let (limits, mut means) = distinct(&known.cuts, &smoothed, width);
    let share = size / weight.iter().sum::<f64>();
    keep_ties(&mut means, &known.cuts, &sums, width, |mass| mass * share / (mass * share + tuning.tied_rows));
    let sums = means;
    let actions = if must_go {
        sums.chunks_exact(width).map(|cell| best_choice(cell).0).collect()
    } else if size > tuning.one_limit_rows {
        separate_actions(&sums, width)
    } else {
        // The cells whose beliefs all are worse than nothing: there going on may end again.
        let worse = limits.iter().position(|limit| nothing.beats(*limit)).map_or(limits.len(), |last| last + 1);
        let hopeless = if known.is_silent { 0 } else { worse };
        actions_of_few_limits(&sums, width, hopeless)
    };
    let decision = joined(&limits, &actions);
    let action = |x: f64| decision.iter().find(|(limit, _)| x <= *limit).map_or(0, |(_, action)| *action);
    let value = |row: usize, x: f64| match action(x).checked_sub(1).and_then(|choice| options.get(choice)) {
        None => stop(row),
        Some(going) => going.cost(row),
    };
    let mut values = vec![0.0; rows];
    let chunks = values.chunks_mut(CHUNK).zip(known.belief.chunks(CHUNK)).enumerate();
    parallel::for_each(chunks, |(chunk, (values, belief))| {
        for (at, (out, x)) in values.iter_mut().zip(belief).enumerate() {
            *out = value(chunk * CHUNK + at, *x);
        }
    });
    (decision, values)
}

/// Going on with one choice: what it costs now, and what it and all later ones cost from then on.
pub(super) struct Going<'a> {
    pub(super) price: Charge,
    pub(super) later: &'a [f64],
}

impl Going<'_> {
    #[inline]
    fn cost(&self, row: usize) -> f64 {
        self.price.at(row) + self.later[row]
    }

    /// Hands over the same of each of some rows, which are counted from 0.
    #[inline]
    fn each(&self, rows: std::ops::Range<usize>, mut take: impl FnMut(usize, f64)) {
        let later = self.later[rows.clone()].iter().enumerate();
        match &self.price {
            Charge::Alike(price) => later.for_each(|(at, later)| take(at, price + later)),
            Charge::Rows(price) => later.zip(&price[rows]).for_each(|((at, later), price)| take(at, price + later)),
        }
    }
}

/// Rounds of smoothing for an effective number of rows.
fn rounds(size: f64, tuning: &Tuning) -> usize {
    (tuning.smoothing_rounds * (tuning.smoothing_rows / size).max(1.0).sqrt()).round() as usize
}

/// [1 2 1] / 4 over neighbouring cells, the outermost repeated.
fn smooth(sums: &mut Vec<f64>, width: usize, rounds: usize) {
    let cells = sums.len() / width;
    let mut smoothed = sums.clone();
    for _ in 0..rounds {
        for (cell, out) in smoothed.chunks_exact_mut(width).enumerate() {
            let of = |cell: usize| &sums[cell * width..][..width];
            let (before, here, after) = (of(cell.saturating_sub(1)), of(cell), of((cell + 1).min(cells - 1)));
            for (out, ((before, here), after)) in out.iter_mut().zip(before.iter().zip(here).zip(after)) {
                *out = (before + 2.0 * here + after) / 4.0;
            }
        }
        std::mem::swap(sums, &mut smoothed);
    }
}

/// The choice that gains most, among equals the first, and its gain. `cell` is the weight and the summed gain of each
/// choice.
fn best_choice(cell: &[f64]) -> (usize, f64) {
    let gains = cell.iter().copied().enumerate().skip(1);
    gains.fold((0, f64::NEG_INFINITY), |best, next| if next.1 > best.1 { next } else { best })
}

/// The best action in every cell, whatever its neighbours do: stopping, unless a choice gains.
fn separate_actions(sums: &[f64], width: usize) -> Vec<usize> {
    sums.chunks_exact(width).map(best_choice).map(|(choice, gain)| if gain > 0.0 { choice } else { 0 }).collect()
}

/// The best actions that stop up to some cell and go on in all above it, or up to one of the cells from `hopeless` on.
fn actions_of_few_limits(sums: &[f64], width: usize, hopeless: usize) -> Vec<usize> {
    let choices: Vec<(usize, f64)> = sums.chunks_exact(width).map(best_choice).collect();
    let cells = choices.len();
    let mut best = (0.0, cells..cells);
    let (mut total, mut end) = (0.0, cells);
    for (cell, (_, gain)) in choices.iter().enumerate().rev() {
        if cell + 1 >= hopeless && total <= 0.0 {
            (total, end) = (0.0, cell + 1);
        }
        total += gain;
        if total > best.0 {
            best = (total, cell..end);
        }
    }
    let action = |(cell, (choice, _)): (usize, &(usize, f64))| if best.1.contains(&cell) { *choice } else { 0 };
    choices.iter().enumerate().map(action).collect()
}

/// Cells that end at the same limit hold equal beliefs for the most part, which are no neighbours of others: with many
/// rows, their own gains say more than smoothed ones. `trust(mass)` is the weight of the own ones.
fn keep_ties(merged: &mut [f64], cuts: &[f64], sums: &[f64], width: usize, trust: impl Fn(f64) -> f64) {
    let limits: Vec<f64> = cuts.iter().copied().chain([f64::INFINITY]).collect();
    let tied = limits.chunk_by(|a, b| a == b);
    let mut cells = sums.chunks_exact(width);
    for (merged, tied) in merged.chunks_exact_mut(width).zip(tied) {
        let mut own = vec![0.0; width];
        for cell in cells.by_ref().take(tied.len()) {
            own.iter_mut().zip(cell).for_each(|(own, sum)| *own += sum);
        }
        let (mass, smoothed) = (own[0], merged[0]);
        if tied.len() > 1 && mass > 0.0 && smoothed > 0.0 {
            let trust = trust(mass);
            for (merged, own) in merged.iter_mut().zip(own) {
                *merged = trust * own + (1.0 - trust) * *merged * mass / smoothed;
            }
        }
    }
}

/// The limit and the sums of every cell; cells that end at the same limit hold equal beliefs and become one.
fn distinct(cuts: &[f64], sums: &[f64], width: usize) -> (Vec<f64>, Vec<f64>) {
    let (mut limits, mut merged): (Vec<f64>, Vec<f64>) = (Vec::new(), Vec::new());
    for (limit, cell) in cuts.iter().copied().chain([f64::INFINITY]).zip(sums.chunks_exact(width)) {
        if limits.last() == Some(&limit) {
            let block = merged.len() - width;
            for (sum, part) in merged[block..].iter_mut().zip(cell) {
                *sum += part;
            }
        } else {
            limits.push(limit);
            merged.extend_from_slice(cell);
        }
    }
    (limits, merged)
}

/// Neighbouring cells with the same action, joined.
fn joined(limits: &[f64], actions: &[usize]) -> Decision {
    let mut decision: Decision = Vec::new();
    for (limit, action) in limits.iter().zip(actions) {
        match decision.last_mut() {
            Some(last) if last.1 == *action => last.0 = *limit,
            _ => decision.push((*limit, *action)),
        }
    }
    decision
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_cells_with_the_same_action() {
        let decision = joined(&[1.0, 2.0, 3.0, f64::INFINITY], &[0, 1, 1, 0]);
        assert_eq!(decision, [(1.0, 0), (3.0, 1), (f64::INFINITY, 0)]);
    }

    #[test]
    fn equal_beliefs_become_one_cell() {
        let sums = [[1.0, 1.0], [9.0, -2.0], [1.0, 0.5], [1.0, 1.0]].concat();
        assert_eq!(distinct(&[2.0; 3], &sums, 2), (vec![2.0, f64::INFINITY], vec![11.0, -0.5, 1.0, 1.0]));
        assert_eq!(distinct(&[f64::INFINITY; 3], &sums, 2), (vec![f64::INFINITY], vec![12.0, 0.5]));
    }

    #[test]
    fn smoothing_keeps_a_constant() {
        let mut sums = vec![3.0; 10];
        smooth(&mut sums, 2, 4);
        assert_eq!(sums, [3.0; 10]);
        let mut peak = vec![0.0, 0.0, 256.0, 0.0, 0.0];
        smooth(&mut peak, 1, 4);
        assert!(peak[2] < 256.0 && peak[1] == peak[3] && peak[0] > 0.0);
    }

    #[test]
    fn fewer_rows_are_smoothed_more() {
        let tuning = Tuning::default();
        assert_eq!([1e6, 12_000.0, 3_000.0, 300.0].map(|size| rounds(size, &tuning)), [4, 4, 8, 25]);
    }

    #[test]
    fn one_limit_parts_what_stops_from_what_goes_on() {
        // Weight and two gains in each cell; the last one is hopeless.
        let sums = [1.0, -3.0, -2.0, 1.0, -1.0, 0.5, 1.0, 2.0, 1.0, 1.0, 1.0, 3.0, 1.0, -2.0, -1.0];
        assert_eq!(separate_actions(&sums, 3), [0, 2, 1, 2, 0]);
        assert_eq!(actions_of_few_limits(&sums, 3, 5), [0, 2, 1, 2, 2]);
        assert_eq!(actions_of_few_limits(&[1.0, 2.0, 1.0, -3.0], 2, 2), [0, 0]);
        assert_eq!(actions_of_few_limits(&sums, 3, 4), [0, 2, 1, 2, 0]);
        assert_eq!(actions_of_few_limits(&[1.0, 2.0, 1.0, -3.0], 2, 1), [1, 0]);
        assert_eq!(actions_of_few_limits(&[1.0, 2.0, 1.0, -3.0, 1.0, 4.0], 2, 0), [0, 0, 1]);
    }
}
