//! What a loop around a policy can do that is not told of time: begin a stage only if it is expected to be over in time.

use std::ops::Range;

use crate::decide::{Given, Replay};
use crate::policy::Policy;
use crate::trace::Trace;

/// Follows `policy` on some rows of `trace`, whose latencies are recorded, for `deadline` seconds each. With something in
/// hand a stage is begun only if its `expected` seconds (k,), and those of the exits before it, fit in what is left.
/// O(rows · k²).
pub fn follow(
    policy: &Policy,
    trace: &Trace,
    rows: Range<usize>,
    relative: Option<&[f64]>,
    (deadline, expected): (f64, &[f64]),
) -> Replay {
    let (n, stages) = (rows.len(), trace.stages());
    let mut replay = Replay {
        answer: vec![-1; n],
        last: vec![-1; n],
        consulted: vec![false; n * stages],
        cost: vec![0.0; n],
        late: vec![false; n],
    };
    let ends = replay.answer.iter_mut().zip(&mut replay.last).zip(&mut replay.late).zip(&mut replay.cost);
    let mut run = policy.start();
    for (row, ((((answer, last), late), cost), consulted)) in
        rows.zip(ends.zip(replay.consulted.chunks_exact_mut(stages)))
    {
        run.restart(relative.map_or(Given::NOTHING, |cost| Given::costing(cost[row])));
        let (mut left, mut before) = (deadline, None);
        while let Some(stage) = run.next() {
            let needed: f64 = expected[trace.run_by(before, stage)..=stage].iter().sum();
            if needed > left && run.answer().is_some() {
                break;
            }
            consulted[stage] = true;
            let waited = trace.wait(before, stage, row);
            if waited > left {
                *late = true;
                run.stop();
            } else {
                left -= waited;
                let said = trace.prediction(stage).map(|said| said[row]);
                if run.observe(trace.signal(stage)[row], said).is_err() {
                    break;
                }
            }
            before = Some(stage);
        }
        (*answer, *last, *cost) = (signed(run.answer()), signed(before), run.cost());
    }
    replay
}

/// The number of a stage, −1 for none.
fn signed(stage: Option<usize>) -> i32 {
    stage.map_or(-1, |stage| stage as i32)
}
