//! Nothing allocates while a request is observed.
#![expect(clippy::unwrap_used, reason = "a test may stop on a broken set-up")]

#[path = "../benches/workload/mod.rs"]
mod workload;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use ndarray::array;
use ttamer::{Model, Policy, SolveOptions, Transition, compile};
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

#[test]
fn solved_models() {
    let loss = || vec![vec![0.1, 0.9], vec![0.0, 0.4], vec![0.2, 0.3]];
    let next = || Transition::Dense(array![[0.6, 0.4], [0.3, 0.7]]);
    let first = || Transition::Dense(array![[0.5, 0.5]]);
    let jumps = array![[0.01, 0.02, 0.03], [0.0, 0.01, 0.02], [0.0, 0.0, 0.01]];
    let models = [
        Model::line(loss(), vec![0.01; 3], vec![first(), next(), next()]),
        Model::skip(loss(), jumps, vec![first(), next(), next()]),
        Model::tree(vec![-1, 0, 0], loss(), vec![0.01; 3], vec![first(), next(), next()]),
    ];
    let signal = [[0.0, 1.0, 0.0], [1.0, 1.0, 1.0], [1.0, 0.0, f64::NAN], [7.0, -1.0, 0.5]];
    for model in models {
        let policy = compile(&model.unwrap(), &SolveOptions::default()).unwrap();
        assert_eq!(allocations(&policy, signal.iter().map(|row| (row.as_slice(), &[0_i64; 3][..]))), 0);
    }
}
