//! The names of the temporary files a write makes beside its target.

use std::{
    ffi::{OsStr, OsString},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use uuid::Uuid;

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

    pub fn next(&self) -> OsString {
        format!("{PREFIX}{}.{}{SUFFIX}", self.session, self.next.fetch_add(1, Relaxed)).into()
    }
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
        let (one, other) = (names.next(), names.next());
        assert_ne!(one, other);
        assert!(is_temp_name(&one) && is_of_session(&one, names.session()));
        assert!(!is_of_session(&one, TempNames::new().session()));
        assert!(!is_of_session(&one, ""));
        for other in ["a.tmp", ".ploke-io.tmp", ".ploke-io.x", "x.ploke-io.1.tmp"] {
            assert!(!is_temp_name(other.as_ref()), "{other}");
        }
    }
}
