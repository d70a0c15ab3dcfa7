//! Counts of requests: one by one, in batches, and by threads, they come to the same.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::thread;

use proptest::prelude::*;
use ttamer::operate::{Became, Counted, Counters, Ended, Outcome, Report, Reported};
use ttamer::plan::NO_STAGE;

const STAGES: usize = 3;
const COSTS: [f64; 3] = [1.0, 2.0, 4.0];
const SECONDS: [f64; 2] = [0.25, 0.5];

/// One request: what became of its stages, in order, and how it ended.
#[derive(Clone, Debug)]
struct Request {
    stages: Vec<(u16, Became)>,
    ended: Ended,
    is_explored: bool,
}

impl Request {
    /// The stage run last, and the one that answered last.
    fn last(&self) -> (u16, u16) {
        let of = |wanted: &[Became]| {
            let found = self.stages.iter().rev().find(|(_, became)| wanted.contains(became));
            found.map_or(NO_STAGE, |(stage, _)| *stage)
        };
        (of(&[Became::Answered, Became::Failed]), of(&[Became::Answered]))
    }
}

fn requests() -> impl Strategy<Value = Vec<Request>> {
    let became = prop_oneof![3 => Just(Became::Answered), 1 => Just(Became::Failed), 1 => Just(Became::Barred)];
    let stages = Just((0..STAGES as u16).collect::<Vec<_>>()).prop_shuffle();
    let ended = (any::<bool>(), any::<prop::sample::Index>(), 0_u8..24, prop_oneof![Just(0.5), Just(f64::INFINITY)]);
    let request = (stages, proptest::collection::vec(became, 0..=STAGES), ended, any::<bool>()).prop_map(
        |(stages, became, (is_late, answer, cost, expected_loss), is_explored)| {
            let stages: Vec<_> = stages.into_iter().zip(became).collect();
            let answered = stages.iter().filter(|(_, became)| *became == Became::Answered);
            let answers: Vec<u16> = answered.map(|(stage, _)| *stage).chain([NO_STAGE]).collect();
            let answer = answers[answer.index(answers.len())];
            let cost = f64::from(cost) / 4.0;
            Request { stages, ended: Ended { answer, is_late, cost, expected_loss }, is_explored }
        },
    );
    proptest::collection::vec(request, 0..40)
}

fn seconds(stage: u16) -> f64 {
    [f64::NAN, 0.25, 0.75][usize::from(stage)]
}

fn new() -> Counters {
    Counters::new(STAGES, &COSTS, &SECONDS).unwrap()
}

fn count(counters: &Counters, request: &Request) {
    for (stage, became) in &request.stages {
        counters.stage(*stage, *became, seconds(*stage));
    }
    let (last, answered) = request.last();
    counters.ended(&request.ended, last, answered, request.is_explored);
}

fn count_batch(counters: &Counters, requests: &[Request]) {
    let turns = (0..STAGES).flat_map(|turn| (0..STAGES as u16).map(move |stage| (turn, stage)));
    let kinds = turns.flat_map(|(turn, stage)| {
        [Became::Answered, Became::Failed, Became::Barred].map(|became| (turn, (stage, became)))
    });
    let rows: Vec<_> = kinds
        .map(|(turn, told)| {
            let of = requests.iter().enumerate().filter(|(_, request)| request.stages.get(turn) == Some(&told));
            (told, of.map(|(row, _)| row as i64).collect::<Vec<i64>>())
        })
        .collect();
    let reports: Vec<Report> = rows
        .iter()
        .map(|((stage, became), rows)| Report { stage: *stage, rows, became: *became, seconds: seconds(*stage) })
        .collect();
    let column = |of: fn(&Request) -> f64| requests.iter().map(of).collect::<Vec<f64>>();
    let answer = |one: &Request| if one.ended.answer == NO_STAGE { -1 } else { i32::from(one.ended.answer) };
    let all = Reported {
        answer: &requests.iter().map(answer).collect::<Vec<i32>>(),
        is_late: Some(&requests.iter().map(|one| one.ended.is_late).collect::<Vec<bool>>()),
        cost: &column(|one| one.ended.cost),
        expected_loss: &column(|one| one.ended.expected_loss),
        reports: &reports,
    };
    let explored: Vec<bool> = requests.iter().map(|one| one.is_explored).collect();
    counters.batch(&all, Some(&explored)).unwrap();
}

/// The same by hand.
fn by_hand(requests: &[Request]) -> Counted {
    let told = |stage: usize, wanted: &[Became]| {
        let of = |one: &&(u16, Became)| usize::from(one.0) == stage && wanted.contains(&one.1);
        requests.iter().flat_map(|one| &one.stages).filter(of).count() as u64
    };
    let each = |wanted: &[Became]| (0..STAGES).map(|stage| told(stage, wanted)).collect::<Vec<u64>>();
    let outcome = |request: &Request| {
        let (last, answered) = request.last();
        request.ended.outcome(last, answered)
    };
    let answers = |stage: usize| {
        [false, true].map(|is_recalled| {
            let of = |one: &&Request| {
                usize::from(one.ended.answer) == stage && (one.ended.answer != one.last().1) == is_recalled
            };
            requests.iter().filter(of).count() as u64
        })
    };
    let runs = each(&[Became::Answered, Became::Failed]);
    let costs: Vec<f64> = requests.iter().map(|one| one.ended.cost).collect();
    let between = |low: f64, high: f64| costs.iter().filter(|cost| low < **cost && **cost <= high).count() as u64;
    let bounds = [f64::NEG_INFINITY, 1.0, 2.0, 4.0, f64::INFINITY];
    let seconds = [vec![0, 0, 0], vec![runs[1], 0, 0], vec![0, 0, runs[2]]];
    let spent = [0.0, 0.25 * runs[1] as f64, 0.75 * runs[2] as f64];
    Counted {
        outcomes: Outcome::ALL.map(|wanted| requests.iter().filter(|one| outcome(one) == wanted).count() as u64),
        explored: requests.iter().filter(|one| one.is_explored).count() as u64,
        runs,
        failures: each(&[Became::Failed]),
        barred: each(&[Became::Barred]),
        answers: (0..STAGES).map(answers).collect(),
        cost: ttamer::operate::Distribution {
            counts: bounds.windows(2).map(|pair| between(pair[0], pair[1])).collect(),
            sum: costs.iter().sum(),
        },
        seconds: seconds
            .into_iter()
            .zip(spent)
            .map(|(counts, sum)| ttamer::operate::Distribution { counts, sum })
            .collect(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_batch_is_its_requests(requests in requests()) {
        let (single, batch) = (new(), new());
        for request in &requests {
            count(&single, request);
        }
        count_batch(&batch, &requests);
        prop_assert_eq!(single.read(), by_hand(&requests));
        prop_assert_eq!(batch.read(), by_hand(&requests));
    }
}

#[test]
fn threads_lose_nothing() {
    let request = Request {
        stages: vec![(2, Became::Failed), (1, Became::Answered), (0, Became::Barred)],
        ended: Ended { answer: 1, is_late: false, cost: 1.5, expected_loss: 0.25 },
        is_explored: true,
    };
    let counters = new();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..1000).for_each(|_| count(&counters, &request)));
            scope.spawn(|| (0..100).for_each(|_| count_batch(&counters, &vec![request.clone(); 10])));
        }
    });
    assert_eq!(counters.read(), by_hand(&vec![request; 8000]));
}

#[test]
fn what_does_not_fit_is_refused_and_not_counted() {
    let counters = new();
    let refused = |requests: &Reported, explored| counters.batch(requests, explored).unwrap_err().to_string();
    let fits = Reported { answer: &[0, 1], is_late: None, cost: &[1.0; 2], expected_loss: &[0.5; 2], reports: &[] };
    for other in [Reported { cost: &[1.0], ..fits }, Reported { is_late: Some(&[true]), ..fits }] {
        assert_eq!(refused(&other, None), "columns must have 2 entries, as `stage` has, got 1");
    }
    assert_eq!(refused(&fits, Some(&[false; 3])), "columns must have 2 entries, as `stage` has, got 3");
    for (row, became) in [(2, Became::Answered), (-1, Became::Failed), (2, Became::Barred)] {
        let reports = [Report { stage: 0, rows: &[0, row], became, seconds: 1.0 }];
        let message = format!("`reports` must be of rows in 0..2, got {row}");
        assert_eq!(refused(&Reported { reports: &reports, ..fits }, None), message);
    }
    assert_eq!(counters.read(), by_hand(&[]));
}

#[test]
fn what_is_no_stage_is_left_out() {
    let counters = new();
    counters.stage(3, Became::Answered, 1.0);
    counters.ended(&Ended { answer: 7, is_late: false, cost: f64::NAN, expected_loss: 0.5 }, 7, 7, false);
    let mut expected = by_hand(&[]);
    expected.outcomes[Outcome::Stopped as usize] = 1;
    assert_eq!(counters.read(), expected);
}

#[test]
fn bounds_are_named() {
    let error = |cost: &[f64], seconds: &[f64]| Counters::new(1, cost, seconds).unwrap_err().to_string();
    assert!(error(&[2.0, 1.0], &[]).starts_with("`cost_bounds[1]` must be"));
    assert!(error(&[], &[f64::NAN]).starts_with("`seconds_bounds[0]` must be"));
}
