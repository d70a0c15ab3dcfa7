//! Any body in a policy file with the right checksum: it is refused, or it is a policy that can be executed and stored.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use ttamer::Policy;
use ttamer_fuzz::allocations::most_bytes;
use ttamer_fuzz::{Dice, decide, file, mutate};

/// Bytes of memory that loading may take for each byte of the file: situations that share a set have a copy each.
const BYTES_PER_BYTE: usize = 256;

/// And besides: serde reserves up to 1 MiB for a list that says how long it is, and lists stand in lists.
const BYTES_BESIDES: usize = 1 << 23;

fuzz_target!(|body: &[u8]| {
    let bytes = file(body);
    let (loaded, most) = most_bytes(|| Policy::from_bytes(&bytes));
    assert!(most <= BYTES_BESIDES + BYTES_PER_BYTE * bytes.len(), "{most} bytes for a file of {}", bytes.len());
    let Ok(policy) = loaded else { return };
    let stored = policy.to_bytes().expect("what was read can be written");
    let again = Policy::from_bytes(&stored).expect("what was written can be read");
    assert_eq!(again.to_bytes().expect("as before"), stored);
    assert_eq!(again.digest().expect("as before"), policy.digest().expect("as before"));
    policy.describe().expect("what was read can be described");
    decide(again, &mut Dice(body));
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    match mutate::changed(&data[..size], seed).filter(|changed| changed.len() <= max_size && seed % 4 != 0) {
        Some(changed) => {
            data[..changed.len()].copy_from_slice(&changed);
            changed.len()
        }
        None => fuzzer_mutate(data, size, max_size),
    }
});
