//! A piecewise-linear calibration curve from a signal to the logit of the expected loss.

use super::super::checks;

/// Knots in every curve; unused ones are padded with infinity.
pub const KNOTS: usize = 16;

/// Piecewise-linear, constant beyond the ends, total on every bit pattern but NaN (which the caller filters).
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// Ascending; `knot[0]` is the low end of the calibrated range.
    knot: [f64; KNOTS],
    /// The high end of the calibrated range.
    high: f64,
    /// Value at each knot.
    value: [f64; KNOTS],
    /// Slope to the right of each knot.
    slope: [f64; KNOTS],
}

impl Curve {
    /// Through the points `(x[i], y[i])`, `x` strictly ascending, finite and of finite span, `y` within 1e100 of 0,
    /// `1 <= len <= KNOTS`; `None` otherwise.
    pub fn through(x: &[f64], y: &[f64]) -> Option<Self> {
        let ascending = x.iter().zip(x.iter().skip(1)).all(|(a, b)| a < b);
        let usable = x.iter().all(|v| v.is_finite()) && y.iter().all(|v| checks::is_summable(*v));
        let span = x.last()? - x.first()?;
        if x.len() > KNOTS || x.len() != y.len() || !ascending || !usable || !span.is_finite() {
            return None;
        }
        let mut curve =
            Self { knot: [f64::INFINITY; KNOTS], high: *x.last()?, value: [*y.last()?; KNOTS], slope: [0.0; KNOTS] };
        for (to, from) in curve.knot.iter_mut().zip(x) {
            *to = *from;
        }
        for (to, from) in curve.value.iter_mut().zip(y) {
            *to = *from;
        }
        for (k, slope) in curve.slope.iter_mut().enumerate() {
            if let (Some([x0, x1]), Some([y0, y1])) = (x.get(k..k + 2), y.get(k..k + 2)) {
                // A gap too narrow for a finite slope is a step: the value at the left knot holds up to the right one.
                let rise = (y1 - y0) / (x1 - x0);
                *slope = if rise.is_finite() { rise } else { 0.0 };
            }
        }
        Some(curve)
    }

    /// The same value for every signal.
    pub fn constant(value: f64) -> Self {
        let mut knot = [f64::INFINITY; KNOTS];
        knot[0] = 0.0;
        Self { knot, high: 0.0, value: [value; KNOTS], slope: [0.0; KNOTS] }
    }

    /// The points the curve goes through.
    pub fn points(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.knot.iter().zip(&self.value).filter(|(x, _)| x.is_finite()).map(|(x, y)| (*x, *y))
    }

    /// The value at `x`; `x` must not be NaN.
    #[inline]
    #[expect(clippy::indexing_slicing, reason = "masked to the number of knots")]
    pub fn at(&self, x: f64) -> f64 {
        let [first, ..] = self.knot;
        let x = if x > self.high { self.high } else { x };
        let x = if x < first { first } else { x };
        // Two rounds of three independent comparisons find the last knot at or below x.
        let is_right = |k: usize| usize::from(x >= self.knot[k & (KNOTS - 1)]);
        let block = 4 * (is_right(4) + is_right(8) + is_right(12));
        let k = (block + is_right(block + 1) + is_right(block + 2) + is_right(block + 3)) & (KNOTS - 1);
        self.value[k] + self.slope[k] * (x - self.knot[k])
    }
}

const _: () = assert!(KNOTS == 16, "the search in `at` is written for two rounds of four");

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
            let y: Vec<f64> = (0..knots).map(|k| (k * 7 % 5) as f64).collect();
            let Some(curve) = Curve::through(&x, &y) else { panic!("valid points were refused") };
            for (k, (x0, y0)) in x.iter().zip(&y).enumerate() {
                assert_eq!(curve.at(*x0), *y0, "knot {k} of {knots}");
                if let (Some(x1), Some(y1)) = (x.get(k + 1), y.get(k + 1)) {
                    let middle = curve.at(f64::midpoint(*x0, *x1));
                    assert!((middle - f64::midpoint(*y0, *y1)).abs() < 1e-12, "after knot {k} of {knots}");
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
        assert!(Curve::through(&many, &many).is_none());
        assert!(Curve::through(&[0.0, 1.0], &[0.0]).is_none());
        assert!(Curve::through(&[0.0, 1.0], &[f64::INFINITY, 0.0]).is_none());
        assert!(Curve::through(&[f64::MIN, f64::MAX], &[1.0, 2.0]).is_none());
        assert!(Curve::through(&[0.0, 1.0], &[1e101, 2.0]).is_none());
    }
}
