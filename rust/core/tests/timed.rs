//! Exact models whose stages take time: what a policy pays within any deadline, what is stored of it, what is refused.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use ndarray::array;
use proptest::prelude::*;
use support::{Dice, Parts};
use ttamer::model::{Jumps, Latency};
use ttamer::plan::{Intervals, Plan, STOP};
use ttamer::rules::Observation;
use ttamer::solve::{Certificate, Solution, TIMED_SITUATIONS, solve};
use ttamer::{Circumstances, Error, Given, Model, Policy, Price, SolveOptions, Transition, compile, verify};

const TOLERANCE: f64 = 1e-9;
/// A latency is so many of these, whose sums are exact.
const TICK: f64 = 0.125;

fn options(deadline: f64) -> SolveOptions {
    SolveOptions { deadline, ..SolveOptions::default() }
}

/// One distribution a stage, or one a state: ties, zeros and what no deadline allows are frequent.
fn latencies(parts: &Parts, dice: &mut Dice) -> Vec<Vec<Latency>> {
    let one = |dice: &mut Dice| {
        let many = 1 + dice.roll(3);
        let seconds = (0..many).map(|_| [0.0, 1.0, 1.0, 2.0, 3.0, 100.0][dice.roll(6)] * TICK).collect();
        Latency::new(seconds, dice.row(many))
    };
    parts
        .loss
        .iter()
        .map(|loss| (0..if dice.roll(2) == 0 { 1 } else { loss.len() }).map(|_| one(dice)).collect())
        .collect()
}

/// A model of any graph, and the same whose stages take time.
fn models(dice: &mut Dice, stages: usize, kind: usize) -> (Model, Model) {
    let parts = match kind {
        0..3 => Parts::line(dice, stages),
        3 => Parts::tree(dice, stages),
        _ => Parts::dag(dice, stages),
    };
    let plain = match kind {
        0 => parts.as_line(),
        1 => parts.as_skip(parts.jumps(dice)),
        2 => parts.as_skip(parts.jumps(dice)).with_jumps(Jumps::Alone),
        3 => parts.as_tree(),
        _ => parts.as_dag(),
    };
    let timed = plain.clone().with_latency(latencies(&parts, dice)).unwrap();
    (plain, timed)
}

/// Everything that can happen when `v` runs: chance, its state, seconds.
fn outcomes(model: &Model, seen: &[Option<usize>], last: Option<usize>, v: usize) -> Vec<(f64, usize, f64)> {
    let took = |u: usize, s: usize| -> Vec<(f64, f64)> { model.latency(u, s).unwrap().likely().collect() };
    let first = last.map_or(0, |last| last + 1);
    let is_chain = matches!(model.graph(), ttamer::Graph::Line | ttamer::Graph::Skip);
    if !is_chain || model.jumps() == Jumps::Alone || first == v {
        let each = support::chances(model, v, seen).into_iter().enumerate();
        return each.flat_map(|(s, p)| took(v, s).into_iter().map(move |(t, q)| (p * q, s, t))).collect();
    }
    // Stages in between run, and nobody looks.
    let mut ways = vec![(1.0, last.map_or(0, |u| seen[u].unwrap()), 0.0)];
    for u in first..=v {
        let p = support::entries(model.transition(u));
        let next = ways.iter().flat_map(|(chance, from, before)| {
            let (chance, row, before) = (*chance, p.row(*from).to_vec(), *before);
            let step =
                move |(s, p): (usize, f64)| took(u, s).into_iter().map(move |(t, q)| (chance * p * q, s, before + t));
            row.into_iter().enumerate().flat_map(step)
        });
        ways = next.collect();
    }
    ways
}

/// Expected total of running the policy with so many seconds left, which it is told after every stage.
fn paid(model: &Model, policy: &Policy, left: f64, nothing: f64) -> f64 {
    follow(model, policy, left, &mut Vec::new(), left, nothing)
}

fn follow(
    model: &Model,
    policy: &Policy,
    deadline: f64,
    told: &mut Vec<(usize, usize, f64)>,
    left: f64,
    hand: f64,
) -> f64 {
    let mut run = policy.start_given(Given::within(deadline));
    let mut seen = vec![None; model.stages()];
    for (v, state, left) in told.iter() {
        assert_eq!(run.next(), Some(*v));
        run.report(Observation::new(*state as f64, 0).within(*left)).unwrap();
        seen[*v] = Some(*state);
    }
    assert_eq!(run.expected_loss().min(hand), hand, "the answer in hand is not the best");
    let Some(v) = run.next() else { return hand };
    let last = told.last().map(|(v, ..)| *v);
    assert!(support::open(model, &seen, last).contains(&v), "stage {v} is not open");
    let mut total = model.cost_of(last, v);
    for (chance, state, seconds) in outcomes(model, &seen, last, v) {
        if chance > 0.0 && seconds > left {
            total += chance * hand;
        } else if chance > 0.0 {
            told.push((v, state, left - seconds));
            total += chance * follow(model, policy, deadline, told, left - seconds, hand.min(model.loss(v)[state]));
            told.pop();
        }
    }
    total
}

fn nothing(model: &Model, default_loss: f64) -> f64 {
    let losses = (0..model.stages()).flat_map(|v| model.loss(v)).copied();
    if default_loss.is_finite() { default_loss } else { losses.fold(0.0, f64::max) }
}

/// Another action in one row of the plan; `None` where the plan has no time.
fn doctored(solution: &Solution, dice: &mut Dice) -> Option<Solution> {
    let mut changed = solution.clone();
    match &mut changed.plan {
        Plan::Chain(plan) => {
            let time = plan.time.as_mut()?;
            let (at, stop) = (dice.roll(time.intervals.rows()), dice.roll(9) as f64 / 8.0);
            let old = std::mem::replace(&mut time.intervals, Intervals::new());
            for (row, given) in old.table().iter().enumerate() {
                let mut steps: Vec<(f64, i32)> = old.steps(given).collect();
                if given.last != STOP {
                    steps.push((f64::INFINITY, given.last));
                }
                time.intervals.push(if row == at { stop } else { given.stop }, steps);
            }
        }
        Plan::Dag(plan) => {
            let time = plan.time.as_mut()?;
            let at = dice.roll(time.action.len());
            time.action[at] = STOP;
        }
        _ => return None,
    }
    Some(changed)
}

fn certified(model: &Model, solution: &Solution) -> Certificate {
    ttamer::solve::verify(model, solution).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// One policy decides best within its own deadline and every shorter one.
    #[test]
    fn one_policy_for_every_deadline(
        bytes in proptest::collection::vec(any::<u8>(), 200), stages in 1_usize..4, kind in 0_usize..5, ticks in 0_u32..9,
        default_loss in prop_oneof![Just(f64::INFINITY), Just(0.0), Just(0.5), Just(3.0)],
    ) {
        let mut dice = Dice::new(&bytes);
        let (plain, model) = models(&mut dice, stages, kind);
        let nothing = nothing(&model, default_loss);
        let deadline = f64::from(ticks) * TICK;
        let with = |deadline| SolveOptions { default_loss, deadline, ..SolveOptions::default() };
        let policy = compile(&model, &with(deadline)).unwrap();
        prop_assert_eq!(Policy::from_bytes(&policy.to_bytes().unwrap()).unwrap(), policy.clone());
        prop_assert!(verify(&model, &policy).unwrap().exact);
        let mut before = nothing;
        for halves in 0..=2 * ticks {
            let left = f64::from(halves) * TICK / 2.0;
            let best = solve(&model, &with(left)).unwrap().value;
            prop_assert!(best <= before + TOLERANCE, "{} after {}", best, before);
            before = best;
            let paid = paid(&model, &policy, left, nothing);
            prop_assert!((paid - best).abs() < TOLERANCE, "{} seconds: {} not {}", left, paid, best);
        }
        // Without a deadline it decides like the policy that knows none.
        let timeless = compile(&plain, &with(f64::INFINITY)).unwrap();
        prop_assert_eq!(timeless.to_bytes().unwrap(), compile(&model, &with(f64::INFINITY)).unwrap().to_bytes().unwrap());
        if kind < 3 {
            prop_assert_eq!(policy.start().next(), timeless.start().next());
        }
        let endless = paid(&model, &policy, f64::INFINITY, default_loss);
        prop_assert!((endless - timeless.facts().value).abs() < TOLERANCE);
    }

    /// The bound holds for whatever plan, and what the certificate says about its value is true.
    #[test]
    fn the_bound_holds_for_doctored_plans(
        bytes in proptest::collection::vec(any::<u8>(), 200), stages in 1_usize..4, kind in 0_usize..5, ticks in 0_u32..9,
    ) {
        let mut dice = Dice::new(&bytes);
        let (_, model) = models(&mut dice, stages, kind);
        let honest = solve(&model, &options(f64::from(ticks) * TICK)).unwrap();
        let found = certified(&model, &honest);
        prop_assert!(found.exact && found.residual <= found.bound, "{:?}", found);
        let changed = doctored(&honest, &mut dice).unwrap();
        let found = certified(&model, &changed);
        prop_assert!(found.value - honest.value <= found.bound + TOLERANCE, "{:?}", found);
        prop_assert!(found.value >= honest.value - TOLERANCE);
        if found.value > honest.value + TOLERANCE {
            prop_assert!(!found.exact);
        }
    }
}

/// Two stages that take one of two latencies each.
fn line() -> Model {
    let transition = vec![Transition::Dense(array![[0.5, 0.5]]), Transition::Dense(array![[1.0, 0.0], [0.0, 1.0]])];
    let model = Model::line(vec![vec![0.1, 0.9], vec![0.0, 0.2]], vec![0.05, 0.1], transition).unwrap();
    let latency = [[0.1, 0.3], [0.2, 0.4]].map(|seconds| vec![Latency::new(seconds.to_vec(), vec![0.5, 0.5])]);
    model.with_latency(latency.to_vec()).unwrap()
}

#[test]
fn sums_that_differ_by_rounding_are_one() {
    let value = |deadline: f64| solve(&line(), &options(deadline)).unwrap().value;
    let rounded = [0.1 + 0.2, 0.3, 0.300_000_000_1];
    assert!(rounded[0] > rounded[1]);
    assert!(rounded.iter().all(|deadline| value(*deadline) == value(0.3)));
    assert!(value(0.3) < value(0.299_999) && value(0.299_999) > 0.0);
    let edges = |deadline| match solve(&line(), &options(deadline)).unwrap().plan {
        Plan::Chain(plan) => plan.time.unwrap().clock.edges.len(),
        other => panic!("{other:?}"),
    };
    // 0, 0.1, 0.2, 0.3 (alone, and 0.1 + 0.2), 0.4, 0.5 twice, 0.7.
    assert_eq!([0.0, 0.1, 0.3, 0.45, 1e9].map(edges), [1, 2, 4, 5, 7]);
}

#[test]
fn a_clock_that_nobody_reads_stands_still() {
    let policy = compile(&line(), &options(10.0)).unwrap();
    let next = |told: f64| {
        let mut run = policy.start_given(Given::within(0.35));
        run.report(Observation::new(1.0, 0).within(told)).unwrap()
    };
    // What was said last holds; with no time left nothing runs.
    assert_eq!(
        [f64::NAN, 0.35, 0.1, -1.0, f64::NEG_INFINITY, f64::INFINITY].map(next),
        [Some(1), Some(1), None, None, None, Some(1)]
    );
    assert_eq!(
        [-1e-3, f64::NEG_INFINITY, 0.0, 0.1].map(|left| policy.start_given(Given::within(left)).next()),
        [None, None, None, Some(0)]
    );
}

#[test]
fn what_a_jump_takes_is_a_matter_of_its_price() {
    // The largest loss, of no answer, is that of a state that cannot be.
    let parts = || {
        let transition = vec![Transition::Dense(array![[1.0, 0.0]]), Transition::Dense(array![[1.0], [1.0]])];
        (vec![vec![0.5, 1.0], vec![0.1]], array![[0.01, 0.01], [0.0, 0.01]], transition)
    };
    let model = || {
        let (loss, cost, transition) = parts();
        let seconds = |t: f64| vec![Latency::new(vec![t], vec![1.0])];
        Model::skip(loss, cost, transition).unwrap().with_latency(vec![seconds(1.0), seconds(2.0)]).unwrap()
    };
    let alone = compile(&model().with_jumps(Jumps::Alone), &options(2.0)).unwrap();
    let through = compile(&model(), &options(2.0)).unwrap();
    assert!(matches!(alone.price(), Price::Jump { alone: true, .. }));
    assert_eq!(
        (alone.start_given(Given::within(2.0)).next(), through.start_given(Given::within(2.0)).next()),
        (Some(1), Some(0))
    );
    assert_eq!(alone.rule_latency(), through.rule_latency());
    let late = |policy: &Policy| {
        policy
            .replay_in(&[0.0; 2], None, &Circumstances { latency: Some(&[1.0, 2.0]), deadline: 2.0, cost: None })
            .unwrap()
    };
    assert_eq!((late(&alone).answer, late(&alone).late), (vec![1], vec![false]));
    assert_eq!((late(&through).answer, late(&through).late), (vec![0], vec![false]));
    let ends = |policy: &Policy| {
        policy
            .replay_in(&[0.0; 2], None, &Circumstances { latency: Some(&[1.0, 2.0]), deadline: 2.5, cost: None })
            .unwrap()
            .last[0]
    };
    assert_eq!((ends(&alone), ends(&through)), (1, 0));
}

trait Latencies {
    fn rule_latency(&self) -> Vec<f64>;
}

impl Latencies for Policy {
    fn rule_latency(&self) -> Vec<f64> {
        ttamer::rules::Rule::latency(self.rule()).unwrap().to_vec()
    }
}

#[test]
fn expected_seconds_are_known() {
    assert_eq!(compile(&line(), &options(1.0)).unwrap().rule_latency().len(), 2);
    let tree =
        Model::tree(vec![-1], vec![vec![0.0, 1.0]], vec![0.0], vec![Transition::Dense(array![[0.25, 0.75]])]).unwrap();
    let each = vec![Latency::new(vec![1.0, 9.0], vec![1.0, 0.0]), Latency::new(vec![2.0, 4.0], vec![0.5, 0.5])];
    let policy = compile(&tree.with_latency(vec![each]).unwrap(), &options(1.0)).unwrap();
    assert_eq!(policy.rule_latency(), [2.5]);
    assert!(ttamer::rules::Rule::latency(compile(&line(), &options(f64::INFINITY)).unwrap().rule()).is_none());
}

#[test]
fn what_does_not_make_latencies_is_refused() {
    let refused = |latency: Vec<Vec<Latency>>| line().with_latency(latency).unwrap_err().to_string();
    let good = || vec![Latency::new(vec![0.1], vec![1.0])];
    let second = |seconds: &[f64], chance: &[f64]| vec![good(), vec![Latency::new(seconds.to_vec(), chance.to_vec())]];
    assert_eq!(refused(vec![good()]), "`latency` must have one entry per stage, 2 like `loss`, got 1");
    assert_eq!(
        refused(vec![good(), vec![Latency::new(vec![0.1], vec![1.0]); 3]]),
        "`latency[1]` must be one distribution, or one per state of the stage, 2, got 3"
    );
    assert_eq!(
        refused(second(&[0.1, 0.2], &[1.0])),
        "`latency[1]` must have as many probabilities as seconds, at least one, got 1 and 2"
    );
    for bad in [-0.1, f64::NAN, f64::INFINITY] {
        let said = refused(second(&[0.1, bad], &[0.5, 0.5]));
        assert_eq!(said, format!("`latency[1]` seconds 1 must be finite and at least 0, got {bad}"));
    }
    assert_eq!(refused(second(&[0.1, 0.2], &[1.5, -0.5])), "`latency[1]` probability 1 must be at least 0, got -0.5");
    assert_eq!(refused(second(&[0.1, 0.2], &[0.5, 0.4])), "`latency[1]` probabilities must sum to 1, got 0.9");
    let each = vec![Latency::new(vec![0.1], vec![1.0]), Latency::new(vec![], vec![])];
    assert!(refused(vec![good(), each]).starts_with("`latency[1][1]` must have"));
}

#[test]
fn what_cannot_be_solved_is_refused() {
    let said = |model: &Model, options: &SolveOptions| solve(model, options).unwrap_err().to_string();
    for bad in [-1.0, f64::NAN, f64::NEG_INFINITY] {
        assert!(
            said(&line(), &options(bad)).starts_with("`deadline` must be at least 0 seconds (infinite: there is none)")
        );
    }
    let (plain, _) = models(&mut Dice::new(&[3; 40]), 2, 0);
    assert!(said(&plain, &options(1.0)).starts_with("`deadline` must be infinite for a model without latencies"));
    let forgetful = SolveOptions { recall: false, ..options(1.0) };
    assert!(said(&line(), &forgetful).starts_with("`recall` must be True where there is a deadline"));
    // Many stages with latencies of their own: more sums than are solved.
    let stages = 24;
    let seconds = |v: usize| vec![Latency::new(vec![0.0, 1.0 + (v as f64 + 1.0).sqrt()], vec![0.5, 0.5])];
    let large = Model::tree(
        vec![-1; stages],
        vec![vec![0.5]; stages],
        vec![0.1; stages],
        vec![Transition::Dense(array![[1.0]]); stages],
    );
    let large = large.unwrap().with_latency((0..stages).map(seconds).collect()).unwrap();
    let refused = said(&large, &options(100.0));
    assert!(
        refused.starts_with("`deadline`: a model with latencies") && refused.contains(&TIMED_SITUATIONS.to_string())
    );
    assert!(refused.contains("got 2.824e11 or more") && !refused.contains('\n'), "{refused}");
}

#[test]
fn a_plan_for_other_latencies_is_refused() {
    let solution = solve(&line(), &options(0.4)).unwrap();
    let refused = |model: Model, solution: &Solution| ttamer::solve::verify(&model, solution).unwrap_err().to_string();
    let other = vec![vec![Latency::new(vec![0.15], vec![1.0])]; 2];
    assert!(refused(line().with_latency(other).unwrap(), &solution).contains("no sum of latencies"));
    let transition = vec![Transition::Dense(array![[0.5, 0.5]]), Transition::Dense(array![[1.0, 0.0], [0.0, 1.0]])];
    let plain = Model::line(vec![vec![0.1, 0.9], vec![0.0, 0.2]], vec![0.05, 0.1], transition).unwrap();
    assert!(refused(plain, &solution).contains("the model has no latencies"));
    let mut short = solution.clone();
    if let Plan::Chain(plan) = &mut short.plan {
        plan.time.as_mut().unwrap().start.pop();
    }
    assert!(refused(line(), &short).contains("once for every remaining time"));
    let error = ttamer::solve::verify(&line(), &short);
    assert!(matches!(error, Err(Error::Invalid(_))));
}
