//! Tests of the parts together; those of one part stand in its own file.

mod disk;
mod failures;
mod model;
mod tables;
mod world;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::mpsc::{self, Receiver},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{WatchConfig, WatchState, Watcher};
use crate::{
    events::{FileChangeEvent, FileEventBatch, FileEventKind},
    hash::ContentHash,
};

/// Far longer than anything here takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(10);

/// A watched temporary directory, and all that was reported about it.
struct Field {
    watcher: Watcher,
    reports: Receiver<FileEventBatch>,
    dir: TempDir,
}

impl Field {
    fn new() -> Self {
        Self::with(WatchConfig::default(), |_| {})
    }

    /// `prepare` is run on the directory before it is watched.
    fn with(config: WatchConfig, prepare: impl FnOnce(&Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        prepare(dir.path());
        let (sender, reports) = mpsc::channel();
        let watcher = Watcher::start(config, move |batch| drop(sender.send(batch))).unwrap();
        let field = Self { watcher, reports, dir };
        field.add_root("");
        field
    }

    fn add_root(&self, name: &str) {
        self.watcher.add_root(&self.path(name));
        self.wait_until_watching();
    }

    fn wait_until_watching(&self) {
        until("the watcher watches", || {
            matches!(self.watcher.status().state, WatchState::Watching | WatchState::Polling)
        });
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.dir.path().to_path_buf() } else { self.dir.path().join(name) }
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
    }

    fn mkdir(&self, name: &str) {
        fs::create_dir_all(self.path(name)).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    /// Writes as the commit of an edit does: announced, through a temporary file that is renamed into place.
    fn own_write(&self, name: &str, content: &str) {
        let path = self.path(name);
        let temp = path.with_file_name(crate::temp_name::new_temp_name());
        fs::write(&temp, content).unwrap();
        self.watcher.expect_write(&path, ContentHash::of(content.as_bytes()));
        fs::rename(&temp, &path).unwrap();
    }

    /// Everything reported until a change of the file `name`, which every test writes last, in readable lines.
    fn reports_until(&self, name: &str) -> Vec<String> {
        let mut lines = Vec::new();
        let deadline = Instant::now() + LIMIT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let batch = self.reports.recv_timeout(left).unwrap_or_else(|_| panic!("{name} after {lines:?}"));
            let found = batch.changes.iter().any(|change| change.path == self.path(name));
            lines.extend(batch.rescan.then(|| "rescan".to_owned()));
            lines.extend(batch.changes.iter().filter(|c| c.path != self.path(name)).map(|c| self.line(c)));
            if found {
                return lines;
            }
        }
    }

    /// Waits long enough for all that happened before to be reported: what comes last is reported last.
    fn reports(&self) -> Vec<String> {
        let name = format!("end-{}", uuid::Uuid::new_v4());
        self.write(&name, "");
        self.reports_until(&name)
    }

    fn line(&self, change: &FileChangeEvent) -> String {
        assert_eq!(change.origin, None, "the watcher knows of no requests");
        describe(change, self.dir.path())
    }
}

fn describe(change: &FileChangeEvent, root: &Path) -> String {
    let name = |path: &Path| path.strip_prefix(root).unwrap_or(path).display().to_string();
    let kind = format!("{:?}", change.kind).to_lowercase();
    let directory = if change.directory { " directory" } else { "" };
    let from = change.old_path.as_deref().map(|old| format!("{} -> ", name(old))).unwrap_or_default();
    format!("{kind}{directory} {from}{}", name(&change.path))
}

/// What a client believes to be there, built from the reports alone.
#[derive(Debug)]
struct Picture<C> {
    files: BTreeMap<PathBuf, C>,
}

impl<C> Picture<C> {
    /// Applies one change; fails if it makes no sense for someone who knows what was reported so far.
    fn apply(&mut self, change: &FileChangeEvent, content: impl FnOnce() -> C) -> Result<(), String> {
        let FileChangeEvent { path, kind, old_path, directory, .. } = change;
        let known = self.files.contains_key(path);
        match (kind, directory) {
            (FileEventKind::Created, false) if !known => drop(self.files.insert(path.clone(), content())),
            (FileEventKind::Modified, false) if known => drop(self.files.insert(path.clone(), content())),
            (FileEventKind::Deleted, false) if known => drop(self.files.remove(path)),
            (FileEventKind::Deleted, true) => self.files.retain(|file, _| !file.starts_with(path)),
            (FileEventKind::Renamed, false) => {
                let old = old_path.as_ref().and_then(|old| self.files.remove(old));
                old.ok_or("renamed what was not there")?;
                self.files.insert(path.clone(), content());
            }
            (FileEventKind::Renamed, true) => {
                let old = old_path.as_deref().ok_or("renamed from nowhere")?;
                for (file, content) in std::mem::take(&mut self.files) {
                    let file = super::told::rebase(&file, old, path).unwrap_or(file);
                    self.files.insert(file, content);
                }
            }
            _ => return Err(format!("{change:?} while the file is {}known", if known { "" } else { "not " })),
        }
        Ok(())
    }
}

/// Waits for something that nobody announces.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {LIMIT:?}: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
