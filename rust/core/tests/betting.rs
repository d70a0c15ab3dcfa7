//! What bets against a mean promise, at any time of looking and in one look.
#![expect(clippy::unwrap_used, reason = "tests")]

use ttamer::{BoundedMean, PlannedMean};

/// A number in [0, 1), another one for each word.
fn uniform(word: u64) -> f64 {
    let mut z = word.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// A value and its chance, twice; its mean is that of the streams.
struct Coin {
    name: &'static str,
    rare: f64,
    usual: f64,
    chance: f64,
}

impl Coin {
    fn mean(&self) -> f64 {
        self.chance * self.rare + (1.0 - self.chance) * self.usual
    }

    fn draw(&self, word: u64) -> f64 {
        if uniform(word) < self.chance { self.rare } else { self.usual }
    }
}

/// Worst cases of values in [−1, 1]: a fair coin of the bounds; a seldom one that stays away for long; nearly no spread.
const COINS: [Coin; 4] = [
    Coin { name: "bounds", rare: 1.0, usual: -1.0, chance: 0.5 },
    Coin { name: "seldom high", rare: 1.0, usual: -0.1, chance: 0.02 },
    Coin { name: "seldom low", rare: -1.0, usual: 0.1, chance: 0.02 },
    Coin { name: "hardly any spread", rare: 0.01, usual: -0.01, chance: 0.5 },
];

/// Numbers of values after which somebody looks.
const LOOKS: [usize; 13] = [1, 2, 4, 6, 9, 13, 20, 30, 45, 70, 100, 150, 220];

/// The first values of a stream, at each look.
fn looks(coin: &Coin, stream: u64) -> impl Iterator<Item = BoundedMean> {
    let values: Vec<f64> = (0..LOOKS[LOOKS.len() - 1] as u64).map(|i| coin.draw(stream * 1000 + i)).collect();
    LOOKS.into_iter().filter_map(move |n| BoundedMean::new(&values[..n], -1.0, 1.0).ok())
}

/// Three standard errors above a promised share.
fn most(promised: f64, streams: u64) -> f64 {
    promised + 3.0 * (promised * (1.0 - promised) / streams as f64).sqrt()
}

#[test]
fn true_means_are_rarely_rejected_whenever_one_looks() {
    let (streams, limit) = (10_000, 20.0_f64.ln());
    for coin in COINS {
        let rejects = |seen: BoundedMean| seen.log_capital(coin.mean()).is_ok_and(|log| log >= limit);
        let ever = (0..streams).filter(|stream| looks(&coin, *stream).any(rejects)).count();
        let found = ever as f64 / streams as f64;
        assert!(found <= most(0.05, streams), "{}: {found}", coin.name);
        // The promise is not kept by never rejecting.
        assert!(coin.name != "bounds" || found > 0.002, "{found}");
    }
}

#[test]
fn no_capital_gains_on_average() {
    for coin in COINS {
        for m in [coin.mean(), coin.mean() - 0.05] {
            // Exact: all sequences of four values.
            let expected: f64 = (0..16_u32)
                .filter_map(|bits| {
                    let is_rare = |i: u32| bits >> i & 1 == 1;
                    let values: Vec<f64> = (0..4).map(|i| if is_rare(i) { coin.rare } else { coin.usual }).collect();
                    let chance: f64 =
                        (0..4).map(|i| if is_rare(i) { coin.chance } else { 1.0 - coin.chance }).product();
                    let log = BoundedMean::new(&values, -1.0, 1.0).ok()?.log_capital(m).ok()?;
                    Some(chance * log.exp())
                })
                .sum();
            let is_fair = m == coin.mean();
            assert!(expected <= 1.0 + 1e-12 && (!is_fair || (expected - 1.0).abs() < 1e-12), "{}", coin.name);
        }
    }
}

fn sample(n: u64) -> Vec<f64> {
    (0..n).map(|i| 4.0 * uniform(i) * uniform(i + 7) - 1.0).collect()
}

#[test]
fn ends_of_an_interval_are_where_capitals_reject() {
    for n in [1, 5, 40, 1000] {
        let Ok(found) = BoundedMean::new(&sample(n), -2.0, 4.0) else { panic!() };
        for error in [0.5, 0.05, 1e-6] {
            let Ok((low, high)) = found.interval(error) else { panic!() };
            assert!(-2.0 <= low && low < found.mean() && found.mean() < high && high <= 4.0);
            let limit = (2.0 / error).ln();
            let above = |m: f64| found.log_capital(m).unwrap_or(f64::NAN) - limit;
            let below = |m: f64| found.log_capital_below(m).unwrap_or(f64::NAN) - limit;
            assert!(high == 4.0 || above(high) >= 0.0 && above(high - 1e-9) < 0.0, "{n} {error}");
            assert!(low == -2.0 || below(low) >= 0.0 && below(low + 1e-9) < 0.0, "{n} {error}");
        }
    }
}

#[test]
fn capitals_rise_with_the_mean_that_is_tested_and_know_no_order() {
    let values = sample(400);
    let backwards: Vec<f64> = values.iter().rev().copied().collect();
    let (Ok(found), Ok(other)) = (BoundedMean::new(&values, -1.0, 3.0), BoundedMean::new(&backwards, -1.0, 3.0)) else {
        panic!()
    };
    let mut before = f64::NEG_INFINITY;
    for step in -10..=110 {
        let m = -1.0 + 4.0 * f64::from(step) / 100.0;
        let (Ok(log), Ok(same)) = (found.log_capital(m), other.log_capital(m)) else { panic!() };
        assert!(log >= before && log == same, "{m}: {log} after {before}, {same}");
        assert!(m > found.mean() || log <= 0.0, "{m}");
        before = log;
    }
    assert!(before > 100.0 && before.is_finite());
}

#[test]
fn intervals_narrow_as_values_come() {
    let width = |n: u64| {
        let interval = BoundedMean::new(&sample(n), -1.0, 3.0).and_then(|found| found.interval(0.05));
        interval.map_or(f64::NAN, |(low, high)| high - low)
    };
    assert_eq!(width(0), 4.0);
    // A standard deviation of 0.88: the interval of a known size would be 3.46 / √n wide.
    assert!(width(1000) < 0.2 && width(100_000) < 0.022, "{} {}", width(1000), width(100_000));
    assert!(width(100_000) > 3.46 / 100_000.0_f64.sqrt());
}

#[test]
fn without_values_nothing_is_known() {
    let Ok(none) = BoundedMean::new(&[], -1.0, 1.0) else { panic!() };
    assert_eq!((none.rows(), none.mean()), (0, 0.0));
    assert_eq!(none.interval(0.05).ok(), Some((-1.0, 1.0)));
    assert!(none.log_capital(0.5).is_ok_and(|log| log.abs() < 1e-12));
    assert_eq!(none.rows_needed(0.5, 0.05).ok(), Some(None));
}

#[test]
fn values_at_the_bounds_ruin_nobody() {
    for x in [-1.0, 1.0] {
        let Ok(found) = BoundedMean::new(&vec![x; 20_000], -1.0, 1.0) else { panic!() };
        let Ok((low, high)) = found.interval(0.05) else { panic!() };
        assert!(low <= x && x <= high && high - low < 0.01, "{low} {high}");
        for m in [-2.0, -1.0, -1.0 + 1e-15, 0.0, 1.0 - 1e-15, 1.0, 2.0, f64::INFINITY, f64::NEG_INFINITY] {
            for log in [found.log_capital(m), found.log_capital_below(m)] {
                assert!(log.is_ok_and(|log| !log.is_nan() && log < f64::INFINITY), "{x} {m}");
            }
        }
    }
}

#[test]
fn the_values_that_are_needed_are_about_those_that_were() {
    let values = sample(3000);
    let Ok(all) = BoundedMean::new(&values, -1.0, 3.0) else { panic!() };
    let m = all.mean() + 0.1;
    let reached = (1..=3000).find(|n| {
        let seen = BoundedMean::new(&values[..*n], -1.0, 3.0);
        seen.and_then(|seen| seen.log_capital(m)).is_ok_and(|log| log >= 20.0_f64.ln())
    });
    let (Some(reached), Ok(Some(needed))) = (reached, all.rows_needed(m, 0.05)) else { panic!() };
    assert!(0.3 * needed < reached as f64 && (reached as f64) < 3.0 * needed, "{reached} {needed}");
    assert_eq!(all.rows_needed(all.mean() - 0.1, 0.05).ok(), Some(None));
}

#[test]
fn what_cannot_be_is_refused() {
    let refused = |values: &[f64], low, high| BoundedMean::new(values, low, high).err().map(|error| error.to_string());
    for (low, high) in [(1.0, 1.0), (2.0, 1.0), (f64::NAN, 1.0), (0.0, f64::INFINITY), (-1e308, 1e308)] {
        assert!(refused(&[], low, high).is_some_and(|text| text.starts_with("`low` must be below `high`")));
    }
    for x in [-1.1, 1.1, f64::NAN, f64::INFINITY] {
        assert!(refused(&[0.0, x], -1.0, 1.0).is_some_and(|text| text.starts_with("`values` row 1 must be between")));
    }
    let Ok(found) = BoundedMean::new(&[0.0], -1.0, 1.0) else { panic!() };
    assert!(found.log_capital(f64::NAN).is_err() && found.log_capital_below(f64::NAN).is_err());
    for error in [0.0, 1.0, -0.1, f64::NAN] {
        assert!(found.interval(error).is_err() && found.rows_needed(0.5, error).is_err());
    }
}

/// A value and its chance, another one and its chance, else 0.
struct Law {
    name: &'static str,
    low: f64,
    values: [(f64, f64); 2],
}

impl Law {
    fn mean(&self) -> f64 {
        self.values.iter().map(|(value, chance)| value * chance).sum()
    }

    fn draw(&self, word: u64) -> f64 {
        let [(one, often), (other, seldom)] = self.values;
        let at = uniform(word);
        if at < often {
            one
        } else if at < often + seldom {
            other
        } else {
            0.0
        }
    }

    fn sample(&self, seed: u64, n: u64) -> Vec<f64> {
        (0..n).map(|i| self.draw(seed * 1_000_003 + i)).collect()
    }

    fn deviation(&self) -> f64 {
        let squares: f64 = self.values.iter().map(|(value, chance)| value * value * chance).sum();
        (squares - self.mean().powi(2)).sqrt()
    }
}

/// Coins, and values that differ by little or seldom.
const LAWS: [Law; 6] = [
    Law { name: "coin", low: 0.0, values: [(1.0, 0.1), (0.0, 0.0)] },
    Law { name: "fair coin of the bounds", low: -1.0, values: [(1.0, 0.5), (-1.0, 0.5)] },
    Law { name: "seldom high", low: 0.0, values: [(1.0, 0.01), (0.0, 0.0)] },
    Law { name: "seldom low", low: -1.0, values: [(-1.0, 0.02), (0.0, 0.0)] },
    Law { name: "differences", low: -1.0, values: [(1.0, 0.05), (-1.0, 0.05)] },
    Law { name: "hardly any spread", low: -1.0, values: [(0.01, 0.5), (-0.01, 0.5)] },
];

#[test]
fn true_means_are_rejected_no_more_often_than_stated() {
    let (streams, error) = (4000, 0.1);
    let most = error + 3.0 * (error * (1.0 - error) / streams as f64).sqrt();
    for law in LAWS {
        for n in [20, 200] {
            // What was known beforehand may say anything.
            for known in [law.sample(9_999_999, n), vec![], vec![law.low; 50], vec![1.0; 50]] {
                let rejects = |stream: u64| {
                    let found = PlannedMean::new(&law.sample(stream, n), &known, law.low, 1.0).unwrap();
                    found.p_value(law.mean(), error).unwrap() <= error
                };
                let found = (0..streams).filter(|stream| rejects(*stream)).count() as f64 / streams as f64;
                assert!(found <= most, "{}, {n} values: {found}", law.name);
            }
        }
    }
}

#[test]
fn other_levels_hold_too() {
    let (streams, law) = (4000, &LAWS[0]);
    let p_value = |stream: u64| {
        let found = PlannedMean::new(&law.sample(stream, 200), &[], 0.0, 1.0).unwrap();
        found.p_value(law.mean(), 0.1).unwrap()
    };
    let all: Vec<f64> = (0..streams).map(p_value).collect();
    for level in [0.02_f64, 0.1, 0.3, 0.8] {
        let found = all.iter().filter(|p| **p <= level).count() as f64 / streams as f64;
        assert!(found <= level + 3.0 * (level * (1.0 - level) / streams as f64).sqrt(), "{level}: {found}");
    }
}

#[test]
fn false_means_are_rejected_nearly_as_often_as_by_a_normal_test() {
    // Two standard errors away a normal test at 10 % rejects in 0.76 of all draws, three away in 0.96.
    let (streams, n) = (1000, 1000);
    for law in &LAWS[..5] {
        let known = law.sample(77_777, n);
        for (away, least) in [(2.0, 0.55), (3.0, 0.85)] {
            let m = law.mean() + away * law.deviation() / (n as f64).sqrt();
            let rejects = |stream: u64| {
                let found = PlannedMean::new(&law.sample(stream, n), &known, law.low, 1.0).unwrap();
                found.p_value(m, 0.1).unwrap() <= 0.1
            };
            let found = (0..streams).filter(|stream| rejects(*stream)).count() as f64 / streams as f64;
            assert!(found >= least, "{}, {away} standard errors: {found}", law.name);
        }
    }
}

#[test]
fn the_least_limit_is_one_that_is_rejected() {
    for law in LAWS {
        let found = PlannedMean::new(&law.sample(3, 500), &law.sample(4, 500), law.low, 1.0).unwrap();
        let least = found.least(0.05).unwrap();
        assert!(found.p_value(least, 0.05).unwrap() <= 0.05, "{}", law.name);
        assert!(found.p_value(least - 1e-6, 0.05).unwrap() > 0.05, "{}", law.name);
    }
}

#[test]
fn any_numbers_are_told_or_refused() {
    let few = PlannedMean::new(&[], &[], 0.0, 1.0).unwrap();
    assert_eq!((few.rows(), few.p_value(0.5, 0.05).unwrap(), few.least(0.05).unwrap()), (0, 1.0, 1.0));
    let zeros = PlannedMean::new(&[0.0; 100], &[0.0; 100], 0.0, 1.0).unwrap();
    for m in [f64::NEG_INFINITY, -1.0, 0.0, f64::MIN_POSITIVE] {
        assert_eq!(zeros.p_value(m, 0.05).unwrap(), 1.0);
    }
    for m in [0.1, 1.0, 2.0, f64::INFINITY] {
        assert!(zeros.p_value(m, 0.05).unwrap() <= 0.05);
    }
    // No test can do better: limits at which as many zeros have a chance of 5 %.
    let least = zeros.least(0.05).unwrap();
    assert!((0.0295..0.036).contains(&least), "{least}");
    let told = |found: ttamer::Result<f64>| found.unwrap_err().to_string();
    assert_eq!(told(zeros.p_value(f64::NAN, 0.05)), "`m` must be a number, got NaN");
    assert_eq!(told(zeros.least(1.0)), "`error` must be above 0 and below 1, got 1.0");
    let refused = |values: &[f64], known: &[f64]| PlannedMean::new(values, known, 0.0, 1.0).unwrap_err().to_string();
    assert_eq!(refused(&[0.5, 1.5], &[]), "`values` row 1 must be between 0.0 and 1.0, got 1.5");
    assert_eq!(refused(&[0.5], &[f64::NAN]), "`known` row 0 must be between 0.0 and 1.0, got nan");
}
