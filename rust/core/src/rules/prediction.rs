//! What stages said, as 64-bit codes: equal exactly where the predictions are, and the same in every process.
//!
//! An integer of 64 bits is its own code. All else becomes a hash of its value with fixed keys: whoever hashes the same
//! value, alone or in an array, gets the same code. Two hashes are equal by accident with probability 2⁻⁶⁴.

/// The prediction of a stage that gave none; it is equal to no other, not even to itself.
pub const NO_PREDICTION: i64 = i64::MIN;

/// The first of the codes that stand for objects; the lowest 16 bits number them.
const OBJECTS: i64 = 0x9f6b_3c51_d2a7_i64.wrapping_shl(16);

/// Unsigned integers that as signed ones are from here to −1 are hashed: small negative numbers are taken.
const SMALLEST_OWN: i64 = -(1 << 32);

/// What kind of value a hash is of.
#[derive(Clone, Copy)]
enum Kind {
    Float = 1,
    Ratio,
    Complex,
    Large,
    Text,
    WideText,
    WidestText,
    Bytes,
    Tuple,
    Set,
    Nothing,
}

/// The code of an object that can only be compared: the number `ordinal` of the different ones of its request.
pub const fn object(ordinal: u16) -> i64 {
    OBJECTS | ordinal as i64
}

/// The prediction as coins take it: objects look alike, as their numbers depend on what else the request has shown.
#[inline]
pub(super) const fn tossed(prediction: i64) -> i64 {
    if prediction & !0xffff == OBJECTS { OBJECTS } else { prediction }
}

/// Of an unsigned integer. From 2⁶³ on it keeps its bits, unless that is [`NO_PREDICTION`] or a small negative number.
pub fn unsigned(value: u64) -> i64 {
    let code = value as i64;
    if code >= 0 || (code < SMALLEST_OWN && code != NO_PREDICTION) {
        return code;
    }
    let near = value as f64;
    if near as u128 == u128::from(value) {
        return hash(Kind::Float, [near.to_bits()]);
    }
    ratio(false, &value.to_le_bytes(), &[1])
}

/// Of a float; the code of the integer where it is one, none where it is NaN.
pub fn float(value: f64) -> i64 {
    const TWO_63: f64 = 9_223_372_036_854_775_808.0;
    if value.is_nan() {
        NO_PREDICTION
    } else if value == value.trunc() && (-TWO_63..TWO_63).contains(&value) {
        value as i64
    } else if value == value.trunc() && (TWO_63..2.0 * TWO_63).contains(&value) {
        unsigned(value as u64)
    } else {
        hash(Kind::Float, [value.to_bits()])
    }
}

/// Of a fraction in lowest terms that no float and no integer of 64 bits is equal to: bytes of its parts, the lowest
/// first.
pub fn ratio(is_negative: bool, numerator: &[u8], denominator: &[u8]) -> i64 {
    let trimmed = |bytes: &[u8]| bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0).count();
    let parts = [numerator, denominator].map(|bytes| bytes.get(..trimmed(bytes)).unwrap_or_default());
    let lengths = [u64::from(is_negative), parts[0].len() as u64];
    hash(Kind::Ratio, lengths.into_iter().chain(parts.into_iter().flat_map(packed)))
}

/// Of a number beyond all floats, or nearer to 0 than all normal ones, from a hash that equal numbers share.
pub fn large(shared: i64) -> i64 {
    hash(Kind::Large, [shared as u64])
}

/// Of a complex number; the code of the float where it is one, none where a part is NaN.
pub fn complex(real: f64, imaginary: f64) -> i64 {
    match (float(real), float(imaginary)) {
        (real, 0) => real,
        (NO_PREDICTION, _) | (_, NO_PREDICTION) => NO_PREDICTION,
        (real, imaginary) => hash(Kind::Complex, [real as u64, imaginary as u64]),
    }
}

/// Of bytes.
pub fn bytes(value: &[u8]) -> i64 {
    hash(Kind::Bytes, packed(value))
}

/// Of text whose characters all have numbers below 2⁸.
pub fn narrow_text(characters: &[u8]) -> i64 {
    hash(Kind::Text, packed(characters))
}

/// Of text whose characters have numbers below 2¹⁶, and not all below 2⁸.
pub fn wide_text(characters: &[u16]) -> i64 {
    let word = |four: &[u16]| four.iter().rev().fold(0, |word, one| word << 16 | u64::from(*one));
    hash(Kind::WideText, characters.chunks(4).map(word).chain([characters.len() as u64]))
}

/// Of text of any characters.
pub fn text(characters: &[u32]) -> i64 {
    let most = characters.iter().fold(0, |most, one| most | one);
    if most < 1 << 8 {
        return narrow_text(&characters.iter().map(|one| *one as u8).collect::<Vec<u8>>());
    }
    if most < 1 << 16 {
        return wide_text(&characters.iter().map(|one| *one as u16).collect::<Vec<u16>>());
    }
    let word = |two: &[u32]| two.iter().rev().fold(0, |word, one| word << 32 | u64::from(*one));
    hash(Kind::WidestText, characters.chunks(2).map(word).chain([characters.len() as u64]))
}

/// Of None as one of several values.
pub fn nothing() -> i64 {
    hash(Kind::Nothing, [])
}

/// Of several values in order, from their codes.
pub fn tuple(parts: Vec<i64>) -> i64 {
    hash(Kind::Tuple, parts.into_iter().map(|part| part as u64))
}

/// Of several different values in no order, from their codes.
pub fn set(mut parts: Vec<i64>) -> i64 {
    parts.sort_unstable();
    hash(Kind::Set, parts.into_iter().map(|part| part as u64))
}

/// Eight bytes a word, then how many there are.
fn packed(bytes: &[u8]) -> impl Iterator<Item = u64> {
    let word = |eight: &[u8]| eight.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    bytes.chunks(8).map(word).chain([bytes.len() as u64])
}

/// SipHash-2-4 (Aumasson and Bernstein 2012) with a fixed key, of whole words and their number.
fn hash(kind: Kind, words: impl IntoIterator<Item = u64>) -> i64 {
    let (key, other): (u64, u64) = (0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344);
    let mut state = [
        key ^ 0x736f_6d65_7073_6575,
        other ^ 0x646f_7261_6e64_6f6d,
        key ^ 0x6c79_6765_6e65_7261,
        other ^ 0x7465_6462_7974_6573,
    ];
    let mut count = 0_u64;
    for word in words {
        absorb(&mut state, word);
        count += 1;
    }
    absorb(&mut state, (kind as u64) << 56 ^ count);
    state[2] ^= 0xff;
    for _ in 0..4 {
        turn(&mut state);
    }
    let code = (state[0] ^ state[1] ^ state[2] ^ state[3]) as i64;
    if code == NO_PREDICTION { !code } else { code }
}

fn absorb(state: &mut [u64; 4], word: u64) {
    state[3] ^= word;
    turn(state);
    turn(state);
    state[0] ^= word;
}

fn turn([a, b, c, d]: &mut [u64; 4]) {
    *a = a.wrapping_add(*b);
    *b = b.rotate_left(13) ^ *a;
    *a = a.rotate_left(32);
    *c = c.wrapping_add(*d);
    *d = d.rotate_left(16) ^ *c;
    *a = a.wrapping_add(*d);
    *d = d.rotate_left(21) ^ *a;
    *c = c.wrapping_add(*b);
    *b = b.rotate_left(17) ^ *c;
    *c = c.rotate_left(32);
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_are_those_of_every_version() {
        let found = [narrow_text(b"positive"), bytes(b"positive"), float(0.5), tuple(vec![1, 2]), set(vec![2, 1])];
        assert_eq!(found, CODES);
        let long =
            [wide_text(&[945, 1, 2, 3, 255, 65_535]), text(&[66_000, 945, 7]), narrow_text(b"longer than a word")];
        assert_eq!(long, LONG_CODES);
        let numbers = [complex(1.0, 2.0), large(3), ratio(true, &[1, 2], &[3]), unsigned(u64::MAX), nothing()];
        assert_eq!(numbers, NUMBER_CODES);
    }

    const LONG_CODES: [i64; 3] = [69_016_308_948_867_914, -4_703_501_792_672_457_121, 6_797_189_427_178_197_661];

    const NUMBER_CODES: [i64; 5] = [
        -1_588_196_548_411_769_541,
        8_503_879_694_222_384_599,
        -8_888_238_188_892_572_879,
        5_649_564_272_558_581_505,
        -2_403_551_556_134_234_465,
    ];

    const CODES: [i64; 5] = [
        -8_422_961_505_513_862_087,
        147_827_246_845_902_493,
        -495_235_549_374_214_397,
        -1_969_911_030_589_694_045,
        -3_331_578_397_242_682_667,
    ];

    #[test]
    fn values_of_every_kind_have_codes_of_their_own() {
        let mut codes = vec![narrow_text(b""), narrow_text(b"\0"), narrow_text(b"a"), narrow_text(b"1"), bytes(b"")];
        codes.extend([
            bytes(b"a"),
            wide_text(&[97, 300]),
            text(&[0x100]),
            wide_text(&[0]),
            text(&[0x1_0000]),
            text(&[97, 66_000]),
            tuple(vec![]),
            tuple(vec![1]),
            set(vec![1]),
        ]);
        codes.extend([
            float(0.5),
            float(f64::INFINITY),
            float(-0.5),
            float(1e300),
            complex(1.0, 2.0),
            complex(2.0, 1.0),
            nothing(),
        ]);
        codes.extend([ratio(false, &[1], &[3]), ratio(true, &[1], &[3]), ratio(false, &[1, 3], &[1]), large(1)]);
        codes.extend([unsigned(1 << 63), unsigned(u64::MAX), 0, 1, -1, NO_PREDICTION, object(0), object(1)]);
        assert_eq!(codes.iter().collect::<HashSet<_>>().len(), codes.len(), "{codes:?}");
    }

    #[test]
    fn equal_values_have_equal_codes() {
        assert_eq!([float(3.0), float(-0.0), float(-7.0)], [3, 0, -7]);
        assert_eq!([float(f64::NAN), complex(0.0, f64::NAN), complex(f64::NAN, 0.0)], [NO_PREDICTION; 3]);
        assert_eq!(complex(0.5, -0.0), float(0.5));
        assert_eq!(float(2.0_f64.powi(63) + 2048.0), unsigned((1 << 63) + 2048));
        assert_eq!([float(2.0_f64.powi(63)), float(2.0_f64.powi(63))], [unsigned(1 << 63); 2]);
        assert_eq!(text(&[104, 105]), narrow_text(b"hi"));
        assert_eq!(text(&[104, 0x3b1]), wide_text(&[104, 0x3b1]));
        assert_eq!(text(&[0xff, 0xff]), narrow_text(&[0xff, 0xff]));
        assert_eq!(text(&[0xffff]), wide_text(&[0xffff]));
        assert_eq!(text(&[0x3b1, 0x3b1]), wide_text(&[0x3b1, 0x3b1]));
        assert_eq!(set(vec![3, 1, 2]), set(vec![2, 3, 1]));
        assert_eq!(ratio(false, &[7, 0, 0], &[2, 0]), ratio(false, &[7], &[2]));
    }

    #[test]
    fn unsigned_hashes_keep_their_bits() {
        assert_eq!([unsigned(0), unsigned(5)], [0, 5]);
        assert_eq!(unsigned((1 << 63) + 5), i64::MIN + 5);
        assert_eq!(unsigned((SMALLEST_OWN - 1) as u64), SMALLEST_OWN - 1);
        for taken in [SMALLEST_OWN as u64, u64::MAX - 2047] {
            assert_eq!(unsigned(taken), hash(Kind::Float, [(taken as f64).to_bits()]));
        }
        assert_eq!(unsigned(u64::MAX), ratio(false, &[0xff; 8], &[1]));
        assert!(![-1, NO_PREDICTION].contains(&unsigned(u64::MAX)) && unsigned(1 << 63) != NO_PREDICTION);
    }

    #[test]
    fn each_bit_of_a_word_changes_half_of_the_code() {
        for bit in 0..64 {
            let changed = (float(f64::from_bits(0x3fe5_5555_5555_5555 ^ 1 << bit)) ^ float(2.0 / 3.0)).count_ones();
            assert!((12..=52).contains(&changed), "bit {bit} changes {changed}");
        }
    }

    #[test]
    fn coins_do_not_tell_objects_apart() {
        assert_eq!(tossed(object(7)), tossed(object(0)));
        assert_eq!([tossed(7), tossed(NO_PREDICTION)], [7, NO_PREDICTION]);
    }
}
