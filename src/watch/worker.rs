//! The watcher's thread: waits for events and deadlines, and reports.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    mem,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Backend, Shared, WatchConfig, WatchState,
    debounce::{Debouncer, DirectoryChange, Due, FileChange},
    history::History,
    inbox::{Command, Hints, Inbox, Taken},
    index::{Index, Look},
    probe::{self, Found},
    report::{Told, pair_renames},
    rules::Rules,
    saved::Saved,
    settle::{Disk, Net, settle_directory, settle_file},
    source::Source,
    walk::{Attention, Visit, threads},
};
use crate::events::{FileChangeEvent, FileEventBatch, FileEventKind};

/// All the state of a watcher that only its thread touches; see `intake` and `walk` for the rest of what it does.
pub(super) struct Worker {
    pub(super) inbox: Arc<Inbox>,
    pub(super) shared: Arc<Shared>,
    pub(super) source: Source,
    pub(super) rules: Rules,
    /// Every directory that is covered and has been visited, and every root that is missed.
    pub(super) directories: BTreeMap<PathBuf, Attention>,
    /// What is not watched although it should be; for [`super::WatchStatus::reason`].
    pub(super) failed: BTreeMap<PathBuf, Failure>,
    pub(super) todo: VecDeque<Visit>,
    /// The directories that are to be compared, which need not be put in `todo` again.
    pub(super) rechecks: HashSet<PathBuf>,
    pub(super) debouncer: Debouncer,
    pub(super) index: Index,
    /// The directory that was moved away last.
    pub(super) left: Option<PathBuf>,
    pub(super) max_file_bytes: u64,
    pub(super) threads: usize,
    sink: Box<dyn Fn(FileEventBatch) + Send>,
    pub(super) backend: Backend,
    pub(super) poll_interval: Duration,
    next_poll: Option<Instant>,
    pub(super) histories: BTreeMap<PathBuf, History>,
    pub(super) saved: Saved,
    /// Roots whose first walk is not finished.
    pub(super) starting: Vec<PathBuf>,
    pub(super) stopping: bool,
    recovery: Recovery,
    /// Something could be neither watched nor polled, and nobody was told yet.
    pub(super) hole: bool,
    limit_told: bool,
    pub(super) overflows: u64,
}

/// Why something is not watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    Limit,
    RootGone,
    Other(String),
}

/// What is done about lost events: every directory is watched anew and compared with the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recovery {
    NotNeeded,
    Running,
    /// Events were lost since it began.
    RunningOutdated,
}

/// Large bursts come in several batches, so that the first one need not wait until the last file is hashed.
const MOST_CHANGES: usize = 1000;

impl Worker {
    pub fn new(
        config: WatchConfig,
        source: Source,
        rules: Rules,
        inbox: Arc<Inbox>,
        shared: Arc<Shared>,
        sink: Box<dyn Fn(FileEventBatch) + Send>,
    ) -> Self {
        Self {
            inbox,
            shared,
            source,
            rules,
            directories: BTreeMap::new(),
            failed: BTreeMap::new(),
            todo: VecDeque::new(),
            rechecks: HashSet::new(),
            debouncer: Debouncer::new(config.debounce),
            index: Index::default(),
            left: None,
            max_file_bytes: config.max_file_bytes,
            threads: threads(),
            sink,
            backend: config.backend,
            poll_interval: config.poll_interval,
            next_poll: None,
            histories: BTreeMap::new(),
            saved: Saved::new(config.state_dir),
            starting: Vec::new(),
            stopping: false,
            recovery: Recovery::NotNeeded,
            hole: false,
            limit_told: false,
            overflows: 0,
        }
    }

    pub fn run(mut self) {
        let _ended = Ended { shared: self.shared.clone(), inbox: self.inbox.clone() };
        loop {
            let taken = if self.todo.is_empty() { self.inbox.wait(self.deadline()) } else { self.inbox.take() };
            self.take_in(taken);
            if self.stopping {
                break;
            }
            self.walk();
            self.flush(false);
            if self.todo.is_empty() {
                self.finish_walk();
            }
            self.shared.echo().expire(Instant::now());
            self.publish();
        }
        self.save();
    }

    /// Events were lost, so neither what is watched nor the index can be relied on.
    pub(super) fn lost(&mut self, why: &str) {
        tracing::warn!(why, "file events were lost; everything is compared");
        self.overflows += 1;
        match self.recovery {
            Recovery::NotNeeded => self.recover(),
            Recovery::Running | Recovery::RunningOutdated => self.recovery = Recovery::RunningOutdated,
        }
    }

    pub(super) fn take_in(&mut self, taken: Taken) {
        self.stopping |= taken.stop;
        let now = Instant::now();
        for event in taken.events {
            self.intake(event, now);
        }
        if taken.lost {
            self.lost("the watcher's own queue was full");
        }
        match taken.hints {
            Hints::At(paths) => self.follow_hints(paths, now),
            Hints::Everywhere => self.recheck_all(),
        }
        for command in taken.commands {
            match command {
                Command::AddRoot(root) => self.begin_root(root),
                Command::RemoveRoot(root) => self.end_root(&root),
                Command::RootReplaced(root) => {
                    self.forget(&root);
                    self.recheck(&root, now);
                }
                // Who asked may have stopped waiting. A reply that is dropped says that there is no answer.
                Command::Sync(reply) => {
                    if self.sync() {
                        let _ = reply.send(());
                    }
                }
                Command::Changes(since, reply) => {
                    if self.sync() {
                        let _ = reply.send(self.changes(since.as_ref()));
                    }
                }
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let echo = self.shared.echo().next_expiry();
        [self.debouncer.next_deadline(), echo, self.next_poll, self.saved.next()].into_iter().flatten().min()
    }

    fn recover(&mut self) {
        self.recovery = Recovery::Running;
        for (directory, attention) in mem::take(&mut self.directories) {
            if attention == Attention::Watched {
                self.source.unwatch(&directory);
            }
        }
        self.failed.clear();
        self.todo.clear();
        self.rechecks.clear();
        self.rules.roots().for_each(|root| self.rules.forget(root));
        self.recheck_all();
    }

    pub(super) fn finish_walk(&mut self) {
        for root in mem::take(&mut self.starting) {
            self.forget_unlisted(&root);
        }
        if mem::take(&mut self.hole) {
            (self.sink)(FileEventBatch { rescan: true, ..FileEventBatch::default() });
        }
        let is_limited = self.is_limited();
        if is_limited && !mem::replace(&mut self.limit_told, is_limited) {
            (self.sink)(FileEventBatch { notice: self.limit_notice(), ..FileEventBatch::default() });
        }
        match mem::replace(&mut self.recovery, Recovery::NotNeeded) {
            Recovery::RunningOutdated => self.recover(),
            Recovery::Running | Recovery::NotNeeded => {}
        }
        self.set_next_poll();
        if self.saved.is_due(Instant::now()) {
            self.save();
        }
    }

    fn set_next_poll(&mut self) {
        let now = Instant::now();
        if self.next_poll.is_some_and(|at| at <= now) {
            self.next_poll = None;
            self.poll();
        } else if self.next_poll.is_none() && self.directories.values().any(|known| *known == Attention::Polled) {
            self.next_poll = Some(now + self.poll_interval);
        }
    }

    /// Reports what is due, or all that waits.
    pub(super) fn flush(&mut self, all: bool) {
        let due = if all { self.debouncer.all(Instant::now()) } else { self.debouncer.due(Instant::now()) };
        let Due { directories, mut files } = due;
        let mut told = Vec::new();
        if self.settle_directories(directories, &mut told) {
            // What changed while a directory was on its way, or in which another one was put in its place, is told with it.
            self.walk_all();
            // Those that have gone go before the files that may stand in their places.
            let gone = self.debouncer.directories();
            self.settle_directories(gone, &mut told);
            let known: HashSet<_> = files.iter().map(|change| change.path.clone()).collect();
            files.extend(self.debouncer.suspects().into_iter().filter(|change| !known.contains(&change.path)));
        }
        for change in files {
            // Hashing takes its time, during which the queue must not fill.
            self.take_in_events();
            if self.stopping {
                break;
            }
            told.extend(self.settle(change));
            if told.len() >= MOST_CHANGES {
                self.tell(mem::take(&mut told));
            }
        }
        self.tell(told);
    }

    /// Returns whether there is something to be compared because of them.
    fn settle_directories(&mut self, changes: Vec<DirectoryChange>, told: &mut Vec<Told>) -> bool {
        let mut is_checked = false;
        for change in changes {
            let gone = match &change {
                DirectoryChange::Gone(path) => path.clone(),
                DirectoryChange::Moved { from, .. } => from.clone(),
            };
            let net = settle_directory(change, &mut self.index, &OnDisk);
            if self.rules.is_root(&gone) {
                // It is known to be empty, so that what comes there again is new.
                self.index.list(&gone, Vec::new(), |_| None);
            }
            let event = |(path, net)| FileChangeEvent { directory: true, ..event(path, net) };
            told.extend(net.tell.into_iter().map(|change| Told { event: event(change), end: None }));
            for directory in net.check {
                is_checked = true;
                self.recheck(&directory, Instant::now());
            }
        }
        is_checked
    }

    fn tell(&self, told: Vec<Told>) {
        let changes = pair_renames(told);
        if !changes.is_empty() {
            (self.sink)(FileEventBatch { changes, ..FileEventBatch::default() });
        }
    }

    fn settle(&mut self, change: FileChange) -> Option<Told> {
        // Its root may have gone since, or the rules have changed.
        if !self.covers(&change.path, false) {
            self.index.forget_file(&change.path);
            return None;
        }
        self.hear_of_own(&change.path);
        if let Some(from) = &change.from {
            self.hear_of_own(from);
        }
        if self.shared.echo().has_announced(&change.path) {
            self.index.doubt_content(&change.path);
        }
        let before = self.index.look(&change.path).copied();
        if let (None, Some(before)) = (&change.from, before) {
            let now = probe::glance(&change.path);
            if let Some(now) = now.filter(|now| before.is_same(now) == Some(true)) {
                self.index.insert(&change.path, Look { content: before.content, ..now }, false);
                return None;
            }
        }
        let landed = self.shared.echo().latest(&change.path);
        let (found, look) = probe::look(&change.path, self.max_file_bytes);
        let own = self.shared.echo().is_own(&change.path, found, landed, Instant::now());
        let net = settle_file(&change, look, &mut self.index, &OnDisk)?;
        let content_hash = match found {
            Found::File(hash) => hash,
            Found::NoFile => None,
        };
        let end = match net {
            Net::Created if !change.touched => look,
            Net::Deleted if !change.touched => before,
            _ => None,
        };
        match net {
            // What we wrote is told by the one who wrote it, but not that the file moved away under our hands.
            Net::Renamed { from } if own => {
                (!self.is_own_absence(&from)).then(|| Told { event: event(from, Net::Deleted), end: None })
            }
            _ if own => None,
            net => Some(Told { event: FileChangeEvent { content_hash, ..event(change.path, net) }, end }),
        }
    }

    /// Counts what requests have told of this path as told.
    fn hear_of_own(&mut self, path: &Path) {
        match self.shared.echo().news(path) {
            Some(true) => self.index.hear_of(path),
            Some(false) => self.index.remove(path),
            None => {}
        }
    }

    fn is_own_absence(&self, path: &Path) -> bool {
        let mut echo = self.shared.echo();
        let landed = echo.latest(path);
        echo.is_own(path, Found::NoFile, landed, Instant::now())
    }
}

pub(super) fn event(path: PathBuf, net: Net) -> FileChangeEvent {
    let (kind, old_path) = match net {
        Net::Created => (FileEventKind::Created, None),
        Net::Modified => (FileEventKind::Modified, None),
        Net::Deleted => (FileEventKind::Deleted, None),
        Net::Renamed { from } => (FileEventKind::Renamed, Some(from)),
    };
    FileChangeEvent { path, kind, old_path, content_hash: None, directory: false, origin: None, by: None }
}

struct OnDisk;

impl Disk for OnDisk {
    fn is_file(&self, path: &Path) -> bool {
        probe::is_file(path)
    }

    fn is_directory(&self, path: &Path) -> bool {
        probe::is_directory(path)
    }
}

/// Says that nothing is watched any more, also when the thread panics.
struct Ended {
    shared: Arc<Shared>,
    inbox: Arc<Inbox>,
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.inbox.close();
        let mut status = self.shared.status();
        status.state = WatchState::Off;
        status.watches = 0;
        if std::thread::panicking() {
            status.reason = Some("the watcher has failed; see the log".into());
        }
    }
}
