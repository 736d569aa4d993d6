//! File events: what changed below the roots by other hands than ours.
//!
//! One thread does it all: the `source` puts raw events into the bounded `inbox`; `intake` turns them into what may have
//! changed and keeps every directory watched, or polled where that cannot be (`walk`), except those the `rules` leave
//! out; `debounce` waits until a path is quiet; `settle` compares the `index` of what was told before with what is on
//! disk now, sorts out the `echo` of own writes, and reports the difference. Lost events are found by comparing too.
//! The index tells what has changed since a moment (`history`), also across restarts (`saved`).
//!
//! Not guaranteed: changes of mode, owner or times are not changes of a file; a file written through a memory map is
//! seen only when something else makes the watcher look, or by polling. Polling sees what differs between two looks.

mod answer;
mod debounce;
mod echo;
mod history;
mod inbox;
mod index;
#[cfg(target_os = "linux")]
mod inotify;
mod intake;
mod listing;
mod look;
#[cfg(not(target_os = "linux"))]
mod notify;
mod owner;
mod probe;
mod report;
mod rules;
mod saved;
mod settle;
mod source;
mod walk;
mod worker;

#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use echo::Echo;
use inbox::{Command, Inbox};
use rules::Rules;
use source::Source;
use worker::Worker;

pub use history::{ChangesSince, Clock};
pub use listing::Selection;

use crate::{events::FileEventBatch, hash::ContentHash};

/// Reports changes below its roots until it is dropped; dropping it ends its threads and frees its descriptors.
#[derive(Debug)]
pub struct Watcher {
    inbox: Arc<Inbox>,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Watcher {
    /// Starts with no roots; returns at once, since trees are walked in the background.
    ///
    /// `sink` is called on the watcher's thread, with at most 1,000 changes at a time. While it runs nothing else is
    /// reported, so it should only pass the batch on.
    pub fn start(config: WatchConfig, sink: impl Fn(FileEventBatch) + Send + 'static) -> Result<Self, WatchError> {
        let inbox = Arc::new(Inbox::new(config.capacity));
        let source = Source::open(config.backend, &inbox)?;
        Self::with_source(config, source, inbox, Box::new(sink))
    }

    fn with_source(
        config: WatchConfig,
        source: Source,
        inbox: Arc<Inbox>,
        sink: Box<dyn Fn(FileEventBatch) + Send>,
    ) -> Result<Self, WatchError> {
        let rules = Rules::new(&config.ignore, config.gitignore)?;
        let shared = Arc::new(Shared::new(&config));
        let worker = Worker::new(config, source, rules, inbox.clone(), shared.clone(), sink);
        let thread = thread::Builder::new()
            .name("ploke-watch".into())
            .spawn(move || worker.run())
            .map_err(WatchError::Thread)?;
        Ok(Self { inbox, shared, thread: Mutex::new(Some(thread)) })
    }

    /// Watches all below this directory, whose path must be absolute and free of symbolic links; roots may be nested.
    ///
    /// Returns at once. What cannot be watched is polled, for the [`WatchStatus::reason`]; a batch with a `notice`, or with
    /// `rescan` if it may not even be read, says so once. One that is a root already stays as it is.
    pub fn add_root(&self, real_path: &Path) {
        // Under the lock, so that whoever asks next is not told of the state before.
        let mut status = self.shared.status();
        if status.state != WatchState::Off {
            status.state = WatchState::Starting;
        }
        self.inbox.command(Command::AddRoot(real_path.to_path_buf()));
    }

    /// Stops reporting what lies below this root and in no other.
    pub fn remove_root(&self, real_path: &Path) {
        self.inbox.command(Command::RemoveRoot(real_path.to_path_buf()));
    }

    /// Compares a root whose directory may be another one than before.
    pub fn root_replaced(&self, real_path: &Path) {
        self.inbox.command(Command::RootReplaced(real_path.to_path_buf()));
    }

    /// Looks whether something has changed at a path, or below it if it is a directory.
    pub fn hint(&self, real_path: &Path) {
        self.inbox.hint(real_path.to_path_buf());
    }

    /// Waits until everything that happened before has been given to the sink; also until the roots added before are
    /// watched. With polling it compares everything now.
    ///
    /// # Errors
    /// If the watcher has ended, or this takes longer than `limit`.
    pub fn sync(&self, limit: Duration) -> Result<(), BarrierError> {
        self.ask(limit, Command::Sync)
    }

    /// The same, then what has changed since that moment; without one, just the clock.
    ///
    /// # Errors
    /// See [`Self::sync`].
    pub fn changes(&self, since: Option<Clock>, limit: Duration) -> Result<ChangesSince, BarrierError> {
        self.ask(limit, |reply| Command::Changes(since, reply))
    }

    fn ask<A>(&self, limit: Duration, command: impl FnOnce(mpsc::SyncSender<A>) -> Command) -> Result<A, BarrierError> {
        let (reply, answer) = mpsc::sync_channel(1);
        self.inbox.command(command(reply));
        answer.recv_timeout(limit).map_err(|error| match error {
            mpsc::RecvTimeoutError::Timeout => BarrierError::TooLong(limit),
            mpsc::RecvTimeoutError::Disconnected => BarrierError::Off,
        })
    }

    /// Announces an own write, before it can be seen: finding this content in that file will not be reported. `None`
    /// announces that there will be no file; a rename is that at the old path, and its content at the new one.
    ///
    /// Announcements for one path come one after the other, each when the one before has happened (see [`Self::wrote`])
    /// or was withdrawn.
    /// Own writes are recognised by what they leave behind alone. An echo that arrives more than a minute (and two polls) after
    /// the last own write of its file, or after 65,536 other files were written, is reported as a change from outside:
    /// then one change is told twice, but none is ever lost. Files above `max_file_bytes` are not recognised.
    pub fn expect_write(&self, real_path: &Path, content: Option<ContentHash>) {
        let was_empty = self.shared.echo().expect(real_path, content, Instant::now());
        if was_empty {
            self.inbox.wake();
        }
    }

    /// Says that what was announced has happened: something else that is found from now on has replaced it. What was found
    /// in between may have, so that then the write is told as if from outside.
    pub fn wrote(&self, real_path: &Path, content: Option<ContentHash>) {
        self.shared.echo().landed(real_path, content);
    }

    /// Takes back an announcement: the write did not happen, or was taken back.
    ///
    /// What is taken back after it could be seen may be reported as modified, with the hash of what is there again.
    pub fn withdraw_write(&self, real_path: &Path, content: Option<ContentHash>) {
        self.shared.echo().withdraw(real_path, content);
    }

    /// Ends it: what is known of the roots is saved, and nothing is reported any more.
    pub fn end(&self) {
        self.inbox.stop();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The sink may own the last handle: then this is the watcher's own thread, which ends by itself.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id()) {
            // A panic of the thread has been told by its status.
            let _ = thread.join();
        }
    }

    pub fn status(&self) -> WatchStatus {
        let (waiting, dropped) = self.inbox.load();
        let mut status = self.shared.status().clone();
        status.pending += waiting;
        status.dropped = dropped;
        status
    }
}

/// Hash of the file at this path; `None` where it would be reported without one.
pub(crate) fn hash_of(path: &Path, max_bytes: u64) -> Option<ContentHash> {
    match probe::look(path, max_bytes).0 {
        probe::Found::File(hash) => hash,
        probe::Found::NoFile => None,
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.end();
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchConfig {
    /// How long a path must be quiet before it is reported; one that never is gets reported about every second.
    pub debounce: Duration,
    pub backend: Backend,
    /// Pause between two looks of [`Backend::Poll`].
    pub poll_interval: Duration,
    /// Raw events that may wait; more than that are dropped and counted, and what they would have told is found by
    /// comparing everything with what was told before.
    pub capacity: usize,
    /// What is not watched: lines as in a `.gitignore` file in each root. They go before `.gitignore` files.
    pub ignore: Vec<String>,
    /// Whether to leave out what `.gitignore` files say, from the top of the repository (or the root) downwards.
    pub gitignore: bool,
    /// Larger files are reported without a hash.
    pub max_file_bytes: u64,
    /// Where it is saved what was there, so that [`Watcher::changes`] knows what changed while nobody watched. Processes
    /// of one user share it.
    pub state_dir: Option<PathBuf>,
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self {
            debounce: Duration::from_millis(50),
            backend: Backend::Native,
            poll_interval: Duration::from_secs(2),
            capacity: 4096,
            ignore: Vec::new(),
            gitignore: true,
            max_file_bytes: 64 << 20,
            state_dir: None,
        }
    }
}

/// Why it is not known whether everything has been reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BarrierError {
    #[error("nothing is watched any more; see the log, and restart")]
    Off,
    #[error("the watcher was not ready within {} s: many files are still being looked at, try again", .0.as_secs())]
    TooLong(Duration),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// What the system offers: inotify, FSEvents, ReadDirectoryChangesW, kqueue.
    Native,
    /// Looks at the times of all files again and again: for file systems that send no events.
    Poll,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchStatus {
    pub backend: Backend,
    pub state: WatchState,
    /// Directories that are watched.
    pub watches: usize,
    /// How many the system allows all of the user's processes together, if it says so.
    pub limit: Option<usize>,
    /// Raw events and changed paths that wait to be reported.
    pub pending: usize,
    /// How often events were lost.
    pub overflows: u64,
    /// Raw events that found the queue full.
    pub dropped: u64,
    /// What is not watched although it should be, why, and what to do about it.
    pub reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchState {
    /// Some of the roots are still being walked.
    Starting,
    Watching,
    Polling,
    /// The watcher has failed; nothing will be reported any more.
    Off,
}

/// Why there can be no watcher.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    #[error("the pattern {pattern:?} of the watcher's ignore list is malformed: {message}")]
    Pattern { pattern: String, message: String },
    #[error("could not open the system's file events ({0}); on Linux raise fs.inotify.max_user_instances, or poll")]
    Source(::notify::Error),
    #[error("could not start the watcher's thread: {0}")]
    Thread(std::io::Error),
}

/// What the handle and the watcher's thread both use.
#[derive(Debug)]
struct Shared {
    status: Mutex<WatchStatus>,
    echo: Mutex<Echo>,
}

impl Shared {
    fn new(config: &WatchConfig) -> Self {
        let status = WatchStatus {
            backend: config.backend,
            state: match config.backend {
                Backend::Native => WatchState::Watching,
                Backend::Poll => WatchState::Polling,
            },
            watches: 0,
            limit: source::watch_limit(config.backend),
            pending: 0,
            overflows: 0,
            dropped: 0,
            reason: None,
        };
        let keep = Duration::from_secs(60) + 2 * config.poll_interval;
        Self { status: Mutex::new(status), echo: Mutex::new(Echo::new(keep)) }
    }

    // No section below can panic half-way through a change, so a poisoned lock still holds sound data.
    fn status(&self) -> MutexGuard<'_, WatchStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn echo(&self) -> MutexGuard<'_, Echo> {
        self.echo.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
