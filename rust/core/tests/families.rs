//! Families are stored with what their members share once, and any other file is refused.
#![expect(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod recorded;
mod stored;

use std::time::{Duration, Instant};

use rmpv::Value;
use stored::{at, family_fields as fields, family_file as file, list};
use ttamer::learn::{Approach, Learner, Method, Recall, Tuning};
use ttamer::{Error, Family, Kind, Member, Trace, mixture};

const TRADEOFFS: [f64; 4] = [0.5, 0.8, 0.9, 0.97];

fn learned(kind: Kind, method: Method, rows: usize) -> Family {
    let (signal, loss, prediction) = recorded::data(rows);
    let trace = Trace::from_rows(&signal, &loss, Some(&prediction), &[1.0, 2.0, 4.0], kind).unwrap();
    let approach = Approach { method, ..Approach::default() };
    let learner = Learner::new(trace, &approach, Tuning::default()).unwrap();
    let members = TRADEOFFS.map(|tradeoff| learner.member(tradeoff, Recall::Always, 0).unwrap().0);
    Family::new(members.into(), true).unwrap()
}

fn family() -> Family {
    learned(Kind::Models, Method::Pathwise, 400)
}

fn refusal(change: impl FnOnce(&mut Value)) -> String {
    let mut stored = fields(&family());
    assert_eq!(Family::from_bytes(&file(&stored)).unwrap(), family(), "unchanged fields make another family");
    change(&mut stored);
    match Family::from_bytes(&file(&stored)) {
        Ok(_) => panic!("accepted"),
        Err(error) => {
            assert!(matches!(error, Error::Format(_)) && !error.to_string().contains('\n'), "{error}");
            error.to_string()
        }
    }
}

#[test]
fn what_is_read_is_what_was_written() {
    for kind in [Kind::Models, Kind::Exits] {
        for method in [Method::Pathwise, Method::Markov] {
            let family = learned(kind, method, 400);
            let bytes = family.to_bytes().unwrap();
            let read = Family::from_bytes(&bytes).unwrap();
            assert_eq!(read, family);
            assert_eq!(read.to_bytes().unwrap(), bytes);
            assert_eq!(read.digest().unwrap(), family.digest().unwrap());
            for (one, other) in read.members().iter().zip(family.members()) {
                assert_eq!(one.policy.to_bytes().unwrap(), other.policy.to_bytes().unwrap());
            }
        }
    }
}

#[test]
fn what_members_share_is_there_once() {
    let mut stored = fields(&family());
    assert_eq!(list(at(&mut stored, "calibrations")).len(), 1);
    let sets = list(at(&mut stored, "sets")).len();
    let drawn: usize =
        (0..4).map(|member| list(at(&mut stored, &format!("members.{member}.shared.0.sets"))).len()).sum();
    assert!(sets <= 7 && drawn > 2 * sets, "{sets} sets, of which members take {drawn}");
}

#[test]
fn a_mixture_has_two_of_what_is_shared() {
    let family = family();
    let [first, .., last] = family.members() else { panic!() };
    let mixed = mixture(&first.policy, &last.policy, 0.5, 1, 0.0, Vec::new()).unwrap();
    let usual = first.policy.facts().usual.clone();
    let facts = ttamer::Facts { usual, ..mixed.facts().clone() };
    let member = Member { policy: mixed.with_facts(facts).into(), ..first.clone() };
    let family = Family::new(vec![member, last.clone()], false).unwrap();
    let mut stored = fields(&family);
    assert_eq!(list(at(&mut stored, "members.0.shared")).len(), 2);
    assert_eq!(Family::from_bytes(&file(&stored)).unwrap(), family);
}

#[test]
fn parts_that_do_not_fit_are_named() {
    let set = |path: &'static str, value: Value| refusal(move |stored| *at(stored, path) = value);
    let again = |path: &'static str| {
        refusal(move |stored| {
            let first = list(at(stored, path))[0].clone();
            list(at(stored, path)).push(first);
        })
    };
    assert!(set("members.1.shared.0.calibration", 1.into()).contains("a calibration that is not there"));
    assert!(set("members.1.shared.0.sets.0", 99.into()).contains("a set that is not there, or twice"));
    assert!(again("members.2.shared.0.sets").contains("a set that is not there, or twice"));
    assert!(again("members.2.shared").contains("what a policy shares does not fit its rule"));
    assert!(set("members.0.shared", Value::Array(vec![])).contains("what a policy shares does not fit its rule"));
    assert!(set("members", Value::Array(vec![])).contains("it must have 1 to 64 policies, got 0"));
    assert!(again("members").contains("trade-offs must ascend between 0 and 1, got 0.5 at 4"));
    assert!(set("members.3.tradeoff", 1.5.into()).contains("got 1.5 at 3"));
    assert!(set("members.0.tradeoff", (-0.0).into()).contains("got -0.0 at 0"));
    assert!(set("members.0.tradeoff", f64::NAN.into()).contains("got nan at 0"));
    assert!(
        set("members.0.loss", f64::INFINITY.into()).contains("means must be finite and at least 0, got a loss of inf")
    );
    assert!(set("members.2.cost", (-1.0).into()).contains("a cost of -1.0 at 2"));
    assert!(set("held_out", 5.into()).contains("damaged family file"));
    assert!(set("stages", Value::Array(vec![])).contains("the number of stages is not in 1..=32767"));
    assert!(again("usual").contains("the usual reports do not fit the stages"));
    assert!(again("sets.0.evidence").contains("one entry per pair of members"));
    let beliefs = "members.0.rule.component.belief.beliefs.calibration";
    let own = refusal(move |stored| {
        let known = at(stored, "calibrations.0").clone();
        *at(stored, beliefs) = known;
    });
    assert!(own.contains("a policy has beliefs besides those that it shares"));
    let usual = refusal(|stored| {
        let known = at(stored, "usual").clone();
        let Value::Map(facts) = at(stored, "members.0.facts") else { panic!() };
        facts.push(("usual".into(), known));
    });
    assert!(usual.contains("what a policy shares does not fit its rule"));
}

#[test]
fn members_are_of_one_calibration() {
    let (one, other) = (family(), learned(Kind::Models, Method::Pathwise, 300));
    let members = vec![one.members()[0].clone(), other.members()[1].clone()];
    let error = Family::new(members, true).unwrap_err().to_string();
    assert_eq!(error, "family: policies must be of one calibration, number 1 is of another one");
    let error = one.at(0.7).unwrap_err().to_string();
    assert_eq!(error, "`tradeoff` must be one of 0.5, 0.8, 0.9, 0.97, got 0.7");
    assert_eq!(one.at(0.8).unwrap(), 1);
}

#[test]
fn more_policies_than_a_family_may_have_are_refused_before_they_are_made() {
    let many = |count: usize| {
        let mut stored = fields(&family());
        let member = at(&mut stored, "members.0").clone();
        *at(&mut stored, "members") = Value::Array(vec![member; count]);
        file(&stored)
    };
    let time_of = |bytes: &[u8], expected: &str| {
        let begun = Instant::now();
        let error = Family::from_bytes(bytes).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        begun.elapsed()
    };
    let few = time_of(&many(64), "trade-offs must ascend");
    // To decode thirty times as many takes thirty times as long, and not one of them is made a policy.
    let lots = time_of(&many(64 * 30), "a family has more than 64 policies");
    assert!(lots < 60 * few.max(Duration::from_millis(5)), "{few:?} for 64, {lots:?} for 1920");
}

#[test]
fn lengths_that_are_not_there_take_no_memory() {
    let bytes = family().to_bytes().unwrap();
    let body = &bytes[20..bytes.len() - 32];
    let mut refused = 0;
    for (place, _) in body.iter().enumerate().filter(|(_, byte)| **byte >> 4 == 9) {
        let mut claimed = body[..place].to_vec();
        claimed.extend([0xdd, 0xff, 0xff, 0xff, 0xff]);
        claimed.extend(&body[place + 1..]);
        refused += usize::from(Family::from_bytes(&stored::family_file_of(&claimed)).is_err());
    }
    assert!(refused > 20, "{refused}");
}

#[test]
fn every_byte_is_guarded_and_other_files_say_what_they_are() {
    let family = family();
    let bytes = family.to_bytes().unwrap();
    for place in (0..bytes.len()).step_by(7) {
        let mut damaged = bytes.clone();
        damaged[place] ^= 0x40;
        assert!(matches!(Family::from_bytes(&damaged), Err(Error::Format(_))), "{place}");
    }
    for length in [0, 7, 8, 30, bytes.len() - 1] {
        assert!(Family::from_bytes(&bytes[..length]).is_err(), "{length}");
    }
    let policy = family.members()[0].policy.to_bytes().unwrap();
    let told = Family::from_bytes(&policy).unwrap_err().to_string();
    assert_eq!(told, "not a family file: it holds one policy, which `Policy` reads");
    let told = ttamer::Policy::from_bytes(&bytes).unwrap_err().to_string();
    assert_eq!(told, "not a policy file: it holds a family of policies, which `PolicyFamily` reads");
    let mut newer = bytes[..bytes.len() - 32].to_vec();
    newer[8] = 3;
    let told = Family::from_bytes(&stored::signed(newer)).unwrap_err().to_string();
    assert_eq!(told, "family schema 3 is not readable by this version, which reads 2");
}
