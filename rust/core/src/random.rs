//! Well mixed numbers that are the same on every machine and in every version.

/// The step between the counters of splitmix64.
pub const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A well mixed number for each word, different ones for different words (the finaliser of splitmix64).
#[inline]
pub fn mix(word: u64) -> u64 {
    let mut z = word;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number in [0, 1) from a well mixed one.
#[inline]
pub fn uniform(mixed: u64) -> f64 {
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
}

/// A well mixed number from a counter (splitmix64).
#[inline]
pub fn mix64(counter: u64) -> u64 {
    mix(counter.wrapping_add(1).wrapping_mul(STEP))
}
