//! A piecewise-linear calibration curve from a signal to the logit of the expected loss.

/// Knots in every curve; unused ones are padded with infinity.
pub const KNOTS: usize = 16;

/// A curve from one knot up to the next: a level, and logits a unit of the signal.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Piece {
    level: f32,
    slope: f32,
}

/// Values at the knots of a curve, and the lines between them.
#[derive(Clone, Debug, PartialEq)]
pub struct Levels([Piece; KNOTS]);

/// Signals that curves are linear between.
#[derive(Clone, Debug, PartialEq)]
struct Knots {
    /// Ascending; the first is the low end of the calibrated range.
    at: [f64; KNOTS],
    /// The high end of the calibrated range.
    high: f64,
}

/// Where a signal is: the last knot at or below it, and how far beyond that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    knot: usize,
    beyond: f64,
}

/// Piecewise-linear, constant beyond the ends, total on every bit pattern but NaN (which the caller filters).
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    knots: Knots,
    pub(super) levels: Levels,
}

impl Knots {
    #[inline]
    #[expect(clippy::indexing_slicing, reason = "masked to the number of knots")]
    fn place(&self, x: f64) -> Place {
        let [first, ..] = self.at;
        let x = if x > self.high { self.high } else { x };
        let x = if x < first { first } else { x };
        // Two rounds of three independent comparisons find the last knot at or below x.
        let is_right = |k: usize| usize::from(x >= self.at[k & (KNOTS - 1)]);
        let block = 4 * (is_right(4) + is_right(8) + is_right(12));
        let knot = (block + is_right(block + 1) + is_right(block + 2) + is_right(block + 3)) & (KNOTS - 1);
        Place { knot, beyond: x - self.at[knot] }
    }
}

impl Place {
    /// The value there of a curve with these levels, as exact as 32 bits are.
    #[inline]
    #[expect(clippy::indexing_slicing, reason = "masked to the number of knots")]
    pub(super) fn rounded(self, levels: &Levels) -> f32 {
        let Piece { level, slope } = levels.0[self.knot & (KNOTS - 1)];
        level + (f64::from(slope) * self.beyond) as f32
    }

    /// The value there of a curve with these levels.
    #[inline]
    #[expect(clippy::indexing_slicing, reason = "masked to the number of knots")]
    pub(super) fn of(self, levels: &Levels) -> f64 {
        let Piece { level, slope } = levels.0[self.knot & (KNOTS - 1)];
        f64::from(level) + f64::from(slope) * self.beyond
    }
}

impl Levels {
    /// The values at the knots; beyond the last of them, that one.
    pub fn values(&self) -> impl Iterator<Item = f32> + '_ {
        self.0.iter().map(|piece| piece.level)
    }
}

impl Curve {
    /// Through the points `(x[i], y[i])`, `x` strictly ascending, finite and of finite span, `y` finite,
    /// `1 <= len <= KNOTS`; `None` otherwise.
    pub fn through(x: &[f64], y: &[f32]) -> Option<Self> {
        let (first, high) = (*x.first()?, *x.last()?);
        let ascending = x.iter().zip(x.iter().skip(1)).all(|(a, b)| a < b);
        if !ascending || x.len() > KNOTS || !x.iter().all(|v| v.is_finite()) || !(high - first).is_finite() {
            return None;
        }
        let mut knots = Knots { at: [f64::INFINITY; KNOTS], high };
        for (to, from) in knots.at.iter_mut().zip(x) {
            *to = *from;
        }
        Some(Self { levels: levels(&knots, y)?, knots })
    }

    /// The same value for every signal.
    pub fn constant(value: f32) -> Self {
        let mut at = [f64::INFINITY; KNOTS];
        at[0] = 0.0;
        Self { knots: Knots { at, high: 0.0 }, levels: Levels([Piece { level: value, slope: 0.0 }; KNOTS]) }
    }

    /// The levels of another curve at the same knots, one value each; `None` where they do not fit or are not finite.
    pub fn levels(&self, y: &[f32]) -> Option<Levels> {
        levels(&self.knots, y)
    }

    /// These levels, each as another.
    pub(super) fn mapped(&self, levels: &Levels, of: impl Fn(f32) -> f32) -> Levels {
        let Levels(pieces) = levels;
        between(&self.knots, pieces.map(|piece| of(piece.level)))
    }

    /// The points the curve goes through.
    pub fn points(&self) -> impl Iterator<Item = (f64, f32)> + '_ {
        self.knots.at.iter().copied().zip(self.levels.values()).filter(|(x, _)| x.is_finite())
    }

    /// The value at `x`; `x` must not be NaN.
    #[inline]
    pub fn at(&self, x: f64) -> f64 {
        self.place(x).of(&self.levels)
    }

    /// Where `x` is between the knots; `x` must not be NaN.
    #[inline]
    pub(super) fn place(&self, x: f64) -> Place {
        self.knots.place(x)
    }

    /// The values at the knots.
    #[inline]
    pub(super) fn own(&self) -> &Levels {
        &self.levels
    }
}

/// One value for each knot, the last one beyond them.
fn levels(knots: &Knots, y: &[f32]) -> Option<Levels> {
    let mut levels = [*y.last()?; KNOTS];
    if y.len() != knots.at.iter().filter(|x| x.is_finite()).count() || !y.iter().all(|y| y.is_finite()) {
        return None;
    }
    for (to, from) in levels.iter_mut().zip(y) {
        *to = *from;
    }
    Some(between(knots, levels))
}

/// The lines between levels at knots. A gap too narrow for a finite slope is a step: the value at the left knot holds up to
/// the right one.
fn between(knots: &Knots, levels: [f32; KNOTS]) -> Levels {
    let mut pieces = levels.map(|level| Piece { level, slope: 0.0 });
    let ends = knots.at.iter().zip(&levels).skip(1);
    for ((piece, left), (right, level)) in pieces.iter_mut().zip(&knots.at).zip(ends) {
        let slope = ((f64::from(*level) - f64::from(piece.level)) / (right - left)) as f32;
        piece.slope = if slope.is_finite() { slope } else { 0.0 };
    }
    Levels(pieces)
}

const _: () = assert!(KNOTS == 16, "the search in `place` is written for two rounds of four");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpolates_and_clamps() {
        let curve = Curve::through(&[0.0, 1.0, 3.0], &[5.0, 4.0, 0.0]);
        let Some(curve) = curve else { panic!("valid points were refused") };
        for (x, y) in [(-1.0, 5.0), (0.0, 5.0), (0.5, 4.5), (2.0, 2.0), (3.0, 0.0), (9.0, 0.0)] {
            assert_eq!(curve.at(x), y, "at {x}");
        }
        assert_eq!(curve.at(f64::INFINITY), 0.0);
        assert_eq!(curve.at(f64::NEG_INFINITY), 5.0);
    }

    #[test]
    fn every_number_of_knots_is_searched() {
        for knots in 1..=KNOTS {
            let x: Vec<f64> = (0..knots).map(|k| (k * k) as f64).collect();
            let y: Vec<f32> = (0..knots).map(|k| (k * 7 % 5) as f32).collect();
            let Some(curve) = Curve::through(&x, &y) else { panic!("valid points were refused") };
            for (k, (x0, y0)) in x.iter().zip(&y).enumerate() {
                assert_eq!(curve.at(*x0), f64::from(*y0), "knot {k} of {knots}");
                if let (Some(x1), Some(y1)) = (x.get(k + 1), y.get(k + 1)) {
                    let middle = curve.at(f64::midpoint(*x0, *x1));
                    assert!((middle - f64::from(f32::midpoint(*y0, *y1))).abs() < 1e-6, "after knot {k} of {knots}");
                }
            }
        }
    }

    #[test]
    fn a_step_is_up_at_its_right_end() {
        let narrow = f64::from_bits(1);
        let curve = Curve::through(&[0.0, narrow, 1.0], &[8.0, 2.0, 2.0]);
        assert_eq!(curve.map(|curve| [curve.at(0.0), curve.at(narrow), curve.at(0.5)]), Some([8.0, 2.0, 2.0]));
    }

    #[test]
    fn a_constant_is_constant_everywhere() {
        let curve = Curve::constant(-2.5);
        for x in [f64::NEG_INFINITY, -1e308, -0.0, 5e-324, 7.0, f64::INFINITY] {
            assert_eq!(curve.at(x), -2.5, "at {x}");
        }
    }

    #[test]
    fn refuses_what_is_not_a_curve() {
        assert!(Curve::through(&[], &[]).is_none());
        assert!(Curve::through(&[0.0, 0.0], &[1.0, 2.0]).is_none());
        assert!(Curve::through(&[0.0, f64::NAN], &[1.0, 2.0]).is_none());
        let many: Vec<f64> = (0..=KNOTS).map(|k| k as f64).collect();
        assert!(Curve::through(&many, &[1.0; KNOTS + 1]).is_none());
        assert!(Curve::through(&[0.0, 1.0], &[0.0]).is_none());
        assert!(Curve::through(&[0.0, 1.0], &[f32::INFINITY, 0.0]).is_none());
        assert!(Curve::through(&[f64::MIN, f64::MAX], &[1.0, 2.0]).is_none());
        assert!(Curve::through(&[0.0, 1.0], &[f32::NAN, 2.0]).is_none());
    }

    #[test]
    fn other_levels_have_the_same_knots() {
        let Some(curve) = Curve::through(&[0.0, 1.0, 3.0], &[5.0, 4.0, 0.0]) else {
            panic!("valid points were refused")
        };
        let Some(other) = curve.levels(&[1.0, 3.0, 2.0]) else { panic!("valid levels were refused") };
        let read = [-1.0, 0.5, 1.0, 2.0, 9.0].map(|x| curve.place(x).of(&other));
        assert_eq!(read, [1.0, 2.0, 3.0, 2.5, 2.0]);
        for refused in [&[1.0, 2.0][..], &[1.0, 2.0, f32::NAN], &[0.0; 4], &[]] {
            assert!(curve.levels(refused).is_none(), "{refused:?}");
        }
    }
}
