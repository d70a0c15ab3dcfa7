//! Fitted policies: total on whatever a trace holds, decided alike online and on traces, the same bytes each time.

#![expect(clippy::expect_used, reason = "tests fail by panicking")]

use proptest::prelude::*;
use ttamer::learn::{Approach, FitOptions, Goal, Learner, Means, Recall, Shape, Tuning, fit};
use ttamer::rules::{AnyRule, Component};
use ttamer::{Error, Kind, Objective, Outcome, Policy, Replay, Trace};

/// A reproducible number in [0, 1).
fn uniform(seed: u64, at: usize) -> f64 {
    let mut z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(at as u64).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z >> 11) as f64 / (1_u64 << 53) as f64
}

fn learner(trace: Trace, shape: Shape) -> Learner {
    ordered(trace, shape, None).expect("a learner")
}

fn ordered(trace: Trace, shape: Shape, order: Option<Vec<usize>>) -> Result<Learner, Error> {
    Learner::new(trace, &Approach { shape, order, ..Approach::default() }, Tuning::default())
}

/// Mean objective of a policy on a trace.
fn mean_objective(policy: &Policy, trace: &Trace, tradeoff: f64) -> f64 {
    let objective = Objective::new(trace, tradeoff).expect("a trade-off");
    Outcome::of_policy(policy, trace).expect("an outcome").mean_objective(objective, trace.weight())
}

/// Arrays of a trace, (n, k) row by row.
struct Arrays {
    signal: Vec<f64>,
    loss: Vec<f64>,
    prediction: Vec<i64>,
    cost: Vec<f64>,
}

impl Arrays {
    /// Stages that get better and dearer, with answers among three classes.
    fn new(n: usize, k: usize, seed: u64) -> Self {
        let mut made =
            Self { signal: vec![], loss: vec![], prediction: vec![], cost: (1..=k).map(|v| v as f64).collect() };
        for row in 0..n {
            let truth = (uniform(seed, row) * 3.0) as i64;
            for v in 0..k {
                let signal = uniform(seed + 1, row * k + v);
                let right = uniform(seed + 2, row * k + v) < signal.powf(1.0 / (v + 1) as f64);
                made.signal.push(signal);
                made.loss.push(f64::from(u8::from(!right)));
                let wrong = truth + 1 + (uniform(seed + 3, row * k + v) * 2.0) as i64;
                made.prediction.push(if right { truth } else { wrong % 3 });
            }
        }
        made
    }

    fn trace(&self, kind: Kind) -> Trace {
        Trace::from_rows(&self.signal, &self.loss, Some(&self.prediction), &self.cost, kind).expect("a valid trace")
    }

    fn policy(&self, kind: Kind, shape: Shape, recall: Recall, tradeoff: f64) -> Policy {
        learner(self.trace(kind), shape).policy(tradeoff, recall, vec![]).expect("a policy")
    }

    /// Fits everything that can be fitted and checks that each policy is sound and runs as it replays.
    fn check(&self) {
        for kind in [Kind::Exits, Kind::Models] {
            for shape in Shape::ALL {
                let (auto, always, never) = (Recall::Auto, Recall::Always, Recall::Never);
                for (recall, tradeoff) in [(always, 0.0), (auto, 0.9), (always, 0.9), (never, 0.9), (always, 1.0)] {
                    let policy = self.policy(kind, shape, recall, tradeoff);
                    assert!(policy.facts().value.is_finite(), "{kind:?} {shape:?}: {}", policy.facts().value);
                    assert_eq!(Policy::from_bytes(&policy.to_bytes().expect("bytes")).expect("a policy"), policy);
                    assert!(!policy.describe().expect("text").contains("NaN"));
                    for prediction in [Some(self.prediction.as_slice()), None] {
                        let replay = policy.replay(&self.signal, prediction).expect("a replay");
                        self.runs_alike(&policy, prediction, &replay);
                    }
                }
            }
        }
    }

    fn runs_alike(&self, policy: &Policy, prediction: Option<&[i64]>, replay: &Replay) {
        let k = self.cost.len();
        for (row, signal) in self.signal.chunks_exact(k).enumerate() {
            let mut run = policy.start();
            while let Some(v) = run.next() {
                run.observe(signal[v], prediction.map(|prediction| prediction[row * k + v])).expect("a waiting stage");
            }
            assert_eq!(run.answer().map(|v| v as i32), Some(replay.answer[row]), "row {row}");
            assert_eq!(run.cost(), replay.cost[row], "row {row}");
            let answer = replay.answer[row] as usize;
            let known = (0..k).any(|v| replay.consulted[row * k + v] && !signal[v].is_nan());
            assert!(replay.consulted[row * k + answer], "row {row} answers with a stage that did not run");
            assert!(!known || !signal[answer].is_nan(), "row {row} answers with a stage without a signal");
        }
    }
}

#[test]
fn ordinary_traces() {
    Arrays::new(600, 4, 1).check();
}

#[test]
fn signals_and_labels_may_be_missing() {
    let mut made = Arrays::new(400, 3, 2);
    for at in 0..made.signal.len() {
        if uniform(7, at) < 0.2 {
            made.signal[at] = f64::NAN;
        }
        if uniform(8, at) < 0.1 {
            made.prediction[at] = i64::MIN;
        }
    }
    made.check();
    for row in 0..400 {
        made.signal[row * 3 + 1] = f64::NAN;
    }
    made.check();
    made.signal.fill(f64::NAN);
    made.check();
}

#[test]
fn one_row_and_one_stage() {
    Arrays::new(1, 3, 3).check();
    Arrays::new(2, 2, 3).check();
    Arrays::new(50, 1, 4).check();
    Arrays::new(1, 1, 5).check();
}

#[test]
fn signals_without_information() {
    for signal in [0.5, f64::INFINITY, f64::NEG_INFINITY, 1e308, 0.0] {
        let mut made = Arrays::new(100, 3, 6);
        made.signal.fill(signal);
        made.check();
    }
}

#[test]
fn losses_all_alike_and_real_valued() {
    for loss in [0.0, 1.0, 1e-300, 1e300] {
        let mut made = Arrays::new(100, 3, 7);
        made.loss.fill(loss);
        made.check();
    }
    let mut made = Arrays::new(300, 3, 8);
    for (at, loss) in made.loss.iter_mut().enumerate() {
        *loss *= 5.0 * uniform(9, at);
    }
    made.check();
}

#[test]
fn duplicated_stages_and_free_ones() {
    let mut made = Arrays::new(300, 4, 10);
    for row in 0..300 {
        for v in 1..4 {
            made.signal[row * 4 + v] = made.signal[row * 4];
            made.loss[row * 4 + v] = made.loss[row * 4];
            made.prediction[row * 4 + v] = made.prediction[row * 4];
        }
    }
    made.check();
    made.cost.fill(0.0);
    made.check();
}

#[test]
fn more_stages_than_are_held_in_hand() {
    let made = Arrays::new(200, 11, 11);
    made.check();
}

#[test]
fn a_trace_without_labels() {
    let made = Arrays::new(500, 3, 12);
    for kind in [Kind::Exits, Kind::Models] {
        let trace = Trace::from_rows(&made.signal, &made.loss, None, &made.cost, kind).expect("a valid trace");
        let policy = learner(trace, Shape::Auto).policy(0.9, Recall::Auto, vec![]).expect("a policy");
        made.runs_alike(&policy, None, &policy.replay(&made.signal, None).expect("a replay"));
    }
}

#[test]
fn the_whole_line_is_one_of_the_methods() {
    let made = Arrays::new(500, 3, 13);
    let approach = Approach { shape: Shape::Line, ..Approach::default() };
    let options = FitOptions { approach, recall: Recall::Always, ..FitOptions::default() };
    let trace = made.trace(Kind::Models);
    let line = fit(&trace, Goal::Tradeoff(0.9), &options).expect("a policy");
    let known = ttamer::learn::provenance(&trace, 0.9, "tradeoff=0.9");
    let same = learner(trace, Shape::Line).policy(0.9, Recall::Always, known).expect("a policy");
    assert_eq!(line.rule(), same.rule());
    assert_eq!(line.facts().graph, "line");
    assert_eq!(made.policy(Kind::Models, Shape::Auto, Recall::Always, 0.9).facts().graph, "lattice");
    assert_eq!(made.policy(Kind::Models, Shape::Skip, Recall::Always, 0.9).facts().graph, "skip");
}

#[test]
fn more_freedom_is_no_worse() {
    let made = Arrays::new(8000, 4, 15);
    let value = |shape| made.policy(Kind::Models, shape, Recall::Always, 0.9).facts().value;
    let (auto, skip, line) = (value(Shape::Auto), value(Shape::Skip), value(Shape::Line));
    assert!(auto <= skip && skip <= line && auto < line, "{auto} {skip} {line}");
}

/// The same requests with the stages the other way round.
fn reversed(made: &Arrays) -> Arrays {
    fn rows<T: Copy>(all: &[T], k: usize) -> Vec<T> {
        all.chunks_exact(k).flat_map(|row| row.iter().rev().copied()).collect()
    }
    let k = made.cost.len();
    Arrays {
        signal: rows(&made.signal, k),
        loss: rows(&made.loss, k),
        prediction: rows(&made.prediction, k),
        cost: rows(&made.cost, k),
    }
}

#[test]
fn a_cheap_stage_runs_first_wherever_it_stands() {
    let (train, test) = (reversed(&Arrays::new(4000, 4, 25)), reversed(&Arrays::new(4000, 4, 26)));
    let trace = test.trace(Kind::Models);
    let held_out = |shape| mean_objective(&train.policy(Kind::Models, shape, Recall::Always, 0.9), &trace, 0.9);
    let (auto, skip, line) = (held_out(Shape::Auto), held_out(Shape::Skip), held_out(Shape::Line));
    assert!(auto < 0.97 * skip.min(line), "{auto} {skip} {line}");
}

#[test]
fn a_simple_rule_is_taken_where_it_is_clearly_better() {
    let made = Arrays::new(300, 4, 19);
    let learned = learner(made.trace(Kind::Models), Shape::Auto);
    let policy = learned.policy(0.9, Recall::Auto, vec![]).expect("a policy");
    let report = &policy.facts().candidates;
    let names: Vec<&str> = report.iter().map(|found| found.name.as_str()).collect();
    assert_eq!(names, ["pathwise", "pathwise, no recall", "static", "threshold", "stage_thresholds", "patience"]);
    let chosen: Vec<&str> = report.iter().filter(|found| found.is_chosen).map(|found| found.name.as_str()).collect();
    assert_eq!(chosen.len(), 1);
    assert!(chosen[0].starts_with(&policy.facts().method));
    for found in report {
        assert!((found.objective - report[0].objective - found.difference).abs() < 1e-9, "{found:?}");
        assert!(
            found.error >= 0.0
                && (found.is_chosen || found.difference >= -2.0 * found.error - 1e-9 || chosen[0] != "pathwise")
        );
    }
    // One stage is right whatever the others say: a constant rule cannot be beaten.
    let mut sure = Arrays::new(200, 3, 20);
    for row in 0..200 {
        sure.loss[row * 3] = 0.0;
    }
    let learned = learner(sure.trace(Kind::Models), Shape::Auto);
    let policy = learned.policy(0.9, Recall::Auto, vec![]).expect("a policy");
    assert!(policy.replay(&sure.signal, Some(&sure.prediction)).expect("a replay").answer.iter().all(|a| *a == 0));
}

#[test]
fn estimates_come_from_rows_held_back() {
    let made = Arrays::new(2000, 3, 21);
    let learned = learner(made.trace(Kind::Models), Shape::Auto);
    let (draft, held) = learned.judged_draft(0.9, Recall::Auto, vec![]).expect("a policy");
    let Means { loss, cost, .. } = held.expect("enough rows");
    assert!((0.0..1.0).contains(&loss) && (1.0..=6.0).contains(&cost), "{loss} {cost}");
    let policy = draft.policy.clone();
    let finished = learned.finished(draft).expect("a policy");
    assert_ne!(policy, finished);
    assert_eq!(finished, learned.policy(0.9, Recall::Auto, vec![]).expect("a policy"));
    let chosen = policy.facts().candidates.iter().find(|found| found.is_chosen).expect("a choice");
    assert_eq!((chosen.loss, chosen.cost), (loss, cost));
    let single = Arrays::new(1, 2, 22);
    let learned = learner(single.trace(Kind::Exits), Shape::Auto);
    assert_eq!(learned.judged_draft(0.9, Recall::Always, vec![]).expect("a policy").1, None);
}

#[test]
fn large_traces_are_checked_on_a_sample() {
    let made = Arrays::new(21_000, 2, 23);
    let report = made.policy(Kind::Models, Shape::Auto, Recall::Auto, 0.9).facts().candidates.clone();
    assert_eq!(report.iter().filter(|found| found.is_chosen).count(), 1);
    assert!(made.policy(Kind::Models, Shape::Auto, Recall::Always, 0.9).facts().candidates.is_empty());
}

/// The stages that each request runs, one after the other.
fn paths(policy: &Policy, made: &Arrays) -> Vec<Vec<usize>> {
    let k = made.cost.len();
    let path = |(signal, prediction): (&[f64], &[i64])| {
        let mut run = policy.start();
        let mut path = Vec::new();
        while let Some(stage) = run.next() {
            path.push(stage);
            run.observe(signal[stage], Some(prediction[stage])).expect("a waiting stage");
        }
        path
    };
    made.signal.chunks_exact(k).zip(made.prediction.chunks_exact(k)).map(path).collect()
}

#[test]
fn orders_are_kept() {
    let made = Arrays::new(1500, 10, 24);
    let kept = |kind, shape, order: &[usize], recall| {
        let learned = ordered(made.trace(kind), shape, Some(order.to_vec())).expect("a learner");
        let policy = learned.policy(0.999, recall, vec![]).expect("a policy");
        made.runs_alike(
            &policy,
            Some(&made.prediction),
            &policy.replay(&made.signal, Some(&made.prediction)).expect("a replay"),
        );
        policy
    };
    let longest = |policy: &Policy| paths(policy, &made).into_iter().max_by_key(Vec::len).expect("a request");
    for recall in [Recall::Always, Recall::Never] {
        for order in [&[7, 0, 9, 3][..], &[9, 8, 7, 6, 5, 4, 3, 2, 1, 0]] {
            let line = kept(Kind::Models, Shape::Line, order, recall);
            assert_eq!(line.facts().graph, "line");
            assert!(longest(&line).len() > 1);
            assert!(paths(&line, &made).iter().all(|path| order.starts_with(path)));
        }
        let order = [7, 0, 9, 3];
        let skip = kept(Kind::Models, Shape::Auto, &order, recall);
        assert_eq!(skip.facts().graph, "skip");
        let place = |stage: &usize| order.iter().position(|v| v == stage).expect("a stage of the order");
        assert!(longest(&skip).len() > 1);
        assert!(paths(&skip, &made).iter().all(|path| path.iter().map(place).is_sorted()));
        let exits = kept(Kind::Exits, Shape::Auto, &[1, 4, 9], recall);
        assert!(longest(&exits).len() > 1);
        assert!(paths(&exits, &made).iter().all(|path| [1, 4, 9].starts_with(path)));
    }
    let identity: Vec<usize> = (0..10).collect();
    let given = kept(Kind::Models, Shape::Line, &identity, Recall::Always);
    assert_eq!(given, made.policy(Kind::Models, Shape::Line, Recall::Always, 0.999));
    for (kind, wrong) in
        [(Kind::Models, vec![]), (Kind::Models, vec![0, 10]), (Kind::Models, vec![2, 1, 2]), (Kind::Exits, vec![2, 1])]
    {
        assert!(ordered(made.trace(kind), Shape::Auto, Some(wrong)).is_err());
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let made = Arrays::new(70_000, 3, 16);
    let bytes = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| made.policy(Kind::Models, Shape::Auto, Recall::Always, 0.9).to_bytes().expect("bytes"))
    };
    let one = bytes(1);
    assert_eq!(one, bytes(2));
    assert_eq!(one, bytes(5));
}

#[test]
fn a_learner_gives_the_same_policy_whatever_it_gave_before() {
    let made = Arrays::new(1000, 7, 17);
    let learned = learner(made.trace(Kind::Models), Shape::Auto);
    for tradeoff in [0.5, 0.99, 0.9] {
        let policy = learned.policy(tradeoff, Recall::Always, vec![]).expect("a policy");
        assert_eq!(policy, made.policy(Kind::Models, Shape::Auto, Recall::Always, tradeoff));
    }
}

/// Whether entry `at` of an array with three columns belongs to a row that counts.
fn is_kept(at: usize) -> bool {
    !(at / 3).is_multiple_of(3)
}

fn picked<T: Copy>(all: &[T], keep: impl Fn(usize) -> bool) -> Vec<T> {
    (0..all.len()).filter(|at| keep(*at)).map(|at| all[at]).collect()
}

#[test]
fn weights_count_rows() {
    let made = Arrays::new(1500, 3, 18);
    let weight: Vec<f64> = (0..1500).map(|row| f64::from(u8::from(row % 3 != 0)) * 7.0).collect();
    let kept = Arrays {
        signal: picked(&made.signal, is_kept),
        loss: picked(&made.loss, is_kept),
        prediction: picked(&made.prediction, is_kept),
        cost: made.cost.clone(),
    };
    let weighted = made.trace(Kind::Models).weighted(Some(weight)).expect("objective");
    let policy = learner(weighted, Shape::Auto).policy(0.8, Recall::Always, vec![]).expect("a policy");
    let other = kept.policy(Kind::Models, Shape::Auto, Recall::Always, 0.8);
    // Quantiles and cells are those of all rows, so that the policies are alike rather than the same.
    let (a, b) = (policy.facts().value, mean_objective(&other, &kept.trace(Kind::Models), 0.8));
    assert!((a - b).abs() < 0.01, "{a} {b}");
    for wrong in [vec![1.0; 3], vec![-1.0; 1500], vec![0.0; 1500], vec![f64::NAN; 1500]] {
        assert!(made.trace(Kind::Models).weighted(Some(wrong)).is_err());
    }
    assert!(made.trace(Kind::Models).weighted(Some(vec![1e308; 1500])).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_small_trace_gives_sound_policies(
        k in 1_usize..4,
        cells in prop::collection::vec((prop::num::f64::ANY, 0.0..1e6_f64, -2_i64..5), 1..30),
        price in 0.0..1e3_f64,
    ) {
        let n = cells.len().div_ceil(k);
        let cell = |at: usize| cells[at % cells.len()];
        Arrays {
            signal: (0..n * k).map(|at| cell(at).0).collect(),
            loss: (0..n * k).map(|at| cell(at).1).collect(),
            prediction: (0..n * k).map(|at| cell(at).2).collect(),
            cost: vec![price; k],
        }
        .check();
    }

    #[test]
    fn parents_come_before_children(seed in 0_u64..1000, k in 1_usize..5, tradeoff in 0.3..1.0_f64) {
        let policy = Arrays::new(300, k, seed).policy(Kind::Models, Shape::Auto, Recall::Always, tradeoff);
        let AnyRule::Component(Component::Belief(rule)) = policy.rule() else { panic!("not a belief") };
        prop_assert_eq!(rule.nodes()[0].slot, 0);
        for (at, row) in rule.decisions().table().iter().enumerate() {
            for (_, next) in rule.decisions().steps(row) {
                prop_assert!(next == -1 || next > at as i32);
            }
        }
    }
}
