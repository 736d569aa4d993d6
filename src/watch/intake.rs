//! Turns raw events into changes of files and directories, and sends visits where directories come.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Instant,
};

use super::{
    debounce::Change,
    inbox::Raw,
    probe,
    walk::{Visit, Why},
    worker::Worker,
};

impl Worker {
    pub(super) fn intake(&mut self, raw: Raw, now: Instant) {
        match raw {
            Raw::Created(path) => self.appeared(path, Change::Created, now),
            Raw::Appeared(path) => self.appeared(path, Change::Appeared, now),
            Raw::Modified(path) => {
                self.check_rules(&path, now);
                if !self.directories.contains_key(&path) && self.covers_file(&path) {
                    self.debouncer.push(Change::Modified(path), now);
                }
            }
            Raw::Removed(path) => self.removed(path, Change::Removed, now),
            Raw::Left(path) => {
                if self.directories.contains_key(&path) {
                    self.left = Some(path.clone());
                }
                self.removed(path, Change::Left, now);
            }
            Raw::Moved { from, to } => self.moved(from, to, now),
            Raw::SelfGone(path) => {
                if self.rules.is_root(&path) {
                    self.removed(path, Change::Removed, now);
                }
            }
            Raw::Unmounted(path) => {
                self.forget(&path);
                self.recheck(&path, now);
            }
            Raw::Lost(why) => self.lost(&why),
        }
    }

    /// Looks where somebody says that something may have changed.
    pub(super) fn follow_hints(&mut self, paths: BTreeSet<PathBuf>, now: Instant) {
        let mut compared: Option<PathBuf> = None;
        // What lies below a path follows it.
        for path in paths {
            if compared.as_ref().is_some_and(|compared| path.starts_with(compared)) {
                continue;
            }
            if probe::is_directory(&path) || self.directories.contains_key(&path) {
                if self.covers_directory(&path) {
                    self.recheck(&path, now);
                    compared = Some(path);
                }
            } else if self.covers_file(&path) {
                self.debouncer.push(Change::Suspect(path), now);
            }
        }
    }

    fn appeared(&mut self, path: PathBuf, change: fn(PathBuf) -> Change, now: Instant) {
        self.check_rules(&path, now);
        if !probe::is_directory(&path) {
            if self.covers_file(&path) {
                self.debouncer.push(change(path), now);
            }
        } else if !self.directories.contains_key(&path) && self.covers_directory(&path) {
            if self.index.knows(&path) == Some(true) {
                self.debouncer.push(Change::Suspect(path.clone()), now);
            }
            self.todo.push_front(Visit { directory: path, why: Why::Appeared, at: now });
        }
    }

    fn removed(&mut self, path: PathBuf, change: fn(PathBuf) -> Change, now: Instant) {
        self.check_rules(&path, now);
        if self.directories.contains_key(&path) {
            self.forget(&path);
            self.debouncer.push(Change::DirectoryGone(path.clone()), now);
            if probe::is_directory(&path) {
                self.todo.push_front(Visit { directory: path, why: Why::Appeared, at: now });
            } else if self.rules.is_root(&path) {
                self.root_gone(&path);
            }
        } else if self.covers_file(&path) {
            self.debouncer.push(change(path), now);
        }
    }

    /// The event of leaving the old name has been seen already.
    fn moved(&mut self, from: PathBuf, to: PathBuf, now: Instant) {
        self.check_rules(&from, now);
        self.check_rules(&to, now);
        let left = self.left.take().filter(|path| *path == from);
        if left.is_some() || probe::is_directory(&to) {
            if !self.covers_directory(&to) {
                return;
            }
            self.forget(&to);
            let why = if self.covers_directory(&from) {
                self.debouncer.push(Change::DirectoryMoved { from, to: to.clone() }, now);
                Why::Moved
            } else {
                Why::Appeared
            };
            self.todo.push_front(Visit { directory: to, why, at: now });
        } else if self.covers_file(&to) {
            if self.covers_file(&from) {
                self.debouncer.push(Change::Moved { from, to }, now);
            } else {
                self.debouncer.push(Change::Appeared(to), now);
            }
        }
    }

    /// A change of what is left out shows or hides directories below.
    fn check_rules(&mut self, path: &Path, now: Instant) {
        let Some(directory) = path.parent().filter(|_| self.rules.is_made_of(path)) else { return };
        if self.directories.contains_key(directory) {
            self.rules.forget(directory);
            let below =
                self.directories.keys().filter(|below| below.starts_with(directory)).cloned().collect::<Vec<_>>();
            for directory in below {
                if !self.rules.is_root(&directory) && !self.rules.covers(&directory, true) {
                    self.forget(&directory);
                }
            }
            self.recheck(directory, now);
        }
    }

    fn covers_file(&mut self, path: &Path) -> bool {
        self.covers(path, false)
    }

    fn covers_directory(&mut self, path: &Path) -> bool {
        self.rules.is_root(path) || self.covers(path, true)
    }

    pub(super) fn covers(&self, path: &Path, is_directory: bool) -> bool {
        // What is known to be covered need not be asked about again, level by level.
        let parent = path.parent().filter(|parent| self.directories.contains_key(*parent));
        match parent.and_then(|parent| self.rules.root_of(parent)) {
            Some(root) => self.rules.covers_entry(&root, path, is_directory),
            None => self.rules.covers(path, is_directory),
        }
    }
}
