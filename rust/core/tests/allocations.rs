//! Nothing allocates while a request is observed.
#![expect(clippy::unwrap_used, reason = "a test may stop on a broken set-up")]

#[path = "../benches/workload/mod.rs"]
mod workload;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use ndarray::array;
use ttamer::learn::{Approach, FitOptions, Goal, fit};
use ttamer::rules::Observation;
use ttamer::{Given, Kind, Latency, Model, Policy, SolveOptions, Table, Trace, Transition, compile};
use workload::{STAGES, data, policy, request};

/// Counts what the current thread allocates.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: forwards to the system allocator; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of observing until done, over requests made of these signals and predictions.
fn allocations<'a>(policy: &Policy, requests: impl Iterator<Item = (&'a [f64], &'a [i64])>) -> usize {
    let mut run = policy.start();
    let before = ALLOCATIONS.with(Cell::get);
    assert!(before > 0, "the counter does not count");
    let mut counted = 0;
    for (signal, prediction) in requests {
        // Starting a request of a tree makes room for its open stages; observing must not.
        run = policy.start();
        let before = ALLOCATIONS.with(Cell::get);
        while let Some(stage) = run.next() {
            run.observe(signal[stage], Some(prediction[stage])).unwrap();
        }
        counted += ALLOCATIONS.with(Cell::get) - before;
    }
    assert!(run.next().is_none(), "a request did not end");
    counted
}

#[test]
fn a_fitted_policy() {
    let (signal, loss, prediction) = data();
    let policy = policy(&signal, &loss, &prediction);
    let replay = policy.replay(&signal, Some(&prediction)).unwrap();
    assert_eq!(replay.answer[0] as usize, request(&policy, &signal[..STAGES], &prediction[..STAGES]));
    assert_eq!(allocations(&policy, signal.chunks(STAGES).zip(prediction.chunks(STAGES))), 0);
}

/// The same requests, of which stages take half a second to four.
fn timed_policy() -> Policy {
    let (signal, loss, prediction) = data();
    let latency: Vec<f64> = signal.iter().map(|signal| 0.5 * (3.0 * signal).exp2()).collect();
    let cost = [1.0, 1.4, 1.8, 2.2, 2.6, 3.0];
    let trace = Trace::from_rows(&signal, &loss, Some(&prediction), &cost, Kind::Exits).unwrap();
    let trace = trace.timed(Table::from_rows("latency", &latency, STAGES).unwrap()).unwrap();
    let approach = Approach { deadline: true, ..Approach::default() };
    fit(&trace, Goal::Tradeoff(0.97), &FitOptions { approach, ..FitOptions::default() }).unwrap()
}

/// Numbers that a request could be told to have left, whatever they mean, and any bit pattern.
fn remaining(at: u64) -> f64 {
    let odd = [0.0, -0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE, f64::MAX, 5e-324];
    let mixed = at.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    match at % 3 {
        0 => odd[(mixed >> 32) as usize % odd.len()],
        1 => f64::from_bits(mixed ^ (mixed << 17)),
        _ => 20.0 * (mixed >> 11) as f64 / (1_u64 << 53) as f64,
    }
}

#[test]
fn a_policy_that_is_told_any_time() {
    let policy = timed_policy();
    assert!(policy.knows_time());
    let (signal, _, prediction) = data();
    let rows = signal.chunks(STAGES).zip(prediction.chunks(STAGES)).zip(0_u64..);
    let mut ends = [0_usize; STAGES + 1];
    for ((signal, prediction), row) in rows {
        let mut run = policy.start_given(Given::within(remaining(row)));
        let before = ALLOCATIONS.with(Cell::get);
        let mut asked = 0;
        while let Some(stage) = run.next() {
            asked += 1;
            let said = Observation::new(signal[stage], prediction[stage]).within(remaining(row + 7 * asked));
            run.report(said).unwrap();
        }
        assert_eq!(ALLOCATIONS.with(Cell::get), before);
        assert!(asked <= STAGES as u64 && run.answer().is_some() == (asked > 0));
        ends[asked as usize] += 1;
        let mut lost = policy.start_given(Given::within(remaining(row)));
        for turn in 0.. {
            match (lost.next(), turn % 3) {
                (None, _) => break,
                (Some(stage), 0) => drop(lost.report(Observation::new(signal[stage], 0).within(remaining(turn)))),
                (Some(_), 1) => drop(lost.fail_within(remaining(row + turn))),
                (Some(_), _) => drop(lost.bar()),
            }
            assert!(turn < STAGES as u64, "a request goes on for ever");
        }
    }
    assert!(ends[1] > 0 && ends[STAGES] > 0, "time plays no part: {ends:?}");
}

/// A line, a skip graph and a tree of three stages, which take half a second or one each.
fn models() -> Vec<Model> {
    let loss = || vec![vec![0.1, 0.9], vec![0.0, 0.4], vec![0.2, 0.3]];
    let next = || Transition::Dense(array![[0.6, 0.4], [0.3, 0.7]]);
    let first = || Transition::Dense(array![[0.5, 0.5]]);
    let jumps = array![[0.01, 0.02, 0.03], [0.0, 0.01, 0.02], [0.0, 0.0, 0.01]];
    let models = [
        Model::line(loss(), vec![0.01; 3], vec![first(), next(), next()]),
        Model::skip(loss(), jumps, vec![first(), next(), next()]),
        Model::tree(vec![-1, 0, 0], loss(), vec![0.01; 3], vec![first(), next(), next()]),
    ];
    let latency = || vec![vec![Latency::new(vec![0.5, 1.0], vec![0.5, 0.5])]; 3];
    models.into_iter().map(|model| model.unwrap().with_latency(latency()).unwrap()).collect()
}

const STATES: [[f64; 3]; 4] = [[0.0, 1.0, 0.0], [1.0, 1.0, 1.0], [1.0, 0.0, f64::NAN], [7.0, -1.0, 0.5]];

#[test]
fn solved_models() {
    for model in models() {
        let policy = compile(&model, &SolveOptions::default()).unwrap();
        assert_eq!(allocations(&policy, STATES.iter().map(|row| (row.as_slice(), &[0_i64; 3][..]))), 0);
    }
}

#[test]
fn solved_models_that_are_told_any_time() {
    for model in models() {
        let policy = compile(&model, &SolveOptions { deadline: 3.0, ..SolveOptions::default() }).unwrap();
        assert!(policy.knows_time());
        let mut ends = [0_usize; 4];
        for (row, states) in (0_u64..600).zip(STATES.iter().cycle()) {
            let mut run = policy.start_given(Given::within(remaining(row)));
            let before = ALLOCATIONS.with(Cell::get);
            let mut asked = 0;
            while let Some(stage) = run.next() {
                asked += 1;
                let said = Observation::new(states[stage], 0).within(remaining(row / 4 + 7 * asked));
                run.report(said).unwrap();
            }
            assert_eq!(ALLOCATIONS.with(Cell::get), before);
            ends[asked as usize] += 1;
            let mut lost = policy.start_given(Given::within(remaining(row)));
            for turn in 0..=3 {
                match (lost.next(), turn % 2) {
                    (None, _) => break,
                    (Some(stage), 0) => drop(lost.report(Observation::new(states[stage], 0).within(remaining(turn)))),
                    (Some(_), _) => drop(lost.fail_within(remaining(row + turn))),
                }
                assert!(turn < 3, "a request goes on for ever");
            }
        }
        assert!(ends[0] > 0 && ends[1] > 0 && ends[2] > 0, "time plays no part: {ends:?}");
    }
}
