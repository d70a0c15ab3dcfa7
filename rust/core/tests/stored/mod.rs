//! Stored policies and families, taken apart and put together.
#![allow(dead_code, reason = "each test takes some of it")]

use rmpv::Value;
use sha2::{Digest, Sha256};
use ttamer::{Family, Policy};

const HEADER: usize = 20;
/// Bytes of the checksum that ends a file.
pub const CHECKSUM: usize = 32;

/// The stored fields of a policy.
pub fn fields(policy: &Policy) -> Value {
    let bytes = policy.to_bytes().unwrap();
    rmpv::decode::read_value(&mut &bytes[HEADER..bytes.len() - CHECKSUM]).unwrap()
}

/// A file of these fields, with the header and checksum that belong to them.
pub fn file(fields: &Value) -> Vec<u8> {
    let mut body = Vec::new();
    rmpv::encode::write_value(&mut body, fields).unwrap();
    file_of(&body)
}

/// A file of this body, likewise.
pub fn file_of(body: &[u8]) -> Vec<u8> {
    framed(b"TTAMER\r\n", ttamer::SCHEMA, body)
}

/// The stored fields of a family.
pub fn family_fields(family: &Family) -> Value {
    let bytes = family.to_bytes().unwrap();
    rmpv::decode::read_value(&mut &bytes[HEADER..bytes.len() - CHECKSUM]).unwrap()
}

/// The file of a family of these fields.
pub fn family_file(fields: &Value) -> Vec<u8> {
    let mut body = Vec::new();
    rmpv::encode::write_value(&mut body, fields).unwrap();
    family_file_of(&body)
}

/// The file of a family of this body.
pub fn family_file_of(body: &[u8]) -> Vec<u8> {
    framed(b"TTFAMI\r\n", 2, body)
}

fn framed(magic: &[u8], schema: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = magic.to_vec();
    bytes.extend(schema.to_le_bytes());
    bytes.extend((body.len() as u64).to_le_bytes());
    bytes.extend(body);
    signed(bytes)
}

/// The same with its checksum.
pub fn signed(mut bytes: Vec<u8>) -> Vec<u8> {
    let checksum = Sha256::digest(&bytes);
    bytes.extend(checksum);
    bytes
}

/// The field at a path of names and numbers with dots in between.
pub fn at<'a>(value: &'a mut Value, path: &str) -> &'a mut Value {
    path.split('.').fold(value, |value, key| match value {
        Value::Map(entries) => {
            let entry = entries.iter_mut().find(|(name, _)| name.as_str() == Some(key));
            &mut entry.unwrap_or_else(|| panic!("no field {key} of {path}")).1
        }
        Value::Array(items) => &mut items[key.parse::<usize>().unwrap()],
        other => panic!("{path} leads into {other}"),
    })
}

pub fn list(value: &mut Value) -> &mut Vec<Value> {
    let Value::Array(items) = value else { panic!("{value} is no list") };
    items
}
