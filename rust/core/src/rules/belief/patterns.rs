//! Which of some predictions are equal, as a number: their partition.

use super::reading::SLOTS;

/// Predictions of which partitions have numbers; five have 52 partitions already.
pub(super) const NUMBERED: usize = 4;

/// Bits of pairs: of 4 predictions there are 6.
const PAIRS: usize = NUMBERED * (NUMBERED - 1) / 2;
/// Partitions of 4 predictions.
const MOST: usize = 15;

/// The partitions of so many predictions, up to [`NUMBERED`].
struct Patterns {
    /// The number of the partition, by which pairs are equal: bit k for pair (i, j) where k counts pairs of j ascending.
    number: [u8; 1 << PAIRS],
    /// The class of each prediction, counted from 0 as they first occur, by number.
    class: [[u8; NUMBERED]; MOST],
    len: usize,
}

impl Patterns {
    /// Of `m` predictions.
    #[expect(clippy::indexing_slicing, reason = "worked out by the compiler, which refuses what is out of range")]
    const fn of(m: usize) -> Self {
        let mut found = Self { number: [0; 1 << PAIRS], class: [[0; NUMBERED]; MOST], len: 0 };
        let mut code = 0;
        while code < 1 << (2 * m) {
            // Two bits a prediction: its class, which is known or the next one.
            let (mut class, mut classes, mut grows) = ([0_u8; NUMBERED], 0_u8, true);
            let mut at = 0;
            while at < m {
                class[at] = (code >> (2 * at) & 3) as u8;
                grows = grows && class[at] <= classes;
                if class[at] == classes {
                    classes += 1;
                }
                at += 1;
            }
            if grows {
                let (mut bits, mut pair, mut j) = (0, 0, 1);
                while j < m {
                    let mut i = 0;
                    while i < j {
                        bits |= ((class[i] == class[j]) as usize) << pair;
                        pair += 1;
                        i += 1;
                    }
                    j += 1;
                }
                found.number[bits] = found.len as u8;
                found.class[found.len] = class;
                found.len += 1;
            }
            code += 1;
        }
        found
    }
}

static OF: [Patterns; NUMBERED + 1] =
    [Patterns::of(0), Patterns::of(1), Patterns::of(2), Patterns::of(3), Patterns::of(4)];

/// The classes of `m` predictions, up to [`NUMBERED`], in each of their partitions, in the order of their numbers.
pub(super) fn partitions(m: usize) -> impl Iterator<Item = &'static [u8; NUMBERED]> {
    OF.get(m).into_iter().flat_map(|patterns| patterns.class.iter().take(patterns.len))
}

/// The number of the partition of up to [`NUMBERED`] predictions.
#[inline]
pub(super) fn number<const M: usize>(said: &[i64; M]) -> usize {
    let (mut bits, mut pair) = (0, 0);
    for (j, later) in said.iter().enumerate() {
        for earlier in said.iter().take(j) {
            bits |= usize::from(earlier == later) << pair;
            pair += 1;
        }
    }
    if M == 2 {
        // Of two the bit itself is the number.
        return bits ^ 1;
    }
    // Of M there are fewer bits than entries.
    OF.get(M).and_then(|patterns| patterns.number.get(bits % (1 << PAIRS))).map_or(0, |number| usize::from(*number))
}

/// The class of each prediction: the place of the first that is equal to it.
#[inline]
pub(super) fn classes<const M: usize>(said: &[i64; M]) -> [u32; SLOTS] {
    let mut class = [0; SLOTS];
    for (j, (class, later)) in class.iter_mut().zip(said).enumerate() {
        *class = j as u32;
        for (i, earlier) in said.iter().enumerate().take(j).rev() {
            *class = if earlier == later { i as u32 } else { *class };
        }
    }
    class
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_partitions_as_bell_counted() {
        assert_eq!([1, 2, 3, 4].map(|m| partitions(m).count()), [1, 2, 5, 15]);
    }

    fn agrees<const M: usize>() {
        for code in 0..4_usize.pow(M as u32) {
            let said: [i64; M] = std::array::from_fn(|at| (code >> (2 * at) & 3) as i64 - 2);
            let number = number(&said);
            let of = partitions(M).nth(number).copied();
            for i in 0..M {
                for j in 0..M {
                    assert_eq!(
                        of.map(|class| class.get(i) == class.get(j)),
                        Some(said.get(i) == said.get(j)),
                        "{said:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn numbers_say_which_are_equal() {
        agrees::<2>();
        agrees::<3>();
        agrees::<4>();
    }

    #[test]
    fn classes_are_named_for_the_first_of_them() {
        assert_eq!(classes(&[7, 3, 7, 3, 9, 7]), [0, 1, 0, 1, 4, 0, 0, 0]);
    }
}
