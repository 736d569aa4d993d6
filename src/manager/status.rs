//! How the manager is doing.

use std::path::PathBuf;

/// Numbers of one manager since it was built.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ManagerStatus {
    pub roots: Vec<PathBuf>,
    pub cache: CacheStatus,
    /// Locks on files that are held or waited for.
    pub locks: usize,
    pub writes: WriteStatus,
    /// `None` when nothing is watched.
    pub watch: Option<WatchStatus>,
}

/// The cache of hashes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheStatus {
    pub entries: u64,
    pub bytes: u64,
    pub hits: u64,
    pub misses: u64,
}

/// The writes that were carried out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WriteStatus {
    /// Files written.
    pub applied: u64,
    /// Bytes written.
    pub bytes: u64,
}

/// The watch on the roots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchStatus {
    pub backend: WatchBackend,
    pub state: WatchState,
    /// Watches that are set.
    pub watches: usize,
    /// How many the system allows, where it says.
    pub limit: Option<u64>,
    /// Paths whose change is not told yet.
    pub pending: usize,
    /// How often a queue ran over.
    pub overflows: u64,
    /// Changes that could not be told.
    pub dropped: u64,
    /// Why the state is not what was asked for.
    pub reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WatchBackend {
    /// The operating system tells what changes.
    Native,
    /// The tree is looked at again and again.
    Poll,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WatchState {
    Starting,
    Watching,
    Polling,
    Off,
}
