//! From the settings of a session to its manager.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    engine::{CacheLimits, LockingPolicy, UndoLimits},
    error::IoErrorKind,
    manager::{IoManagerBuilder, IoManagerHandle},
    protocol::{InitializationOptions, initialize},
    roots::SymlinkPolicy,
    server::method::RpcError,
};
#[cfg(feature = "watcher")]
use crate::{protocol::status::WatchBackend, watch};

/// The locks that are asked for, or that can be had; and what the user should know of the difference.
pub(super) fn locking_policy(
    asked: Option<initialize::Locking>,
    state_dir: Option<&Path>,
) -> (LockingPolicy, Option<String>) {
    if asked == Some(initialize::Locking::None) {
        return (LockingPolicy::None, None);
    }
    let Some(state) = state_dir else {
        let problem =
            asked.map(|_| "edits of other sidecars are not waited for: there is no state directory".to_owned());
        return (LockingPolicy::None, problem);
    };
    let directory = state.join("locks");
    let policy = LockingPolicy::Advisory { directory: directory.clone() };
    match policy.check() {
        Err(error) if asked.is_none() => {
            let reason = format!("no lock file could be made in {}: {error}", directory.display());
            let problem = format!("edits of other sidecars are not waited for, only guards keep them apart: {reason}");
            (LockingPolicy::None, Some(problem))
        }
        // Who asked for locks is told by each edit that there are none.
        _ => (policy, None),
    }
}

/// The state directory if it can be written to, and what the user should know if it can not.
pub(super) fn usable_state_dir(
    state_dir: Option<&Path>,
    undo: &initialize::UndoOptions,
) -> (Option<PathBuf>, Option<String>) {
    let lost = "edits can not be undone, and a crash can leave a transaction half done";
    match state_dir.map(|directory| (directory, check_writable(directory))) {
        Some((directory, Ok(()))) => (Some(directory.to_owned()), None),
        Some((directory, Err(error))) => {
            (None, Some(format!("{lost}: the state directory {} can not be used: {error}", directory.display())))
        }
        None if *undo == initialize::UndoOptions::default() => (None, None),
        None => (None, Some(format!("{lost}: there is no state directory"))),
    }
}

/// Makes the directory if need be, and a file in it.
pub(super) fn check_writable(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)?;
    // One name for all, so that no crash leaves more than one behind.
    let probe = directory.join("probe");
    fs::File::create(&probe)?;
    match fs::remove_file(probe) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

pub(super) fn build_manager(
    settings: &InitializationOptions,
    client: &str,
    locking: LockingPolicy,
    state_dir: Option<PathBuf>,
) -> Result<IoManagerHandle, RpcError> {
    let mut builder = IoManagerBuilder::new().with_client_name(client);
    builder = builder.with_symlink_policy(match settings.symlink_policy {
        Some(initialize::SymlinkPolicy::Follow) => SymlinkPolicy::Follow,
        Some(initialize::SymlinkPolicy::DenyCrossRoot) | None => SymlinkPolicy::DenyCrossRoot,
    });
    if let Some(permits) = settings.limits.permits {
        builder = builder.with_semaphore_permits(permits.get() as usize);
    }
    if let Some(descriptors) = settings.limits.fd_limit {
        builder = builder.with_fd_limit(descriptors);
    }
    if let Some(bytes) = settings.limits.max_file_bytes {
        builder = builder.with_max_file_bytes(bytes.get());
    }
    let usual = CacheLimits::default();
    builder = builder.with_cache_limits(CacheLimits {
        bytes: settings.cache.bytes.unwrap_or(usual.bytes),
        entries: settings.cache.entries.unwrap_or(usual.entries),
    });
    builder = builder.with_locking_policy(locking);
    if let Some(directory) = state_dir {
        builder = builder.with_state_dir(directory);
    }
    let usual = UndoLimits::default();
    builder = builder.with_undo_limits(UndoLimits {
        keep_bytes: settings.undo.keep_bytes.unwrap_or(usual.keep_bytes),
        keep_days: settings.undo.keep_days.unwrap_or(usual.keep_days),
    });
    #[cfg(feature = "watcher")]
    if settings.watch.enabled != Some(false) {
        builder = builder.with_watch_config(watch_config(&settings.watch));
    }
    builder.build().map_err(|error| match error.kind {
        IoErrorKind::InvalidSetting(message) => RpcError::invalid_params(format!("initializationOptions: {message}")),
        _ => error.into(),
    })
}

#[cfg(feature = "watcher")]
pub(super) fn watch_config(settings: &initialize::WatchOptions) -> watch::WatchConfig {
    use std::time::Duration;
    let usual = watch::WatchConfig::default();
    watch::WatchConfig {
        debounce: settings.debounce_ms.map_or(usual.debounce, |ms| Duration::from_millis(ms.get())),
        backend: match settings.backend {
            Some(WatchBackend::Poll) => watch::Backend::Poll,
            Some(WatchBackend::Native) | None => watch::Backend::Native,
        },
        poll_interval: settings.poll_interval_ms.map_or(usual.poll_interval, |ms| Duration::from_millis(ms.get())),
        capacity: settings.capacity.map_or(usual.capacity, |events| events.get() as usize),
        ignore: settings.ignore.clone().unwrap_or(usual.ignore),
        gitignore: settings.gitignore.unwrap_or(usual.gitignore),
        ..usual
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_place_for_lock_files_the_user_is_told_and_edits_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let no_directory = dir.path().join("file");
        std::fs::write(&no_directory, "").unwrap();
        let (policy, problem) = locking_policy(None, Some(&no_directory));
        assert_eq!(policy, LockingPolicy::None);
        assert!(problem.unwrap().starts_with("edits of other sidecars are not waited for"));
    }

    #[test]
    fn a_state_directory_that_can_not_be_used_is_told_and_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let (good, bad) = (dir.path().join("a/b"), dir.path().join("file"));
        fs::write(&bad, "").unwrap();
        let usual = initialize::UndoOptions::default();
        assert_eq!(usable_state_dir(Some(&good), &usual), (Some(good.clone()), None));
        assert_eq!(fs::read_dir(&good).unwrap().count(), 0);
        let (used, problem) = usable_state_dir(Some(&bad), &usual);
        assert_eq!(used, None);
        assert!(
            problem.unwrap().starts_with("edits can not be undone, and a crash can leave a transaction half done: ")
        );

        assert_eq!(usable_state_dir(None, &usual), (None, None));
        let asked = initialize::UndoOptions { keep_days: Some(1), ..usual };
        assert!(usable_state_dir(None, &asked).1.unwrap().ends_with("there is no state directory"));
    }

    #[test]
    fn locks_that_are_asked_for_are_never_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let no_directory = dir.path().join("file");
        std::fs::write(&no_directory, "").unwrap();
        let advisory = |state: &Path| LockingPolicy::Advisory { directory: state.join("locks") };
        let asked = Some(initialize::Locking::Advisory);
        assert_eq!(locking_policy(asked, Some(&no_directory)), (advisory(&no_directory), None));
        assert_eq!(locking_policy(None, Some(dir.path())), (advisory(dir.path()), None));
        assert_eq!(locking_policy(Some(initialize::Locking::None), Some(dir.path())), (LockingPolicy::None, None));
    }
}
