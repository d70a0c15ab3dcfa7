//! Blocks of records as bytes: a head that says how long they are, and what follows, each with a checksum.
//!
//! A block says by itself of which policy it is: where one is damaged, nothing else is lost.

use super::about::About;
use super::cells::{put, take};
use super::checksum::checksum;
use super::columns::Columns;
use crate::error::Result;

/// What every block begins with.
pub(super) const MAGIC: [u8; 8] = *b"\x89TTREC\r\n";

/// The version that is written and read.
pub const VERSION: u32 = 1;

/// Bytes of a head: what it begins with, version, four lengths, two checksums.
pub(super) const HEAD: usize = 8 + 4 * 5 + 8 * 2;

/// Most bytes that follow a head.
const MOST_BYTES: usize = 1 << 28;
/// Most requests in a block.
pub const MOST_ROWS: usize = 1 << 20;
/// Most stages of all requests in a block.
const MOST_STEPS: usize = 1 << 22;

/// What a head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    version: u32,
    pub rows: usize,
    steps: usize,
    about: usize,
    columns: usize,
    body: u64,
}

impl Head {
    /// Bytes that follow it.
    pub fn length(&self) -> usize {
        self.about + self.columns
    }

    /// The head of a block; none where these bytes are none.
    pub fn of_bytes(bytes: &[u8; HEAD]) -> Option<Self> {
        let (content, sum) = bytes.split_last_chunk::<8>()?;
        if !content.starts_with(&MAGIC) || checksum(content) != u64::from_le_bytes(*sum) {
            return None;
        }
        let mut rest = content.get(MAGIC.len()..)?;
        let mut number = || {
            let (first, after) = rest.split_first_chunk::<4>()?;
            rest = after;
            Some(u32::from_le_bytes(*first))
        };
        let version = number()?;
        let [rows, steps, about, columns] = [number()?, number()?, number()?, number()?].map(|n| n as usize);
        let body = u64::from_le_bytes(*rest.first_chunk::<8>()?);
        let head = Self { version, rows, steps, about, columns, body };
        (head.length() <= MOST_BYTES).then_some(head)
    }

    fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&self.version.to_le_bytes());
        for length in [self.rows, self.steps, self.about, self.columns] {
            bytes.extend_from_slice(&(length as u32).to_le_bytes());
        }
        bytes.extend_from_slice(&self.body.to_le_bytes());
        let sum = checksum(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        bytes
    }
}

/// A block as it is written.
///
/// # Errors
/// [`Error::Invalid`](crate::Error::Invalid) where `about` cannot be stored.
pub fn encode(about: &About, columns: &Columns) -> Result<Vec<u8>> {
    let mut body = about.to_bytes()?;
    let before = body.len();
    let shared = shared(columns);
    put(&columns.id_length, &mut body);
    put(&[shared as u16], &mut body);
    body.extend_from_slice(columns.id.get(..shared).unwrap_or_default());
    let mut from = 0;
    for length in &columns.id_length {
        let to = from + usize::from(*length);
        body.extend_from_slice(columns.id.get(from + shared..to).unwrap_or_default());
        from = to;
    }
    put(&columns.time, &mut body);
    put(&columns.answer, &mut body);
    put(&columns.flags, &mut body);
    for column in [&columns.cost, &columns.expected_loss, &columns.propensity, &columns.exploration_cost] {
        put(column, &mut body);
    }
    put(&columns.steps, &mut body);
    put(&columns.stage, &mut body);
    put(&columns.what, &mut body);
    put(&columns.signal, &mut body);
    put(&columns.prediction, &mut body);
    put(&columns.seconds, &mut body);
    put(&[columns.reason.len() as u32, columns.text_length.len() as u32, columns.text.len() as u32], &mut body);
    put(&columns.reason, &mut body);
    put(&columns.text_length, &mut body);
    body.extend_from_slice(&columns.text);
    let head = Head {
        version: VERSION,
        rows: columns.len(),
        steps: columns.stage.len(),
        about: before,
        columns: body.len() - before,
        body: checksum(&body),
    };
    let mut bytes = head.to_bytes();
    bytes.extend_from_slice(&body);
    Ok(bytes)
}

/// How many bytes all names begin with alike.
fn shared(columns: &Columns) -> usize {
    let first = columns.id.get(..columns.id_length.first().map_or(0, |length| usize::from(*length)));
    let first = first.unwrap_or_default();
    let (mut shared, mut from) = (first.len(), 0);
    for length in &columns.id_length {
        let to = from + usize::from(*length);
        let name = columns.id.get(from..to).unwrap_or_default();
        shared = first.iter().take(shared).zip(name).take_while(|(one, other)| one == other).count();
        from = to;
    }
    shared
}

/// The columns of a block from what follows its head, and the bytes that say whose they are; why not, where it is
/// damaged or does not fit.
pub(super) fn decode<'a>(head: &Head, body: &'a [u8]) -> std::result::Result<(&'a [u8], Columns), &'static str> {
    if head.version != VERSION {
        return Err("its version is not known");
    }
    if body.len() != head.length() || checksum(body) != head.body {
        return Err("its checksum does not fit");
    }
    let known = head.rows <= MOST_ROWS && head.steps <= MOST_STEPS;
    let (about, rest) = body.split_at_checked(head.about).filter(|_| known).ok_or("its lengths are out of range")?;
    let columns = columns_of(rest, head.rows, head.steps).ok_or("its columns do not fit its length")?;
    Ok((about, columns))
}

fn columns_of(mut from: &[u8], rows: usize, steps: usize) -> Option<Columns> {
    let from = &mut from;
    let id_length = take::<u16>(from, rows)?;
    let shared = usize::from(*take::<u16>(from, 1)?.first()?);
    let beginning = bytes(from, shared)?;
    let total: usize = id_length.iter().map(|length| usize::from(*length)).sum();
    // Names are as long as they say, also where what they share makes up most of them.
    let own = total.checked_sub(shared.checked_mul(rows)?)?;
    let mut id = Vec::with_capacity(total);
    let mut rest = bytes(from, own)?;
    for length in &id_length {
        let (name, after) = rest.split_at_checked(usize::from(*length).checked_sub(shared)?)?;
        id.extend_from_slice(beginning);
        id.extend_from_slice(name);
        rest = after;
    }
    let mut columns = Columns::default();
    (columns.id, columns.id_length) = (id, id_length);
    columns.time = take(from, rows)?;
    columns.answer = take(from, rows)?;
    columns.flags = take(from, rows)?;
    for column in
        [&mut columns.cost, &mut columns.expected_loss, &mut columns.propensity, &mut columns.exploration_cost]
    {
        *column = take(from, rows)?;
    }
    columns.steps = take(from, rows)?;
    columns.stage = take(from, steps)?;
    columns.what = take(from, steps)?;
    columns.signal = take(from, steps)?;
    columns.prediction = take(from, steps)?;
    columns.seconds = take(from, steps)?;
    let [reasons, texts, letters]: [u32; 3] = take(from, 3)?.try_into().ok()?;
    if reasons as usize > steps || texts > reasons {
        return None;
    }
    columns.reason = take(from, reasons as usize)?;
    columns.text_length = take(from, texts as usize)?;
    columns.text = bytes(from, letters as usize)?.to_vec();
    from.is_empty().then_some(columns)
}

fn bytes<'a>(from: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = from.split_at_checked(length)?;
    *from = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::super::made::{about, columns};
    use super::*;

    fn parts(bytes: &[u8]) -> Option<(Head, &[u8])> {
        let (head, body) = bytes.split_first_chunk::<HEAD>()?;
        Some((Head::of_bytes(head)?, body))
    }

    #[test]
    fn blocks_come_back() -> Result<()> {
        for rows in [0, 1, 2, 100] {
            let (about, columns) = (about(), columns(rows));
            let bytes = encode(&about, &columns)?;
            let Some((head, body)) = parts(&bytes) else { return Err(crate::Error::invalid("no head")) };
            let found = decode(&head, body);
            let found = found.and_then(|(about, columns)| Ok((About::of_bytes(about)?, columns)));
            let Ok((whose, read)) = found else { return Err(crate::Error::invalid("not read")) };
            assert_eq!((&whose, read.check(2)), (&about, Ok(())));
            // NaN is not equal to itself, but has its bytes.
            assert_eq!(encode(&whose, &read)?, bytes);
        }
        Ok(())
    }

    #[test]
    fn no_byte_may_change() -> Result<()> {
        let bytes = encode(&about(), &columns(20))?;
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 4;
            let read = parts(&changed).map(|(head, body)| decode(&head, body).is_ok());
            assert_ne!(read, Some(true), "byte {at}");
        }
        Ok(())
    }

    #[test]
    fn lengths_that_do_not_fit_are_refused_before_they_are_believed() -> Result<()> {
        let bytes = encode(&about(), &columns(20))?;
        let Some((head, body)) = parts(&bytes) else { return Err(crate::Error::invalid("no head")) };
        for wrong in [
            Head { rows: 21, ..head },
            Head { rows: MOST_ROWS + 1, ..head },
            Head { steps: usize::MAX, ..head },
            Head { about: head.about + 1, columns: head.columns - 1, ..head },
            Head { version: 2, ..head },
        ] {
            let read = decode(&wrong, body).and_then(|(about, columns)| Ok((About::of_bytes(about)?, columns)));
            assert!(read.is_err(), "{wrong:?}");
        }
        assert_eq!(parts(&Head { columns: MOST_BYTES + 1, ..head }.to_bytes()), None);
        Ok(())
    }
}
