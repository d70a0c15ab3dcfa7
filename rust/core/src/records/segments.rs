//! Files that blocks are appended to: one after the other, of bounded size and age, each written by one process.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What names of files of records end in.
pub const SUFFIX: &str = "ttrec";

/// The files of one writer.
#[derive(Debug)]
pub struct Segments {
    folder: PathBuf,
    /// Tells its files from those of all others.
    stem: String,
    most_bytes: u64,
    most_seconds: f64,
    count: u64,
    open: Option<Segment>,
}

#[derive(Debug)]
struct Segment {
    file: File,
    path: PathBuf,
    length: u64,
    begun: f64,
}

impl Segments {
    /// Files in a folder that is there; a file is begun when there is something to write.
    pub fn new(folder: &Path, stem: String, most_bytes: u64, most_seconds: f64) -> Self {
        Self { folder: folder.into(), stem, most_bytes, most_seconds, count: 0, open: None }
    }

    /// Appends a block at a time in seconds since 1970: to the file that is open, unless that is full, old or gone.
    ///
    /// # Errors
    /// What the system says; nothing of the block is left then, as far as the system lets it be taken away.
    pub fn append(&mut self, block: &[u8], now: f64) -> io::Result<()> {
        let (most_bytes, most_seconds) = (self.most_bytes, self.most_seconds);
        let mut segment = match self.open.take() {
            Some(open)
                if open.length.saturating_add(block.len() as u64) <= most_bytes
                    && (open.begun..open.begun + most_seconds).contains(&now)
                    && !is_gone(&open.file) =>
            {
                open
            }
            _ => self.begin(now)?,
        };
        if let Err(error) = segment.file.write_all(block) {
            // What went in is not whole: it is taken away, and so is a file without a block.
            let undone = segment.file.set_len(segment.length);
            if segment.length == 0 {
                fs::remove_file(&segment.path).ok();
            }
            return undone.and(Err(error));
        }
        segment.length += block.len() as u64;
        self.open = Some(segment);
        Ok(())
    }

    /// Where the next block goes, if there is a file for it already.
    pub fn path(&self) -> Option<&Path> {
        self.open.as_ref().map(|open| open.path.as_path())
    }

    fn begin(&mut self, now: f64) -> io::Result<Segment> {
        // Of one writer they are in the order of their names; of several about so.
        let name = format!("{:013.0}-{}-{:06}.{SUFFIX}", (now * 1000.0).max(0.0), self.stem, self.count);
        let path = self.folder.join(name);
        let file = OpenOptions::new().append(true).create_new(true).open(&path)?;
        self.count += 1;
        Ok(Segment { file, path, length: 0, begun: now })
    }
}

/// Whether a file has no name any more, so that what is written to it is lost.
#[cfg(unix)]
fn is_gone(file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    file.metadata().is_ok_and(|known| known.nlink() == 0)
}

#[cfg(not(unix))]
fn is_gone(_: &File) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(folder: &Path) -> io::Result<Vec<u64>> {
        let mut found = fs::read_dir(folder)?
            .map(|entry| entry.and_then(|entry| Ok((entry.file_name(), entry.metadata()?.len()))))
            .collect::<io::Result<Vec<_>>>()?;
        found.sort();
        Ok(found.into_iter().map(|(_, length)| length).collect())
    }

    #[test]
    fn files_end_when_they_are_full_or_old() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let mut segments = Segments::new(folder.path(), "a".into(), 10, 60.0);
        for (block, now) in [(4, 0.0), (6, 1.0), (1, 2.0), (30, 3.0), (2, 4.0), (2, 63.9), (2, 64.1), (2, 50.0)] {
            segments.append(&vec![7; block], now)?;
        }
        // What is larger than a file has one of its own; a clock that was set back begins a new one too.
        assert_eq!(sizes(folder.path())?, [10, 1, 30, 4, 2, 2]);
        Ok(())
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_is_gone_is_not_written_to() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let mut segments = Segments::new(folder.path(), "a".into(), 100, 60.0);
        segments.append(b"one", 0.0)?;
        let first = segments.path().map(Path::to_path_buf).unwrap_or_default();
        fs::remove_file(&first)?;
        segments.append(b"two", 0.5)?;
        assert!(!first.exists());
        assert_eq!(sizes(folder.path())?, [3]);
        fs::remove_dir_all(folder.path())?;
        assert!(segments.append(b"three", 1.0).is_err());
        assert_eq!(segments.path(), None);
        Ok(())
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_leaves_nothing_behind() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let mut segments = Segments::new(folder.path(), "a".into(), 100, 60.0);
        segments.open = Some(Segment {
            file: OpenOptions::new().append(true).open("/dev/full")?,
            path: folder.path().join("full"),
            length: 0,
            begun: 0.0,
        });
        assert!(segments.append(b"one", 0.5).is_err());
        segments.append(b"two", 0.6)?;
        assert_eq!(sizes(folder.path())?, [3]);
        Ok(())
    }
}
