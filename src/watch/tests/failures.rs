//! What goes wrong with watching itself, played by a source that fails on demand.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        mpsc::{self, Receiver, Sender},
    },
    time::Duration,
};

use notify::{Config, ErrorKind, EventHandler, RecursiveMode};
use tempfile::TempDir;

use super::{LIMIT, describe, until};
use crate::{
    events::FileEventBatch,
    watch::{
        BarrierError, Shared, WatchConfig, WatchState, Watcher,
        inbox::{Command, Inbox, Raw},
        rules::Rules,
        source::Source,
        worker::Worker,
    },
};

#[test]
fn what_a_full_queue_has_lost_is_found_by_comparing() {
    let stage = Stage::with_capacity(4);
    let paths: Vec<_> = (0..10).map(|number| stage.path(&format!("f{number}"))).collect();
    for path in &paths {
        fs::write(path, "").unwrap();
    }
    stage.inbox.events(paths.iter().cloned().map(Raw::Created));
    let mut told = Vec::new();
    while told.len() < 10 {
        told.extend(stage.next());
    }
    assert_eq!(told, (0..10).map(|number| format!("created f{number}")).collect::<Vec<_>>());
    let status = stage.watcher.status();
    assert_eq!((status.overflows, status.dropped), (1, 6));
}

#[test]
fn what_the_system_has_lost_is_found_by_comparing() {
    let stage = Stage::new(Refusal::Nothing);
    fs::write(stage.path("gone"), "").unwrap();
    fs::write(stage.path("written"), "").unwrap();
    stage.inbox.events([Raw::Created(stage.path("gone")), Raw::Created(stage.path("written"))]);
    assert_eq!(stage.next(), ["created gone", "created written"]);

    fs::remove_file(stage.path("gone")).unwrap();
    fs::write(stage.path("written"), "more").unwrap();
    fs::create_dir(stage.path("d")).unwrap();
    fs::write(stage.path("d/new"), "").unwrap();
    stage.inbox.event(Raw::Lost("as a test".into()));
    assert_eq!(stage.next(), ["created d/new", "deleted gone", "modified written"]);
    assert_eq!(stage.watcher.status().overflows, 1);
    until("the new directory is watched", || stage.watcher.status().watches == 2);
}

#[test]
fn a_rename_that_nobody_saw_is_known_by_the_file() {
    let stage = Stage::new(Refusal::Nothing);
    fs::write(stage.path("a"), "x").unwrap();
    fs::create_dir(stage.path("d")).unwrap();
    stage.inbox.events([Raw::Created(stage.path("a")), Raw::Created(stage.path("d"))]);
    assert_eq!(stage.next(), ["created a"]);
    fs::rename(stage.path("a"), stage.path("d/b")).unwrap();
    stage.watcher.sync(LIMIT).unwrap();
    assert_eq!(stage.next(), ["renamed a -> d/b"]);
}

#[test]
fn above_the_limit_of_watches_the_rest_is_polled_and_the_user_is_told_once() {
    let stage = Stage::prepared(Refusal::AfterOne(|| ErrorKind::MaxFilesWatch), |dir| {
        for name in ["a", "b", "c"] {
            fs::create_dir(dir.join(name)).unwrap();
        }
    });
    let batch = stage.reports.recv_timeout(LIMIT).unwrap();
    assert!(!batch.rescan && batch.changes.is_empty());
    let notice = batch.notice.unwrap();
    assert!(notice.contains("3 of 4 directories are polled") && notice.contains("max_user_watches"), "{notice}");
    let status = stage.watcher.status();
    assert_eq!((status.state, status.watches, status.reason), (WatchState::Watching, 1, Some(notice)));
    assert_eq!(status.limit.is_some(), cfg!(target_os = "linux"));

    // Nobody tells of it.
    fs::write(stage.path("b/new"), "").unwrap();
    assert_eq!(stage.next(), ["created b/new"]);
}

#[test]
fn a_directory_that_may_not_be_read_is_named_until_it_has_gone() {
    let denied = || ErrorKind::Io(std::io::ErrorKind::PermissionDenied.into());
    let stage = Stage::prepared(Refusal::AfterOne(denied), |dir| {
        fs::create_dir(dir.join("secret")).unwrap();
    });
    assert_eq!(stage.next(), ["rescan"]);
    let reason = stage.watcher.status().reason.unwrap();
    assert!(reason.contains("secret; permission denied"), "{reason}");

    fs::remove_dir(stage.path("secret")).unwrap();
    stage.inbox.event(Raw::Removed(stage.path("secret")));
    until("the reason has gone", || stage.watcher.status().reason.is_none());
}

#[test]
fn a_hint_is_enough_to_find_a_change() {
    let stage = Stage::new(Refusal::Nothing);
    fs::create_dir(stage.path("d")).unwrap();
    for name in ["a", "d/b", "d/c"] {
        fs::write(stage.path(name), "").unwrap();
    }
    stage.watcher.hint(&stage.path("a"));
    assert_eq!(stage.next(), ["created a"]);
    stage.watcher.hint(&stage.path("d"));
    assert_eq!(stage.next(), ["created d/b", "created d/c"]);
    stage.watcher.hint(&stage.path("d/c"));
    stage.watcher.hint(&stage.path("../elsewhere"));
    fs::remove_file(stage.path("a")).unwrap();
    stage.watcher.hint(&stage.path("a"));
    assert_eq!(stage.next(), ["deleted a"], "what has not changed is not told");
}

#[test]
fn an_unmounted_directory_is_compared() {
    let stage = Stage::new(Refusal::Nothing);
    fs::create_dir(stage.path("d")).unwrap();
    fs::write(stage.path("d/a"), "").unwrap();
    stage.inbox.event(Raw::Created(stage.path("d")));
    assert_eq!(stage.next(), ["created d/a"]);
    fs::remove_file(stage.path("d/a")).unwrap();
    stage.inbox.event(Raw::Unmounted(stage.path("d")));
    assert_eq!(stage.next(), ["deleted d/a"]);
}

#[test]
fn a_barrier_that_takes_too_long_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let gate = Arc::new(Mutex::new(()));
    let closed = gate.lock().unwrap();
    let listener = gate.clone();
    let watcher = Watcher::start(WatchConfig::default(), move |_| drop(listener.lock())).unwrap();
    watcher.add_root(&root);
    until("the watcher watches", || watcher.status().state == WatchState::Watching);
    fs::write(root.join("a"), "").unwrap();
    let limit = Duration::from_millis(1);
    assert_eq!(watcher.sync(limit), Err(BarrierError::TooLong(limit)));
    drop(closed);
    assert_eq!(watcher.sync(LIMIT), Ok(()));
}

#[test]
fn a_barrier_that_comes_too_late_is_an_error() {
    let stage = Stage::new(Refusal::Nothing);
    assert_eq!(stage.watcher.sync(LIMIT), Ok(()));
    stage.inbox.stop();
    until("the watcher is off", || stage.watcher.status().state == WatchState::Off);
    assert_eq!(stage.watcher.sync(LIMIT), Err(BarrierError::Off));
}

#[test]
fn a_stop_ends_a_barrier_that_walks_and_the_barrier_is_not_passed() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("held/deep")).unwrap();
    let inbox = Arc::new(Inbox::new(100));
    let (reply, answer) = mpsc::sync_channel(1);
    inbox.command(Command::AddRoot(dir.path().to_path_buf()));
    inbox.command(Command::Sync(reply));
    let ((comes, has_come), (release, released)) = (mpsc::channel(), mpsc::channel());
    let source = Source::of(Box::new(Stub { refusal: Refusal::Holding { comes, released }, watches: 0 }));
    let watcher = Watcher::with_source(WatchConfig::default(), source, inbox.clone(), Box::new(|_| {})).unwrap();
    has_come.recv_timeout(LIMIT).unwrap();
    inbox.stop();
    drop(release);
    assert_eq!(answer.recv_timeout(LIMIT), Err(mpsc::RecvTimeoutError::Disconnected));
    until("the watcher is off", || watcher.status().state == WatchState::Off);
    assert_eq!(watcher.sync(LIMIT), Err(BarrierError::Off));
}

#[test]
fn what_is_to_be_compared_waits_only_once_however_often_it_is_hinted_at() {
    let dir = tempfile::tempdir().unwrap();
    for number in 0..20 {
        fs::create_dir_all(dir.path().join(format!("{number}/deep"))).unwrap();
    }
    let config = WatchConfig::default();
    let source = Source::of(Box::new(Stub { refusal: Refusal::Nothing, watches: 0 }));
    let (inbox, shared) = (Arc::new(Inbox::new(4)), Arc::new(Shared::new(&config)));
    let rules = Rules::new(&[], false).unwrap();
    let mut worker = Worker::new(config, source, rules, inbox.clone(), shared, Box::new(|_| {}));
    worker.add_root(dir.path().to_path_buf());
    worker.walk_all();
    for round in 0..100 {
        for number in 0..round {
            inbox.hint(dir.path().join(number.to_string()));
        }
        inbox.hint(dir.path().to_path_buf());
        let taken = inbox.take();
        worker.take_in(taken);
        assert_eq!(worker.todo.len(), 41);
    }
    worker.walk_all();
    inbox.hint(dir.path().to_path_buf());
    let taken = inbox.take();
    worker.take_in(taken);
    assert_eq!(worker.todo.len(), 41, "what was compared is compared again");
}

#[test]
fn a_sink_that_panics_turns_the_watcher_off_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let watcher = Watcher::start(WatchConfig::default(), |_| panic!("as a test")).unwrap();
    watcher.add_root(&root);
    until("the watcher watches", || watcher.status().state == WatchState::Watching);
    fs::write(root.join("a"), "").unwrap();
    until("the watcher is off", || watcher.status().state == WatchState::Off);
    assert!(watcher.status().reason.is_some());
    watcher.add_root(&root);
    assert_eq!(watcher.status().state, WatchState::Off, "it stays off");
}

/// A watched directory whose events are put in by hand.
struct Stage {
    watcher: Watcher,
    inbox: Arc<Inbox>,
    reports: Receiver<FileEventBatch>,
    dir: TempDir,
}

impl Stage {
    fn new(refusal: Refusal) -> Self {
        Self::prepared(refusal, |_| {})
    }

    fn prepared(refusal: Refusal, prepare: impl FnOnce(&Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        prepare(dir.path());
        let inbox = Arc::new(Inbox::new(100));
        inbox.command(Command::AddRoot(dir.path().to_path_buf()));
        Self::start(refusal, dir, inbox)
    }

    fn with_capacity(capacity: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let inbox = Arc::new(Inbox::new(capacity));
        inbox.command(Command::AddRoot(dir.path().to_path_buf()));
        Self::start(Refusal::Nothing, dir, inbox)
    }

    fn start(refusal: Refusal, dir: TempDir, inbox: Arc<Inbox>) -> Self {
        let config = WatchConfig { poll_interval: Duration::from_millis(50), ..WatchConfig::default() };
        let source = Source::of(Box::new(Stub { refusal, watches: 0 }));
        let (sender, reports) = mpsc::channel();
        let sink = Box::new(move |batch| drop(sender.send(batch)));
        let watcher = Watcher::with_source(config, source, inbox.clone(), sink).unwrap();
        until("the root has been walked", || watcher.status().watches > 0);
        Self { watcher, inbox, reports, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The next batch, in readable lines.
    fn next(&self) -> Vec<String> {
        let batch = self.reports.recv_timeout(LIMIT).unwrap();
        let rescan = batch.rescan.then(|| "rescan".to_owned());
        rescan.into_iter().chain(batch.changes.iter().map(|change| describe(change, self.dir.path()))).collect()
    }
}

/// What a source refuses to watch.
enum Refusal {
    Nothing,
    /// Everything but the first directory.
    AfterOne(fn() -> ErrorKind),
    /// Nothing, but who comes to `held` is held there, and nobody may come to `deep`.
    Holding {
        comes: Sender<()>,
        released: Receiver<()>,
    },
}

struct Stub {
    refusal: Refusal,
    watches: usize,
}

impl notify::Watcher for Stub {
    fn new<F: EventHandler>(_: F, _: Config) -> notify::Result<Self> {
        Err(notify::Error::generic("made by hand only"))
    }

    fn watch(&mut self, path: &Path, _: RecursiveMode) -> notify::Result<()> {
        match &self.refusal {
            Refusal::Holding { .. } if path.ends_with("deep") => panic!("it walks on"),
            Refusal::Holding { comes, released } if path.ends_with("held") => {
                comes.send(()).unwrap();
                assert_eq!(released.recv_timeout(LIMIT), Err(mpsc::RecvTimeoutError::Disconnected));
                Ok(())
            }
            Refusal::AfterOne(kind) if self.watches > 0 => Err(notify::Error::new(kind())),
            _ => {
                self.watches += 1;
                Ok(())
            }
        }
    }

    fn unwatch(&mut self, _: &Path) -> notify::Result<()> {
        self.watches -= 1;
        Ok(())
    }

    fn kind() -> notify::WatcherKind {
        notify::WatcherKind::NullWatcher
    }
}
