//! Fitted policies that know how much time is left.
#![expect(clippy::unwrap_used, reason = "tests")]

mod recorded;

use std::sync::Arc;

use recorded::{STAGES, data};
use ttamer::learn::{Approach, FitOptions, Goal, Heuristic, Learner, Method, Recall, Tuning, fit};
use ttamer::rules::{NO_PREDICTION, Observation, Rule};
use ttamer::{Batch, Circumstances, Given, Kind, Policy, Replay, Table, Trace, mixture};

const ROWS: usize = 2_000;
const COST: [f64; STAGES] = [1.0, 2.0, 4.0];
const DEADLINES: [f64; 9] = [0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 20.0, 1e9];

/// Deterministic noise in [0, 1).
struct Noise(u64);

impl Noise {
    fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 ^ (self.0 >> 29)
    }

    fn next(&mut self) -> f64 {
        (self.word() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

struct Requests {
    signal: Vec<f64>,
    prediction: Vec<i64>,
    /// Seconds, row by row: on average those of `COST`, up to 2.5 times as long.
    latency: Vec<f64>,
    trace: Trace,
}

fn requests(kind: Kind) -> Requests {
    let (signal, loss, prediction) = data(ROWS);
    let mut noise = Noise(3);
    let latency: Vec<f64> = (0..ROWS)
        .flat_map(|_| {
            let slow = 0.5 + noise.next();
            COST.map(|cost| cost * slow * (0.5 + noise.next())).into_iter().collect::<Vec<_>>()
        })
        .collect();
    let table = Table::from_fn(ROWS, STAGES, |row, stage| latency[row * STAGES + stage]);
    let trace = Trace::from_rows(&signal, &loss, Some(&prediction), &COST, kind).unwrap().timed(table).unwrap();
    Requests { signal, prediction, latency, trace }
}

fn fitted(trace: &Trace, goal: Goal, deadline: bool) -> Policy {
    let approach = Approach { deadline, ..Approach::default() };
    fit(trace, goal, &FitOptions { approach, recall: Recall::Always, ..FitOptions::default() }).unwrap()
}

impl Requests {
    fn replay(&self, policy: &Policy, deadline: f64) -> Replay {
        policy
            .replay_in(
                &self.signal,
                Some(&self.prediction),
                &Circumstances { latency: Some(&self.latency), deadline, cost: None },
            )
            .unwrap()
    }

    /// Seconds of running `next` after `last`.
    fn delay(&self, row: usize, last: Option<usize>, next: usize) -> f64 {
        let from = if self.trace.kind() == Kind::Exits { last.map_or(0, |last| last + 1) } else { next };
        self.latency[row * STAGES + from..=row * STAGES + next].iter().sum()
    }

    fn report(&self, row: usize, stage: usize) -> Observation {
        let at = row * STAGES + stage;
        Observation::new(self.signal[at], self.prediction[at])
    }

    /// Mean of loss and cost, both weighed alike; an answer that is missing loses 1.
    fn objective(&self, replay: &Replay, tradeoff: f64) -> f64 {
        let all: f64 = COST.iter().sum();
        let of = |row: usize| {
            let answer = usize::try_from(replay.answer[row]).ok();
            let loss = answer.map_or(1.0, |answer| self.trace.loss(answer)[row]);
            tradeoff * loss + (1.0 - tradeoff) * replay.cost[row] / all
        };
        (0..ROWS).map(of).sum::<f64>() / ROWS as f64
    }
}

fn all_kinds() -> [(Requests, Policy); 2] {
    [Kind::Exits, Kind::Models].map(|kind| {
        let requests = requests(kind);
        let policy = fitted(&requests.trace, Goal::Tradeoff(0.95), true);
        (requests, policy)
    })
}

#[test]
fn without_a_deadline_they_decide_as_policies_that_know_no_time() {
    for (requests, policy) in all_kinds() {
        let plain = fitted(&requests.trace, Goal::Tradeoff(0.95), false);
        assert_eq!(plain.rule().latency(), None);
        assert_eq!(policy.rule().latency(), requests.trace.expected_latency());
        let expected = plain.replay(&requests.signal, Some(&requests.prediction)).unwrap();
        assert_eq!(policy.replay(&requests.signal, Some(&requests.prediction)).unwrap(), expected);
        assert_eq!(requests.replay(&policy, f64::INFINITY), expected);
        // Longer than any request takes.
        assert_eq!(requests.replay(&policy, 1e9), expected);
        assert!(!expected.late.contains(&true));
    }
}

#[test]
fn they_are_stored_with_their_decisions() {
    for (requests, policy) in all_kinds() {
        let again = Policy::from_bytes(&policy.to_bytes().unwrap()).unwrap();
        assert_eq!(again, policy);
        for deadline in DEADLINES {
            assert_eq!(requests.replay(&again, deadline), requests.replay(&policy, deadline));
        }
        assert!(policy.describe().unwrap().contains("\"until\""));
    }
}

/// Request by request, with a clock in the hands of the caller.
#[test]
fn runs_go_where_replays_say() {
    for (requests, policy) in all_kinds() {
        let mut cut_off = 0;
        for deadline in DEADLINES {
            let replay = requests.replay(&policy, deadline);
            let mut again = policy.start();
            for row in 0..ROWS {
                again.restart(Given::within(deadline));
                let mut run = policy.start_given(Given::within(deadline));
                let (mut left, mut last, mut late) = (deadline, None, false);
                while let Some(stage) = run.next() {
                    assert!(replay.consulted[row * STAGES + stage]);
                    let seconds = requests.delay(row, last, stage);
                    if seconds > left {
                        late = true;
                        run.stop();
                        again.stop();
                    } else {
                        left -= seconds;
                        let report = requests.report(row, stage).within(left);
                        assert_eq!(run.report(report).unwrap(), again.report(report).unwrap());
                    }
                    last = Some(stage);
                }
                let answer = run.answer().map_or(-1, |stage| stage as i32);
                assert_eq!((answer, run.cost(), late), (replay.answer[row], replay.cost[row], replay.late[row]));
                assert_eq!((again.answer(), again.cost()), (run.answer(), run.cost()));
                cut_off += usize::from(late);
            }
        }
        assert!(cut_off > 100, "{cut_off}");
    }
}

/// All requests in step, each with a deadline of its own.
#[test]
fn batches_go_where_replays_say() {
    for (requests, policy) in all_kinds() {
        let deadline = |row: usize| DEADLINES[row % DEADLINES.len()];
        let mut left: Vec<f64> = (0..ROWS).map(deadline).collect();
        let mut last = vec![None; ROWS];
        let replays = DEADLINES.map(|deadline| requests.replay(&policy, deadline));
        let mut batch =
            Batch::given(Arc::new(policy), &left.iter().map(|left| Given::within(*left)).collect::<Vec<_>>()).unwrap();
        while let Some((stage, rows)) = batch.pending() {
            let rows: Vec<usize> = rows.iter().map(|row| *row as usize).collect();
            let (mut late, mut signal, mut prediction, mut remaining) = (vec![], vec![], vec![], vec![]);
            for row in rows {
                let seconds = requests.delay(row, last[row], stage);
                last[row] = Some(stage);
                if seconds > left[row] {
                    late.push(row as i64);
                    continue;
                }
                left[row] -= seconds;
                let report = requests.report(row, stage);
                signal.push(report.signal);
                prediction.push(report.prediction);
                remaining.push(left[row]);
            }
            batch.stop(Some(&late)).unwrap();
            let reports = ttamer::rules::Observations::new(&signal, Some(&prediction)).within(Some(&remaining));
            batch.report(stage, reports).unwrap();
        }
        let (answer, cost) = (batch.answer(), batch.cost());
        for row in 0..ROWS {
            let replay = &replays[row % DEADLINES.len()];
            assert_eq!((answer[row], cost[row]), (replay.answer[row], replay.cost[row]));
        }
    }
}

#[test]
fn more_time_is_no_worse_and_planning_beats_being_cut_off() {
    for (requests, policy) in all_kinds() {
        let plain = fitted(&requests.trace, Goal::Tradeoff(0.95), false);
        let planned = DEADLINES.map(|deadline| requests.objective(&requests.replay(&policy, deadline), 0.95));
        let cut_off = DEADLINES.map(|deadline| requests.objective(&requests.replay(&plain, deadline), 0.95));
        assert!(planned.windows(2).all(|pair| pair[1] <= pair[0] + 2e-3), "{planned:?}");
        assert!(planned.iter().zip(&cut_off).all(|(planned, cut)| *planned <= cut + 4e-3), "{planned:?}, {cut_off:?}");
        let gained = planned.iter().zip(&cut_off).map(|(planned, cut)| planned / cut).fold(1.0, f64::min);
        // Exits have one order: there is less to plan.
        let most = if requests.trace.kind() == Kind::Exits { 0.99 } else { 0.97 };
        assert!(gained < most, "{planned:?}, {cut_off:?}");
    }
}

#[test]
fn what_is_not_said_stays_as_it_was() {
    for (requests, policy) in all_kinds() {
        for row in 0..ROWS {
            for deadline in DEADLINES {
                let (mut silent, mut told) =
                    (policy.start_given(Given::within(deadline)), policy.start_given(Given::within(deadline)));
                while let Some(stage) = silent.next() {
                    assert_eq!(told.next(), Some(stage));
                    let report = requests.report(row, stage);
                    silent.report(report).unwrap();
                    told.report(report.within(deadline)).unwrap();
                }
                assert_eq!((told.next(), told.answer()), (None, silent.answer()));
            }
        }
    }
}

/// Whatever number stands for the time left, a request ends with an answer of a stage that has run.
#[test]
fn any_number_may_be_said() {
    let mut noise = Noise(11);
    for (_, policy) in all_kinds() {
        for _ in 0..20_000 {
            let start = f64::from_bits(noise.word());
            let mut run = policy.start_given(Given::within(start));
            let mut ran = Vec::new();
            while let Some(stage) = run.next() {
                assert!(!ran.contains(&stage));
                ran.push(stage);
                let left = if noise.next() < 0.5 { f64::from_bits(noise.word()) } else { 4.0 * noise.next() };
                let signal = if noise.next() < 0.1 { f64::from_bits(noise.word()) } else { noise.next() };
                if noise.next() < 0.1 {
                    run.fail_within(left).unwrap();
                } else {
                    run.report(Observation::new(signal, NO_PREDICTION).within(left)).unwrap();
                }
            }
            assert!(run.answer().is_none_or(|answer| ran.contains(&answer)));
            assert!(run.cost().is_finite() && ran.len() <= STAGES);
        }
    }
}

/// With no time left, a request that has an answer ends.
#[test]
fn nothing_begins_that_cannot_end() {
    for (requests, policy) in all_kinds() {
        for row in 0..ROWS {
            for left in [-1.0, 0.0, f64::NEG_INFINITY, 0.1] {
                let mut run = policy.start();
                let stage = run.next().unwrap();
                assert_eq!(run.report(requests.report(row, stage).within(left)).unwrap(), None);
                assert_eq!(run.answer(), Some(stage));
                let mut failed = policy.start();
                // Nothing is in hand: another stage is tried though it is late.
                assert!(failed.fail_within(left).unwrap().is_some());
            }
        }
    }
}

#[test]
fn budgets_mix_policies_that_know_time() {
    let requests = requests(Kind::Models);
    let policy = fitted(&requests.trace, Goal::MaxCost(2.5), true);
    assert_eq!(policy.rule().latency(), requests.trace.expected_latency());
    let plain = fitted(&requests.trace, Goal::MaxCost(2.5), false);
    assert_eq!(requests.replay(&policy, f64::INFINITY), requests.replay(&plain, f64::INFINITY));
    let again = Policy::from_bytes(&policy.to_bytes().unwrap()).unwrap();
    for deadline in DEADLINES {
        assert_eq!(requests.replay(&again, deadline), requests.replay(&policy, deadline));
    }
}

/// Where little time is left the two begin with different stages: requests then follow the one that most follow.
#[test]
fn parts_of_a_mixture_may_begin_apart() {
    let requests = requests(Kind::Models);
    let knows = fitted(&requests.trace, Goal::Tradeoff(0.95), true);
    let first = knows.start().next().unwrap();
    let differs = DEADLINES
        .into_iter()
        .find(|deadline| knows.start_given(Given::within(*deadline)).next() != Some(first))
        .unwrap();
    let plain = fitted(&requests.trace, Goal::Tradeoff(0.95), false);
    let alone = [&knows, &plain].map(|policy| requests.replay(policy, differs));
    for (share, followed) in [(0.3, 1), (0.7, 0)] {
        let mixed = mixture(&knows, &plain, share, 5, 0.0, vec![]).unwrap();
        assert_eq!(requests.replay(&mixed, differs), alone[followed]);
        let expected = mixed.replay(&requests.signal, Some(&requests.prediction)).unwrap();
        assert_eq!(requests.replay(&mixed, 1e9), expected);
    }
}

#[test]
fn what_cannot_be_fitted_or_replayed_is_refused() {
    let requests = requests(Kind::Models);
    let refused = |trace: &Trace, method: Method| {
        let approach = Approach { method, deadline: true, ..Approach::default() };
        Learner::new(trace.clone(), &approach, Tuning::default()).err().map(|error| error.to_string()).unwrap()
    };
    let (signal, loss, _) = data(ROWS);
    let untimed = Trace::from_rows(&signal, &loss, None, &COST, Kind::Models).unwrap();
    assert_eq!(refused(&untimed, Method::Pathwise), "`deadline` needs a trace with `latency`, got one without");
    let needs = "`deadline` needs the estimator 'pathwise', got ";
    assert_eq!(refused(&requests.trace, Method::Markov), format!("{needs}'markov'"));
    assert_eq!(refused(&requests.trace, Method::Heuristic(Heuristic::Patience)), format!("{needs}'patience'"));
    let holed = Table::from_fn(ROWS, STAGES, |row, stage| if (row, stage) == (7, 1) { f64::NAN } else { 1.0 });
    let holed = untimed.clone().timed(holed).unwrap();
    let told = "`deadline` needs a number of seconds in `latency[7, 1]`, got nan";
    assert_eq!(refused(&holed, Method::Pathwise), told);
    let policy = fitted(&requests.trace, Goal::Tradeoff(0.95), true);
    let replay = |latency: &[f64], deadline: f64| {
        let replay =
            policy.replay_in(&requests.signal, None, &Circumstances { latency: Some(latency), deadline, cost: None });
        replay.err().map(|error| error.to_string()).unwrap()
    };
    let mut latency = requests.latency.clone();
    assert_eq!(replay(&latency, f64::NAN), "`deadline` must be 0 or more seconds, got NaN");
    assert_eq!(replay(&latency, -0.5), "`deadline` must be 0 or more seconds, got -0.5");
    assert_eq!(replay(&latency[1..], 1.0), "`latency` must have the shape of `signal`, got 5999 entries for 6000");
    for wrong in [f64::NAN, -1.0, f64::INFINITY] {
        latency[4] = wrong;
        assert_eq!(replay(&latency, 1.0), format!("`latency[1, 1]` must be 0 or more seconds, got {wrong}"));
    }
}
