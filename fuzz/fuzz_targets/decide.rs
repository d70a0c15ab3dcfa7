//! Policies of every kind on any reports, with stages that fail or are barred and requests that are stopped: alone, in a
//! batch and as a replay they are decided alike, and every request
//! ends with an answer that a stage gave, at a finite cost, each stage asked once.
#![no_main]

use std::fs;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use ttamer::Policy;
use ttamer_fuzz::{Dice, decide, file};

static POLICIES: OnceLock<Vec<Policy>> = OnceLock::new();

/// Those of the corpus of the other target.
fn policies() -> Vec<Policy> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/seeds/policy_bytes");
    let mut paths: Vec<_> =
        fs::read_dir(folder).expect("the corpus").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let bodies = paths.iter().map(|path| fs::read(path).expect("a file"));
    let policies: Vec<Policy> = bodies.filter_map(|body| Policy::from_bytes(&file(&body)).ok()).collect();
    assert!(policies.len() >= 20, "the corpus has {} policies", policies.len());
    policies
}

fuzz_target!(|data: &[u8]| {
    let policies = POLICIES.get_or_init(policies);
    let mut dice = Dice(data);
    let policy = policies[usize::from(dice.byte()) % policies.len()].clone();
    decide(policy, &mut dice);
});
