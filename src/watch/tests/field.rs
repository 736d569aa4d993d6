//! A directory on a real disk, watched by the system's own means.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::mpsc::{self, Receiver},
    time::Instant,
};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use tempfile::TempDir;

use super::{LIMIT, describe, until};
use crate::{
    events::{FileChangeEvent, FileEventBatch},
    hash::ContentHash,
    watch::{WatchConfig, WatchState, Watcher},
};

/// A watched temporary directory, and all that was reported about it.
pub struct Field {
    pub watcher: Watcher,
    pub reports: Receiver<FileEventBatch>,
    pub dir: TempDir,
}

impl Field {
    pub fn new() -> Self {
        Self::with(WatchConfig::default(), |_| {})
    }

    /// `prepare` is run on the directory before it is watched.
    pub fn with(config: WatchConfig, prepare: impl FnOnce(&Path)) -> Self {
        let field = Self::without_root(config, prepare);
        field.add_root("");
        field
    }

    pub fn without_root(config: WatchConfig, prepare: impl FnOnce(&Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        prepare(dir.path());
        let (watcher, reports) = start(config);
        Self { watcher, reports, dir }
    }

    /// Ends the watcher and starts another one, without roots.
    pub fn restart(&mut self, config: WatchConfig) {
        self.watcher.end();
        (self.watcher, self.reports) = start(config);
    }

    pub fn add_root(&self, name: &str) {
        self.watcher.add_root(&self.path(name));
        self.wait_until_watching();
    }

    pub fn wait_until_watching(&self) {
        until("the watcher watches", || {
            matches!(self.watcher.status().state, WatchState::Watching | WatchState::Polling)
        });
    }

    pub fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.dir.path().to_path_buf() } else { self.dir.path().join(name) }
    }

    pub fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
    }

    pub fn mkdir(&self, name: &str) {
        fs::create_dir_all(self.path(name)).unwrap();
    }

    pub fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    pub fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    /// Writes as the commit of an edit does: announced, through a temporary file that is renamed into place.
    pub fn own_write(&self, name: &str, content: &str) {
        let temp = self.temp(name);
        fs::write(&temp, content).unwrap();
        self.announce(name, Some(content));
        fs::rename(&temp, self.path(name)).unwrap();
        self.confirm(name, Some(content));
    }

    /// Exchanges the new content with what is there in one step, then removes what was there.
    pub fn own_exchange(&self, name: &str, content: &str) {
        let temp = self.temp(name);
        fs::write(&temp, content).unwrap();
        self.announce(name, Some(content));
        exchange(&temp, &self.path(name));
        self.confirm(name, Some(content));
        fs::remove_file(&temp).unwrap();
    }

    /// Moves the file aside and removes it there.
    pub fn own_delete(&self, name: &str) {
        let temp = self.temp(name);
        self.announce(name, None);
        fs::rename(self.path(name), &temp).unwrap();
        self.confirm(name, None);
        fs::remove_file(&temp).unwrap();
    }

    /// Renames a file to a name that is free.
    pub fn own_rename(&self, from: &str, to: &str) {
        let content = fs::read_to_string(self.path(from)).unwrap();
        self.announce(from, None);
        self.announce(to, Some(&content));
        renameat_with(CWD, self.path(from), CWD, self.path(to), RenameFlags::NOREPLACE).unwrap();
        self.confirm(from, None);
        self.confirm(to, Some(&content));
    }

    /// Renames a file over another one, which is moved aside and removed.
    pub fn own_rename_over(&self, from: &str, to: &str) {
        let content = fs::read_to_string(self.path(from)).unwrap();
        let temp = self.temp(from);
        self.announce(from, None);
        self.announce(to, Some(&content));
        exchange(&self.path(from), &self.path(to));
        fs::rename(self.path(from), &temp).unwrap();
        self.confirm(from, None);
        self.confirm(to, Some(&content));
        fs::remove_file(&temp).unwrap();
    }

    pub fn announce(&self, name: &str, content: Option<&str>) {
        self.watcher.expect_write(&self.path(name), hash(content));
    }

    pub fn confirm(&self, name: &str, content: Option<&str>) {
        self.watcher.wrote(&self.path(name), hash(content));
    }

    pub fn withdraw(&self, name: &str, content: Option<&str>) {
        self.watcher.withdraw_write(&self.path(name), hash(content));
    }

    /// A name for a temporary file beside this one.
    pub fn temp(&self, name: &str) -> PathBuf {
        self.path(name).with_file_name(crate::temp_name::TempNames::new().next(None))
    }

    /// Everything reported until a change of the file `name`, which every test writes last, in readable lines.
    pub fn reports_until(&self, name: &str) -> Vec<String> {
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
    pub fn reports(&self) -> Vec<String> {
        let name = format!("end-{}", uuid::Uuid::new_v4());
        self.write(&name, "");
        self.reports_until(&name)
    }

    pub fn line(&self, change: &FileChangeEvent) -> String {
        assert_eq!(change.origin, None, "the watcher knows of no requests");
        describe(change, self.dir.path())
    }
}

fn hash(content: Option<&str>) -> Option<ContentHash> {
    content.map(|content| ContentHash::of(content.as_bytes()))
}

fn start(config: WatchConfig) -> (Watcher, Receiver<FileEventBatch>) {
    let (sender, reports) = mpsc::channel();
    (Watcher::start(config, move |batch| drop(sender.send(batch))).unwrap(), reports)
}

/// Lets two files change places in one step.
pub fn exchange(a: &Path, b: &Path) {
    renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE).unwrap();
}
