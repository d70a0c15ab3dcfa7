//! What is gathered before it is written, and the writing: two parts, as one is quick and the other may take long.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use super::about::About;
use super::columns::{Columns, Ending, Step};
use super::frame::encode;
use super::segments::Segments;
use crate::error::Result;

/// Bytes that are gathered at most, whatever the number of requests: names and reasons may be long.
const MOST_BYTES: usize = 1 << 26;

/// Seconds since 1970.
pub fn now() -> f64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0.0, |since| since.as_secs_f64())
}

/// What became of a record that was given away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It is kept; somebody should write before long.
    First,
    /// It is kept.
    Kept,
    /// It is kept; somebody should write now.
    Full,
    /// There was no room for it.
    Dropped,
    /// There is no such policy, or it has no such stage.
    Unfit,
}

/// Records that wait to be written: at most so many.
#[derive(Debug)]
pub struct Pending {
    policies: Vec<Arc<About>>,
    columns: Vec<Columns>,
    rows: usize,
    bytes: usize,
    most_rows: usize,
    full_rows: usize,
    dropped: u64,
    is_closed: bool,
}

impl Pending {
    /// Room for `most_rows`; somebody is to write where there are `full_rows`.
    pub fn new(most_rows: usize, full_rows: usize) -> Self {
        let (policies, columns) = (Vec::new(), Vec::new());
        Self { policies, columns, rows: 0, bytes: 0, most_rows, full_rows, dropped: 0, is_closed: false }
    }

    /// The number of a policy.
    pub fn declare(&mut self, about: About) -> usize {
        if let Some(known) = self.policies.iter().position(|known| **known == about) {
            return known;
        }
        self.policies.push(Arc::new(about));
        self.columns.push(Columns::default());
        self.policies.len() - 1
    }

    /// How many stages a policy has; none where there is no such policy.
    pub fn stages(&self, policy: usize) -> Option<usize> {
        self.policies.get(policy).map(|about| about.stages.len())
    }

    /// Takes in a record, unless there is no room besides `elsewhere` others. O(stages).
    pub fn push<'a>(
        &mut self,
        policy: usize,
        id: &str,
        ending: Ending,
        steps: impl Iterator<Item = Step<'a>> + Clone,
        elsewhere: usize,
    ) -> Pushed {
        let stages = self.stages(policy).unwrap_or(0);
        if stages == 0 || steps.clone().any(|step| usize::from(step.stage) >= stages) {
            return Pushed::Unfit;
        }
        let has_room = self.rows.saturating_add(elsewhere) < self.most_rows && self.bytes < MOST_BYTES;
        let columns = self.columns.get_mut(policy).filter(|_| has_room && !self.is_closed);
        let Some(columns) = columns else {
            self.dropped += 1;
            return Pushed::Dropped;
        };
        let before = columns.bytes();
        columns.push(id, ending, steps);
        self.bytes += columns.bytes() - before;
        self.rows += 1;
        match self.rows {
            1 => Pushed::First,
            rows if rows == self.full_rows => Pushed::Full,
            _ => Pushed::Kept,
        }
    }

    /// Hands over what waits.
    pub fn take(&mut self) -> Vec<(Arc<About>, Columns)> {
        (self.rows, self.bytes) = (0, 0);
        let taken = self.policies.iter().zip(&mut self.columns);
        let taken = taken.map(|(about, columns)| (Arc::clone(about), std::mem::take(columns)));
        taken.filter(|(_, columns)| !columns.is_empty()).collect()
    }

    /// How many wait.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How many had no room.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// So many more are lost.
    pub fn lose(&mut self, rows: usize) {
        self.dropped += rows as u64;
    }

    /// Nothing is taken in any more.
    pub fn close(&mut self) {
        self.is_closed = true;
    }
}

/// Writes blocks; what could not be written waits for the next time.
#[derive(Debug)]
pub struct Appender {
    segments: Segments,
    waiting: Vec<(Vec<u8>, usize)>,
    /// Records that were handed over and are not written.
    left: usize,
}

impl Appender {
    /// Into these files.
    pub fn new(segments: Segments) -> Self {
        Self { segments, waiting: Vec::new(), left: 0 }
    }

    /// Writes what waited and what is new, in this order; returns how many records are written now.
    ///
    /// # Errors
    /// What the system says; the same is tried the next time.
    pub fn write(&mut self, taken: &[(Arc<About>, Columns)]) -> (usize, io::Result<()>) {
        self.left += taken.iter().map(|(_, columns)| columns.len()).sum::<usize>();
        let encoded = taken.iter().map(|(about, columns)| Ok((encode(about, columns)?, columns.len())));
        let added = encoded.collect::<Result<Vec<_>>>().map(|blocks| self.waiting.extend(blocks));
        let mut written = 0;
        let mut result = added.map_err(io::Error::other);
        let mut done = 0;
        for (block, rows) in &self.waiting {
            if result.is_ok() {
                result = self.segments.append(block, now());
            }
            if result.is_err() {
                break;
            }
            written += rows;
            done += 1;
        }
        self.waiting.drain(..done);
        self.left -= written;
        (written, result)
    }

    /// Gives up what could not be written; returns how many records that are.
    pub fn give_up(&mut self) -> usize {
        self.waiting.clear();
        std::mem::take(&mut self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::super::made::{ENDING, about, step};
    use super::super::reader::{Reader, Wanted};
    use super::*;

    const ALL: Wanted =
        Wanted { digests: None, stages: None, since: f64::NEG_INFINITY, until: f64::INFINITY, explored: None };

    fn push(pending: &mut Pending, policy: usize, elsewhere: usize) -> Pushed {
        pending.push(policy, "x", ENDING, [step(0, 0, None)].into_iter(), elsewhere)
    }

    #[test]
    fn memory_is_bounded_and_what_is_dropped_counts() {
        let mut pending = Pending::new(3, 2);
        let policy = pending.declare(about());
        assert_eq!((policy, pending.declare(about()), pending.stages(0), pending.stages(1)), (0, 0, Some(2), None));
        let pushed: Vec<Pushed> = (0..4).map(|_| push(&mut pending, policy, 0)).collect();
        assert_eq!(pushed, [Pushed::First, Pushed::Full, Pushed::Kept, Pushed::Dropped]);
        assert_eq!((pending.rows(), pending.dropped()), (3, 1));
        assert_eq!(pending.take().len(), 1);
        assert_eq!(push(&mut pending, policy, 3), Pushed::Dropped);
        assert_eq!(push(&mut pending, 1, 0), Pushed::Unfit);
        assert_eq!(pending.push(policy, "x", ENDING, [step(2, 0, None)].into_iter(), 0), Pushed::Unfit);
        assert_eq!(push(&mut pending, policy, 2), Pushed::First);
        pending.close();
        assert_eq!((push(&mut pending, policy, 0), pending.dropped()), (Pushed::Dropped, 3));
    }

    #[test]
    fn long_reasons_fill_the_room_too() {
        let mut pending = Pending::new(usize::MAX, usize::MAX);
        let policy = pending.declare(about());
        let mut count = 0;
        while count < 2000 {
            let reason = format!("{count}{}", "x".repeat(60_000));
            if pending.push(policy, "x", ENDING, [step(0, 1, Some(&reason))].into_iter(), 0) == Pushed::Dropped {
                break;
            }
            count += 1;
        }
        assert!((400..700).contains(&count), "{count}");
    }

    #[test]
    fn what_cannot_be_written_is_written_later() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let absent = folder.path().join("absent");
        let mut pending = Pending::new(100, 100);
        let policy = pending.declare(about());
        let mut appender = Appender::new(Segments::new(&absent, "a".into(), 1 << 20, 3600.0));
        for waiting in 1..4 {
            push(&mut pending, policy, 0);
            let (written, result) = appender.write(&pending.take());
            assert_eq!((written, result.is_err(), appender.waiting.len()), (0, true, waiting));
        }
        std::fs::create_dir(&absent)?;
        let (written, result) = appender.write(&[]);
        assert_eq!((written, result.is_ok(), appender.waiting.len(), appender.give_up()), (3, true, 0, 0));
        let files = std::fs::read_dir(&absent)?.map(|entry| entry.map(|entry| (entry.path(), u64::MAX)));
        let counts = Reader::new(files.collect::<io::Result<_>>()?, ALL, false).counts()?;
        assert_eq!(counts.iter().map(|counts| counts.requests).sum::<u64>(), 3);
        Ok(())
    }

    #[test]
    fn what_is_given_up_is_counted_once() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let mut pending = Pending::new(100, 100);
        let policy = pending.declare(about());
        let mut appender = Appender::new(Segments::new(&folder.path().join("absent"), "a".into(), 1 << 20, 3600.0));
        for _ in 0..2 {
            push(&mut pending, policy, 0);
        }
        assert_eq!(appender.write(&pending.take()).0, 0);
        assert_eq!([appender.give_up(), appender.give_up()], [2, 0]);
        assert!(matches!(appender.write(&[]), (0, Ok(()))));
        Ok(())
    }
}
