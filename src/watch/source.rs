//! The one place that asks the system for watches: on Linux of inotify, elsewhere of notify.

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use notify::{ErrorKind, RecursiveMode};

#[cfg(target_os = "linux")]
use super::inotify::Inotify;
use super::{Backend, WatchError, inbox::Inbox, probe};

/// An open source of raw events; dropping it ends its thread.
pub(super) struct Source {
    watcher: Watcher,
    reach: Reach,
}

enum Watcher {
    #[cfg(target_os = "linux")]
    Inotify(Inotify),
    #[cfg_attr(all(target_os = "linux", not(test)), allow(dead_code))]
    Notify(Mutex<Box<dyn notify::Watcher + Send>>),
    /// All is polled.
    None,
}

/// How far one watch reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// A directory and what lies directly in it.
    Directory,
    /// A directory and all below it.
    #[cfg_attr(target_os = "linux", allow(dead_code))]
    Tree,
}

/// Why a directory is not watched.
#[derive(Debug)]
pub(super) enum WatchFailure {
    /// It is not there, or not a directory any more.
    Gone,
    /// The system allows no more watches.
    Limit,
    Other(String),
}

impl Source {
    pub fn open(backend: Backend, inbox: &Arc<Inbox>) -> Result<Self, WatchError> {
        let (watcher, reach) = match backend {
            #[cfg(target_os = "linux")]
            Backend::Native => {
                let inotify = Inotify::start(inbox.clone()).map_err(|error| WatchError::Source(error.into()))?;
                (Watcher::Inotify(inotify), Reach::Directory)
            }
            #[cfg(not(target_os = "linux"))]
            Backend::Native => {
                let watcher = super::notify::recommended(inbox.clone()).map_err(WatchError::Source)?;
                (Watcher::Notify(Mutex::new(watcher)), Reach::Tree)
            }
            Backend::Poll => (Watcher::None, Reach::Directory),
        };
        Ok(Self { watcher, reach })
    }

    #[cfg(test)]
    pub fn of(watcher: Box<dyn notify::Watcher + Send>) -> Self {
        Self { watcher: Watcher::Notify(Mutex::new(watcher)), reach: Reach::Directory }
    }

    pub fn reach(&self) -> Reach {
        self.reach
    }

    /// Whether it watches anything; otherwise everything is polled.
    pub fn watches(&self) -> bool {
        !matches!(self.watcher, Watcher::None)
    }

    /// Puts into the inbox a part of what has happened up to now; `false` if that was all. `None` if the system does not
    /// tell when it has told all.
    pub fn drain(&self) -> Option<bool> {
        match &self.watcher {
            #[cfg(target_os = "linux")]
            Watcher::Inotify(inotify) => Some(inotify.drain()),
            Watcher::Notify(_) => None,
            Watcher::None => Some(false),
        }
    }

    /// Watches a directory.
    pub fn watch(&self, directory: &Path) -> Result<(), WatchFailure> {
        let watcher = match &self.watcher {
            #[cfg(target_os = "linux")]
            Watcher::Inotify(inotify) => return inotify.watch(directory),
            Watcher::Notify(watcher) => watcher,
            Watcher::None => return Ok(()),
        };
        let mode = match self.reach {
            Reach::Directory => RecursiveMode::NonRecursive,
            Reach::Tree => RecursiveMode::Recursive,
        };
        watcher.lock().unwrap_or_else(PoisonError::into_inner).watch(directory, mode).map_err(WatchFailure::from)?;
        // A link that was put in its place is followed by the system; what lies behind it is none of ours.
        if !probe::is_directory(directory) {
            self.unwatch(directory);
            return Err(WatchFailure::Gone);
        }
        Ok(())
    }

    /// Makes sure that this directory is not watched.
    pub fn unwatch(&self, directory: &Path) {
        let removed = match &self.watcher {
            #[cfg(target_os = "linux")]
            Watcher::Inotify(inotify) => return inotify.unwatch(directory),
            Watcher::Notify(watcher) => watcher.lock().unwrap_or_else(PoisonError::into_inner).unwatch(directory),
            Watcher::None => return,
        };
        if let Err(error) = removed {
            // The usual case: the watch went with its directory.
            tracing::trace!(%error, "no watch to remove");
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("reach", &self.reach).finish_non_exhaustive()
    }
}

impl From<notify::Error> for WatchFailure {
    fn from(error: notify::Error) -> Self {
        match error.kind {
            ErrorKind::MaxFilesWatch => Self::Limit,
            ErrorKind::PathNotFound => Self::Gone,
            ErrorKind::Io(error) if probe::is_gone(&error) => Self::Gone,
            ErrorKind::Io(error) => Self::Other(error.to_string()),
            _ => Self::Other(error.to_string()),
        }
    }
}

/// How many directories the user's processes may watch together, if the system says so.
pub(super) fn watch_limit(backend: Backend) -> Option<usize> {
    if !cfg!(target_os = "linux") || backend == Backend::Poll {
        return None;
    }
    std::fs::read_to_string("/proc/sys/fs/inotify/max_user_watches").ok()?.trim().parse().ok()
}
