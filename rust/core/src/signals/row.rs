//! The signal of one request from the logits of its classes.

#![expect(clippy::inline_always, reason = "inlined into its caller, it is compiled for the processor that was found")]

use super::exponential::{LEAST, exp};

/// A float of 32 or 64 bits.
pub trait Logit: Copy + Default + PartialOrd + From<u8> + Into<f64> + Send + Sync + 'static {
    /// Minus infinity: the logit of a class that is ruled out.
    const RULED_OUT: Self;
}

impl Logit for f32 {
    const RULED_OUT: Self = Self::NEG_INFINITY;
}

impl Logit for f64 {
    const RULED_OUT: Self = Self::NEG_INFINITY;
}

/// What to make of the probabilities p, the softmax of the logits; larger is surer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// The largest p.
    MaxProbability,
    /// The largest p less the second largest.
    Margin,
    /// The sum of p log p, in nats.
    NegativeEntropy,
    /// The logarithm of the sum of the exponentials of the logits.
    Energy,
}

/// The class of a row that says nothing: as a prediction, the number that means that there is none.
pub const NO_CLASS: i64 = i64::MIN;

/// So many logits are worked on at once.
const LANES: usize = 16;

/// Signals (n,) and classes (n,) of n rows of c logits that lie one behind the other. `FUSED`: with products that are
/// added in one step; slow where the processor has no such instruction. O(n c) time.
#[inline(always)]
pub fn read<T: Logit, const FUSED: bool>(
    rows: &[T],
    c: usize,
    wanted: Signal,
    signals: &mut [f64],
    classes: &mut [i64],
) {
    match wanted {
        Signal::NegativeEntropy => read_with::<T, FUSED, true, false>(rows, c, wanted, signals, classes),
        Signal::Margin => read_with::<T, FUSED, false, true>(rows, c, wanted, signals, classes),
        Signal::MaxProbability | Signal::Energy => {
            read_with::<T, FUSED, false, false>(rows, c, wanted, signals, classes);
        }
    }
}

#[inline(always)]
fn read_with<T: Logit, const FUSED: bool, const SPREAD: bool, const NEXT: bool>(
    rows: &[T],
    c: usize,
    wanted: Signal,
    signals: &mut [f64],
    classes: &mut [i64],
) {
    let mut left = rows;
    for (signal, class) in signals.iter_mut().zip(classes) {
        let Some((row, rest)) = left.split_at_checked(c) else { return };
        let (others, at, most) =
            if c > LANES { long::<T, FUSED, SPREAD, NEXT>(row) } else { short::<T, FUSED, SPREAD, NEXT>(left, c) };
        (*signal, *class) = others.reading(wanted, at, most);
        left = rest;
    }
}

/// A row of at most [`LANES`] logits, which is the first of these; with its first class of the largest logit, and that.
#[inline(always)]
fn short<T: Logit, const FUSED: bool, const SPREAD: bool, const NEXT: bool>(
    rows: &[T],
    c: usize,
) -> (Others, usize, f64) {
    let mut block = [T::RULED_OUT; LANES];
    if let Some(whole) = rows.first_chunk() {
        block = *whole;
    } else if let Some(begun) = block.get_mut(..c)
        && let Some(row) = rows.get(..c)
    {
        begun.copy_from_slice(row);
    }
    let c = T::from(c as u8);
    let block = without(&block, |place| place >= c);
    let largest = joined(block, larger);
    let (at, most) = (first(&block, largest), largest.into());
    let mut others = Others::NONE;
    others.add::<T, FUSED, SPREAD, NEXT>(&without(&block, |place| place == at), most);
    (others, at.into() as usize, most)
}

/// The same of a row of more than [`LANES`].
#[inline(always)]
fn long<T: Logit, const FUSED: bool, const SPREAD: bool, const NEXT: bool>(row: &[T]) -> (Others, usize, f64) {
    let (at, largest) = largest(row);
    let most = largest.into();
    let mut others = Others::NONE;
    let (before, rest) = row.split_at(at - at % LANES);
    for block in before.as_chunks().0 {
        others.add::<T, FUSED, SPREAD, NEXT>(block, most);
    }
    if let Some((block, rest)) = rest.split_first_chunk() {
        let at = T::from((at % LANES) as u8);
        others.add::<T, FUSED, SPREAD, NEXT>(&without(block, |place| place == at), most);
        for block in rest.as_chunks().0 {
            others.add::<T, FUSED, SPREAD, NEXT>(block, most);
        }
    }
    let new = row.len() % LANES;
    if new > 0
        && let Some(block) = row.last_chunk()
    {
        // The last block begins with what has been added already.
        let known = T::from((LANES - new) as u8);
        let at = T::from(at.saturating_sub(row.len() - LANES) as u8);
        others.add::<T, FUSED, SPREAD, NEXT>(&without(block, |place| place < known || place == at), most);
    }
    (others, at, most)
}

/// The largest logit of a row longer than [`LANES`], and where it stands first; NaN is passed over.
#[inline(always)]
fn largest<T: Logit>(row: &[T]) -> (usize, T) {
    let (blocks, rest) = row.as_chunks();
    // Some of the last block may have been met already.
    let last = row.last_chunk().filter(|_| !rest.is_empty());
    let mut most = [T::RULED_OUT; LANES];
    for block in blocks {
        raise(&mut most, block);
    }
    if let Some(block) = last {
        raise(&mut most, block);
    }
    let most = joined(most, larger);
    let mut at = 0;
    for block in blocks {
        if holds(block, most) {
            return (at + first(block, most).into() as usize, most);
        }
        at += LANES;
    }
    let place = last.map_or(0.0, |block| first(block, most).into());
    (row.len() - LANES + place as usize, most)
}

#[inline(always)]
fn raise<T: Logit>(most: &mut [T; LANES], block: &[T; LANES]) {
    for lane in 0..LANES {
        most[lane] = larger(block[lane], most[lane]);
    }
}

#[inline(always)]
fn holds<T: Logit>(block: &[T; LANES], sought: T) -> bool {
    let mut found = false;
    for &logit in block {
        found |= logit == sought;
    }
    found
}

/// The place of the first number equal to this one, [`LANES`] where there is none.
///
/// Places are floats as the logits are, and are worked on with them: with integers the compiler makes a branch for each.
#[inline(always)]
fn first<T: Logit>(block: &[T; LANES], sought: T) -> T {
    let mut places = [T::from(LANES as u8); LANES];
    for lane in 0..LANES {
        places[lane] = if block[lane] == sought { T::from(lane as u8) } else { places[lane] };
    }
    joined(places, |one, other| if one < other { one } else { other })
}

/// A block with some of its classes ruled out, by their places.
#[inline(always)]
fn without<T: Logit>(block: &[T; LANES], is_out: impl Fn(T) -> bool) -> [T; LANES] {
    let mut left = *block;
    for (lane, logit) in left.iter_mut().enumerate() {
        *logit = if is_out(T::from(lane as u8)) { T::RULED_OUT } else { *logit };
    }
    left
}

/// The larger of two; the second where the first is NaN.
#[inline(always)]
fn larger<T: PartialOrd>(one: T, other: T) -> T {
    if one > other { one } else { other }
}

/// Of all classes but the one with the largest logit, in strands, with d the difference to that.
struct Others {
    /// Sum of exp(d); NaN where a logit is NaN.
    mass: [f64; LANES],
    /// Sum of d · exp(d).
    spread: [f64; LANES],
    /// The largest d.
    next: [f64; LANES],
}

impl Others {
    const NONE: Self = Self { mass: [0.0; LANES], spread: [0.0; LANES], next: [LEAST; LANES] };

    #[inline(always)]
    fn add<T: Logit, const FUSED: bool, const SPREAD: bool, const NEXT: bool>(
        &mut self,
        block: &[T; LANES],
        most: f64,
    ) {
        let Self { mut mass, mut spread, mut next } = *self;
        for lane in 0..LANES {
            let less: f64 = block[lane].into() - most;
            // What is NaN stays so.
            let less = if LEAST > less { LEAST } else { less };
            let weight = exp::<FUSED>(less);
            mass[lane] += weight;
            if SPREAD {
                spread[lane] += weight * less;
            }
            if NEXT {
                next[lane] = larger(less, next[lane]);
            }
        }
        *self = Self { mass, spread, next };
    }

    /// The signal, and the class at this place. In units of exp(largest logit) the largest class has 1, the others have
    /// `mass`.
    #[inline(always)]
    fn reading(self, wanted: Signal, at: usize, most: f64) -> (f64, i64) {
        let sum = |strands| joined(strands, |one: f64, other| one + other);
        let mass = sum(self.mass);
        if most.is_infinite() || mass.is_nan() {
            return (f64::NAN, NO_CLASS);
        }
        let signal = match wanted {
            Signal::MaxProbability => 1.0 / (1.0 + mass),
            Signal::Margin => (0.0 - joined(self.next, larger).exp_m1()) / (1.0 + mass),
            // Both terms are at most 0: nothing cancels, however sure the row is. The sum of none is 0, not -0.
            Signal::NegativeEntropy => 0.0 + (sum(self.spread) / (1.0 + mass) - mass.ln_1p()),
            Signal::Energy => most + mass.ln_1p(),
        };
        (signal, at as i64)
    }
}

/// All strands as one.
#[inline(always)]
fn joined<V: Copy>(mut strands: [V; LANES], join: impl Fn(V, V) -> V) -> V {
    for half in [8, 4, 2, 1] {
        for lane in 0..half {
            strands[lane] = join(strands[lane], strands[lane + half]);
        }
    }
    strands[0]
}
