//! Looks at what is on disk now, without following links and without waiting for anything.

use std::{
    ffi::OsString,
    fs::{self, File, FileType, Metadata, OpenOptions},
    io::{self, Read},
    path::Path,
    time::SystemTime,
};

use crate::hash::{ContentHash, ContentHasher};

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing that is a file: nothing at all, a directory, a FIFO, a socket or a device.
    NoFile,
    /// A symbolic link, or a file that is too large or cannot be read, without a hash.
    File(Option<ContentHash>),
}

/// Looks at a path and hashes the file there, in bounded memory.
pub(super) fn look(path: &Path, max_bytes: u64) -> Found {
    match fs::symlink_metadata(path) {
        Ok(found) if !is_file_like(found.file_type()) => Found::NoFile,
        Ok(found) if !found.is_file() || found.len() > max_bytes => Found::File(None),
        Ok(_) => match open_regular(path).and_then(|file| file.map(|file| hash(file, max_bytes)).transpose()) {
            Ok(hash) => Found::File(hash.flatten()),
            Err(error) if is_gone(&error) => Found::NoFile,
            Err(_) => Found::File(None),
        },
        Err(error) if is_gone(&error) => Found::NoFile,
        // It cannot be said to be gone when nobody may look.
        Err(_) => Found::File(None),
    }
}

/// Whether something that is a file stands there, by the standards of [`look`].
pub(super) fn is_file(path: &Path) -> bool {
    match fs::symlink_metadata(path) {
        Ok(found) => is_file_like(found.file_type()),
        Err(error) => !is_gone(&error),
    }
}

pub(super) fn is_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
}

/// Whether content or attributes changed at this time or later; `false` if it is gone.
pub(super) fn changed_since(path: &Path, time: SystemTime) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| changed_at(&found).is_none_or(|changed| changed >= time))
}

/// The entries of a directory that count: files, symbolic links and directories.
pub(super) struct Listing {
    pub files: Vec<OsString>,
    pub directories: Vec<OsString>,
}

pub(super) fn list(directory: &Path) -> io::Result<Listing> {
    let mut listing = Listing { files: Vec::new(), directories: Vec::new() };
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => listing.directories.push(entry.file_name()),
            Ok(kind) if is_file_like(kind) => listing.files.push(entry.file_name()),
            Ok(_) => {}
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(listing)
}

/// Opens a regular file to read; `None` if something else stands there. Never waits for a writer of a FIFO.
pub(super) fn open_regular(path: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        use std::os::unix::fs::OpenOptionsExt;
        // The bits of the flags are the system's own numbers, which fit into its `int`.
        options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32);
    }
    let file = options.open(path)?;
    Ok(file.metadata()?.is_file().then_some(file))
}

/// `None` if the file has grown above the limit.
fn hash(mut file: File, max_bytes: u64) -> io::Result<Option<ContentHash>> {
    let mut hasher = ContentHasher::new();
    let mut buffer = vec![0; 64 << 10];
    let mut total = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(Some(hasher.finish())),
            Ok(count) => {
                total += count as u64;
                if total > max_bytes {
                    return Ok(None);
                }
                hasher.update(&buffer[..count]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn is_file_like(kind: FileType) -> bool {
    kind.is_file() || kind.is_symlink()
}

/// Whether the error says that there is nothing.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(unix)]
fn changed_at(found: &Metadata) -> Option<SystemTime> {
    use std::{os::unix::fs::MetadataExt, time::Duration};
    let seconds = u64::try_from(found.ctime()).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, u32::try_from(found.ctime_nsec()).ok()?))
}

#[cfg(not(unix))]
fn changed_at(found: &Metadata) -> Option<SystemTime> {
    found.modified().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_within_the_limit_is_told_with_its_hash_and_a_larger_one_without() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "12345").unwrap();
        assert_eq!(look(&path, 5), Found::File(Some(ContentHash::of(b"12345"))));
        assert_eq!(look(&path, 4), Found::File(None));
        assert_eq!(hash(File::open(&path).unwrap(), 4).unwrap(), None, "it grew after its size was asked");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_a_file_without_hash_and_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path(), &path).unwrap();
        assert_eq!(look(&path, 100), Found::File(None));
        assert!(is_file(&path) && !is_directory(&path));
        assert!(open_regular(&path).is_err());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_fifo_is_no_file_and_does_not_block() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).unwrap();
        assert_eq!(look(&path, 100), Found::NoFile);
        assert!(open_regular(&path).unwrap().is_none());
        assert!(list(dir.path()).unwrap().files.is_empty());
    }

    #[test]
    fn what_is_not_there_and_what_is_a_directory_are_no_files() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(look(dir.path(), 100), Found::NoFile);
        assert_eq!(look(&dir.path().join("x"), 100), Found::NoFile);
        assert!(!is_file(dir.path()) && is_directory(dir.path()));
    }
}
