//! Budgets are held by moving along a family, whatever the traffic.
#![expect(clippy::unwrap_used, reason = "tests")]

mod recorded;

use std::sync::OnceLock;

use ttamer::learn::{Approach, Learner, Recall, Tuning};
use ttamer::operate::{Budget, End, Governor, Ladder};
use ttamer::{Family, Kind, Trace};

/// A family of models whose costs are 1, 2 and 4.
fn family() -> &'static Family {
    static FAMILY: OnceLock<Family> = OnceLock::new();
    FAMILY.get_or_init(fitted)
}

fn fitted() -> Family {
    let (signal, loss, _) = recorded::data(600);
    // Predictions would say who is right.
    let trace = Trace::from_rows(&signal, &loss, None, &[1.0, 2.0, 4.0], Kind::Models).unwrap();
    let learner = Learner::new(trace, &Approach::default(), Tuning::default()).unwrap();
    let tradeoffs = [0.2, 0.6, 0.8, 0.9, 0.97];
    let members = tradeoffs.map(|tradeoff| learner.member(tradeoff, Recall::Auto, 0).unwrap().0);
    Family::new(members.into(), true).unwrap()
}

/// Well mixed numbers in [0, 1).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Requests that cost up to twice what is expected, times a factor.
struct Traffic {
    governor: Governor,
    costs: Vec<f64>,
    numbers: Numbers,
    now: f64,
}

impl Traffic {
    fn new(budget: Budget, seed: u64) -> Self {
        let family = family();
        let costs = family.members().iter().map(|member| member.cost).collect();
        let governor = Governor::new(Ladder::of(family).unwrap(), budget, 0.0).unwrap();
        Self { governor, costs, numbers: Numbers(seed), now: 0.0 }
    }

    fn ends(&self) -> (f64, f64) {
        self.governor.ladder().ends()
    }

    /// One request after `gap` seconds; its cost.
    fn request(&mut self, factor: f64, gap: f64) -> f64 {
        let cost = 2.0 * factor * self.numbers.next() * self.costs[self.governor.serving()];
        self.now += gap;
        self.governor.spend(cost, self.now);
        cost
    }

    fn mean(&mut self, requests: usize, factor: f64) -> f64 {
        (0..requests).map(|_| self.request(factor, 0.0)).sum::<f64>() / requests as f64
    }
}

fn budget_of(share: f64, window: f64) -> Budget {
    let ladder = Ladder::of(family()).unwrap();
    let (cheapest, dearest) = ladder.ends();
    Budget::Request { most: cheapest + share * (dearest - cheapest), window }
}

fn most(budget: Budget) -> f64 {
    let (Budget::Request { most, .. } | Budget::Second { most, .. }) = budget;
    most
}

#[test]
fn a_ladder_is_convex() {
    let family = family();
    let ladder = Ladder::of(family).unwrap();
    let member = |at: usize| &family.members()[ladder.rungs()[at].member];
    let count = ladder.rungs().len();
    assert!(count >= 3, "{ladder:?}");
    let slope = |at: usize| (member(at + 1).loss - member(at).loss) / (member(at + 1).cost - member(at).cost);
    for at in 0..count - 1 {
        assert!(slope(at) < 0.0 && (at == 0 || slope(at - 1) < slope(at)), "{ladder:?}");
    }
    for one in family.members() {
        let between = ladder.at(one.cost).unwrap();
        let (low, high) = (&family.members()[between.below.member], &family.members()[between.above.member]);
        assert!(one.loss >= low.loss + between.share * (high.loss - low.loss) - 1e-12);
    }
    let alone = Family::new(family.members()[..1].to_vec(), true).unwrap();
    assert!(Ladder::of(&alone).unwrap_err().to_string().starts_with("`family` must have two policies of which one"));
}

#[test]
fn constant_traffic_costs_the_budget_and_moves_little() {
    for seed in 0..20 {
        for (share, factor) in [(0.3, 1.0), (0.5, 1.3), (0.7, 0.9)] {
            let budget = budget_of(share, 1000.0);
            let mut traffic = Traffic::new(budget, seed);
            traffic.mean(5000, factor);
            let (mut least, mut largest, mut total) = (f64::INFINITY, 0.0_f64, 0.0);
            for _ in 0..10_000 {
                total += traffic.request(factor, 0.0);
                let expected = traffic.governor.report(0.0).expected_cost;
                (least, largest) = (least.min(expected), largest.max(expected));
            }
            let (mean, most) = (total / 10_000.0, most(budget));
            assert!((mean / most - 1.0).abs() < 0.02, "{seed}: {mean} for {most}");
            assert!(least > 0.7 * most && largest < 1.3 * most, "{seed}: {least} to {largest} for {most}");
        }
    }
}

#[test]
fn after_a_step_the_budget_is_held_within_three_windows() {
    for seed in 0..20 {
        let budget = budget_of(0.6, 500.0);
        let mut traffic = Traffic::new(budget, seed);
        traffic.mean(5000, 1.0);
        // What requests cost grows by half; what is beyond the budget meanwhile is a part of a window's.
        let beyond = traffic.mean(500, 1.5) / most(budget) - 1.0;
        assert!(beyond < 0.25, "{seed}: {beyond}");
        traffic.mean(1000, 1.5);
        let after = traffic.mean(5000, 1.5) / most(budget) - 1.0;
        assert!(after.abs() < 0.03, "{seed}: {after}");
    }
}

#[test]
fn at_an_end_no_debt_is_gathered() {
    for (factor, end) in [(20.0, End::Cheapest), (0.01, End::Dearest)] {
        let budget = budget_of(0.5, 200.0);
        let mut traffic = Traffic::new(budget, 1);
        traffic.mean(5000, factor);
        let found = traffic.governor.report(0.0);
        assert_eq!(found.saturated, Some(end));
        // As much as brings the level to the end, at most.
        assert!(found.debt.abs() <= most(budget) * 200.0 / 4.0, "{found:?}");
        // As soon as the traffic is as usual the level leaves the end: the ratio is learned again, and nothing is paid back
        // for longer than that.
        traffic.mean(2000, 1.0);
        let after = traffic.mean(4000, 1.0) / most(budget) - 1.0;
        assert!(after.abs() < 0.03, "{factor}: {after}");
    }
}

#[test]
fn a_rate_is_held_through_bursts_and_pauses() {
    for seed in 0..20 {
        let (cheapest, dearest) = Ladder::of(family()).unwrap().ends();
        let most = 10.0 * (cheapest + 0.7 * (dearest - cheapest));
        // Nearly as many requests as the cheapest policy can serve within the budget.
        let many = 0.9 * most / cheapest;
        let mut traffic = Traffic::new(Budget::Second { most, window: 60.0 }, seed);
        let mut seconds = |per_second: f64, seconds: f64| {
            let count = (per_second * seconds) as usize;
            (0..count).map(|_| traffic.request(1.0, 1.0 / per_second)).sum::<f64>() / seconds
        };
        seconds(10.0, 300.0);
        let usual = seconds(10.0, 1000.0);
        assert!((usual / most - 1.0).abs() < 0.03, "{seed}: {usual} for {most}");
        seconds(many, 120.0);
        let burst = seconds(many, 300.0);
        assert!((burst / most - 1.0).abs() < 0.04, "{seed}: {burst} for {most}");
        // A pause leaves no more than a part of a window's budget to be spent.
        traffic.now += 10_000.0;
        let before = traffic.governor.report(traffic.now);
        assert!(before.mean_cost < 1e-9 && before.debt >= -most * 60.0 / 4.0, "{before:?}");
        let after = (0..600).map(|_| traffic.request(1.0, 0.1)).sum::<f64>() / 60.0;
        assert!(after / most < 1.35, "{seed}: {after} for {most}");
    }
}

#[test]
fn neighbours_serve_in_the_share_that_is_asked_for() {
    let budget = budget_of(0.55, 1e6);
    let mut traffic = Traffic::new(budget, 0);
    let (mut asked, mut served, mut furthest) = (0.0, 0.0, 0.0_f64);
    for _ in 0..2000 {
        let found = traffic.governor.report(0.0);
        asked += found.expected_cost / found.ratio;
        served += found.serving.cost;
        furthest = furthest.max((asked - served).abs());
        let cost = traffic.costs[traffic.governor.serving()];
        traffic.governor.spend(cost, 0.0);
    }
    let rungs = traffic.governor.ladder().rungs();
    let gap = rungs.windows(2).map(|pair| pair[1].cost - pair[0].cost).fold(0.0, f64::max);
    assert!(furthest <= gap, "{furthest} off, the widest rung is {gap}");
}

#[test]
fn batches_are_held_to_the_budget_too() {
    for seed in 0..20 {
        let budget = budget_of(0.5, 1000.0);
        let mut traffic = Traffic::new(budget, seed);
        let mut total = 0.0;
        for batch in 0..300 {
            let expected = traffic.costs[traffic.governor.serving()];
            let costs: Vec<f64> = (0..50).map(|_| 2.0 * 1.2 * traffic.numbers.next() * expected).collect();
            traffic.governor.spend_many(&costs, 0.0);
            total += if batch < 100 { 0.0 } else { costs.iter().sum::<f64>() };
        }
        let found = traffic.governor.report(0.0);
        assert!((total / 10_000.0 / most(budget) - 1.0).abs() < 0.03, "{seed}: {total}");
        assert!(found.requests == 15_000 && (found.ratio / 1.2 - 1.0).abs() < 0.15, "{seed}: {found:?}");
    }
}

#[test]
fn any_number_is_taken_and_none_breaks_it() {
    let (cheapest, _) = Ladder::of(family()).unwrap().ends();
    for budget in [Budget::Request { most: 2.0, window: 10.0 }, Budget::Second { most: 1e-9, window: 1e-3 }] {
        let mut traffic = Traffic::new(budget, 0);
        let odd = [f64::NAN, f64::INFINITY, -1.0, -0.0, 0.0, 1e-300, 1e200, 1e201, f64::MAX, 1.0];
        for cost in odd.into_iter().cycle().take(5000) {
            for now in [0.0, f64::NAN, f64::INFINITY, -1e300, 1e300, 5.0] {
                traffic.governor.spend(cost, now);
                let found = traffic.governor.report(now);
                assert!(
                    traffic.governor.serving() < 5 && found.debt.is_finite() && found.level.is_finite(),
                    "{found:?}"
                );
                assert!(found.ratio > 0.0 && found.ratio.is_finite() && found.mean_cost.is_finite(), "{found:?}");
            }
        }
        assert_eq!(traffic.ends().0, cheapest);
    }
}

#[test]
fn a_governor_goes_on_from_what_another_had_learned() {
    let budget = budget_of(0.4, 100.0);
    let mut first = Traffic::new(budget, 3);
    first.mean(777, 1.2);
    let mut second = Traffic::new(budget, 3);
    second.governor.resume(first.governor.learned(), first.governor.requests()).unwrap();
    for _ in 0..500 {
        assert_eq!(first.governor.serving(), second.governor.serving());
        assert_eq!(first.governor.report(0.0), second.governor.report(0.0));
        let cost = first.request(1.0, 0.0);
        second.governor.spend(cost, 0.0);
    }
    let debt = first.governor.report(0.0).debt;
    let other = first.governor.along(Ladder::of(family()).unwrap()).report(0.0);
    assert_eq!((other.debt, other.requests, other.ratio), (debt, 1277, 1.0));
    let mut learned = first.governor.learned();
    learned[1] = f64::NAN;
    assert!(second.governor.resume(learned, 1).is_err());
}

#[test]
fn budgets_that_are_none_are_refused() {
    let refused = |budget| {
        let ladder = Ladder::of(family()).unwrap();
        Governor::new(ladder, budget, 0.0).unwrap_err().to_string()
    };
    for most in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(refused(Budget::Request { most, window: 100.0 }).starts_with("`max_cost` must be above 0 and finite"));
        assert!(refused(Budget::Second { most, window: 1.0 }).starts_with("`max_rate` must be above 0 and finite"));
    }
    for window in [0.0, 9.0, f64::NAN, f64::INFINITY, 2e9] {
        assert!(refused(Budget::Request { most: 1.0, window }).starts_with("`window` must be from 10 to 1e9 requests"));
    }
    for window in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(refused(Budget::Second { most: 1.0, window }).starts_with("`window` must be above 0 to 1e9 seconds"));
    }
}
