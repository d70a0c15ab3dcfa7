//! The blocks of a file, one after the other: what is damaged is told, and what follows it is found again.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::about::About;
use super::columns::Columns;
use super::frame::{HEAD, Head, MAGIC, decode};
use crate::error::{Error, Result};
use crate::parallel;

/// Bytes that are looked through at once for the next block.
const PIECE: usize = 1 << 16;

/// What stands at a place of a file.
#[derive(Debug)]
pub enum Found {
    /// Records of one policy.
    Block(Arc<About>, Box<Columns>),
    /// Bytes that are no block, or a damaged one.
    Damage {
        /// Where they begin.
        offset: u64,
        /// Where the next block begins, or the file ends.
        end: u64,
        /// Why they are not read.
        reason: &'static str,
    },
    /// A block that was not written to its end: the last one of a process that was killed, or is writing it.
    Torn {
        /// Where it begins.
        offset: u64,
    },
}

/// A file of records.
#[derive(Debug)]
pub struct Scan {
    file: File,
    path: PathBuf,
    at: u64,
    end: u64,
    body: Vec<u8>,
    /// Whose the last block was, and the bytes that said so.
    about: Option<(Vec<u8>, Arc<About>)>,
}

impl Scan {
    /// From its beginning to `end`, or to its own end if that comes first.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be read.
    pub fn open(path: &Path, end: u64) -> Result<Self> {
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (length, file) = opened.map_err(|source| Error::Io { action: "read", path: path.into(), source })?;
        Ok(Self { file, path: path.into(), at: 0, end: end.min(length), body: Vec::new(), about: None })
    }

    /// Where it ends.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// What stands next; none at the end.
    ///
    /// # Errors
    /// [`Error::Io`] where reading fails.
    pub fn next_found(&mut self) -> Result<Option<Found>> {
        parallel::check();
        self.read_next().map_err(|source| Error::Io { action: "read", path: self.path.clone(), source })
    }

    fn read_next(&mut self) -> io::Result<Option<Found>> {
        let (at, left) = (self.at, self.end - self.at);
        if left == 0 {
            return Ok(None);
        }
        let head = self.head(at)?;
        let Some(head) = head else {
            let mut start = [0; MAGIC.len()];
            let seen = usize::try_from(left).unwrap_or(usize::MAX).min(start.len());
            let start = start.get_mut(..seen).unwrap_or_default();
            self.read_at(at, start)?;
            if left < HEAD as u64 && MAGIC.starts_with(start) {
                self.at = self.end;
                return Ok(Some(Found::Torn { offset: at }));
            }
            return self.pass_over(at, "it does not begin as a block does").map(Some);
        };
        if left < (HEAD + head.length()) as u64 {
            self.at = self.end;
            return Ok(Some(Found::Torn { offset: at }));
        }
        let mut body = std::mem::take(&mut self.body);
        body.resize(head.length(), 0);
        self.read_at(at + HEAD as u64, &mut body)?;
        self.at = at + (HEAD + head.length()) as u64;
        let found = decode(&head, &body).and_then(|(about, columns)| {
            let about = self.whose(about)?;
            columns.check(about.stages.len())?;
            Ok((about, columns))
        });
        self.body = body;
        match found {
            Ok((about, columns)) => Ok(Some(Found::Block(about, Box::new(columns)))),
            // The head is whole, and says where the next block begins.
            Err(reason) => Ok(Some(Found::Damage { offset: at, end: self.at, reason })),
        }
    }

    fn whose(&mut self, bytes: &[u8]) -> std::result::Result<Arc<About>, &'static str> {
        match &self.about {
            Some((known, about)) if known == bytes => Ok(Arc::clone(about)),
            _ => {
                let about = Arc::new(About::of_bytes(bytes)?);
                self.about = Some((bytes.to_vec(), Arc::clone(&about)));
                Ok(about)
            }
        }
    }

    /// Damage from `from` on, as far as the next head.
    fn pass_over(&mut self, from: u64, reason: &'static str) -> io::Result<Found> {
        let mut piece = vec![0; PIECE];
        let mut at = from + 1;
        while at < self.end {
            parallel::check();
            let length = usize::try_from(self.end - at).unwrap_or(usize::MAX).min(PIECE);
            let piece = piece.get_mut(..length).unwrap_or_default();
            self.read_at(at, piece)?;
            for (place, start) in piece.windows(MAGIC.len()).enumerate() {
                let candidate = at + place as u64;
                if start == MAGIC && self.head(candidate)?.is_some() {
                    self.at = candidate;
                    return Ok(Found::Damage { offset: from, end: candidate, reason });
                }
            }
            // The beginning of a block may lie across the end of the piece.
            at += if length < PIECE { length } else { length + 1 - MAGIC.len() } as u64;
        }
        self.at = self.end;
        Ok(Found::Damage { offset: from, end: self.end, reason })
    }

    /// The head at a place, if there is a whole one.
    fn head(&mut self, at: u64) -> io::Result<Option<Head>> {
        if self.end - at < HEAD as u64 {
            return Ok(None);
        }
        let mut bytes = [0; HEAD];
        self.read_at(at, &mut bytes)?;
        Ok(Head::of_bytes(&bytes))
    }

    fn read_at(&mut self, at: u64, to: &mut [u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(at))?;
        self.file.read_exact(to)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::frame::encode;
    use super::super::made::{about, columns};
    use super::*;

    /// Rows of each block, or where damage begins and ends, or a torn block begins.
    fn told(path: &Path) -> Result<Vec<String>> {
        let mut scan = Scan::open(path, u64::MAX)?;
        let mut found = Vec::new();
        while let Some(next) = scan.next_found()? {
            found.push(match next {
                Found::Block(_, columns) => columns.len().to_string(),
                Found::Damage { offset, end, .. } => format!("{offset}-{end}"),
                Found::Torn { offset } => format!("torn {offset}"),
            });
        }
        Ok(found)
    }

    fn file(bytes: &[u8]) -> io::Result<(tempfile::TempDir, PathBuf)> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("records");
        fs::write(&path, bytes)?;
        Ok((folder, path))
    }

    #[test]
    fn whole_torn_and_damaged_files() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let (one, other) = (encode(&about(), &columns(30))?, encode(&about(), &columns(5))?);
        let both = [one.clone(), other.clone()].concat();
        let (_folder, path) = file(&both)?;
        assert_eq!(told(&path)?, ["30", "5"]);
        for cut in [1, 7, HEAD - 1, HEAD, other.len() - 1] {
            fs::write(&path, &both[..one.len() + cut])?;
            assert_eq!(told(&path)?, ["30".to_owned(), format!("torn {}", one.len())]);
        }
        let mut damaged = both.clone();
        damaged[HEAD + 3] ^= 1;
        fs::write(&path, &damaged)?;
        assert_eq!(told(&path)?, [format!("0-{}", one.len()), "5".to_owned()]);
        damaged[9] ^= 1;
        fs::write(&path, &damaged)?;
        assert_eq!(told(&path)?, [format!("0-{}", one.len()), "5".to_owned()]);
        let zeros = [one.clone(), vec![0; 3 * PIECE - 5], other].concat();
        fs::write(&path, &zeros)?;
        let end = one.len() + 3 * PIECE - 5;
        assert_eq!(told(&path)?, ["30".to_owned(), format!("{}-{end}", one.len()), "5".to_owned()]);
        fs::write(&path, b"a text that somebody has put there, longer than the head of a block is")?;
        assert_eq!(told(&path)?, ["0-70"]);
        fs::write(&path, b"")?;
        assert!(told(&path)?.is_empty());
        Ok(())
    }

    #[test]
    fn a_head_is_found_wherever_it_begins() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let block = encode(&about(), &columns(3))?;
        for before in [1, 8, PIECE - 7, PIECE, PIECE + 1, PIECE + 2, 2 * PIECE - 8] {
            let (_folder, path) = file(&[vec![b'\x89'; before], block.clone()].concat())?;
            assert_eq!(told(&path)?, [format!("0-{before}"), "3".to_owned()], "{before}");
        }
        Ok(())
    }

    #[test]
    fn what_was_not_there_at_first_is_not_read() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let block = encode(&about(), &columns(3))?;
        let (_folder, path) = file(&[block.clone(), block.clone()].concat())?;
        let mut scan = Scan::open(&path, block.len() as u64)?;
        assert!(matches!(scan.next_found()?, Some(Found::Block(..))));
        assert!(scan.next_found()?.is_none());
        Ok(())
    }
}
