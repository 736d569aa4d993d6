//! The names of the temporary files a write makes beside its target.

use std::ffi::OsString;

use uuid::Uuid;

const PREFIX: &str = ".ploke-io.";
const SUFFIX: &str = ".tmp";

/// A name no other file has.
pub(crate) fn new_temp_name() -> OsString {
    format!("{PREFIX}{}{SUFFIX}", Uuid::new_v4().simple()).into()
}

/// Whether a file of this name is the temporary file of a write.
#[cfg(any(feature = "watcher", test))]
pub(crate) fn is_temp_name(name: &std::ffi::OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.len() > PREFIX.len() + SUFFIX.len() && name.starts_with(PREFIX.as_bytes()) && name.ends_with(SUFFIX.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_temporary_files_are_recognised() {
        assert!(is_temp_name(&new_temp_name()));
        for other in ["a.tmp", ".ploke-io.tmp", ".ploke-io.x", "x.ploke-io.1.tmp"] {
            assert!(!is_temp_name(other.as_ref()), "{other}");
        }
    }
}
