//! Locks that other sidecars on this machine honour.
//!
//! A lock is an OS lock on one of 64 empty files in the state directory, chosen by the place of the file
//! that is locked: never a lock on a file that is about to be replaced, nothing to clean up, and whoever dies lets go.
//! Two files that share a lock file wait for each other without need; that is rare and harmless.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::Arc,
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

impl LockingPolicy {
    /// Fails if no lock file can be opened, so that no edit would be possible.
    pub fn check(&self) -> io::Result<()> {
        match self {
            Self::None => Ok(()),
            Self::Advisory { directory } => open(directory, &lock_file(directory, 0)).map(drop),
        }
    }
}

/// More would be fewer needless waits, and more descriptors for a transaction over many files.
const LOCK_FILES: u8 = 64;
/// How long an edit waits for another process before it fails.
const PATIENCE: Duration = Duration::from_secs(10);
/// The system offers no wait with a limit, so the lock is tried again and again.
const RETRY: Duration = Duration::from_millis(2);

#[derive(Debug)]
pub(crate) struct OsLocks {
    policy: LockingPolicy,
    patience: Duration,
}

impl OsLocks {
    pub fn new(policy: LockingPolicy) -> Self {
        Self { policy, patience: PATIENCE }
    }

    /// Takes the locks of all these places; dropping the files lets go.
    pub fn lock(&self, places: &[Place]) -> Result<Vec<File>, IoError> {
        let LockingPolicy::Advisory { directory } = &self.policy else { return Ok(Vec::new()) };
        let mut numbers: Vec<u8> = places.iter().map(|place| lock_number(&place.bytes())).collect();
        // One order for everybody, so that nobody waits in a circle.
        numbers.sort_unstable();
        numbers.dedup();
        let deadline = Instant::now() + self.patience;
        let lock = |number| {
            let file = open(directory, &lock_file(directory, number)).map_err(failed)?;
            while !try_lock(&file).map_err(failed)? {
                if Instant::now() >= deadline {
                    let waited_ms = self.patience.as_millis() as u64;
                    return Err(IoError::new("", IoErrorKind::Locked { waited_ms, holder: holder(&file) }));
                }
                thread::sleep(RETRY);
            }
            Ok(file)
        };
        numbers.into_iter().map(lock).collect()
    }
}

/// Never a kind of its own such as "not found", which would speak of the file that is edited.
fn failed(error: io::Error) -> IoError {
    let operation = "take the lock that other sidecars honour";
    IoError::new("", IoErrorKind::Os { operation, source: Arc::new(error) })
}

fn lock_file(directory: &Path, number: u8) -> PathBuf {
    directory.join(format!("{number:03}.lock"))
}

/// The same whatever built the process: std's hashes differ between versions of Rust.
fn lock_number(place: &[u8]) -> u8 {
    blake3::hash(place).as_bytes()[0] % LOCK_FILES
}

fn open(directory: &Path, path: &Path) -> io::Result<File> {
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
pub(crate) fn try_lock(file: &File) -> io::Result<bool> {
    use rustix::fs::{FlockOperation, flock};
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// There is no lock in std of the supported Rust version: edits of several processes are kept apart by their guards alone.
#[cfg(not(unix))]
pub(crate) fn try_lock(_: &File) -> io::Result<bool> {
    Ok(true)
}

/// Process that holds the lock of a file, as far as the system tells.
#[cfg(target_os = "linux")]
fn holder(file: &File) -> Option<u32> {
    use rustix::fs::{fstat, major, minor};
    let stat = fstat(file).ok()?;
    let place = format!("{:02x}:{:02x}:{}", major(stat.st_dev), minor(stat.st_dev), stat.st_ino);
    held_by(&std::fs::read_to_string("/proc/locks").ok()?, &place)
}

#[cfg(not(target_os = "linux"))]
fn holder(_: &File) -> Option<u32> {
    None
}

/// Finds a place in lines such as `1: FLOCK  ADVISORY  WRITE 4321 fe:00:1234 0 EOF`; who waits has an arrow in front.
#[cfg(target_os = "linux")]
fn held_by(locks: &str, place: &str) -> Option<u32> {
    locks.lines().find_map(|line| match line.split_whitespace().collect::<Vec<_>>()[..] {
        [_, "FLOCK", _, _, pid, at, ..] if at == place => pid.parse().ok(),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn the_holder_of_a_lock_is_found() {
        let locks = "1: POSIX  ADVISORY  WRITE 5 fe:00:7 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 6 fe:00:7 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 8 fe:00:9 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE -1 fe:00:10 0 EOF\n";
        assert_eq!(held_by(locks, "fe:00:7"), Some(6));
        assert_eq!(held_by(locks, "fe:00:9"), None);
        assert_eq!(held_by(locks, "fe:00:10"), None, "a process of another namespace");
        let file = tempfile::tempfile().unwrap();
        assert_eq!(holder(&file), None);
        assert!(try_lock(&file).unwrap());
        // Some containers do not show their locks.
        assert!(holder(&file).is_none_or(|pid| pid == std::process::id()));
    }

    #[test]
    fn a_place_has_the_same_lock_in_every_build() {
        assert_eq!([lock_number(b""), lock_number(b"a"), lock_number(b"b")], [0x2f, 0x17, 0x10]);
    }

    #[cfg(unix)]
    #[test]
    fn who_waits_for_a_lock_gives_up_and_is_told_who_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let policy = LockingPolicy::Advisory { directory: dir.path().to_path_buf() };
        let id = crate::disk::Dir::open_absolute(dir.path()).unwrap().id();
        let place = || [Place::in_directory(id, "a".as_ref())];
        let held = OsLocks::new(policy.clone()).lock(&place()).unwrap();
        let impatient = OsLocks { policy, patience: Duration::from_millis(5) };
        match impatient.lock(&place()).unwrap_err().kind {
            // Some containers do not show their locks.
            IoErrorKind::Locked { waited_ms: 5, holder } => {
                assert!(holder.is_none_or(|pid| pid == std::process::id()), "{holder:?}");
            }
            other => panic!("{other:?}"),
        }
        drop(held);
        assert_eq!(impatient.lock(&place()).unwrap().len(), 1);
    }

    #[test]
    fn a_lock_that_cannot_be_had_is_no_error_of_the_file_that_is_edited() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let policy = LockingPolicy::Advisory { directory: file.join("locks") };
        assert!(policy.check().is_err());
        let place = crate::roots::Root::open(dir.path()).unwrap();
        let mut roots = crate::roots::Roots::new(crate::roots::SymlinkPolicy::default());
        roots.add(place);
        let budget = crate::roots::DirBudget::new(1);
        let path = crate::roots::Resolver::new(&roots, &budget).resolve(&file).unwrap();
        let error = OsLocks::new(policy).lock(&[path.place().unwrap()]).unwrap_err();
        assert!(matches!(error.kind, IoErrorKind::Os { .. }), "{error}");
    }
}
