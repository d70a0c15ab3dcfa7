//! Files whose frame is wrong though their checksum is right: magic, schema, lengths.
#![expect(clippy::unwrap_used, reason = "tests")]

use ndarray::array;
use sha2::{Digest, Sha256};
use ttamer::{Model, Policy, SolveOptions, Transition, compile};

const HEADER: usize = 20;
const CHECKSUM: usize = 32;

fn policy() -> Policy {
    let model = Model::line(vec![vec![0.25]], vec![0.5], vec![Transition::Dense(array![[1.0]])]).unwrap();
    compile(&model, &SolveOptions::default()).unwrap()
}

/// A file of these parts, with the checksum that belongs to it.
fn file(magic: &[u8], schema: u32, length: u64, body: &[u8]) -> Vec<u8> {
    let mut bytes = magic.to_vec();
    bytes.extend(schema.to_le_bytes());
    bytes.extend(length.to_le_bytes());
    bytes.extend(body);
    let checksum = Sha256::digest(&bytes);
    bytes.extend(checksum);
    bytes
}

fn body() -> Vec<u8> {
    let bytes = policy().to_bytes().unwrap();
    bytes[HEADER..bytes.len() - CHECKSUM].to_vec()
}

fn refusal(bytes: &[u8]) -> String {
    Policy::from_bytes(bytes).unwrap_err().to_string()
}

#[test]
fn a_right_frame_is_what_policies_write() {
    let body = body();
    let bytes = file(b"TTAMER\r\n", ttamer::SCHEMA, body.len() as u64, &body);
    assert_eq!(bytes, policy().to_bytes().unwrap());
    assert_eq!(Policy::from_bytes(&bytes).unwrap(), policy());
}

#[test]
fn wrong_frames() {
    let body = body();
    let length = body.len() as u64;
    let with = |magic: &[u8], schema, length, body: &[u8]| refusal(&file(magic, schema, length, body));
    assert!(with(b"TTAMER\n\n", 4, length, &body).starts_with("not a policy file"));
    for schema in [0, 3, 5, 4 << 8, 4 << 16, 4 << 24] {
        let expected = format!("policy schema {schema} is not readable by this version, which reads 4");
        assert_eq!(with(b"TTAMER\r\n", schema, length, &body), expected);
    }
    for wrong in [0, length - 1, length + 1, length << 8, length | 1 << 32, length | 1 << 63] {
        let expected = format!("damaged policy file: body of {length} bytes, expected {wrong}");
        assert_eq!(with(b"TTAMER\r\n", 4, wrong, &body), expected);
    }
    let longer = [&body[..], &[0xc0]].concat();
    assert_eq!(with(b"TTAMER\r\n", 4, length + 1, &longer), "damaged policy file: 1 bytes are left over");
}

#[test]
fn files_are_replaced_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.ttamer");
    std::fs::write(&path, b"something else, and longer than any policy".repeat(100)).unwrap();
    policy().save(&path).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), policy().to_bytes().unwrap());
    assert_eq!(Policy::load(&path).unwrap(), policy());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    assert!(policy().save(&folder.path().join("no folder").join("policy.ttamer")).is_err());
    // A name alone is a file in the folder where the program is.
    std::env::set_current_dir(folder.path()).unwrap();
    policy().save(std::path::Path::new("alone.ttamer")).unwrap();
    assert_eq!(Policy::load(&folder.path().join("alone.ttamer")).unwrap(), policy());
}

#[test]
fn files_too_short_for_a_frame() {
    let bytes = policy().to_bytes().unwrap();
    for length in [8, 20, HEADER + CHECKSUM - 1] {
        assert!(refusal(&bytes[..length]).starts_with("truncated policy file"), "{length}");
    }
    let mut empty = file(b"TTAMER\r\n", 4, 0, &[]);
    assert!(refusal(&empty).starts_with("damaged policy file: "));
    assert!(!refusal(&empty).contains("checksum"));
    empty[HEADER] ^= 1;
    assert_eq!(refusal(&empty), "damaged policy file: the checksum does not match");
    for length in 0..8 {
        assert!(refusal(&bytes[..length]).starts_with("not a policy file"), "{length}");
    }
}
