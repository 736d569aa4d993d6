//! What goes wrong with watching itself, played by a source that fails on demand.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{self, Receiver},
    },
};

use notify::{Config, ErrorKind, EventHandler, RecursiveMode};
use tempfile::TempDir;

use super::{LIMIT, describe, until};
use crate::{
    events::FileEventBatch,
    watch::{
        WatchConfig, WatchState, Watcher,
        inbox::{Command, Inbox, Raw},
        source::Source,
    },
};

#[test]
fn a_full_queue_leads_to_a_rescan_and_what_waits_is_still_told() {
    let dir = tempfile::tempdir().unwrap();
    let inbox = Arc::new(Inbox::new(4));
    inbox.command(Command::AddRoot(dir.path().to_path_buf()));
    for number in 0..10 {
        let path = dir.path().join(format!("f{number}"));
        fs::write(&path, "").unwrap();
        inbox.event(Raw::Created(path));
    }
    let stage = Stage::start(WatchConfig::default(), Refusal::Nothing, dir, inbox);
    assert_eq!(stage.next(), ["rescan"]);
    assert_eq!(stage.next(), ["modified f0", "modified f1", "modified f2", "modified f3"]);
    let status = stage.watcher.status();
    assert_eq!((status.overflows, status.dropped), (1, 6));
}

#[test]
fn events_lost_by_the_system_lead_to_a_rescan_that_finds_what_came_and_went() {
    let stage = Stage::new(Refusal::Nothing);
    fs::write(stage.path("told"), "").unwrap();
    stage.inbox.event(Raw::Created(stage.path("told")));
    assert_eq!(stage.next(), ["created told"]);

    fs::remove_file(stage.path("told")).unwrap();
    fs::create_dir(stage.path("d")).unwrap();
    fs::write(stage.path("d/new"), "").unwrap();
    stage.inbox.event(Raw::Lost("as a test".into()));
    assert_eq!(stage.next(), ["rescan"]);
    assert_eq!(stage.next(), ["created d/new", "deleted told"]);
    assert_eq!(stage.watcher.status().overflows, 1);
    until("the new directory is watched", || stage.watcher.status().watches == 2);
}

#[test]
fn a_limit_of_watches_is_named_with_its_remedy_and_told_once() {
    let stage = Stage::prepared(Refusal::AfterOne(|| ErrorKind::MaxFilesWatch), |dir| {
        for name in ["a", "b", "c"] {
            fs::create_dir(dir.join(name)).unwrap();
        }
    });
    assert_eq!(stage.next(), ["rescan"]);
    let status = stage.watcher.status();
    let reason = status.reason.unwrap();
    assert!(reason.contains("fs.inotify.max_user_watches") && reason.contains("a and 2 more"), "{reason}");
    assert!(!reason.contains(stage.dir.path().to_str().unwrap()), "no absolute paths: {reason}");
    assert_eq!((status.state, status.watches), (WatchState::Watching, 1));
    assert_eq!(status.limit.is_some(), cfg!(target_os = "linux"));

    fs::write(stage.path("last"), "").unwrap();
    stage.inbox.event(Raw::Created(stage.path("last")));
    assert_eq!(stage.next(), ["created last"], "the rescan is asked for once");
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
fn a_path_that_fails_again_and_again_asks_for_one_rescan() {
    let stage = Stage::new(Refusal::Nothing);
    let mut lines = Vec::new();
    for _ in 0..3 {
        stage.inbox.event(Raw::Failed { path: stage.path("x"), message: "broken".into() });
        fs::write(stage.path("y"), "").unwrap();
        stage.inbox.event(Raw::Modified(stage.path("y")));
        // Each failure gets a turn of its own.
        while lines.last().is_none_or(|line: &String| !line.ends_with(" y")) {
            lines.extend(stage.next());
        }
        lines.push("turn".into());
    }
    assert_eq!(lines, ["rescan", "created y", "turn", "modified y", "turn", "modified y", "turn"]);
    assert_eq!(stage.watcher.status().overflows, 1);
    assert!(stage.watcher.status().reason.is_some_and(|reason| reason.contains("broken")));
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
        Self::start(WatchConfig::default(), refusal, dir, inbox)
    }

    fn start(config: WatchConfig, refusal: Refusal, dir: TempDir, inbox: Arc<Inbox>) -> Self {
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
}

struct Stub {
    refusal: Refusal,
    watches: usize,
}

impl notify::Watcher for Stub {
    fn new<F: EventHandler>(_: F, _: Config) -> notify::Result<Self> {
        Err(notify::Error::generic("made by hand only"))
    }

    fn watch(&mut self, _: &Path, _: RecursiveMode) -> notify::Result<()> {
        match self.refusal {
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
