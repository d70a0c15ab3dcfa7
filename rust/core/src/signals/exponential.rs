//! The exponential function of numbers that are not positive, in additions and multiplications alone, so that the
//! compiler works on several at once.

#![expect(clippy::inline_always, reason = "inlined into its caller, it is compiled for the processor that was found")]

/// −1023 log 2, whose exponential counts as 0, as do those of numbers that are less than 1/2 log 2 above it: they are
/// smaller than all normal floats.
pub(super) const LEAST: f64 = -1023.0 * std::f64::consts::LN_2;

/// Adding it leaves a whole number in the last bits: n + 1023, the exponent of 2ⁿ.
const ROUND: f64 = 6_755_399_441_055_744.0 + 1023.0;
/// log 2 in two parts: products of the first with whole numbers up to 2¹¹ are exact.
const LN_2: [f64; 2] = [6.931_471_803_691_238e-1, 1.908_214_929_270_587_7e-10];
/// (eʳ − 1 − r) / r² for |r| ≤ log 2 / 2, the highest power first: interpolated at Chebyshev's points, the error is
/// 1.6e-17 of eʳ.
const TERMS: [f64; 10] = [
    2.510_038_549_551_032e-8,
    2.762_008_844_540_974_6e-7,
    2.755_726_845_999_706_4e-6,
    2.480_152_129_595_437_6e-5,
    1.984_126_986_305_361_8e-4,
    1.388_888_891_721_371_7e-3,
    8.333_333_333_330_062e-3,
    4.166_666_666_662_413e-2,
    1.666_666_666_666_666_9e-1,
    5.000_000_000_000_001e-1,
];

/// eˣ for x from [`LEAST`] to 0: to 1e-15 of itself or 1e-308, and exactly 0 at `LEAST`. NaN for NaN.
#[inline(always)]
pub(super) fn exp<const FUSED: bool>(x: f64) -> f64 {
    let shifted = add_product::<FUSED>(ROUND, x, std::f64::consts::LOG2_E);
    let whole = shifted - ROUND;
    let near = add_product::<FUSED>(x, -whole, LN_2[0]);
    let r = add_product::<FUSED>(near, -whole, LN_2[1]);
    let terms = TERMS.iter().fold(0.0, |sum, &term| add_product::<FUSED>(term, sum, r));
    let power = f64::from_bits(shifted.to_bits() << 52);
    (1.0 + add_product::<FUSED>(r, r * r, terms)) * power
}

/// eˣ for x from −1023 log 2 to 0, to 1e-15 of itself, the same on every processor.
#[inline(always)]
pub(crate) fn exponential(x: f64) -> f64 {
    exp::<false>(x)
}

/// a + b · c, rounded once where the processor does both in one step.
#[inline(always)]
fn add_product<const FUSED: bool>(a: f64, b: f64, c: f64) -> f64 {
    if FUSED { b.mul_add(c, a) } else { a + b * c }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_those_of_the_library() {
        let many = (0..=300_000).map(|i| LEAST * f64::from(i) / 3e5);
        let small = (0..1000).map(|i| -f64::exp2(-f64::from(i)));
        for x in many.chain(small).chain([0.0, -0.0, -708.0]) {
            for found in [exp::<true>(x), exp::<false>(x)] {
                let error = (found - x.exp()).abs();
                assert!(error <= f64::max(1e-15 * x.exp(), 3e-308), "exp({x:?}): {found:?}, not {:?}", x.exp());
            }
        }
    }

    #[test]
    fn nothing_is_above_one_and_one_is_met() {
        assert_eq!([exp::<true>(0.0), exp::<false>(0.0)], [1.0, 1.0]);
        for i in 0..100_000 {
            let x = -f64::from(i) * 1e-9;
            assert!(exp::<true>(x) <= 1.0 && exp::<false>(x) <= 1.0, "{x:?}");
        }
    }

    #[test]
    fn what_is_least_is_nothing() {
        assert_eq!([exp::<true>(LEAST), exp::<false>(LEAST)], [0.0, 0.0]);
        assert!(exp::<true>(-708.0) > 0.0 && exp::<false>(-708.0) > 0.0);
    }

    #[test]
    fn what_is_no_number_stays_none() {
        for bits in [0x7ff8_0000_0000_0000, 0xfff8_0000_0000_0fff, 0x7ff8_1234_5678_9abc, 0x7ff0_0000_0000_0001_u64] {
            let x = f64::from_bits(bits);
            assert!(exp::<true>(x).is_nan() && exp::<false>(x).is_nan(), "{bits:x}");
        }
    }
}
