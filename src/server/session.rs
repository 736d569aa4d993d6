//! What one connection has agreed on: the manager behind it, the position encoding, its settings.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Instant,
};

use lsp_types::{InitializeParams, Url, WorkspaceFolder};
use uuid::Uuid;

use super::{
    Connection, ServerOptions, decode::decode_part, editor::ClientEditor, file_events::Barrier,
    lifecycle::negotiate_encoding, method::RpcError,
};
use crate::{
    engine::{CacheLimits, Durability, LockingPolicy, RecoveryReport, UndoLimits},
    error::IoErrorKind,
    manager::{FileEvents, IoManagerBuilder, IoManagerHandle},
    position::PositionEncoding,
    protocol::{FileUri, InitializationOptions, initialize, status::MethodStats},
    roots::SymlinkPolicy,
};
#[cfg(feature = "watcher")]
use crate::{protocol::status::WatchBackend, watch};

/// State of one connection from `initialize` on.
pub(crate) struct Session {
    pub manager: IoManagerHandle,
    pub encoding: PositionEncoding,
    /// The client, as far as it has documents open.
    pub editor: ClientEditor,
    /// Of tracking hashes, for requests that name none.
    pub namespace: Uuid,
    /// Of edits that do not ask for one.
    pub durability: Durability,
    /// Also bounds the texts in one answer.
    pub max_message_bytes: u64,
    pub started: Instant,
    /// For the user.
    notices: Mutex<Vec<Notice>>,
    pub(super) barrier: Arc<Barrier>,
    /// From before the first root on, so that nothing is missed.
    events: Mutex<Option<FileEvents>>,
    connection: OnceLock<Connection>,
}

impl Session {
    /// Makes the manager that the client and the command line ask for.
    ///
    /// # Errors
    /// If the settings are malformed or out of their range, or the watcher cannot be started. A root that cannot be opened
    /// is a problem the user is told of, not an error.
    pub fn open(params: &InitializeParams, options: &ServerOptions) -> Result<Self, RpcError> {
        let given: InitializationOptions = match &params.initialization_options {
            Some(given) if !given.is_null() => decode_part("initializationOptions", given)?,
            _ => InitializationOptions::default(),
        };
        let settings = given.merge_over(options.defaults.clone());
        let mut problems = Vec::new();
        if let Some(configure) = &options.configure_logging {
            problems.extend(configure(&settings.log).err());
        }
        let (locking, problem) = locking_policy(settings.locking, options.state_dir.as_deref());
        problems.extend(problem);
        let (state_dir, problem) = usable_state_dir(options.state_dir.as_deref(), &settings.undo);
        problems.extend(problem);
        let client = params.client_info.as_ref().map_or("unknown", |client| &client.name);
        tracing::info!(version = env!("CARGO_PKG_VERSION"), client, "session begins");
        let manager = build_manager(&settings, client, locking, state_dir)?;
        let events = manager.subscribe_outside_file_events()?;
        for root in roots(params, &settings)? {
            problems.extend(manager.add_root(&root).err().map(|error| format!("workspace root not opened: {error}")));
        }
        let recovered = recovery_notices(&manager.status().recovered);
        let notices: Vec<_> = problems.into_iter().map(Notice::Problem).chain(recovered).collect();
        notices.iter().for_each(Notice::log);
        let encoding = negotiate_encoding(&params.capabilities);
        Ok(Self {
            manager,
            encoding,
            editor: ClientEditor::new(encoding, &params.capabilities),
            namespace: settings.namespace.unwrap_or_default(),
            durability: settings.durability.map_or(Durability::Full, Durability::from),
            max_message_bytes: settings.limits.max_message_bytes.map_or(super::MAX_MESSAGE_BYTES, |bytes| bytes.get()),
            started: Instant::now(),
            notices: Mutex::new(notices),
            events: Mutex::new(Some(events)),
            barrier: Arc::default(),
            connection: OnceLock::new(),
        })
    }

    /// Called once, when the answer to `initialize` has been queued: from now on notifications may follow it.
    pub fn connect(&self, connection: Connection) {
        if let Some(events) = self.events.lock().unwrap_or_else(PoisonError::into_inner).take() {
            connection.runtime.spawn(super::file_events::forward(
                events,
                Arc::clone(&connection.outbox),
                Arc::clone(&self.barrier),
            ));
        }
        self.editor.connect(&connection);
        let _ = self.connection.set(connection);
    }

    /// Queues a notification as soon as there is room for it.
    #[cfg(feature = "watcher")]
    pub fn send(&self, message: Vec<u8>) {
        if let Some(connection) = self.connection.get() {
            connection.outbox.wait_for_room();
            connection.outbox.push(message);
        }
    }

    /// Keeps what is worth keeping; the process may end at any moment afterwards.
    pub fn end(&self) {
        #[cfg(feature = "watcher")]
        self.manager.end_watching();
    }

    /// What has become of the requests so far, by method.
    pub fn requests(&self) -> BTreeMap<String, MethodStats> {
        self.connection.get().map(|connection| connection.metrics.snapshot()).unwrap_or_default()
    }

    /// What the user should know, once.
    pub fn take_notices(&self) -> Vec<Notice> {
        std::mem::take(&mut self.notices.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes what the client has seen change as a second source of hints; it is looked at, not believed.
    pub fn hint_changes(&self, events: &[lsp_types::FileEvent]) {
        #[cfg(feature = "watcher")]
        for path in events.iter().filter_map(|event| event.uri.to_file_path().ok()) {
            if let Err(error) = self.manager.hint_change(&path) {
                tracing::debug!(%error, "a hint came too late");
            }
        }
        #[cfg(not(feature = "watcher"))]
        let _ = events;
    }

    /// Adds and removes roots; returns what the user should know of it.
    pub fn change_roots(&self, added: &[WorkspaceFolder], removed: &[WorkspaceFolder]) -> Vec<Notice> {
        let mut problems = Vec::new();
        let known = recovery_notices(&self.manager.status().recovered);
        for (index, folder) in removed.iter().enumerate() {
            let removed = folder_path(&format!("event.removed[{index}].uri"), &folder.uri)
                .and_then(|path| Ok((self.manager.remove_root(&path)?, path)));
            match removed {
                Ok((true, _)) => {}
                Ok((false, path)) => problems.push(format!("{}: no such root to remove", path.display())),
                Err(error) => problems.push(error.message),
            }
        }
        for (index, folder) in added.iter().enumerate() {
            let added = folder_path(&format!("event.added[{index}].uri"), &folder.uri)
                .and_then(|path| Ok(self.manager.add_root(&path)?));
            problems.extend(added.err().map(|error| error.message));
        }
        // Another root may have brought more to recover.
        let mut recovered = recovery_notices(&self.manager.status().recovered);
        recovered.retain(|notice| !known.contains(notice));
        let notices: Vec<_> = problems.into_iter().map(Notice::Problem).chain(recovered).collect();
        notices.iter().for_each(Notice::log);
        notices
    }
}

/// What the user should know.
#[derive(Debug, PartialEq)]
pub(crate) enum Notice {
    /// What did not go as it should.
    Problem(String),
    Information(String),
}

impl Notice {
    fn log(&self) {
        match self {
            Self::Problem(text) => tracing::warn!("{text}"),
            Self::Information(text) => tracing::info!("{text}"),
        }
    }
}

fn recovery_notices(report: &RecoveryReport) -> Vec<Notice> {
    let finished = report.finished.iter().map(|(origin, files)| {
        let files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
        Notice::Information(format!("completed the edit {origin} that a crash had interrupted: {}", files.join(", ")))
    });
    let left_alone = report.left_alone.iter().map(|(origin, file, reason)| {
        let file = file.display();
        Notice::Problem(format!("the edit {origin} was interrupted by a crash, and {file} was left as it is: {reason}"))
    });
    let set_aside = report.set_aside.iter().map(|(place, reason)| {
        Notice::Problem(format!("the record of an edit can not be used and was moved to {}: {reason}", place.display()))
    });
    let kept = report.kept.iter().map(|file| {
        let file = file.display();
        Notice::Problem(format!("an edit that a crash interrupted met a change from outside, which is kept in {file}"))
    });
    let problems = report.problems.iter().cloned().map(Notice::Problem);
    finished.chain(left_alone).chain(set_aside).chain(kept).chain(problems).collect()
}

/// The workspace folders, else the root URI, else the roots of the settings.
fn roots(params: &InitializeParams, settings: &InitializationOptions) -> Result<Vec<PathBuf>, RpcError> {
    let folders = params.workspace_folders.as_deref().unwrap_or_default();
    if !folders.is_empty() {
        let path = |(index, folder): (usize, &WorkspaceFolder)| {
            folder_path(&format!("workspaceFolders[{index}].uri"), &folder.uri)
        };
        return folders.iter().enumerate().map(path).collect();
    }
    if let Some(uri) = &params.root_uri {
        return Ok(vec![folder_path("rootUri", uri)?]);
    }
    Ok(settings.roots.iter().flatten().map(|uri| uri.path().to_path_buf()).collect())
}

/// `place` is where the URI stands in the params.
fn folder_path(place: &str, uri: &Url) -> Result<PathBuf, RpcError> {
    let uri: FileUri = uri.as_str().parse().map_err(|error| RpcError::invalid_params(format!("{place}: {error}")))?;
    Ok(uri.path().to_path_buf())
}

/// The locks that are asked for, or that can be had; and what the user should know of the difference.
fn locking_policy(asked: Option<initialize::Locking>, state_dir: Option<&Path>) -> (LockingPolicy, Option<String>) {
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
fn usable_state_dir(state_dir: Option<&Path>, undo: &initialize::UndoOptions) -> (Option<PathBuf>, Option<String>) {
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
fn check_writable(directory: &Path) -> io::Result<()> {
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

fn build_manager(
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
fn watch_config(settings: &initialize::WatchOptions) -> watch::WatchConfig {
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
    use serde_json::json;

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
    fn what_recovery_did_is_told_by_file() {
        let origin = Uuid::from_u128(1);
        let report = RecoveryReport {
            finished: vec![(origin, vec!["/r/a".into(), "/r/b".into()])],
            left_alone: vec![(origin, "/r/c".into(), "it is neither old nor new".into())],
            set_aside: vec![("/s/torn".into(), "its checksum is wrong".into())],
            kept: vec!["/r/kept".into()],
            problems: vec!["no room".into()],
        };
        assert_eq!(
            recovery_notices(&report),
            [
                Notice::Information(format!("completed the edit {origin} that a crash had interrupted: /r/a, /r/b")),
                Notice::Problem(format!(
                    "the edit {origin} was interrupted by a crash, and /r/c was left as it is: it is neither old nor new"
                )),
                Notice::Problem(
                    "the record of an edit can not be used and was moved to /s/torn: its checksum is wrong".into()
                ),
                Notice::Problem(
                    "an edit that a crash interrupted met a change from outside, which is kept in /r/kept".into()
                ),
                Notice::Problem("no room".into()),
            ]
        );
        assert_eq!(recovery_notices(&RecoveryReport::default()), []);
    }

    #[test]
    fn a_root_that_is_no_file_is_refused_with_its_place() {
        for (params, message) in [
            (json!({ "rootUri": "untitled:a" }), "rootUri: not a `file:` URI"),
            (
                json!({ "workspaceFolders": [
                    { "uri": "file:///a", "name": "a" },
                    { "uri": "untitled:b", "name": "b" },
                ] }),
                "workspaceFolders[1].uri: not a `file:` URI",
            ),
        ] {
            let mut params = params;
            params["capabilities"] = json!({});
            let params: InitializeParams = serde_json::from_value(params).unwrap();
            let error = roots(&params, &InitializationOptions::default()).unwrap_err();
            assert_eq!((error.code, error.message.as_str()), (-32602, message));
        }
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
