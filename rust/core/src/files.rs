//! Whole files: read if they are files, written so that they are either the old one or the new one.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::parallel;

/// Bytes read between two looks at whether to go on.
const PIECE: usize = 1 << 24;

/// Symbolic links that are followed one after the other, as the system does it.
const MOST_LINKS: usize = 40;

/// Where bytes for a path go.
enum Place {
    /// Written to as it is: a device, a pipe, a descriptor of a process.
    Stream,
    /// Replaced: the file itself, behind all links, and what it was.
    File(PathBuf, Option<fs::Metadata>),
}

/// The bytes of a file that begins with `start`, up to one more than `most`; of any other file, its first `start.len()`
/// bytes.
///
/// # Errors
/// [`Error::Io`] if it cannot be read or is a folder, [`Error::Invalid`] if it is a pipe or a device, which might never
/// end.
pub fn read(path: &Path, start: &[u8], most: usize) -> Result<Vec<u8>> {
    let failed = |source| Error::Io { action: "read", path: path.into(), source };
    let file = opened_at_once(OpenOptions::new().read(true)).open(path).map_err(failed)?;
    let known = file.metadata().map_err(failed)?;
    // Reading a folder says what is wrong with it.
    if !known.is_file() && !known.is_dir() {
        return Err(Error::invalid(format!("`path` must be a file, got a pipe or a device, {}", path.display())));
    }
    let mut bytes = Vec::new();
    (&file).take(start.len() as u64).read_to_end(&mut bytes).map_err(failed)?;
    while bytes.starts_with(start) && bytes.len() <= most {
        parallel::check();
        let wanted = PIECE.min(most + 1 - bytes.len());
        if (&file).take(wanted as u64).read_to_end(&mut bytes).map_err(failed)? == 0 {
            break;
        }
    }
    Ok(bytes)
}

/// Writes a whole file.
///
/// A file is replaced in one step, after its content has reached the disk: whatever happens, it is the old one or the
/// new one. It keeps its mode, and its owner where that is allowed; a new file gets the mode that the umask allows. A
/// link stays, and what it points to is replaced. A device or a pipe is written to. A process that is killed leaves
/// at most a file `.NAME.XXXXXX.tmp` in the folder.
///
/// `keep_on` is asked again and again while a device or a pipe takes its time; with false the writing ends.
///
/// # Errors
/// [`Error::Io`] if it cannot be written; a file is then as it was.
pub fn write(path: &Path, bytes: &[u8], keep_on: &mut dyn FnMut() -> bool) -> Result<()> {
    let written = place(path).and_then(|place| match place {
        Place::Stream => pour(path, bytes, keep_on),
        Place::File(target, old) => replace(&target, old.as_ref(), bytes),
    });
    written.map_err(|source| Error::Io { action: "write", path: path.into(), source })
}

/// Whether [`write()`] could begin now: tried, without touching the file.
///
/// # Errors
/// As [`write()`].
pub fn check_writable(path: &Path) -> Result<()> {
    let tried = place(path).and_then(|place| match place {
        Place::Stream => Ok(()),
        Place::File(target, old) => temporary(&target, old.as_ref()).map(drop),
    });
    tried.map_err(|source| Error::Io { action: "write", path: path.into(), source })
}

fn place(path: &Path) -> io::Result<Place> {
    match fs::metadata(path) {
        Ok(known) if known.is_dir() => {
            Err(OpenOptions::new().write(true).open(path).err().unwrap_or(ErrorKind::IsADirectory.into()))
        }
        Ok(known) if known.is_file() && !is_descriptor(path) => Ok(Place::File(fs::canonicalize(path)?, Some(known))),
        Ok(_) => Ok(Place::Stream),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Place::File(behind_links(path), None)),
        Err(error) => Err(error),
    }
}

/// Whether the path is that of an open descriptor, such as `/dev/stdout`: whoever opened it holds the file.
fn is_descriptor(path: &Path) -> bool {
    let folder = fs::canonicalize(folder_of(path)).unwrap_or_default();
    folder == Path::new("/dev") || folder.starts_with("/proc")
}

/// What a link to nothing points to; any other path as it is.
fn behind_links(path: &Path) -> PathBuf {
    let mut target = path.to_path_buf();
    for _ in 0..MOST_LINKS {
        let Ok(next) = fs::read_link(&target) else { break };
        target = folder_of(&target).join(next);
    }
    target
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// An empty file beside `target` with the mode and owner that it is to have; gone when dropped.
fn temporary(target: &Path, old: Option<&fs::Metadata>) -> io::Result<tempfile::NamedTempFile<File>> {
    if old.is_some() || target.as_os_str().is_empty() {
        // A file that may not be written may not be replaced either.
        OpenOptions::new().write(true).open(target)?;
    }
    let name: String = target.file_name().map(OsStr::to_string_lossy).unwrap_or_default().chars().take(40).collect();
    let prefix = format!(".{name}.");
    // The system's own error, which `tempfile` wraps.
    let mut refused = None;
    let made = tempfile::Builder::new().prefix(&prefix).suffix(".tmp").make_in(folder_of(target), |path| {
        OpenOptions::new().write(true).create_new(true).open(path).inspect_err(|error| refused = error.raw_os_error())
    });
    let file = made.map_err(|error| refused.map_or(error, io::Error::from_raw_os_error))?;
    if let Some(old) = old {
        keep_owner(file.as_file(), old);
        file.as_file().set_permissions(old.permissions())?;
    }
    Ok(file)
}

/// Gives a file the owner and group of another, where the system lets this process.
#[cfg(unix)]
fn keep_owner(file: &File, old: &fs::Metadata) {
    use std::os::unix::fs::{MetadataExt, fchown};
    let same = file.metadata().is_ok_and(|new| (new.uid(), new.gid()) == (old.uid(), old.gid()));
    if !same && fchown(file, Some(old.uid()), Some(old.gid())).is_err() {
        // Only the superuser gives files away; a group that the process is in can be kept.
        fchown(file, None, Some(old.gid())).ok();
    }
}

#[cfg(not(unix))]
fn keep_owner(_: &File, _: &fs::Metadata) {}

fn replace(target: &Path, old: Option<&fs::Metadata>, bytes: &[u8]) -> io::Result<()> {
    let file = temporary(target, old)?;
    let mut inner = file.as_file();
    inner.write_all(bytes)?;
    inner.sync_all()?;
    file.persist(target).map_err(|error| error.error)?;
    // The rename itself must reach the disk too, where folders can be opened and synchronised.
    match File::open(folder_of(target)).and_then(|folder| folder.sync_all()) {
        Err(error) if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => Err(error),
        _ => Ok(()),
    }
}

/// Writes to a device or a pipe; one that nobody reads is refused.
fn pour(path: &Path, mut bytes: &[u8], keep_on: &mut dyn FnMut() -> bool) -> io::Result<()> {
    // Opened without waiting for a reader; then once more, so that writing waits where it has to.
    let held = opened_at_once(OpenOptions::new().write(true)).open(path)?;
    let mut stream = OpenOptions::new().write(true).truncate(held.metadata()?.is_file()).open(path)?;
    drop(held);
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            // A signal cuts a write short, or makes it fail before it has begun.
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if !keep_on() {
            return Err(ErrorKind::Interrupted.into());
        }
    }
    Ok(())
}

/// Opening does not wait for the other end of a pipe.
#[cfg(unix)]
fn opened_at_once(options: &mut OpenOptions) -> &mut OpenOptions {
    std::os::unix::fs::OpenOptionsExt::custom_flags(options, libc::O_NONBLOCK)
}

#[cfg(not(unix))]
fn opened_at_once(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_refuses_keeps_its_number() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let number = |result: Result<()>| match result {
            Err(Error::Io { source, .. }) => source.raw_os_error(),
            _ => None,
        };
        let file = folder.path().join("file");
        let absent = folder.path().join("absent").join("file");
        let code = |kind: fn() -> io::Result<()>| kind().err().and_then(|error| error.raw_os_error());
        let missing = code(|| fs::metadata("/no/such/file").map(drop));
        assert!(missing.is_some());
        assert_eq!(number(write(&absent, b"new", &mut || true)), missing);
        assert_eq!(number(check_writable(&absent)), missing);
        assert_eq!(number(read(&file, b"", 9).map(drop)), missing);
        assert_eq!(number(write(Path::new(""), b"new", &mut || true)), missing);
        assert!(number(write(folder.path(), b"new", &mut || true)).is_some());
        assert!(number(read(folder.path(), b"", 9).map(drop)).is_some());
        Ok(())
    }

    #[test]
    fn files_are_replaced_whole_and_nothing_is_left_behind() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("file");
        for content in [&b"first"[..], b"second"] {
            assert!(check_writable(&file).is_ok());
            assert!(write(&file, content, &mut || true).is_ok());
            assert_eq!(fs::read(&file)?, content);
        }
        assert_eq!(fs::read_dir(folder.path())?.count(), 1);
        Ok(())
    }

    #[test]
    fn of_files_that_begin_otherwise_no_more_is_read() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("file");
        fs::write(&file, b"magic and more")?;
        assert!(read(&file, b"magic", 99).is_ok_and(|bytes| bytes == b"magic and more"));
        assert!(read(&file, b"magic", 7).is_ok_and(|bytes| bytes == b"magic an"));
        assert!(read(&file, b"other", 99).is_ok_and(|bytes| bytes == b"magic"));
        Ok(())
    }
}
