//! The one place that asks the system for watches, and translates what comes back: on Linux inotify for the native
//! backend, else notify.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    time::{Duration, SystemTime},
};

use notify::{
    Config, ErrorKind, Event, EventHandler, EventKind, PollWatcher, RecursiveMode,
    event::{MetadataKind, ModifyKind, RenameMode},
};

#[cfg(target_os = "linux")]
use super::inotify::Inotify;
use super::{
    Backend, WatchError,
    inbox::{Inbox, Raw},
    probe,
};

/// An open source of raw events; dropping it ends its thread.
pub(super) struct Source {
    watcher: Option<Watcher>,
    reach: Reach,
    /// Disconnected as soon as notify's thread has let go of its handler, which is the last thing it does.
    ended: mpsc::Receiver<()>,
}

enum Watcher {
    #[cfg(target_os = "linux")]
    Inotify(Inotify),
    Notify(Box<dyn notify::Watcher + Send>),
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

/// A poll that is reading a large file ends only after it; the process need not wait for that.
const END_LIMIT: Duration = Duration::from_secs(5);

impl Source {
    pub fn open(backend: Backend, poll_interval: Duration, inbox: &Arc<Inbox>) -> Result<Self, WatchError> {
        let config = Config::default()
            .with_follow_symlinks(false)
            .with_poll_interval(poll_interval)
            // Polling compares times by the second: only the content tells that a file was rewritten within one.
            .with_compare_contents(true);
        let (alive, ended) = mpsc::channel();
        let handler = Handler { inbox: inbox.clone(), left: None, _alive: alive };
        let (watcher, reach) = match backend {
            #[cfg(target_os = "linux")]
            Backend::Native => {
                let inotify = Inotify::start(inbox.clone()).map_err(|error| WatchError::Source(error.into()))?;
                (Watcher::Inotify(inotify), Reach::Directory)
            }
            #[cfg(not(target_os = "linux"))]
            Backend::Native => {
                let watcher = <notify::RecommendedWatcher as notify::Watcher>::new(handler, config);
                (Watcher::Notify(Box::new(watcher.map_err(WatchError::Source)?)), Reach::Tree)
            }
            // Per directory, because notify's own recursion walks into what is ignored.
            Backend::Poll => {
                let watcher = PollWatcher::new(handler, config).map_err(WatchError::Source)?;
                (Watcher::Notify(Box::new(watcher)), Reach::Directory)
            }
        };
        Ok(Self { watcher: Some(watcher), reach, ended })
    }

    #[cfg(test)]
    pub fn of(watcher: Box<dyn notify::Watcher + Send>) -> Self {
        Self { watcher: Some(Watcher::Notify(watcher)), reach: Reach::Directory, ended: mpsc::channel().1 }
    }

    pub fn reach(&self) -> Reach {
        self.reach
    }

    /// Watches a directory, which must not be watched yet.
    pub fn watch(&mut self, directory: &Path) -> Result<(), WatchFailure> {
        let watcher = match &mut self.watcher {
            #[cfg(target_os = "linux")]
            Some(Watcher::Inotify(inotify)) => return inotify.watch(directory),
            Some(Watcher::Notify(watcher)) => watcher,
            None => return Ok(()),
        };
        let mode = match self.reach {
            Reach::Directory => RecursiveMode::NonRecursive,
            Reach::Tree => RecursiveMode::Recursive,
        };
        watcher.watch(directory, mode).map_err(WatchFailure::from)?;
        // A link that was put in its place is followed by the system; what lies behind it is none of ours.
        if !probe::is_directory(directory) {
            self.unwatch(directory);
            return Err(WatchFailure::Gone);
        }
        Ok(())
    }

    /// Makes sure that this directory is not watched.
    pub fn unwatch(&mut self, directory: &Path) {
        let removed = match &mut self.watcher {
            #[cfg(target_os = "linux")]
            Some(Watcher::Inotify(inotify)) => return inotify.unwatch(directory),
            Some(Watcher::Notify(watcher)) => watcher.unwatch(directory),
            None => return,
        };
        if let Err(error) = removed {
            // The usual case: the watch went with its directory.
            tracing::trace!(%error, "no watch to remove");
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.watcher = None;
        if self.ended.recv_timeout(END_LIMIT) == Err(mpsc::RecvTimeoutError::Timeout) {
            tracing::warn!("the poll in progress goes on until it has read its file");
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

/// Runs on notify's thread and only puts into the inbox what could be a change of a file.
struct Handler {
    inbox: Arc<Inbox>,
    /// The path that was just moved away, with the mark that its new name will carry.
    left: Option<(Option<usize>, PathBuf)>,
    _alive: mpsc::Sender<()>,
}

impl EventHandler for Handler {
    fn handle_event(&mut self, event: notify::Result<Event>) {
        match event {
            Ok(event) => self.translate(event),
            Err(error) => failure(error).into_iter().for_each(|raw| self.inbox.event(raw)),
        }
    }
}

impl Handler {
    fn translate(&mut self, mut event: Event) {
        if event.need_rescan() {
            self.inbox.event(Raw::Lost("the system's queue of file events was full".into()));
            return;
        }
        let mark = event.tracker();
        if event.paths.len() == 2 && event.kind == EventKind::Modify(ModifyKind::Name(RenameMode::Both)) {
            if let (Some(to), Some(from)) = (event.paths.pop(), event.paths.pop()) {
                self.inbox.event(Raw::Moved { from, to });
            }
            return;
        }
        let Some(path) = event.paths.pop() else { return };
        let raw = match event.kind {
            EventKind::Access(_) => return,
            EventKind::Create(_) => Raw::Created(path),
            EventKind::Remove(_) => Raw::Removed(path),
            EventKind::Modify(ModifyKind::Name(RenameMode::From)) => {
                self.left = Some((mark, path.clone()));
                Raw::Left(path, SystemTime::now())
            }
            EventKind::Modify(ModifyKind::Name(RenameMode::To)) => match self.left.take() {
                // An event that names both paths follows.
                Some((Some(from_mark), _)) if mark == Some(from_mark) => return,
                Some((None, from)) => Raw::Moved { from, to: path },
                _ => Raw::Appeared(path),
            },
            EventKind::Modify(ModifyKind::Name(_)) => Raw::Appeared(path),
            // Mode, owner and times are not content. Polling calls a change of content a change of the write time.
            EventKind::Modify(ModifyKind::Metadata(kind)) if kind != MetadataKind::WriteTime => return,
            EventKind::Modify(_) | EventKind::Any | EventKind::Other => Raw::Modified(path),
        };
        self.inbox.event(raw);
    }
}

fn failure(error: notify::Error) -> Vec<Raw> {
    if error.paths.is_empty() {
        return vec![Raw::Lost(error.to_string())];
    }
    let message = match &error.kind {
        // Polling finds that a directory has gone by failing to open it.
        ErrorKind::PathNotFound => return error.paths.into_iter().map(Raw::Removed).collect(),
        ErrorKind::Io(source) if probe::is_gone(source) => return error.paths.into_iter().map(Raw::Removed).collect(),
        ErrorKind::Io(source) => source.to_string(),
        kind => format!("{kind:?}"),
    };
    error.paths.into_iter().map(|path| Raw::Failed { path, message: message.clone() }).collect()
}
