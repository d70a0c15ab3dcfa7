//! A policy followed over what another one's requests have shown, against its own replay of everything.
#![expect(clippy::unwrap_used, reason = "tests")]

mod recorded;
mod support;

use proptest::prelude::*;
use recorded::{STAGES, data, of_method};
use support::{Dice, model};
use ttamer::learn::{Approach, FitOptions, Goal, Method, fit};
use ttamer::operate::{Ended, Followed, Ran, Tallies, follow};
use ttamer::plan::NO_STAGE;
use ttamer::rules::NO_PREDICTION;
use ttamer::{Barred, Given, Kind, Policy, Run, SolveOptions, Table, Trace, compile, mixture};

const ROWS: usize = 400;

/// What becomes of a stage: it says a signal and a prediction, fails, or cannot be tried.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Turn {
    Says(f64, i64),
    Fails,
    Barred,
}

/// A request run to its end: how it ended, what it ran, and what was barred when it came to it.
fn served(mut run: Run, turns: &[Turn]) -> (Ended, Vec<Ran>, Vec<u16>) {
    let (mut ran, mut barred) = (Vec::new(), Vec::new());
    while let Some(stage) = run.next() {
        let stage = stage as u16;
        match turns[usize::from(stage)] {
            Turn::Says(signal, prediction) => {
                ran.push(Ran { stage, has_failed: false, signal, prediction });
                run.observe(signal, Some(prediction)).unwrap();
            }
            Turn::Fails => {
                ran.push(Ran { stage, ..Ran::default() });
                run.fail().unwrap();
            }
            Turn::Barred => {
                barred.push(stage);
                run.bar().unwrap();
            }
        }
    }
    let answer = run.answer().map_or(NO_STAGE, |stage| stage as u16);
    (Ended { answer, is_late: false, cost: run.cost(), expected_loss: run.expected_loss() }, ran, barred)
}

fn order(ran: &[Ran]) -> Vec<u16> {
    ran.iter().map(|ran| ran.stage).collect()
}

/// Policies of every kind that is learned, over the same stages.
fn learned(kind: Kind) -> Vec<Policy> {
    let (signal, loss, prediction) = data(ROWS);
    let trace = Trace::from_rows(&signal, &loss, Some(&prediction), &[1.0, 2.0, 4.0], kind).unwrap();
    let mut all: Vec<Policy> = Method::ALL.iter().map(|method| of_method(&trace, *method, 0.9)).collect();
    all.push(of_method(&trace, Method::Pathwise, 0.97));
    all.push(of_method(&trace, Method::Pathwise, 0.5));
    all.push(mixture(&all[0], &all[1], 0.4, 5, 0.0, vec![]).unwrap());
    let latency: Vec<f64> = signal.iter().map(|signal| 0.5 + signal).collect();
    let timed = trace.timed(Table::from_rows("latency", &latency, STAGES).unwrap()).unwrap();
    let approach = Approach { deadline: true, ..Approach::default() };
    all.push(fit(&timed, Goal::Tradeoff(0.97), &FitOptions { approach, ..FitOptions::default() }).unwrap());
    all
}

#[test]
fn counts_are_those_of_replays() {
    for kind in [Kind::Exits, Kind::Models] {
        let (signal, _, prediction) = data(ROWS);
        let policies = learned(kind);
        let mut seen = Tallies::default();
        for policy in &policies {
            for shadow in &policies {
                let replay = shadow.replay(&signal, Some(&prediction)).unwrap();
                let (mut found, mut expected) = (Tallies::default(), Tallies::default());
                for row in 0..ROWS {
                    let all = row * STAGES..(row + 1) * STAGES;
                    let turns: Vec<Turn> = all.clone().map(|at| Turn::Says(signal[at], prediction[at])).collect();
                    let (ended, ran, _) = served(policy.start(), &turns);
                    let (alone, order_alone, _) = served(shadow.start(), &turns);
                    found.add(&ended, &follow(shadow, &ended, &ran, None, &[]));
                    let has_run = |stage: usize| ran.iter().any(|ran| usize::from(ran.stage) == stage);
                    let is_within = replay.consulted[all].iter().enumerate().all(|(v, asks)| !asks || has_run(v));
                    if !is_within {
                        expected.wanted_more += 1;
                        continue;
                    }
                    let is_same = ran.len() == order_alone.len();
                    expected.agreed += u64::from(is_same);
                    expected.other_order += u64::from(is_same && order(&ran) != order(&order_alone));
                    expected.stopped_earlier += u64::from(!is_same);
                    let answer = u16::try_from(replay.answer[row]).unwrap_or(NO_STAGE);
                    expected.other_answer += u64::from(answer != ended.answer);
                    expected.summed += 1;
                    expected.cost += ended.cost;
                    expected.cost_beside += replay.cost[row];
                    expected.expected_loss += ended.expected_loss;
                    expected.expected_loss_beside += alone.expected_loss;
                }
                assert_eq!((found, found.compared()), (expected, ROWS as u64));
                if std::ptr::eq(policy, shadow) {
                    assert_eq!((found.agreed, found.other_order, found.other_answer), (ROWS as u64, 0, 0));
                }
                seen.agreed += found.agreed;
                seen.stopped_earlier += found.stopped_earlier;
                seen.wanted_more += found.wanted_more;
                seen.other_answer += found.other_answer;
            }
        }
        assert!(seen.agreed.min(seen.stopped_earlier).min(seen.wanted_more).min(seen.other_answer) > 1000, "{seen:?}");
    }
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let turn = prop_oneof![
        6 => (0_u8..3, 0_i64..3).prop_map(|(signal, said)| Turn::Says(f64::from(signal), said)),
        1 => Just(Turn::Says(f64::NAN, NO_PREDICTION)),
        3 => Just(Turn::Fails),
        3 => Just(Turn::Barred),
    ];
    proptest::collection::vec(turn, 5)
}

/// A request of `policy` that goes without the stages of a set, followed by itself.
fn check_itself(policy: &Policy, turns: &[Turn], set: u8) {
    let stages: Vec<usize> = (0..policy.stages().len()).filter(|stage| set >> stage & 1 == 1).collect();
    let without = Barred::of(policy, &stages).unwrap();
    let (ended, ran, mut barred) = served(policy.start_without(Given::NOTHING, &without), turns);
    barred.extend(stages.iter().map(|stage| *stage as u16));
    let Ended { answer, cost, expected_loss, .. } = ended;
    let itself = Followed::Ended { is_same: true, is_in_order: true, answer, cost, expected_loss };
    assert_eq!(follow(policy, &ended, &ran, Some(&without), &barred), itself);
    assert_eq!(follow(policy, &Ended { is_late: true, ..ended }, &ran, Some(&without), &barred), Followed::LeftOut);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_solved_policy_agrees_with_itself_and_is_followed_as_far_as_is_known(
        bytes in proptest::collection::vec(any::<u8>(), 160),
        stages in 1_usize..6,
        kind in 0_u8..4,
        default_loss in prop_oneof![3 => Just(f64::INFINITY), 1 => Just(0.3)],
        set in any::<u8>(),
        turns in turns(),
    ) {
        let model = model(&mut Dice::new(&bytes), stages, kind);
        let policy = compile(&model, &SolveOptions { default_loss, ..SolveOptions::default() }).unwrap();
        check_itself(&policy, &turns, set);
        check_itself(&policy, &turns, 0);
        let options = SolveOptions { default_loss: 0.2, recall: kind == 1 || kind == 2, ..SolveOptions::default() };
        let shadow = compile(&model, &options).unwrap();
        let (ended, ran, barred) = served(policy.start(), &turns);
        let (alone, ran_alone, barred_alone) = served(shadow.start(), &turns);
        let is_known = ran_alone.iter().all(|stage| order(&ran).contains(&stage.stage))
            && barred_alone.iter().all(|stage| barred.contains(stage));
        let expected = if is_known {
            Followed::Ended {
                is_same: ran.len() == ran_alone.len(),
                is_in_order: order(&ran).starts_with(&order(&ran_alone)),
                answer: alone.answer,
                cost: alone.cost,
                expected_loss: alone.expected_loss,
            }
        } else {
            Followed::WantedMore
        };
        prop_assert_eq!(follow(&shadow, &ended, &ran, None, &barred), expected);
    }

    #[test]
    fn anything_may_come_in(
        bytes in proptest::collection::vec(any::<u8>(), 160),
        stages in 1_usize..6,
        kind in 0_u8..4,
        steps in proptest::collection::vec((any::<u16>(), 0_u16..6, any::<bool>(), any::<u64>(), any::<i64>()), 0..12),
        barred in proptest::collection::vec(prop_oneof![0_u16..6, any::<u16>()], 0..6),
        (answer, cost, loss) in any::<(u16, u64, u64)>(),
    ) {
        let policy = compile(&model(&mut Dice::new(&bytes), stages, kind), &SolveOptions::default()).unwrap();
        let ran: Vec<Ran> = steps.iter().map(|(far, near, has_failed, signal, prediction)| Ran {
            stage: if far % 4 == 0 { *far } else { *near },
            has_failed: *has_failed,
            signal: f64::from_bits(*signal),
            prediction: *prediction,
        }).collect();
        let ended = Ended { answer, is_late: false, cost: f64::from_bits(cost), expected_loss: f64::from_bits(loss) };
        let mut tallies = Tallies::default();
        for _ in 0..3 {
            tallies.add(&ended, &follow(&policy, &ended, &ran, None, &barred));
        }
        prop_assert_eq!((tallies.compared(), tallies.left_out), (3, 0));
        prop_assert!([0, 3].contains(&tallies.agreed) && tallies.other_answer <= tallies.agreed + tallies.stopped_earlier);
        let sums = [tallies.cost, tallies.cost_beside, tallies.expected_loss, tallies.expected_loss_beside];
        prop_assert!(!sums.iter().any(|sum| sum.is_nan()), "{tallies:?}");
    }
}

#[test]
fn a_learned_policy_agrees_with_itself_without_stages() {
    let (signal, _, prediction) = data(ROWS);
    for kind in [Kind::Exits, Kind::Models] {
        for policy in learned(kind) {
            for row in 0..ROWS {
                let turn = |v: usize| match (row * 7 + v * 3) % 5 {
                    0 => Turn::Fails,
                    1 => Turn::Barred,
                    _ => Turn::Says(signal[row * STAGES + v], prediction[row * STAGES + v]),
                };
                check_itself(&policy, &(0..STAGES).map(turn).collect::<Vec<_>>(), (row % 8) as u8);
            }
        }
    }
}
