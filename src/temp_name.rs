//! The names of the temporary files a write makes beside its target.

use std::{
    ffi::{OsStr, OsString},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::SystemTime,
};

use uuid::Uuid;

use crate::disk::FileStat;

const PREFIX: &str = ".ploke-io.";
const SUFFIX: &str = ".tmp";

/// Names that no other file has, and by which the files of one session are known again when it has died.
#[derive(Debug)]
pub(crate) struct TempNames {
    session: String,
    next: AtomicU64,
}

impl TempNames {
    pub fn new() -> Self {
        Self { session: Uuid::new_v4().simple().to_string(), next: AtomicU64::new(0) }
    }

    pub fn session(&self) -> &str {
        &self.session
    }

    /// A name that tells which files are to have it, one after the other, so that another one is not removed with it.
    /// Without any, nothing ever changes places with what is made under the name.
    pub fn next<'s>(&self, expected: impl IntoIterator<Item = &'s FileStat>) -> OsString {
        let number = self.next.fetch_add(1, Relaxed);
        let mut name = format!("{PREFIX}{}.{number}", self.session);
        for stat in expected {
            name.push('.');
            name.push_str(&identity(stat));
        }
        name.push_str(SUFFIX);
        name.into()
    }
}

fn identity(stat: &FileStat) -> String {
    let nanos = stat.modified.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    format!("{:x}-{:x}-{nanos:x}", stat.inode, stat.size)
}

/// Whether the file of this name is none of those that were to have it, or has been written to since.
pub(crate) fn is_foreign(name: &OsStr, stat: &FileStat) -> bool {
    let mut expected = parts(name).skip(2).peekable();
    expected.peek().is_some() && expected.all(|expected| expected != identity(stat))
}

/// Session, number, and the files that are to have the name.
fn parts(name: &OsStr) -> impl Iterator<Item = &str> {
    let parts = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX));
    parts.into_iter().flat_map(|parts| parts.split('.'))
}

/// The name that a file gets which must not be removed after all.
pub(crate) fn kept_name(name: &OsStr) -> OsString {
    let mut kept = OsString::from("ploke-io-kept");
    for part in parts(name).take(2) {
        kept.push("-");
        kept.push(part);
    }
    kept
}

/// Whether a file of this name is a temporary file of this session.
pub(crate) fn is_of_session(name: &OsStr, session: &str) -> bool {
    let number = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.strip_prefix(session));
    number.is_some_and(|number| number.starts_with('.'))
}

/// Whether a file of this name is the temporary file of a write.
#[cfg(any(feature = "watcher", test))]
pub(crate) fn is_temp_name(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.len() > PREFIX.len() + SUFFIX.len() && name.starts_with(PREFIX.as_bytes()) && name.ends_with(SUFFIX.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_temporary_files_are_recognised() {
        let names = TempNames::new();
        let (one, other) = (names.next(None), names.next(None));
        assert_ne!(one, other);
        assert!(is_temp_name(&one) && is_of_session(&one, names.session()));
        assert!(!is_of_session(&one, TempNames::new().session()));
        assert!(!is_of_session(&one, ""));
        for other in ["a.tmp", ".ploke-io.tmp", ".ploke-io.x", "x.ploke-io.1.tmp"] {
            assert!(!is_temp_name(other.as_ref()), "{other}");
        }
    }

    #[test]
    fn a_name_tells_whether_it_is_a_file_of_somebody_else_that_has_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), "old").unwrap();
        let look = || crate::disk::Dir::open_absolute(dir.path()).unwrap().stat("f".as_ref()).unwrap();
        let old = look();
        let names = TempNames::new();
        let new = FileStat { inode: old.inode + 1, ..old };
        let name = names.next([&new, &old]);
        assert!(is_of_session(&name, names.session()) && is_temp_name(&name));
        assert!(!is_foreign(&name, &old) && !is_foreign(&name, &new));
        assert!(is_foreign(&name, &FileStat { inode: old.inode + 2, ..old }), "another file");
        assert!(is_foreign(&name, &FileStat { size: 9, ..old }), "it was written to");
        assert!(!is_foreign(&names.next(None), &old), "nothing changes places with it");
        assert_eq!(kept_name(&name), *format!("ploke-io-kept-{}-0", names.session()));
    }
}
