//! Locks that other sidecars on this machine honour.
//!
//! A lock is an OS lock on one of 256 empty files in the state directory, chosen by the place of the file
//! that is locked: never a lock on a file that is about to be replaced, nothing to clean up, and whoever dies lets go.
//! Two files that share a lock file wait for each other without need; that is rare and harmless.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use crate::{
    error::{IoError, IoErrorKind},
    roots::Place,
};

/// Whether other sidecars are kept from editing the same file at the same time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum LockingPolicy {
    /// Only requests of this manager wait for each other.
    #[default]
    None,
    /// Managers of all processes that name the same directory wait for each other; it is made when it is missing.
    Advisory { directory: PathBuf },
}

/// How long an edit waits for another process before it fails.
const PATIENCE: Duration = Duration::from_secs(10);
/// The system offers no wait with a limit, so the lock is tried again and again.
const RETRY: Duration = Duration::from_millis(2);

#[derive(Debug)]
pub(crate) struct OsLocks {
    policy: LockingPolicy,
}

impl OsLocks {
    pub fn new(policy: LockingPolicy) -> Self {
        Self { policy }
    }

    /// Takes the locks of all these places; dropping the files lets go.
    pub fn lock(&self, places: &[Place]) -> Result<Vec<File>, IoError> {
        let LockingPolicy::Advisory { directory } = &self.policy else { return Ok(Vec::new()) };
        let mut numbers: Vec<u8> = places.iter().map(|place| lock_number(&place.bytes())).collect();
        // One order for everybody, so that nobody waits in a circle.
        numbers.sort_unstable();
        numbers.dedup();
        let deadline = Instant::now() + PATIENCE;
        let lock = |number| {
            let path = directory.join(format!("{number:03}.lock"));
            let failed = |error| IoError::os(&path, "open the lock file", error);
            let file = open(directory, &path).map_err(failed)?;
            while !try_lock(&file).map_err(|error| IoError::os(&path, "lock", error))? {
                if Instant::now() >= deadline {
                    let waited_ms = PATIENCE.as_millis() as u64;
                    return Err(IoError::new("", IoErrorKind::Locked { waited_ms }));
                }
                thread::sleep(RETRY);
            }
            Ok(file)
        };
        numbers.into_iter().map(lock).collect()
    }
}

/// The same whatever built the process: std's hashes differ between versions of Rust.
fn lock_number(place: &[u8]) -> u8 {
    blake3::hash(place).as_bytes()[0]
}

fn open(directory: &PathBuf, path: &PathBuf) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut builder = DirBuilder::new();
            builder.recursive(true);
            #[cfg(unix)]
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
            builder.create(directory)?;
            options.open(path)
        }
        result => result,
    }
}

#[cfg(unix)]
fn try_lock(file: &File) -> io::Result<bool> {
    use rustix::fs::{FlockOperation, flock};
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// There is no lock in std of the supported Rust version: edits of several processes are kept apart by their guards alone.
#[cfg(not(unix))]
fn try_lock(_: &File) -> io::Result<bool> {
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_the_same_lock_in_every_build() {
        assert_eq!([lock_number(b""), lock_number(b"a"), lock_number(b"b")], [0xaf, 0x17, 0x10]);
    }
}
