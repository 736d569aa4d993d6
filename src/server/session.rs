//! What one connection has agreed on: the manager behind it, the position encoding, its settings.

mod setup;

use std::{
    collections::BTreeMap,
    path::PathBuf,
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
    engine::{Durability, RecoveryReport},
    manager::{FileEvents, IoManagerHandle},
    position::PositionEncoding,
    protocol::{FileUri, InitializationOptions, status::MethodStats},
};
use setup::{build_manager, locking_policy, usable_state_dir};

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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
}
