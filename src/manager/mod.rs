//! The async face of the engine: a builder, a handle to clone, and file events.
//!
//! All file work runs on blocking threads. A call whose future is dropped is cancelled: an edit then either has not begun,
//! and never does, or is finished.

// Only the watcher asks who wrote what.
#[cfg_attr(not(feature = "watcher"), allow(dead_code))]
mod authors;
mod builder;
mod events;
mod inner;
mod limits;

#[cfg(feature = "watcher")]
use std::time::Duration;
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use tokio::task::spawn_blocking;
use uuid::Uuid;

pub use builder::IoManagerBuilder;
pub use events::FileEvents;
pub use limits::FD_LIMIT_VARIABLE;

use inner::{Inner, shut_down};

#[cfg(feature = "watcher")]
use crate::watch::{ChangesSince, Clock, WatchStatus};
use crate::{
    CancelToken,
    engine::{
        Asking, Atomicity, CacheStatus, Change, ChangedFileData, CreateFileData, Durability, EditOutcome, EditRequest,
        Editor, EmbeddingData, FileData, FileOutcome, Found, NoEditor, RecoveryReport, Snippet, WriteSnippetData,
        WriteStatus,
    },
    error::{IoError, IoErrorKind, Warning},
    hash::{ContentHash, TrackingHash},
};

/// A way to reach the manager; clones share it. Dropping the last one ends its threads, some a moment later, and frees its
/// descriptors.
#[derive(Clone)]
pub struct IoManagerHandle {
    inner: Arc<Inner>,
}

/// What a write left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteResult {
    /// Correlation id that subscribers get with the change.
    pub origin: Uuid,
    /// Hash of the file as it is now.
    pub content_hash: ContentHash,
    /// Present if the write was guarded by a tracking hash and the new text parses.
    pub tracking_hash: Option<TrackingHash>,
    /// Old and new range of each edit, in the order given.
    pub edits: Vec<(std::ops::Range<usize>, std::ops::Range<usize>)>,
    pub warnings: Vec<Warning>,
}

/// What the manager is doing and has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagerStatus {
    /// As they were given.
    pub roots: Vec<PathBuf>,
    pub cache: CacheStatus,
    /// Files that are locked or waited for.
    pub locks: usize,
    pub writes: WriteStatus,
    /// What was done about transactions that a crash had left unfinished.
    pub recovered: RecoveryReport,
    /// `None` if no watcher was enabled.
    #[cfg(feature = "watcher")]
    pub watch: Option<WatchStatus>,
}

impl IoManagerHandle {
    /// Reads snippets; the results have the length and order of the requests.
    ///
    /// Each file is read once, and all guards are checked on those bytes. A bad item never fails the others.
    ///
    /// # Errors
    /// Only if the manager has been shut down.
    pub async fn get_snippets_batch(
        &self,
        requests: Vec<EmbeddingData>,
    ) -> Result<Vec<Result<Snippet, IoError>>, IoError> {
        let since = Instant::now();
        self.run(move |inner, cancel| {
            let asking = Asking { documents: &Arc::default(), max_bytes: u64::MAX, since, cancel };
            inner.engine.each_snippet(&requests, &asking)
        })
        .await
    }

    /// Compares files with what the caller knows of them; the results have the length and order of the requests.
    ///
    /// # Errors
    /// Only if the manager has been shut down.
    pub async fn scan_changes_batch(
        &self,
        requests: Vec<FileData>,
    ) -> Result<Vec<Result<ChangedFileData, IoError>>, IoError> {
        self.run(move |inner, cancel| inner.engine.scan(&requests, cancel)).await
    }

    /// Edits files, each on its own; the results have the length and order of the requests.
    ///
    /// Requests that speak of the same file are carried out in order, each on the result of those before it, and succeed
    /// or fail together. An edit is on the disk, synced, when this returns.
    ///
    /// # Errors
    /// Only if the manager has been shut down.
    pub async fn write_snippets_batch(
        &self,
        requests: Vec<WriteSnippetData>,
    ) -> Result<Vec<Result<WriteResult, IoError>>, IoError> {
        self.write_each(requests.into_iter().map(Change::Edit).collect()).await
    }

    /// Makes files, each on its own; the results have the length and order of the requests.
    ///
    /// # Errors
    /// Only if the manager has been shut down.
    pub async fn create_files_batch(
        &self,
        requests: Vec<CreateFileData>,
    ) -> Result<Vec<Result<WriteResult, IoError>>, IoError> {
        self.write_each(requests.into_iter().map(Change::Create).collect()).await
    }

    /// Carries out a request with all its options, such as a transaction over several files or a dry run.
    ///
    /// # Errors
    /// Only if the manager has been shut down; what failed of the request is in the outcome.
    pub async fn apply_edits(&self, request: EditRequest) -> Result<EditOutcome, IoError> {
        self.run(move |inner, cancel| inner.apply(&request, &NoEditor, cancel)).await
    }

    /// Takes back the transaction `origin`, the last one of this origin that is not taken back yet, as a transaction of its
    /// own with the origin `new_origin`; `None` if there is none, or what it replaced is not kept any more.
    ///
    /// Only if each of its files still is what it left; else nothing is touched and the outcome says which are not.
    ///
    /// # Errors
    /// If what is kept for it cannot be read, or the manager has been shut down.
    pub async fn undo_edits(
        &self,
        origin: Uuid,
        new_origin: Uuid,
        durability: Durability,
    ) -> Result<Option<EditOutcome>, IoError> {
        self.run(move |inner, cancel| inner.undo(origin, new_origin, durability, &NoEditor, cancel)).await?
    }

    /// Follows changes of files: own writes with their origin, and those from outside if the watcher was enabled.
    ///
    /// # Errors
    /// If the manager has been shut down.
    pub fn subscribe_file_events(&self) -> Result<FileEvents, IoError> {
        self.inner.events.subscribe().ok_or_else(shut_down)
    }

    /// Follows changes of files as [`Self::subscribe_file_events`] does, but for those of this manager's own requests, which
    /// their results tell.
    ///
    /// # Errors
    /// If the manager has been shut down.
    pub fn subscribe_outside_file_events(&self) -> Result<FileEvents, IoError> {
        self.inner.events.subscribe_outside().ok_or_else(shut_down)
    }

    /// Waits until every change that happened before has been told to all subscribers, and has a batch follow with the
    /// number returned as its `barrier`. Also waits until the roots added before are watched, at most `limit` in all.
    ///
    /// # Errors
    /// If that takes longer, nothing is watched, or the manager has been shut down.
    #[cfg(feature = "watcher")]
    pub async fn sync_file_events(&self, limit: Duration) -> Result<u64, IoError> {
        self.run(move |inner, _| inner.sync(limit)).await?
    }

    /// What has changed below the roots since a clock that an earlier answer gave (without one just the clock), also while no process ran if there is
    /// a state directory; waits as [`Self::sync_file_events`] does.
    ///
    /// # Errors
    /// If that takes longer than `limit`, nothing is watched, or the manager has been shut down.
    #[cfg(feature = "watcher")]
    pub async fn changes_since(&self, since: Option<Clock>, limit: Duration) -> Result<ChangesSince, IoError> {
        self.run(move |inner, cancel| inner.changes(since, limit, cancel)).await?
    }

    /// Waits for the calls that run, then ends the watcher and all subscriptions; later calls are refused.
    pub async fn shutdown(&self) {
        let inner = self.inner.clone();
        if let Err(panic) = spawn_blocking(move || inner.shut_down()).await {
            tracing::error!(%panic, "the manager could not be shut down in order");
        }
    }

    async fn write_each(&self, changes: Vec<Change>) -> Result<Vec<Result<WriteResult, IoError>>, IoError> {
        let origin = Uuid::new_v4();
        let request = EditRequest { changes, atomicity: Atomicity::PerFile, origin, ..EditRequest::default() };
        let outcome = self.apply_edits(request).await?;
        let of_file = |file: &usize| write_result(origin, &outcome.files[*file]);
        Ok(outcome.file_of_change.iter().map(of_file).collect())
    }

    /// Runs work on a blocking thread; it is cancelled when the caller stops waiting.
    async fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner, &CancelToken) -> R + Send + 'static,
    ) -> Result<R, IoError> {
        let cancel = CancelOnDrop(CancelToken::new());
        let token = cancel.0.clone();
        let inner = self.inner.clone();
        let done = spawn_blocking(move || inner.enter(|inner| work(inner, &token))).await;
        done.unwrap_or_else(|panic| Err(IoError::new("", IoErrorKind::Internal(panic.to_string()))))
    }
}

/// The same calls for callers that are on a blocking thread already.
impl IoManagerHandle {
    /// See [`Self::get_snippets_batch`].
    pub fn snippets(
        &self,
        requests: &[EmbeddingData],
        cancel: &CancelToken,
    ) -> Result<Vec<Result<Snippet, IoError>>, IoError> {
        let asking = Asking { documents: &Arc::default(), max_bytes: u64::MAX, since: Instant::now(), cancel };
        self.inner.enter(|inner| inner.engine.each_snippet(requests, &asking))
    }

    /// The same for who has documents open, or asked a while ago, and makes something else of the snippets of each file.
    pub fn snippets_with<P: AsRef<Path> + Sync, R: Send>(
        &self,
        requests: &[EmbeddingData<P>],
        asking: &Asking,
        make: impl Fn(&mut Found<P>) -> R + Sync,
    ) -> Result<Vec<R>, IoError> {
        self.inner.enter(|inner| inner.engine.snippets(requests, asking, make))
    }

    /// See [`Self::scan_changes_batch`].
    pub fn scan(
        &self,
        requests: &[FileData],
        cancel: &CancelToken,
    ) -> Result<Vec<Result<ChangedFileData, IoError>>, IoError> {
        self.inner.enter(|inner| inner.engine.scan(requests, cancel))
    }

    /// See [`Self::apply_edits`].
    pub fn apply(&self, request: &EditRequest, cancel: &CancelToken) -> Result<EditOutcome, IoError> {
        self.apply_with(request, &NoEditor, cancel)
    }

    /// The same for who has documents open: one with unsaved changes is changed in the editor, not beneath it.
    pub fn apply_with(
        &self,
        request: &EditRequest,
        editor: &dyn Editor,
        cancel: &CancelToken,
    ) -> Result<EditOutcome, IoError> {
        self.inner.enter(|inner| inner.apply(request, editor, cancel))
    }

    /// See [`Self::undo_edits`].
    pub fn undo(
        &self,
        origin: Uuid,
        new_origin: Uuid,
        durability: Durability,
        cancel: &CancelToken,
    ) -> Result<Option<EditOutcome>, IoError> {
        self.undo_with(origin, new_origin, durability, &NoEditor, cancel)
    }

    /// The same for who has documents open: nothing is taken back beneath one with unsaved changes.
    pub fn undo_with(
        &self,
        origin: Uuid,
        new_origin: Uuid,
        durability: Durability,
        editor: &dyn Editor,
        cancel: &CancelToken,
    ) -> Result<Option<EditOutcome>, IoError> {
        self.inner.enter(|inner| inner.undo(origin, new_origin, durability, editor, cancel))?
    }

    /// See [`Self::sync_file_events`].
    #[cfg(feature = "watcher")]
    pub fn sync(&self, limit: Duration) -> Result<u64, IoError> {
        self.inner.enter(|inner| inner.sync(limit))?
    }

    /// See [`Self::changes_since`].
    #[cfg(feature = "watcher")]
    pub fn changes(
        &self,
        since: Option<Clock>,
        limit: Duration,
        cancel: &CancelToken,
    ) -> Result<ChangesSince, IoError> {
        self.inner.enter(|inner| inner.changes(since, limit, cancel))?
    }

    /// Has it looked whether something has changed at this path, or below it if it is a directory; not needed, since the
    /// watcher finds out by itself.
    ///
    /// # Errors
    /// If the manager has been shut down.
    #[cfg(feature = "watcher")]
    pub fn hint_change(&self, path: &Path) -> Result<(), IoError> {
        self.inner.enter(|inner| inner.hint(path))
    }

    /// Ends watching at once, whatever calls still run, and saves what is known of the roots.
    #[cfg(all(feature = "watcher", feature = "server"))]
    pub(crate) fn end_watching(&self) {
        self.inner.end_watching();
    }

    /// Allows a directory and all beneath it, and watches it if the watcher is enabled.
    ///
    /// # Errors
    /// If it is no directory or cannot be opened; the other roots are not affected.
    pub fn add_root(&self, path: &Path) -> Result<(), IoError> {
        self.inner.enter(|inner| inner.add_root(path))?
    }

    /// Takes a root away again; requests that run keep it until they end. `false` if there was none of that path.
    ///
    /// # Errors
    /// If the manager has been shut down.
    pub fn remove_root(&self, path: &Path) -> Result<bool, IoError> {
        self.inner.enter(|inner| inner.remove_root(path))
    }

    pub fn status(&self) -> ManagerStatus {
        let engine = &self.inner.engine;
        ManagerStatus {
            roots: engine.roots().iter().map(|root| root.given().to_path_buf()).collect(),
            cache: engine.cache_status(),
            locks: engine.locks(),
            writes: engine.write_status(),
            recovered: engine.recovered(),
            #[cfg(feature = "watcher")]
            watch: self.inner.watcher().map(|watcher| watcher.status()),
        }
    }
}

fn write_result(origin: Uuid, file: &FileOutcome) -> Result<WriteResult, IoError> {
    if let Some(error) = &file.error {
        return Err(error.clone());
    }
    let missing = || IoError::new("", IoErrorKind::Internal("a written file has no hash".into()));
    Ok(WriteResult {
        origin,
        content_hash: file.new_content_hash.ok_or_else(missing)?,
        tracking_hash: file.new_tracking_hash,
        edits: file.edits.clone(),
        warnings: file.warnings.clone(),
    })
}

struct CancelOnDrop(CancelToken);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl fmt::Debug for IoManagerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IoManagerHandle").field("status", &self.status()).finish()
    }
}
