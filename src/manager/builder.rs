//! Making a manager.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, RwLock},
};

use uuid::Uuid;

use super::{
    IoManagerHandle,
    authors::Authors,
    events::EventSender,
    inner::Inner,
    limits::{fd_limit, max_commit_dirs},
};
#[cfg(feature = "watcher")]
use crate::watch::{WatchConfig, WatchError, Watcher};
use crate::{
    disk::OsDisk,
    engine::{CacheLimits, Engine, EngineConfig, HashCache, LockingPolicy, Observer, UndoLimits},
    error::{IoError, IoErrorKind},
    hash::ContentHash,
    roots::SymlinkPolicy,
};

/// Settings of a manager; whatever is not set has a default.
#[derive(Debug, Clone)]
pub struct IoManagerBuilder {
    roots: Vec<PathBuf>,
    symlink_policy: SymlinkPolicy,
    permits: Option<usize>,
    fd_limit: Option<u64>,
    max_file_bytes: u64,
    cache: CacheLimits,
    locking: LockingPolicy,
    state_dir: Option<PathBuf>,
    client: String,
    undo: UndoLimits,
    #[cfg(feature = "watcher")]
    watch: Option<WatchConfig>,
}

impl Default for IoManagerBuilder {
    fn default() -> Self {
        Self {
            roots: Vec::new(),
            symlink_policy: SymlinkPolicy::default(),
            permits: None,
            fd_limit: None,
            max_file_bytes: 64 << 20,
            cache: CacheLimits::default(),
            locking: LockingPolicy::default(),
            state_dir: None,
            client: String::new(),
            undo: UndoLimits::default(),
            #[cfg(feature = "watcher")]
            watch: None,
        }
    }
}

impl IoManagerBuilder {
    pub fn new() -> Self {
        Self::default()
    }

    /// The directories that may be touched, by absolute paths; without any, every path is refused.
    pub fn with_roots(mut self, roots: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        self.roots.extend(roots.into_iter().map(Into::into));
        self
    }

    /// Where symbolic links may lead; by default anywhere inside the root they lie in.
    pub fn with_symlink_policy(mut self, policy: SymlinkPolicy) -> Self {
        self.symlink_policy = policy;
        self
    }

    /// Files worked on at once, at least 1; by default as many as the descriptors allow.
    pub fn with_semaphore_permits(mut self, permits: usize) -> Self {
        self.permits = Some(permits);
        self
    }

    /// Descriptors used at once, clamped to 4..=1024; before it comes nothing, behind it [`FD_LIMIT_VARIABLE`], then a
    /// third of the process's limit, at most 100.
    ///
    /// [`FD_LIMIT_VARIABLE`]: super::FD_LIMIT_VARIABLE
    pub fn with_fd_limit(mut self, descriptors: u64) -> Self {
        self.fd_limit = Some(descriptors);
        self
    }

    /// Text operations refuse larger files, in bytes; 64 MiB by default. Scans of content hashes have no limit.
    pub fn with_max_file_bytes(mut self, bytes: u64) -> Self {
        self.max_file_bytes = bytes;
        self
    }

    /// Bounds of the cache of hashes; 32 MiB and 100,000 files by default, zero turns it off.
    pub fn with_cache_limits(mut self, limits: CacheLimits) -> Self {
        self.cache = limits;
        self
    }

    /// Whether other sidecars are kept from editing the same file at the same time; by default they are not.
    pub fn with_locking_policy(mut self, policy: LockingPolicy) -> Self {
        self.locking = policy;
        self
    }

    /// Where records of transactions and copies for an undo are kept, for all managers of one user; made when missing.
    ///
    /// Without one, the default, a crash in the middle of a transaction over several files can leave some of them new and
    /// others old, and nothing can be undone.
    pub fn with_state_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.state_dir = Some(directory.into());
        self
    }

    /// The name of who uses the manager, up to 64 bytes; others that share the state directory are told it with the changes
    /// made through this one.
    pub fn with_client_name(mut self, name: impl Into<String>) -> Self {
        self.client = name.into();
        self
    }

    /// How much is kept for an undo; 256 MiB and 7 days by default, zero of either turns it off.
    pub fn with_undo_limits(mut self, limits: UndoLimits) -> Self {
        self.undo = limits;
        self
    }

    /// Reports changes from outside too.
    #[cfg(feature = "watcher")]
    pub fn enable_watcher(mut self) -> Self {
        self.watch.get_or_insert_default();
        self
    }

    /// Reports changes from outside with these settings.
    #[cfg(feature = "watcher")]
    pub fn with_watch_config(mut self, config: WatchConfig) -> Self {
        self.watch = Some(config);
        self
    }

    /// How long a path has to be quiet before its change is reported; 50 ms by default. Enables the watcher.
    #[cfg(feature = "watcher")]
    pub fn with_debounce(mut self, debounce: std::time::Duration) -> Self {
        self.watch.get_or_insert_default().debounce = debounce;
        self
    }

    /// Makes the manager; its calls need a Tokio runtime.
    ///
    /// # Errors
    /// If a root is no directory or cannot be opened, a setting is out of its range, or watching cannot be started.
    pub fn build(self) -> Result<IoManagerHandle, IoError> {
        if self.permits == Some(0) {
            let message = "the number of semaphore permits must be at least 1".into();
            return Err(IoError::new("", IoErrorKind::InvalidSetting(message)));
        }
        let fd_limit = fd_limit(self.fd_limit)? as usize;
        let cache = Arc::new(HashCache::new(self.cache));
        let events = EventSender::new();
        let authors = self.state_dir.as_deref().and_then(|state| open_authors(state, &self.client));
        #[cfg(feature = "watcher")]
        let watcher = match self.watch {
            Some(mut config) => {
                config.max_file_bytes = self.max_file_bytes;
                config.state_dir = self.state_dir.clone();
                Some(start_watcher(config, cache.clone(), events.clone(), authors.clone())?)
            }
            None => None,
        };
        let observer = Announcer {
            #[cfg(feature = "watcher")]
            watcher: watcher.as_ref().map(Arc::downgrade).unwrap_or_default(),
            authors,
        };
        let engine = Engine::new(EngineConfig {
            symlink_policy: self.symlink_policy,
            // Half of the descriptors are for directories; a file that is written takes two.
            permits: self.permits.unwrap_or(fd_limit / 4).max(1),
            open_dirs: fd_limit / 2,
            max_commit_dirs: max_commit_dirs(),
            max_file_bytes: self.max_file_bytes,
            cache,
            locking: self.locking,
            state_dir: self.state_dir,
            undo: self.undo,
            disk: Arc::new(OsDisk),
            observer: Arc::new(observer),
        });
        let handle = IoManagerHandle {
            inner: Arc::new(Inner {
                engine,
                events,
                #[cfg(feature = "watcher")]
                max_file_bytes: self.max_file_bytes,
                #[cfg(feature = "watcher")]
                watcher: RwLock::new(watcher),
                open: RwLock::new(true),
            }),
        };
        self.roots.iter().try_for_each(|root| handle.add_root(root))?;
        Ok(handle)
    }
}

#[cfg(feature = "watcher")]
fn start_watcher(
    config: WatchConfig,
    cache: Arc<HashCache>,
    events: EventSender,
    authors: Option<Arc<Authors>>,
) -> Result<Arc<Watcher>, IoError> {
    let watcher = Watcher::start(config, move |mut batch| {
        if let Some(authors) = authors.as_ref().filter(|_| !batch.changes.is_empty()) {
            authors.attribute(&mut batch.changes);
        }
        for change in &batch.changes {
            cache.forget(&change.path);
        }
        events.send(batch);
    });
    watcher.map(Arc::new).map_err(|error| match error {
        WatchError::Pattern { .. } => IoError::new("", IoErrorKind::InvalidSetting(error.to_string())),
        _ => IoError::os("", "start watching", std::io::Error::other(error)),
    })
}

/// Without notes, what this process writes is told by others as a change from outside.
fn open_authors(state_dir: &Path, client: &str) -> Option<Arc<Authors>> {
    let opened = Authors::open(state_dir, client);
    opened.inspect_err(|error| tracing::warn!(%error, "writes cannot be noted for other sidecars")).ok().map(Arc::new)
}

/// Tells the watcher, and other sidecars, of what the engine does.
#[derive(Default)]
struct Announcer {
    #[cfg(feature = "watcher")]
    watcher: std::sync::Weak<Watcher>,
    authors: Option<Arc<Authors>>,
}

impl Observer for Announcer {
    fn root_replaced(&self, path: &Path) {
        #[cfg(feature = "watcher")]
        if let Some(watcher) = self.watcher.upgrade() {
            watcher.root_replaced(path);
        }
        #[cfg(not(feature = "watcher"))]
        let _ = path;
    }

    /// The watcher knows the echo of a write by what it leaves behind.
    fn will_write(&self, path: &Path, content: Option<ContentHash>, origin: Uuid) {
        if let Some(authors) = &self.authors {
            authors.note(path, content, origin);
        }
        #[cfg(feature = "watcher")]
        if let Some(watcher) = self.watcher.upgrade() {
            watcher.expect_write(path, content);
        }
    }

    fn did_write(&self, path: &Path, content: Option<ContentHash>) {
        #[cfg(feature = "watcher")]
        if let Some(watcher) = self.watcher.upgrade() {
            watcher.wrote(path, content);
        }
        #[cfg(not(feature = "watcher"))]
        let _ = (path, content);
    }

    fn did_not_write(&self, path: &Path, content: Option<ContentHash>) {
        #[cfg(feature = "watcher")]
        if let Some(watcher) = self.watcher.upgrade() {
            watcher.withdraw_write(path, content);
        }
        #[cfg(not(feature = "watcher"))]
        let _ = (path, content);
    }
}
