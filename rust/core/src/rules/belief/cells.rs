//! How the answers of a situation are weighed, laid out for doing so: numbers of 32 bits, those of a decision side by side.
//!
//! Up to four members have a cell for each partition of their predictions, with nothing left to select: an offset for every
//! candidate, and the slope of every member's logit for it. Beyond, there would be too many, and what is said is selected by
//! whether two predictions are equal.

use super::node::{Line, Node};
use super::patterns::{self, NUMBERED};
use super::reading::{Readings, SLOTS};

/// No weight is beyond this: sums of so many of them stay finite.
const LARGEST: f64 = 1e30;

fn rounded(weight: f64) -> f32 {
    weight.clamp(-LARGEST, LARGEST) as f32
}

/// Appends the cells of a situation of two or more members.
pub(super) fn push(node: &Node, recall: bool, margin: f64, cells: &mut Vec<f32>) {
    let m = node.members.len();
    let line = |own: usize, other: usize, is_equal: bool| {
        let lines = node.evidence.get(own * m + other);
        lines.map_or(Line::default(), |[differ, equal, _]| if is_equal { *equal } else { *differ })
    };
    // What is subtracted before answers are compared; without end of those that may not be given.
    let may_answer = candidates(node, recall);
    let bias = |at: usize| match node.members.get(at) {
        Some(stage) if may_answer >> at & 1 == 1 => {
            if *stage == node.favoured {
                rounded(margin)
            } else {
                0.0
            }
        }
        _ => f32::NEG_INFINITY,
    };
    if m <= NUMBERED {
        for class in patterns::partitions(m) {
            cells.extend((0..m).map(bias));
            let is_equal = |own: usize, other: usize| class.get(own) == class.get(other);
            let of = |own: usize, other: usize| line(own, other, is_equal(own, other));
            cells.extend((0..m).map(|own| rounded((0..m).map(|other| of(own, other).offset).sum())));
            cells.extend(
                (0..m)
                    .flat_map(|other| (0..m).map(move |own| (own, other)))
                    .map(|(own, other)| rounded(of(own, other).slope)),
            );
        }
        return;
    }
    cells.extend((0..SLOTS).map(bias));
    // Lanes beyond the members stay empty.
    let lanes =
        |of: &dyn Fn(usize) -> f64| (0..SLOTS).map(|own| if own < m { rounded(of(own)) } else { 0.0 }).collect();
    let mut push = |of: &dyn Fn(usize) -> f64| cells.extend::<Vec<f32>>(lanes(of));
    push(&|own| (0..m).map(|other| line(own, other, false).offset).sum());
    for other in 0..m {
        push(&|own| line(own, other, true).offset - line(own, other, false).offset);
        push(&|own| line(own, other, false).slope);
        push(&|own| line(own, other, true).slope);
    }
}

/// The members that may be the answer, one bit each: those that answer at all, without recall the last of them.
fn candidates(node: &Node, recall: bool) -> u8 {
    let answers: Vec<usize> = (0..node.members.len()).filter(|at| node.mute >> at & 1 == 0).collect();
    let is_last = |at: &&usize| node.members.get(**at) == Some(&node.last);
    let last = answers.iter().find(is_last).or(answers.last());
    let chosen = if recall { answers.as_slice() } else { last.map_or(&[][..], std::slice::from_ref) };
    chosen.iter().fold(0, |bits, at| bits | 1 << at)
}

/// The logit of the best answer in hand, not yet limited, and its place among `m` members, by their cells; `offsets`: what
/// is added to the logit of each. Everything is known.
pub(super) fn best(cells: &[f32], m: usize, hand: &Readings, offsets: Option<&[f32; SLOTS]>) -> (f32, usize) {
    match m {
        2 => few_in::<2>(cells, hand, offsets),
        3 => few_in::<3>(cells, hand, offsets),
        4 => few_in::<4>(cells, hand, offsets),
        5 => many::<5>(cells, hand, offsets),
        6 => many::<6>(cells, hand, offsets),
        7 => many::<7>(cells, hand, offsets),
        _ => many::<SLOTS>(cells, hand, offsets),
    }
}

fn few_in<const M: usize>(cells: &[f32], hand: &Readings, offsets: Option<&[f32; SLOTS]>) -> (f32, usize) {
    match (hand.logit.first_chunk::<M>(), hand.prediction.first_chunk::<M>()) {
        (Some(logit), Some(said)) => few(cells, 0, *logit, *said, offsets),
        _ => NONE,
    }
}

/// Of up to four members, whose cells begin at `first`. Logits come by value: where they have just been written one by
/// one, reading them as one would wait for the writes.
#[expect(clippy::inline_always, reason = "one hot caller; the call itself is a tenth of the work")]
#[inline(always)]
pub(super) fn few<const M: usize>(
    cells: &[f32],
    first: usize,
    logit: [f32; M],
    said: [i64; M],
    offsets: Option<&[f32; SLOTS]>,
) -> (f32, usize) {
    let first = first + patterns::number(&said) * M * (M + 2);
    let Some(cell) = cells.get(first..first + M * (M + 2)) else { return NONE };
    let [bias, sums, slopes @ ..] = cell.as_chunks::<M>().0 else { return NONE };
    let mut sums = *sums;
    for (slope, logit) in slopes.iter().zip(logit) {
        sums.iter_mut().zip(slope).for_each(|(sum, slope)| *sum += slope * logit);
    }
    least(sums, bias, offsets)
}

/// Of five and more members.
#[inline(never)]
fn many<const M: usize>(cells: &[f32], hand: &Readings, offsets: Option<&[f32; SLOTS]>) -> (f32, usize) {
    let rows = cells.as_chunks::<SLOTS>().0;
    let (Some([bias, sums, lines @ ..]), Some(said)) = (rows.get(..2 + 3 * M), hand.prediction.first_chunk::<M>())
    else {
        return NONE;
    };
    let class = patterns::classes(said);
    let mut sums = *sums;
    for ((other, logit), [equal, slope, slope_equal]) in class.iter().zip(&hand.logit).zip(lines.as_chunks::<3>().0) {
        // Selected by their bits, which the compiler does with many at once.
        let is_equal = class.map(|own| if own == *other { u32::MAX } else { 0 });
        let lines = equal.iter().zip(slope.iter().zip(slope_equal));
        for ((sum, mask), (equal, (slope, slope_equal))) in sums.iter_mut().zip(is_equal).zip(lines) {
            let offset = f32::from_bits(equal.to_bits() & mask);
            let slope = f32::from_bits(slope_equal.to_bits() & mask | slope.to_bits() & !mask);
            *sum += offset + slope * logit;
        }
    }
    match (sums.first_chunk::<M>(), bias.first_chunk::<M>()) {
        (Some(sums), Some(bias)) => least(*sums, bias, offsets),
        _ => NONE,
    }
}

/// Where cells do not fit.
const NONE: (f32, usize) = (f32::INFINITY, 0);

/// The least logit less its bias, and whose it is: the first of equals.
#[expect(clippy::inline_always, reason = "one hot caller; the call itself is a tenth of the work")]
#[inline(always)]
fn least<const M: usize>(mut sums: [f32; M], bias: &[f32; M], offsets: Option<&[f32; SLOTS]>) -> (f32, usize) {
    for (sum, offset) in sums.iter_mut().zip(offsets.into_iter().flatten()) {
        *sum += offset;
    }
    let mut ranks = sums.iter().zip(bias).map(|(sum, bias)| sum - bias).enumerate();
    let Some((mut at, mut rank)) = ranks.next() else { return NONE };
    for (own, other) in ranks {
        if other < rank {
            (at, rank) = (own, other);
        }
    }
    (sums.get(at).copied().unwrap_or(f32::INFINITY), at)
}
