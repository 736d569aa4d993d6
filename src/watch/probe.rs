//! Looks at what is on disk now, without following links and without waiting for anything.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File, FileType, Metadata, OpenOptions},
    io::{self, Read},
    path::Path,
    time::SystemTime,
};

use super::index::Look;
use crate::hash::{ContentHash, ContentHasher};

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing that is a file: nothing at all, a directory, a FIFO, a socket or a device.
    NoFile,
    /// A symbolic link, or a file that is too large or cannot be read, without a hash.
    File(Option<ContentHash>),
}

/// Looks at a path and hashes the file there, in bounded memory; how it looked is `None` where there is no file.
pub(super) fn look(path: &Path, max_bytes: u64) -> (Found, Option<Look>) {
    let (open, found) = match fs::symlink_metadata(path) {
        Ok(found) if !is_file_like(found.file_type()) => return (Found::NoFile, None),
        Ok(found) if found.is_symlink() => {
            let look = look_of(&found, SystemTime::now());
            let target = fs::read_link(path).map(|target| ContentHash::of(target.as_os_str().as_encoded_bytes()));
            return (Found::File(None), Some(Look { content: target.map_or(0, beginning), ..look }));
        }
        Ok(found) if found.len() > max_bytes => (Ok(None), found),
        Ok(found) => (open_regular(path), found),
        Err(error) if is_gone(&error) => return (Found::NoFile, None),
        // It cannot be said to be gone when nobody may look.
        Err(_) => return (Found::File(None), Some(Look::default())),
    };
    let now = SystemTime::now();
    let hashed = open.and_then(|file| {
        let Some(file) = file else { return Ok((None, look_of(&found, now))) };
        // Before reading, so that what changes meanwhile looks different afterwards.
        let look = look_of(&file.metadata()?, now);
        Ok((hash(file, max_bytes)?, look))
    });
    match hashed {
        Ok((hash, look)) => (Found::File(hash), Some(Look { content: hash.map_or(0, beginning), ..look })),
        Err(error) if is_gone(&error) => (Found::NoFile, None),
        Err(_) => (Found::File(None), Some(look_of(&found, now))),
    }
}

/// How the file at this path looks without its content; `None` where there is no file, by the standards of [`look`].
pub(super) fn glance(path: &Path) -> Option<Look> {
    match fs::symlink_metadata(path) {
        Ok(found) => is_file_like(found.file_type()).then(|| look_of(&found, SystemTime::now())),
        Err(error) => (!is_gone(&error)).then(Look::default),
    }
}

/// Whether something that is a file stands there, by the standards of [`look`].
pub(super) fn is_file(path: &Path) -> bool {
    glance(path).is_some()
}

pub(super) fn is_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
}

/// The entries of a directory that count: files and symbolic links, as they look, and directories.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub files: Vec<(OsString, Look)>,
    pub directories: Vec<OsString>,
}

/// Lists those entries that are covered.
pub(super) fn list(directory: &Path, covers: impl Fn(&OsStr, bool) -> bool) -> io::Result<Listing> {
    let mut listing = Listing::default();
    let now = SystemTime::now();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => {
                if covers(&name, true) {
                    listing.directories.push(name);
                }
            }
            Ok(kind) if is_file_like(kind) && covers(&name, false) => match entry.metadata() {
                Ok(found) => listing.files.push((name, look_of(&found, now))),
                Err(error) if is_gone(&error) => {}
                Err(_) => listing.files.push((name, Look::default())),
            },
            Ok(_) => {}
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(listing)
}

/// Whether changes that others make to this directory send no events here: it is on another machine.
#[cfg(target_os = "linux")]
pub(super) fn is_remote(directory: &Path) -> bool {
    // The type is a signed or unsigned word of varying width; these magic numbers have 32 bits.
    rustix::fs::statfs(directory).is_ok_and(|stat| is_remote_type(stat.f_type as u64 & 0xffff_ffff))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn is_remote(_: &Path) -> bool {
    false
}

#[cfg(target_os = "linux")]
fn is_remote_type(magic: u64) -> bool {
    const NFS: u64 = 0x6969;
    const SMB: u64 = 0x517b;
    const SMB2: u64 = 0xfe53_4d42;
    const CIFS: u64 = 0xff53_4d42;
    const AFS: u64 = 0x5346_414f;
    const KAFS: u64 = 0x6b41_4653;
    const CEPH: u64 = 0x00c3_6400;
    const CODA: u64 = 0x7375_7245;
    const NINE_P: u64 = 0x0102_1997;
    const FUSE: u64 = 0x6573_5546;
    const VIRTUAL_BOX: u64 = 0x786f_4256;
    const LUSTRE: u64 = 0x0bd0_0bd0;
    const GPFS: u64 = 0x4750_4653;
    const OCFS2: u64 = 0x7461_636f;
    const GFS2: u64 = 0x0116_1970;
    [NFS, SMB, SMB2, CIFS, AFS, KAFS, CEPH, CODA, NINE_P, FUSE, VIRTUAL_BOX, LUSTRE, GPFS, OCFS2, GFS2].contains(&magic)
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

/// A file that changed later than this before a look may change again without a trace in its times: the clock ticks every
/// few milliseconds, on some systems every two seconds, and then shows no fractions.
const TICK: i64 = 20_000_000;
pub(super) const COARSE_TICK: i64 = 2_100_000_000;
const SECOND: i64 = 1_000_000_000;

fn look_of(found: &Metadata, now: SystemTime) -> Look {
    let (device, inode, modified, status_changed) = identity_and_times(found);
    let now = nanos(now);
    let at_rest = |time: i64| now.saturating_sub(time) > if time % SECOND == 0 { COARSE_TICK } else { TICK };
    // A time to come was set by somebody, which shows in the other one.
    let settled = at_rest(status_changed) && (at_rest(modified) || (cfg!(unix) && modified > now));
    Look {
        device,
        inode,
        size: found.len(),
        modified,
        status_changed,
        content: 0,
        settled,
        is_link: found.is_symlink(),
        seen: now,
    }
}

#[cfg(unix)]
fn identity_and_times(found: &Metadata) -> (u64, u64, i64, i64) {
    use std::os::unix::fs::MetadataExt;
    let time = |seconds: i64, nanos: i64| seconds.saturating_mul(SECOND).saturating_add(nanos);
    let modified = time(found.mtime(), found.mtime_nsec());
    (found.dev(), found.ino(), modified, time(found.ctime(), found.ctime_nsec()))
}

#[cfg(not(unix))]
fn identity_and_times(found: &Metadata) -> (u64, u64, i64, i64) {
    let time = |time: io::Result<SystemTime>| time.map_or(0, nanos);
    (0, 0, time(found.modified()), time(found.created()))
}

fn nanos(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

fn beginning(hash: ContentHash) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hash.as_bytes()[..8]);
    // 0 means that it is not known.
    u64::from_le_bytes(bytes).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_within_the_limit_is_told_with_its_hash_and_a_larger_one_without() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "12345").unwrap();
        let (found, seen) = look(&path, 5);
        assert_eq!(found, Found::File(Some(ContentHash::of(b"12345"))));
        assert!(seen.is_some_and(|seen| seen.size == 5 && seen.content != 0));
        assert_eq!(look(&path, 4).0, Found::File(None));
        assert_eq!(hash(File::open(&path).unwrap(), 4).unwrap(), None, "it grew after its size was asked");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_a_file_without_hash_and_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path(), &path).unwrap();
        assert_eq!(look(&path, 100).0, Found::File(None));
        assert!(is_file(&path) && !is_directory(&path));
        assert!(open_regular(&path).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn the_content_of_a_link_is_where_it_leads() {
        let dir = tempfile::tempdir().unwrap();
        let look_of_link = |name: &str, target: &str| {
            std::os::unix::fs::symlink(target, dir.path().join(name)).unwrap();
            look(&dir.path().join(name), 100).1.unwrap()
        };
        let (a, b, c) = (look_of_link("a", "x"), look_of_link("b", "x"), look_of_link("c", "y"));
        assert_eq!((a.is_same(&b), a.is_same(&c)), (Some(true), Some(false)));
        fs::write(dir.path().join("file"), "x").unwrap();
        assert_eq!(a.is_same(&look(&dir.path().join("file"), 100).1.unwrap()), Some(false));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_fifo_is_no_file_and_does_not_block() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).unwrap();
        assert_eq!(look(&path, 100), (Found::NoFile, None));
        assert!(open_regular(&path).unwrap().is_none());
        assert!(list(dir.path(), |_, _| true).unwrap().files.is_empty());
    }

    #[test]
    fn what_is_not_there_and_what_is_a_directory_are_no_files() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(look(dir.path(), 100), (Found::NoFile, None));
        assert_eq!(look(&dir.path().join("x"), 100), (Found::NoFile, None));
        assert!(!is_file(dir.path()) && is_directory(dir.path()));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_lies_on_another_machine_is_known_by_its_file_system() {
        for (magic, remote) in
            [(0x6969, true), (0xff53_4d42, true), (0x6573_5546, true), (0xef53, false), (0x0102_1994, false)]
        {
            assert_eq!(is_remote_type(magic), remote, "{magic:x}");
        }
        assert!(!is_remote(Path::new("/proc")));
    }

    #[cfg(unix)]
    #[test]
    fn a_time_to_come_does_not_keep_a_file_from_being_settled() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "x").unwrap();
        let to_come = SystemTime::now() + std::time::Duration::from_secs(1000);
        File::options().write(true).open(&path).unwrap().set_modified(to_come).unwrap();
        let found = fs::symlink_metadata(&path).unwrap();
        let at = |later: u64| SystemTime::now() + std::time::Duration::from_nanos(later);
        assert!(!look_of(&found, SystemTime::now()).settled);
        assert!(look_of(&found, at(COARSE_TICK as u64)).settled);
    }

    #[test]
    fn a_file_is_settled_once_the_clock_has_ticked_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "x").unwrap();
        let found = fs::symlink_metadata(&path).unwrap();
        let (.., changed) = identity_and_times(&found);
        let at = |nanos: i64| SystemTime::UNIX_EPOCH + std::time::Duration::from_nanos(nanos.unsigned_abs());
        assert!(!look_of(&found, at(changed + TICK)).settled && look_of(&found, at(changed + COARSE_TICK + 1)).settled);
    }
}
