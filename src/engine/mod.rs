//! The synchronous core: reads, scans, plans and commits; knows no JSON, no async and no LSP.

mod cache;
mod closing;
mod commit;
mod documents;
mod edit;
mod editor;
#[cfg(test)]
mod faults;
mod file;
mod in_place;
mod last_reading;
mod locks;
mod os_locks;
pub(crate) mod parallel;
mod plan;
#[cfg(any(test, fuzzing))]
pub(crate) mod plan_model;
mod range;
mod read;
mod scan;
pub(crate) mod state;
mod verified_text;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use uuid::Uuid;

pub use cache::{CacheLimits, CacheStatus};
pub use documents::{OpenDocument, OpenDocuments, Source};
pub use edit::{
    Atomicity, Change, CreateFileData, CreateOptions, Durability, EditOutcome, EditRequest, FileOutcome, FileStatus,
    Preview, TextChange, WriteSnippetData,
};
pub use editor::{BufferEdit, EditedBuffer, Editor, EditorError, NoEditor};
pub use os_locks::LockingPolicy;
pub use range::TextRange;
pub use read::{Asking, EmbeddingData, Found, Snippet, SnippetRef};
pub use scan::{ChangedFileData, FileData, ScanStatus};
pub use state::{RecoveryReport, UndoLimits};

pub(crate) use cache::HashCache;
use closing::Closing;
use last_reading::LastReading;
use locks::FileLocks;
use os_locks::OsLocks;
pub(crate) use os_locks::try_lock;
use parallel::{Permits, Workers};
use state::{Locking, OpenRecord, StateDir};

use crate::{
    disk::Disk,
    error::IoError,
    hash::{ContentHash, TrackingHash},
    roots::{DirBudget, Root, Roots, SymlinkPolicy},
    temp_name::TempNames,
};

/// What a caller expects a file to be; whatever is given is checked against the bytes that are used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Guard {
    /// Hash of the file's bytes; the only one of these that guards offsets.
    pub content_hash: Option<ContentHash>,
    /// Hash of the file's tokens; Rust files only.
    pub tracking_hash: Option<TrackingHash>,
    /// Namespace of the tracking hash, also of those that are returned.
    pub namespace: Uuid,
    /// Version of an open document.
    pub version: Option<i32>,
}

/// Who wants to know of what happens, before it can be seen from outside and after.
pub(crate) trait Observer: Send + Sync {
    /// There is another directory at the path of a root.
    fn root_replaced(&self, path: &Path);
    /// The path will hold this content in a moment, or nothing any more.
    fn will_write(&self, path: &Path, content: Option<ContentHash>, origin: Uuid);
    /// What was announced is to be seen.
    fn did_write(&self, path: &Path, content: Option<ContentHash>);
    /// What was announced did not happen after all, or was taken back.
    fn did_not_write(&self, path: &Path, content: Option<ContentHash>);
}

/// Syncs that are waited for at once; more do not make them faster.
const MAX_WRITE_THREADS: usize = 32;

/// What an engine may use and touch.
pub(crate) struct EngineConfig {
    pub symlink_policy: SymlinkPolicy,
    /// Files worked on at once.
    pub permits: usize,
    /// Directories kept open by all requests together.
    pub open_dirs: usize,
    /// Directories that one transaction may change; all of them are open until its end.
    pub max_commit_dirs: usize,
    /// Text operations refuse larger files.
    pub max_file_bytes: u64,
    pub cache: Arc<HashCache>,
    pub locking: LockingPolicy,
    /// Where transactions are recorded and old contents kept; without it they do not survive a crash, and there is no
    /// undo.
    pub state_dir: Option<PathBuf>,
    pub undo: UndoLimits,
    pub disk: Arc<dyn Disk>,
    pub observer: Arc<dyn Observer>,
}

/// Everything that requests share.
pub(crate) struct Engine {
    roots: RwLock<Arc<Roots>>,
    dir_budget: DirBudget,
    permits: Permits,
    workers: Workers,
    /// For work that mostly waits for the disk.
    write_threads: usize,
    max_commit_dirs: usize,
    max_file_bytes: u64,
    cache: Arc<HashCache>,
    last_reading: LastReading,
    locks: FileLocks,
    os_locks: OsLocks,
    state: Option<StateDir>,
    /// Of transactions that are done but not known to be on the disk, or whose records could not be removed.
    kept_records: Mutex<Vec<OpenRecord>>,
    temp_names: Arc<TempNames>,
    recovered: Mutex<RecoveryReport>,
    disk: Arc<dyn Disk>,
    observer: Arc<dyn Observer>,
    closing: Closing,
    files_written: AtomicU64,
    bytes_written: AtomicU64,
}

/// Writes since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WriteStatus {
    /// Files written.
    pub applied: u64,
    /// Bytes of their new contents.
    pub bytes: u64,
}

impl Engine {
    pub fn new(config: EngineConfig) -> Self {
        let temp_names = Arc::new(TempNames::new());
        let os_locks = OsLocks::new(config.locking.clone());
        let (state, problems) = open_state(&config, &temp_names);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let engine = Self {
            roots: RwLock::new(Arc::new(Roots::new(config.symlink_policy))),
            dir_budget: DirBudget::new(config.open_dirs),
            permits: Permits::new(config.permits),
            workers: Workers::new(cores.min(config.permits)),
            write_threads: MAX_WRITE_THREADS.min(config.permits),
            max_commit_dirs: config.max_commit_dirs,
            max_file_bytes: config.max_file_bytes,
            cache: config.cache,
            last_reading: LastReading::default(),
            locks: FileLocks::default(),
            os_locks,
            state,
            kept_records: Mutex::default(),
            temp_names,
            recovered: Mutex::new(RecoveryReport { problems, ..RecoveryReport::default() }),
            disk: config.disk,
            observer: config.observer,
            closing: Closing::default(),
            files_written: AtomicU64::new(0),
            bytes_written: AtomicU64::new(0),
        };
        engine.recover();
        engine
    }

    /// Finishes what dead processes have left.
    fn recover(&self) {
        let Some(state) = &self.state else { return };
        // One at a time: where files cannot be locked, two would do the same.
        let mut recovered = self.recovered.lock().unwrap_or_else(PoisonError::into_inner);
        recovered.add(state.recover(Locking { here: &self.locks, across: &self.os_locks }));
    }

    /// What was done about transactions that others had left unfinished.
    pub fn recovered(&self) -> RecoveryReport {
        self.recovered.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The roots as they are now; a request keeps those it began with.
    pub fn roots(&self) -> Arc<Roots> {
        let roots = self.roots.read().unwrap_or_else(PoisonError::into_inner).clone();
        if roots.are_current() {
            return roots;
        }
        self.change_roots(|roots| {
            for replaced in roots.reopen() {
                self.observer.root_replaced(&replaced);
            }
            roots.clone().into()
        })
    }

    /// Adds a root and returns its real path; before anybody can ask for its files, what dead processes have left there
    /// is finished.
    pub fn add_root(&self, path: &Path) -> Result<PathBuf, IoError> {
        let root = Root::open(path)?;
        let real = root.real().to_path_buf();
        self.recover();
        self.change_roots(|roots| roots.add(root));
        Ok(real)
    }

    /// Removes the root that was given by this path and returns its real path.
    pub fn remove_root(&self, path: &Path) -> Option<PathBuf> {
        self.change_roots(|roots| roots.remove(path)).map(|root| root.real().to_path_buf())
    }

    fn change_roots<R>(&self, change: impl FnOnce(&mut Roots) -> R) -> R {
        let mut current = self.roots.write().unwrap_or_else(PoisonError::into_inner);
        let mut roots = Roots::clone(&current);
        let result = change(&mut roots);
        *current = Arc::new(roots);
        self.last_reading.forget();
        result
    }

    pub fn cache_status(&self) -> CacheStatus {
        self.cache.status()
    }

    pub fn write_status(&self) -> WriteStatus {
        WriteStatus { applied: self.files_written.load(Relaxed), bytes: self.bytes_written.load(Relaxed) }
    }

    /// Number of files that are locked or waited for.
    pub fn locks(&self) -> usize {
        self.locks.len()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Err(error) = self.remove_kept_records() {
            tracing::error!(%error, "the record of a finished transaction is left to the next start");
        }
    }
}

/// Opens the state directory, or says why that failed.
fn open_state(config: &EngineConfig, temp_names: &Arc<TempNames>) -> (Option<StateDir>, Vec<String>) {
    let Some(path) = &config.state_dir else { return (None, Vec::new()) };
    match StateDir::open(path, config.disk.clone(), config.undo, temp_names.clone()) {
        Ok(state) => (Some(state), Vec::new()),
        Err(error) => (None, vec![format!("{}: could not open the state directory: {error}", path.display())]),
    }
}
