//! Files of any content are checked in time and memory that are linear in their size.
#![expect(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod recorded;
mod stored;

use std::time::{Duration, Instant};

use rmpv::Value;
use stored::{at, fields, file, file_of, list};
use ttamer::learn::Method;
use ttamer::{Error, Kind, Policy, Trace};

const BELIEF: &str = "rule.component.belief";

fn learned(kind: Kind) -> Value {
    let (signal, loss, prediction) = recorded::data(400);
    let trace = Trace::from_rows(&signal, &loss, Some(&prediction), &[1.0, 2.0, 4.0], kind).unwrap();
    fields(&recorded::of_method(&trace, Method::Pathwise, 0.9))
}

/// A policy whose first stage has so many classes, and whose first decision so many limits.
fn with_classes_and_limits(classes: usize, limits: usize) -> Vec<u8> {
    let mut stored = learned(Kind::Exits);
    let zigzag =
        |share: f32| Value::Array((0..16).map(|i| (if i % 2 == 0 { 5.0 } else { -5.0 } * share).into()).collect());
    let path = format!("{BELIEF}.beliefs.calibration.0");
    *at(&mut stored, &format!("{path}.signal")) = Value::Array((0..16).map(|i| f64::from(i).into()).collect());
    *at(&mut stored, &format!("{path}.logit")) = zigzag(1.0);
    *at(&mut stored, &format!("{path}.class")) = Value::Array((1..=classes).map(Value::from).collect());
    let curves = (0..classes).map(|i| zigzag(i as f32 / classes as f32)).collect();
    *at(&mut stored, &format!("{path}.curves")) = Value::Array(curves);
    let decisions = format!("{BELIEF}.decisions");
    let own = at(&mut stored, &format!("{decisions}.steps.0")).as_u64().unwrap() as usize;
    *at(&mut stored, &format!("{decisions}.steps.0")) = limits.into();
    *at(&mut stored, &format!("{decisions}.stop.0")) = (-6.0).into();
    let after = at(&mut stored, &format!("{decisions}.last.0")).clone();
    let next = (0..limits).map(|i| if i % 2 == 0 { (-1).into() } else { after.clone() });
    let limit = (0..limits).map(|i| (i as f64 * 10.0 / limits as f64 - 5.0).into());
    list(at(&mut stored, &format!("{decisions}.next"))).splice(0..own, next);
    list(at(&mut stored, &format!("{decisions}.limit"))).splice(0..own, limit);
    file(&stored)
}

/// The least of a few times.
fn time_of(work: impl Fn()) -> Duration {
    let times = (0..3).map(|_| {
        let begun = Instant::now();
        work();
        begun.elapsed()
    });
    times.min().unwrap()
}

#[test]
fn classes_times_limits_are_bounded() {
    let load = |n: usize| {
        let bytes = with_classes_and_limits(n, n);
        time_of(|| drop(Policy::from_bytes(&bytes).unwrap()))
    };
    // Below the bound each doubling takes four times as long, above it twice.
    let (small, large) = (load(2000), load(32_000));
    assert!(large < 64 * small.max(Duration::from_millis(20)), "{small:?} for 2000, {large:?} for 32000");
}

#[test]
fn limits_are_sought_in_the_logarithm_of_their_number() {
    let load = |limits: usize| {
        let bytes = with_classes_and_limits(1, limits);
        time_of(|| drop(Policy::from_bytes(&bytes).unwrap()))
    };
    let (small, large) = (load(5000), load(80_000));
    assert!(large < 64 * small.max(Duration::from_millis(5)), "{small:?} for 5000, {large:?} for 80000");
}

#[test]
fn beyond_the_bound_decisions_are_the_same() {
    let policy = Policy::from_bytes(&with_classes_and_limits(600, 600)).unwrap();
    let signal: Vec<f64> = (0..900).map(|i| f64::from(i % 331) / 20.0).collect();
    let prediction: Vec<i64> = (0..900).map(|i| i % 700).collect();
    let replay = policy.replay(&signal, Some(&prediction)).unwrap();
    let mut ends = [0_usize; 3];
    for row in 0..300 {
        let mut run = policy.start();
        while let Some(stage) = run.next() {
            run.observe(signal[3 * row + stage], Some(prediction[3 * row + stage])).unwrap();
        }
        assert_eq!(run.answer().map(|answer| answer as i32), Some(replay.answer[row]));
        assert_eq!(run.cost(), replay.cost[row]);
        ends[replay.last[row] as usize] += 1;
    }
    assert!(ends[0] > 30 && ends[0] < 270, "{ends:?}");
}

#[test]
fn a_set_is_checked_before_it_is_copied_into_its_situations() {
    let mut stored = learned(Kind::Models);
    let evidence = list(at(&mut stored, &format!("{BELIEF}.beliefs.sets.0.evidence")));
    evidence.extend(vec![evidence[0].clone(); 200_000]);
    // 200,000 entries of 48 bytes in each of 60,000 situations would be 576 GB.
    let situations = list(at(&mut stored, &format!("{BELIEF}.situations")));
    situations.extend(vec![situations[0].clone(); 60_000]);
    let error = Policy::from_bytes(&file(&stored)).unwrap_err();
    assert!(
        matches!(error, Error::Format(_)) && error.to_string().contains("one entry per pair of members"),
        "{error}"
    );
    let mut stored = learned(Kind::Models);
    let situations = list(at(&mut stored, &format!("{BELIEF}.situations")));
    situations.extend(vec![situations[0].clone(); 70_000]);
    let error = Policy::from_bytes(&file(&stored)).unwrap_err();
    assert!(error.to_string().contains("1 to 65535 situations"), "{error}");
}

#[test]
fn lengths_that_are_not_there_take_no_memory() {
    let stored = file(&learned(Kind::Models));
    let body = &stored[20..stored.len() - 32];
    // Every array of up to 15 entries claims 2³² − 1 of them.
    let mut refused = 0;
    for (place, byte) in body.iter().enumerate().filter(|(_, byte)| **byte >> 4 == 9) {
        let mut claimed = body[..place].to_vec();
        claimed.extend([0xdd, 0xff, 0xff, 0xff, 0xff]);
        claimed.extend(&body[place + 1..]);
        refused += usize::from(Policy::from_bytes(&file_of(&claimed)).is_err());
        assert!(*byte < 0xa0);
    }
    assert!(refused > 20, "{refused}");
}
