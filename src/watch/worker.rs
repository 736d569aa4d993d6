//! The watcher's thread: waits for events and deadlines, and reports.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Instant, SystemTime},
};

use super::{
    Backend, Shared, WatchConfig, WatchState,
    debounce::{Change, Debouncer, FileChange},
    inbox::{Command, Inbox, Taken},
    probe::{self, Found},
    rules::Rules,
    settle::{Check, Disk, Net, settle_directory, settle_file},
    source::Source,
    told::Told,
    walk::Visit,
};
use crate::events::{FileChangeEvent, FileEventBatch, FileEventKind};

/// All the state of a watcher that only its thread touches; see `intake` and `walk` for the rest of what it does.
pub(super) struct Worker {
    pub(super) inbox: Arc<Inbox>,
    pub(super) shared: Arc<Shared>,
    pub(super) source: Source,
    pub(super) rules: Rules,
    /// Every directory that is covered and has been visited, and whether it has a watch of its own.
    pub(super) directories: BTreeMap<PathBuf, bool>,
    /// What is not watched although it should be; for [`super::WatchStatus::reason`].
    pub(super) failed: BTreeMap<PathBuf, Failure>,
    pub(super) todo: VecDeque<Visit>,
    pub(super) debouncer: Debouncer,
    pub(super) told: Told,
    /// The directory that was moved away last, and when.
    pub(super) left: Option<(PathBuf, SystemTime)>,
    /// Temporary files that have lately become files; one that such a file becomes again has been exchanged with it.
    pub(super) arrived: VecDeque<PathBuf>,
    sink: Box<dyn Fn(FileEventBatch) + Send>,
    backend: Backend,
    max_file_bytes: u64,
    starting: bool,
    stopping: bool,
    recovery: Recovery,
    /// Something could not be watched, and nobody was told yet.
    pub(super) hole: bool,
    pub(super) overflows: u64,
}

/// Why something is not watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    Limit,
    RootGone,
    Other(String),
}

/// What is done about lost events: every directory is watched anew and compared by name with what was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recovery {
    NotNeeded,
    Running,
    /// Events were lost since it began.
    RunningOutdated,
}

/// Large bursts come in several batches, so that the first one need not wait until the last file is hashed.
const MOST_CHANGES: usize = 1000;

/// Directories visited before events are looked at again.
const VISITS_AT_ONCE: usize = 64;

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
            debouncer: Debouncer::new(config.debounce),
            told: Told::default(),
            left: None,
            arrived: VecDeque::new(),
            sink,
            backend: config.backend,
            max_file_bytes: config.max_file_bytes,
            starting: false,
            stopping: false,
            recovery: Recovery::NotNeeded,
            hole: false,
            overflows: 0,
        }
    }

    pub fn run(mut self) {
        let _ended = Ended(self.shared.clone());
        while !self.stopping {
            let taken = if self.todo.is_empty() { self.inbox.wait(self.deadline()) } else { self.inbox.take() };
            self.take_in(taken);
            for _ in 0..VISITS_AT_ONCE {
                let Some(visit) = self.todo.pop_front() else { break };
                self.visit(visit);
            }
            self.flush();
            if self.todo.is_empty() {
                self.finish_walk();
            }
            self.shared.echo().expire(Instant::now());
            self.publish();
        }
    }

    /// Events were lost, so neither what is watched nor what was told can be relied on.
    pub(super) fn lost(&mut self, why: &str) {
        tracing::warn!(why, "file events were lost");
        self.overflows += 1;
        match self.recovery {
            Recovery::NotNeeded => self.recover(),
            Recovery::Running | Recovery::RunningOutdated => self.recovery = Recovery::RunningOutdated,
        }
    }

    fn take_in(&mut self, taken: Taken) {
        self.stopping |= taken.stop;
        for command in taken.commands {
            match command {
                Command::AddRoot(root) => {
                    self.starting = true;
                    self.add_root(root);
                }
                Command::RemoveRoot(root) => self.remove_root(&root),
            }
        }
        let now = Instant::now();
        for event in taken.events {
            self.intake(event, now);
        }
        if taken.lost {
            self.lost("the watcher's own queue was full");
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.debouncer.next_deadline().into_iter().chain(self.shared.echo().next_expiry()).min()
    }

    fn recover(&mut self) {
        self.recovery = Recovery::Running;
        for (directory, watched) in mem::take(&mut self.directories) {
            if watched {
                self.source.unwatch(&directory);
            }
        }
        self.failed.clear();
        self.todo.clear();
        for root in self.rules.roots().map(Path::to_path_buf).collect::<Vec<_>>() {
            self.rules.forget(&root);
            self.recheck(&root, Instant::now());
        }
    }

    fn finish_walk(&mut self) {
        self.starting = false;
        if mem::take(&mut self.hole) || self.recovery != Recovery::NotNeeded {
            (self.sink)(FileEventBatch { changes: Vec::new(), rescan: true });
        }
        match mem::replace(&mut self.recovery, Recovery::NotNeeded) {
            Recovery::RunningOutdated => self.recover(),
            Recovery::Running | Recovery::NotNeeded => {}
        }
    }

    fn flush(&mut self) {
        let due = self.debouncer.due(Instant::now());
        let mut changes = Vec::new();
        for change in due.directories {
            let net = settle_directory(change, &mut self.told, &OnDisk);
            changes.extend(
                net.tell.into_iter().map(|(path, net)| FileChangeEvent { directory: true, ..event(path, net) }),
            );
            match net.check {
                Some(Check::Files(files)) => {
                    for file in files {
                        self.debouncer.push(Change::Suspect(file), Instant::now());
                    }
                }
                Some(Check::Below(directory)) => self.recheck(&directory, Instant::now()),
                None => {}
            }
        }
        for change in due.files {
            // Hashing takes its time, during which the queue must not fill.
            let taken = self.inbox.take();
            self.take_in(taken);
            if self.stopping {
                return;
            }
            changes.extend(self.settle(change));
            if changes.len() >= MOST_CHANGES {
                (self.sink)(FileEventBatch { changes: mem::take(&mut changes), rescan: false });
            }
        }
        if !changes.is_empty() {
            (self.sink)(FileEventBatch { changes, rescan: false });
        }
    }

    fn settle(&mut self, change: FileChange) -> Option<FileChangeEvent> {
        // Its root may have gone since.
        self.rules.root_of(&change.path)?;
        self.hear_of_own(&change.path);
        if let Some(from) = &change.from {
            self.hear_of_own(from);
        }
        let landed = self.shared.echo().landed(&change.path);
        let needs_hash = change.touched || self.told.knows(&change.path) != Some(true);
        let found = if needs_hash {
            probe::look(&change.path, self.max_file_bytes)
        } else if probe::is_file(&change.path) {
            Found::File(None)
        } else {
            Found::NoFile
        };
        let own = needs_hash && self.shared.echo().is_own(&change.path, found, landed, Instant::now());
        let net = settle_file(&change, found != Found::NoFile, &mut self.told, &OnDisk)?;
        let hash = match found {
            Found::File(hash) => hash,
            Found::NoFile => None,
        };
        match net {
            // What we wrote is told by the one who wrote it, but not that the file moved away under our hands.
            Net::Renamed { from } if own => (!self.is_own_absence(&from)).then(|| event(from, Net::Deleted)),
            _ if own => None,
            net => Some(FileChangeEvent { content_hash: hash, ..event(change.path, net) }),
        }
    }

    /// Counts what requests have told of this path as told.
    fn hear_of_own(&mut self, path: &Path) {
        match self.shared.echo().news(path) {
            Some(true) => self.told.insert(path),
            Some(false) => self.told.remove(path),
            None => {}
        }
    }

    fn is_own_absence(&self, path: &Path) -> bool {
        let mut echo = self.shared.echo();
        let landed = echo.landed(path);
        echo.is_own(path, Found::NoFile, landed, Instant::now())
    }

    fn publish(&self) {
        let mut status = self.shared.status();
        status.state = match self.backend {
            _ if self.starting || self.inbox.has_commands() => WatchState::Starting,
            Backend::Native => WatchState::Watching,
            Backend::Poll => WatchState::Polling,
        };
        status.watches = self.directories.values().filter(|watched| **watched).count();
        status.pending = self.debouncer.len();
        status.overflows = self.overflows;
        status.reason = self.reason(status.limit);
    }

    fn reason(&self, limit: Option<usize>) -> Option<String> {
        let (path, failure) = self.failed.first_key_value()?;
        let count = self.failed.len();
        let root = self.rules.root_of(path).unwrap_or_default();
        let name = match path.strip_prefix(&root) {
            Ok(below) if !below.as_os_str().is_empty() => below.display().to_string(),
            _ => root.file_name().map_or("/".into(), |name| name.to_string_lossy().into_owned()),
        };
        let what = match failure {
            Failure::Limit => {
                let now = limit.map(|limit| format!(" (now {limit})")).unwrap_or_default();
                format!(
                    "the system allows no more file watches: raise fs.inotify.max_user_watches{now}, \
                     leave out directories with watch.ignore, or set watch.backend to \"poll\""
                )
            }
            Failure::RootGone => "the workspace root is not there: make it and add it again".into(),
            Failure::Other(message) => format!("{message}: allow reading it, or leave it out with watch.ignore"),
        };
        let others = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
        Some(format!("not watched: {name}{others}; {what}"))
    }
}

pub(super) fn event(path: PathBuf, net: Net) -> FileChangeEvent {
    let (kind, old_path) = match net {
        Net::Created => (FileEventKind::Created, None),
        Net::Modified => (FileEventKind::Modified, None),
        Net::Deleted => (FileEventKind::Deleted, None),
        Net::Renamed { from } => (FileEventKind::Renamed, Some(from)),
    };
    FileChangeEvent { path, kind, old_path, content_hash: None, directory: false, origin: None }
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
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        let mut status = self.0.status();
        status.state = WatchState::Off;
        status.watches = 0;
        if std::thread::panicking() {
            status.reason = Some("the watcher has failed; see the log".into());
        }
    }
}
