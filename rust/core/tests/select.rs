//! Which rule is taken follows from what all of them did on rows held back.
#![expect(clippy::unwrap_used, reason = "tests")]

mod recorded;

use recorded::{STAGES, data};
use ttamer::learn::{Approach, Learner, Recall, Tuning};
use ttamer::{Candidate, Kind, Trace};

fn learner(rows: usize, select_errors: f64) -> Learner {
    let (signal, loss, _) = data(rows);
    // Predictions would say who is right.
    let trace = Trace::from_rows(&signal, &loss, None, &[1.0, 2.0, 4.0], Kind::Models).unwrap();
    Learner::new(trace, &Approach::default(), Tuning { select_errors, ..Tuning::default() }).unwrap()
}

/// The first candidate, unless another is better by so many errors: then the best of those.
fn expected(candidates: &[Candidate], select_errors: f64) -> usize {
    let clearly = |found: &&(usize, &Candidate)| found.1.difference < -select_errors * found.1.error;
    let better = candidates.iter().enumerate();
    let best = better
        .collect::<Vec<_>>()
        .iter()
        .filter(clearly)
        .copied()
        .min_by(|a, b| a.1.difference.total_cmp(&b.1.difference).then(a.0.cmp(&b.0)));
    best.map_or(0, |(at, _)| at)
}

#[test]
fn the_best_of_those_clearly_better_is_taken() {
    let (mut taken, mut hesitations) = (Vec::new(), 0);
    for select_errors in [0.0, 0.5, 2.0] {
        let learned = learner(300, select_errors);
        for tradeoff in [0.2, 0.5, 0.7, 0.9, 0.97] {
            let policy = learned.policy(tradeoff, Recall::Auto, vec![]).unwrap();
            let candidates = &policy.facts().candidates;
            let chosen = expected(candidates, select_errors);
            assert!(
                candidates.iter().enumerate().all(|(at, found)| found.is_chosen == (at == chosen)),
                "{candidates:?}"
            );
            assert!(candidates[chosen].name.starts_with(&policy.facts().method));
            assert!(candidates.iter().any(|found| found.loss > 0.0 && found.loss < 1.0));
            hesitations += usize::from(chosen == 0 && candidates.iter().any(|found| found.difference < 0.0));
            taken.push(chosen);
        }
    }
    assert!(taken.contains(&0) && taken.contains(&1) && hesitations > 0, "{taken:?}, {hesitations}");
}

#[test]
fn estimates_do_not_need_a_choice() {
    let learned = learner(300, 2.0);
    let candidates = learned.policy(0.9, Recall::Auto, vec![]).unwrap().facts().candidates.clone();
    for (recall, at) in [(Recall::Always, 0), (Recall::Never, 1)] {
        let (draft, held) = learned.judged_draft(0.9, recall, vec![]).unwrap();
        assert_eq!(held.map(|held| (held.loss, held.cost)), Some((candidates[at].loss, candidates[at].cost)));
        assert!(draft.policy.facts().candidates.is_empty());
    }
}

/// How the candidates of a learner did at one trade-off.
fn candidates(learned: &Learner, tradeoff: f64) -> Vec<Candidate> {
    learned.policy(tradeoff, Recall::Auto, vec![]).unwrap().facts().candidates.clone()
}

#[test]
fn so_many_errors_better_is_not_clearly_better() {
    let mut at_the_limit = 0;
    let learned = learner(300, 0.0);
    for tradeoff in [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9] {
        let found = candidates(&learned, tradeoff);
        let chosen = expected(&found, 0.0);
        assert!(found[chosen].is_chosen);
        let errors = -found[chosen].difference / found[chosen].error;
        if at_the_limit == 0 && errors > 0.0 && -errors * found[chosen].error == found[chosen].difference {
            let again = candidates(&learner(300, errors), tradeoff);
            assert_eq!(again[chosen].difference, found[chosen].difference);
            assert!(!again[chosen].is_chosen && again.iter().any(|one| one.is_chosen));
            at_the_limit += 1;
        }
    }
    assert!(at_the_limit > 0, "none is exactly so many errors better");
}

/// Signals that never change, and predictions that say nothing: the simple rules do the same.
#[test]
fn of_equals_the_first_is_taken() {
    let mut ties = 0;
    for seed in 0..10 {
        let dice = |at: usize| ((at * 7919 + seed * 104_729 + 13) as f64 * 0.618_033_988_749_895).fract();
        let (rows, k) = (60, 3);
        let loss: Vec<f64> = (0..rows * k).map(|at| f64::from(u8::from(dice(at) < 0.3))).collect();
        let prediction: Vec<i64> = (0..rows * k).map(|at| (dice(at + 5000) * 3.0) as i64).collect();
        let cost = [1.0, 2.0, 4.0];
        let trace = Trace::from_rows(&vec![0.5; rows * k], &loss, Some(&prediction), &cost, Kind::Models).unwrap();
        let tuning = Tuning { select_errors: 0.0, ..Tuning::default() };
        let learned = Learner::new(trace, &Approach::default(), tuning).unwrap();
        for tradeoff in [0.6, 0.8, 0.9] {
            let found = candidates(&learned, tradeoff);
            let chosen = expected(&found, 0.0);
            assert!(found[chosen].is_chosen);
            let equals = found.iter().skip(chosen + 1).filter(|one| one.difference == found[chosen].difference);
            ties += if chosen > 0 { equals.count() } else { 0 };
        }
    }
    assert!(ties > 0, "none is as good as the best");
}

#[test]
fn rows_of_a_group_count_as_one_in_the_error() {
    let (signal, loss, prediction) = data(300);
    let repeated = |times: usize| {
        let k = STAGES;
        let rows = |of: &[f64]| of.chunks(k).flat_map(|row| row.repeat(times)).collect::<Vec<_>>();
        // Different rows, so that they are not counted together for being the same one.
        let apart = |(at, signal): (usize, f64)| signal + 1e-9 * (at / k % times) as f64;
        let signal: Vec<f64> = rows(&signal).into_iter().enumerate().map(apart).collect();
        let said: Vec<i64> = prediction.chunks(k).flat_map(|row| row.repeat(times)).collect();
        let trace = Trace::from_rows(&signal, &rows(&loss), Some(&said), &[1.0, 2.0, 4.0], Kind::Models).unwrap();
        let group = (0..300 * times as i64).map(|row| row / times as i64).collect();
        let learned = Learner::new(trace.grouped(Some(group)).unwrap(), &Approach::default(), Tuning::default());
        candidates(&learned.unwrap(), 0.9).iter().map(|one| one.error).sum::<f64>()
    };
    let ratio = repeated(9) / repeated(1);
    assert!((0.7..1.4).contains(&ratio), "{ratio}: three times smaller, were rows counted");
}
