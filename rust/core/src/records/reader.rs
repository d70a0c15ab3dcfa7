//! Records of many files, in bounded memory: in pieces, as a sample, or counted.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::about::About;
use super::columns::{ANSWERED, CAPPED, Columns, EXPLORED, Ending, FOR_RECORD, Row, Step};
use super::drawn::priority;
use super::scan::{Found, Scan};
use crate::error::{Error, Result};
use crate::rules::NO_PREDICTION;

/// Which records are read.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Of these policies; none: of all.
    pub digests: Option<Vec<String>>,
    /// Of policies with these stages; none: with any.
    pub stages: Option<Vec<String>>,
    /// Not before this time, seconds since 1970.
    pub since: f64,
    /// Before this time.
    pub until: f64,
    /// Only those that were run through, or only the others; none: all.
    pub explored: Option<bool>,
}

impl Wanted {
    fn has_policy(&self, about: &About) -> bool {
        self.digests.as_ref().is_none_or(|digests| digests.contains(&about.digest))
            && self.stages.as_ref().is_none_or(|stages| *stages == about.stages)
    }

    fn has(&self, ending: Ending) -> bool {
        (self.since..self.until).contains(&ending.time)
            && self.explored.is_none_or(|explored| explored == (ending.flags & EXPLORED != 0))
    }
}

/// Bytes of a file that were not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// Where they begin.
    pub offset: u64,
    /// Where they end.
    pub end: u64,
    /// Why; none for a last block that was not written to its end.
    pub reason: Option<&'static str>,
}

/// Labels that became known later, by request.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    of: HashMap<Box<[u8]>, usize>,
    codes: Vec<i64>,
    is_met: Vec<bool>,
}

impl Truth {
    /// Codes of labels, by the names of requests; of a name that is given twice the last.
    pub fn new(labels: impl IntoIterator<Item = (String, i64)>) -> Self {
        let mut truth = Self::default();
        for (id, code) in labels {
            truth.of.insert(id.into_bytes().into_boxed_slice(), truth.codes.len());
            truth.codes.push(code);
        }
        truth.is_met = vec![false; truth.codes.len()];
        truth
    }

    fn meet(&mut self, id: &[u8]) -> i64 {
        let Some(at) = self.of.get(id).copied() else { return NO_PREDICTION };
        if let Some(is_met) = self.is_met.get_mut(at) {
            *is_met = true;
        }
        self.codes.get(at).copied().unwrap_or(NO_PREDICTION)
    }

    /// How many labels there are, how many of them are of requests that were not met, and the first of these.
    pub fn unmet(&self) -> (usize, usize, Option<String>) {
        let unmet = || self.of.iter().filter(|(_, at)| self.is_met.get(**at) == Some(&false));
        let first = unmet().min_by_key(|(_, at)| **at).map(|(id, _)| String::from_utf8_lossy(id).into_owned());
        (self.of.len(), unmet().count(), first)
    }
}

/// Records that were gathered.
#[derive(Debug, Default)]
pub struct Gathered {
    /// Them.
    pub columns: Columns,
    /// The policy of each, by its number among those of the reader.
    pub policy: Vec<u32>,
    /// The code of what was true of each, if that was asked for.
    pub truth: Vec<i64>,
    priority: Vec<u64>,
}

impl Gathered {
    fn push(&mut self, row: &Row, texts: &[String], policy: u32, truth: Option<i64>, priority: u64) {
        let steps = row.steps().map(|(step, reason)| Step {
            reason: reason.and_then(|text| texts.get(text as usize)).map(String::as_str),
            ..step
        });
        self.columns.push(&String::from_utf8_lossy(row.id()), row.ending(), steps);
        self.policy.push(policy);
        self.truth.extend(truth);
        self.priority.push(priority);
    }

    /// The rows at some places, in their order there.
    fn select(&self, places: &[usize]) -> Self {
        let texts = self.columns.texts();
        let mut rows = Vec::with_capacity(self.columns.len());
        self.columns.each(|row| rows.push(row));
        let mut selected = Self::default();
        for place in places {
            let (Some(row), Some(policy)) = (rows.get(*place), self.policy.get(*place)) else { continue };
            let place = (self.truth.get(*place).copied(), self.priority.get(*place).copied());
            selected.push(row, &texts, *policy, place.0, place.1.unwrap_or(0));
        }
        selected
    }

    /// Only the `most` lowest places; returns the highest that is left, if any went.
    fn trim(&mut self, most: usize) -> Option<u64> {
        if self.priority.len() <= most || most == 0 {
            return None;
        }
        let mut places: Vec<usize> = (0..self.priority.len()).collect();
        places.select_nth_unstable_by_key(most - 1, |place| self.priority[*place]);
        places.truncate(most);
        let highest = places.last().map(|place| self.priority[*place]);
        places.sort_unstable();
        *self = self.select(&places);
        highest
    }

    /// By time, those of one moment by name; a name that is there twice is an error.
    fn in_time(&self) -> Result<Self> {
        let mut names = Vec::with_capacity(self.columns.len());
        self.columns.each(|row| names.push(row.id()));
        let mut places: Vec<usize> = (0..names.len()).collect();
        places.sort_unstable_by_key(|place| self.priority[*place]);
        let is_twice = |pair: &&[usize]| match *pair {
            [one, other] => self.priority[*one] == self.priority[*other] && names[*one] == names[*other],
            _ => false,
        };
        let twice = places.windows(2).find(is_twice);
        if let Some([one, ..]) = twice {
            return Err(repeated(names[*one]));
        }
        let time = |place: usize| self.columns.time[place];
        places.sort_unstable_by(|one, other| {
            time(*one).total_cmp(&time(*other)).then_with(|| names[*one].cmp(names[*other]))
        });
        Ok(self.select(&places))
    }
}

fn repeated(id: &[u8]) -> Error {
    let id = String::from_utf8_lossy(id);
    Error::invalid(format!("`folder` must have each request once, got '{id}' twice: is a file in it a copy?"))
}

/// Records of one policy, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    /// Requests.
    pub requests: u64,
    /// Those that were run through.
    pub explored: u64,
    /// Those that would have been, but for the cap.
    pub capped: u64,
    /// Those of which every stage gave something.
    pub complete: u64,
    /// Those without an answer.
    pub unanswered: u64,
    /// Of the stages that policies ran.
    pub cost: f64,
    /// Of the stages that ran for the record alone.
    pub exploration_cost: f64,
    /// The first and the last time.
    pub times: Option<(f64, f64)>,
}

impl Counts {
    fn add(&mut self, row: &Row, stages: usize) {
        let ending = row.ending();
        self.requests += 1;
        self.explored += u64::from(ending.flags & EXPLORED != 0);
        self.capped += u64::from(ending.flags & CAPPED != 0);
        self.complete +=
            u64::from(row.steps().filter(|(step, _)| step.what & !FOR_RECORD == ANSWERED).count() == stages);
        self.unanswered += u64::from(ending.answer < 0);
        self.cost += ending.cost;
        self.exploration_cost += ending.exploration_cost;
        let (first, last) = self.times.unwrap_or((ending.time, ending.time));
        self.times = Some((first.min(ending.time), last.max(ending.time)));
    }
}

/// Reads the records of some files, one after the other.
#[derive(Debug)]
pub struct Reader {
    files: std::vec::IntoIter<(PathBuf, u64)>,
    scan: Option<(PathBuf, Scan)>,
    wanted: Wanted,
    policies: Vec<Arc<About>>,
    damage: Vec<Damage>,
    /// What stands for the names of requests that have been read, where no name may come twice.
    names: Option<HashSet<u64>>,
}

impl Reader {
    /// Of these files, each as far as so many bytes. With `unique`, a name that comes twice is an error; that takes
    /// some 16 bytes a request.
    pub fn new(files: Vec<(PathBuf, u64)>, wanted: Wanted, unique: bool) -> Self {
        let names = unique.then(HashSet::new);
        Self { files: files.into_iter(), scan: None, wanted, policies: Vec::new(), damage: Vec::new(), names }
    }

    /// The policies whose records have been met, by their numbers.
    pub fn policies(&self) -> &[Arc<About>] {
        &self.policies
    }

    /// What has not been read so far.
    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// At least `least` records, or all that are left; none at the end.
    ///
    /// # Errors
    /// [`Error::Io`] where reading fails, [`Error::Invalid`] for a name that comes twice.
    pub fn piece(&mut self, least: usize, truth: &mut Option<Truth>) -> Result<Option<Gathered>> {
        let mut gathered = Gathered::default();
        while gathered.columns.len() < least
            && let Some((policy, columns)) = self.block()?
        {
            let texts = columns.texts();
            let mut error = None;
            columns.each(|row| {
                if !self.wanted.has(row.ending()) {
                    return;
                }
                if let Some(names) = &mut self.names
                    && !names.insert(priority(row.id(), 0))
                {
                    error.get_or_insert_with(|| repeated(row.id()));
                }
                let label = truth.as_mut().map(|truth| truth.meet(row.id()));
                gathered.push(&row, &texts, policy, label, 0);
            });
            if let Some(error) = error {
                return Err(error);
            }
        }
        Ok((!gathered.columns.is_empty()).then_some(gathered))
    }

    /// A uniform sample of all records, which depends on their names and the seed alone, in the order of time; all of
    /// them without a capacity.
    ///
    /// # Errors
    /// [`Error::Io`] where reading fails, [`Error::Invalid`] for a name that is there twice.
    pub fn sample(&mut self, capacity: Option<usize>, seed: u64, truth: &mut Option<Truth>) -> Result<Gathered> {
        let most = capacity.unwrap_or(usize::MAX);
        let full = most.saturating_add(most.clamp(1024, 1 << 20));
        let (mut gathered, mut highest) = (Gathered::default(), u64::MAX);
        while let Some((policy, columns)) = self.block()? {
            let texts = columns.texts();
            columns.each(|row| {
                if !self.wanted.has(row.ending()) {
                    return;
                }
                let label = truth.as_mut().map(|truth| truth.meet(row.id()));
                let place = priority(row.id(), seed);
                if place <= highest {
                    gathered.push(&row, &texts, policy, label, place);
                }
            });
            if gathered.columns.len() >= full {
                highest = gathered.trim(most).unwrap_or(highest);
            }
        }
        // Equal places have equal names: one of each pair may be beyond the capacity.
        let gathered = gathered.in_time()?;
        let mut gathered = gathered;
        gathered.trim(most);
        Ok(gathered)
    }

    /// All records, counted by policy, in the order of [`Reader::policies`].
    ///
    /// # Errors
    /// [`Error::Io`] where reading fails.
    pub fn counts(&mut self) -> Result<Vec<Counts>> {
        let mut counts: Vec<Counts> = Vec::new();
        while let Some((policy, columns)) = self.block()? {
            counts.resize_with(self.policies.len(), Counts::default);
            let stages = self.policies.get(policy as usize).map_or(0, |about| about.stages.len());
            if let Some(counts) = counts.get_mut(policy as usize) {
                columns.each(|row| {
                    if self.wanted.has(row.ending()) {
                        counts.add(&row, stages);
                    }
                });
            }
        }
        Ok(counts)
    }

    /// The next block of a policy that is wanted.
    fn block(&mut self) -> Result<Option<(u32, Columns)>> {
        loop {
            let Some((path, scan)) = &mut self.scan else {
                let Some((path, end)) = self.files.next() else { return Ok(None) };
                let scan = Scan::open(&path, end)?;
                self.scan = Some((path, scan));
                continue;
            };
            let damage = |offset, end, reason| Damage { path: path.clone(), offset, end, reason };
            match scan.next_found()? {
                None => self.scan = None,
                Some(Found::Damage { offset, end, reason }) => self.damage.push(damage(offset, end, Some(reason))),
                Some(Found::Torn { offset }) => self.damage.push(damage(offset, scan.end(), None)),
                Some(Found::Block(about, columns)) if self.wanted.has_policy(&about) => {
                    let known = self.policies.iter().position(|known| **known == *about);
                    let policy = known.unwrap_or_else(|| {
                        self.policies.push(about);
                        self.policies.len() - 1
                    });
                    return Ok(Some((policy as u32, *columns)));
                }
                Some(Found::Block(..)) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::frame::encode;
    use super::super::made::{ENDING, about, step};
    use super::*;

    const ALL: Wanted =
        Wanted { digests: None, stages: None, since: f64::NEG_INFINITY, until: f64::INFINITY, explored: None };

    type Any = std::result::Result<(), Box<dyn std::error::Error>>;

    /// Files of requests with these numbers, which are their times too.
    fn files(folder: &std::path::Path, numbers: &[std::ops::Range<u32>]) -> std::io::Result<Vec<(PathBuf, u64)>> {
        let write = |(at, numbers): (usize, &std::ops::Range<u32>)| {
            let mut columns = Columns::default();
            for number in numbers.clone() {
                let flags = u8::from(number % 10 == 0) * EXPLORED;
                let ending = Ending { time: f64::from(number), flags, ..ENDING };
                let steps = [step(0, ANSWERED, None), step(1, ANSWERED | FOR_RECORD, None)];
                columns.push(&format!("r{number}"), ending, steps.into_iter().take(1 + usize::from(flags)));
            }
            let path = folder.join(format!("{at}"));
            fs::write(&path, encode(&about(), &columns).unwrap_or_default())?;
            Ok((path, u64::MAX))
        };
        numbers.iter().enumerate().map(write).collect()
    }

    fn names(gathered: &Gathered) -> Vec<String> {
        let mut names = Vec::new();
        gathered.columns.each(|row| names.push(String::from_utf8_lossy(row.id()).into_owned()));
        names
    }

    #[test]
    fn samples_do_not_depend_on_how_records_lie() -> Any {
        let folder = tempfile::tempdir()?;
        let whole = files(folder.path(), &[0..4000, 4000..9000])?;
        let other = tempfile::tempdir()?;
        let parts = files(other.path(), &[5000..9000, 0..10, 10..5000])?;
        let sample = |files: &[(PathBuf, u64)], capacity| {
            Reader::new(files.to_vec(), ALL, false).sample(capacity, 3, &mut None).map(|found| names(&found))
        };
        let one = sample(&whole, Some(50))?;
        assert_eq!((one.len(), &one), (50, &sample(&parts, Some(50))?));
        let times: Vec<u32> = one.iter().filter_map(|name| name[1..].parse().ok()).collect();
        assert!(times.is_sorted() && times.len() == 50);
        assert_eq!(sample(&parts, None)?, (0..9000).map(|number| format!("r{number}")).collect::<Vec<_>>());
        Ok(())
    }

    #[test]
    fn names_that_come_twice_are_named() -> Any {
        let folder = tempfile::tempdir()?;
        let twice = files(folder.path(), &[0..300, 299..500])?;
        let reader = |unique| Reader::new(twice.clone(), ALL, unique);
        let message = "`folder` must have each request once, got 'r299' twice: is a file in it a copy?";
        let told = |error: Option<Error>| error.map(|error| error.to_string());
        assert_eq!(told(reader(false).sample(None, 0, &mut None).err()).as_deref(), Some(message));
        let mut unique = reader(true);
        let mut failed = None;
        while failed.is_none() {
            failed = match unique.piece(100, &mut None) {
                Ok(Some(_)) => None,
                Ok(None) => break,
                Err(error) => Some(error),
            };
        }
        assert_eq!(told(failed).as_deref(), Some(message));
        Ok(())
    }

    #[test]
    fn only_what_is_wanted_is_read_and_counted() -> Any {
        let folder = tempfile::tempdir()?;
        let files = files(folder.path(), &[0..100, 100..200])?;
        let read = |wanted| Reader::new(files.clone(), wanted, false).counts();
        let all = read(ALL)?;
        assert_eq!(
            all.iter().map(|counts| (counts.requests, counts.explored, counts.complete)).collect::<Vec<_>>(),
            [(200, 20, 20)]
        );
        let some = read(Wanted { since: 50.0, until: 150.0, explored: Some(false), ..ALL })?;
        assert_eq!((some[0].requests, some[0].times), (90, Some((51.0, 149.0))));
        assert!(read(Wanted { digests: Some(vec!["other".into()]), ..ALL })?.is_empty());
        assert!(read(Wanted { stages: Some(vec!["small".into()]), ..ALL })?.is_empty());
        Ok(())
    }

    #[test]
    fn truth_is_joined_by_name() -> Any {
        let folder = tempfile::tempdir()?;
        let files = files(folder.path(), &[0..4, 4..10])?;
        let given = [("r3", 5), ("r4", 6), ("x", 7), ("y", 8), ("r4", 9)].map(|(id, code)| (id.to_owned(), code));
        let mut truth = Some(Truth::new(given));
        let found = Reader::new(files, ALL, true).piece(100, &mut truth)?.unwrap_or_default();
        let expected: Vec<i64> = (0..10)
            .map(|number| match number {
                3 => 5,
                4 => 9,
                _ => NO_PREDICTION,
            })
            .collect();
        assert_eq!(found.truth, expected);
        assert_eq!(truth.map(|truth| truth.unmet()), Some((4, 2, Some("x".into()))));
        Ok(())
    }
}
