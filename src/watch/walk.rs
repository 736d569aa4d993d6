//! Keeps a watch on every covered directory: each is watched first and listed then, so that nothing made in it is missed.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    time::{Instant, SystemTime},
};

use super::{
    debounce::Change,
    probe::{self, Listing},
    source::{Reach, WatchFailure},
    told::remove_below,
    worker::{Failure, Worker},
};

/// A directory to be watched and listed, and all below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Visit {
    pub directory: PathBuf,
    pub why: Why,
    /// When the event came in that made it necessary: what it finds counts from then on.
    pub at: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// Its root was added: what is in it is where subscribers start from.
    Start,
    /// It has appeared: what is in it is new.
    Appeared,
    /// It was moved, and not watched for a moment from this time on.
    Moved(SystemTime),
    /// It may differ from what was told. What was told of directories below it is checked by visits of their own.
    Recheck,
}

impl Worker {
    pub(super) fn add_root(&mut self, root: PathBuf) {
        if let Err(error) = self.rules.add_root(&root) {
            self.fail(&root, Failure::Other(error.to_string()));
            return;
        }
        self.told.announce(&root);
        self.todo.push_back(Visit { directory: root, why: Why::Start, at: Instant::now() });
    }

    pub(super) fn remove_root(&mut self, root: &Path) {
        self.rules.remove_root(root);
        let below = self.directories.range(root.to_path_buf()..).map(|(directory, _)| directory.clone());
        for directory in below.take_while(|directory| directory.starts_with(root)).collect::<Vec<_>>() {
            if !self.rules.is_root(&directory) && !self.rules.covers(&directory, true) {
                self.unwatch(&directory);
            }
        }
        self.failed.retain(|path, _| self.rules.root_of(path).is_some());
        if self.rules.covers(root, true) {
            self.recheck(root, Instant::now());
        } else {
            self.told.remove_directory(root);
            for inner in
                self.rules.roots().filter(|inner| inner.starts_with(root)).map(Path::to_path_buf).collect::<Vec<_>>()
            {
                self.add_root(inner);
            }
        }
    }

    /// Compares all below a directory with what was told, by name, and watches what is not watched.
    pub(super) fn recheck(&mut self, directory: &Path, at: Instant) {
        let mut visits = self.told.directories_below(directory);
        if visits.first().is_none_or(|first| first != directory) {
            visits.insert(0, directory.to_path_buf());
        }
        self.todo.extend(visits.into_iter().map(|directory| Visit { directory, why: Why::Recheck, at }));
    }

    pub(super) fn visit(&mut self, Visit { directory, why, at }: Visit) {
        if !self.rules.is_root(&directory) && !self.rules.covers(&directory, true) {
            self.forget(&directory);
            return;
        }
        match self.watch(&directory) {
            Ok(()) => {}
            Err(WatchFailure::Gone) => return self.gone(&directory, at),
            Err(WatchFailure::Limit) => self.fail(&directory, Failure::Limit),
            Err(WatchFailure::Other(message)) => self.fail(&directory, Failure::Other(message)),
        }
        match probe::list(&directory) {
            Ok(listing) => self.compare(&directory, why, at, listing),
            Err(error) if probe::is_gone(&error) => self.gone(&directory, at),
            Err(error) => self.fail(&directory, Failure::Other(error.to_string())),
        }
    }

    /// Forgets that a directory and all below it were watched, since they have gone, have moved or are not covered.
    pub(super) fn forget(&mut self, directory: &Path) {
        for (directory, watched) in remove_below(&mut self.directories, directory) {
            if watched {
                self.source.unwatch(&directory);
            }
        }
        remove_below(&mut self.failed, directory);
        self.rules.forget(directory);
    }

    pub(super) fn fail(&mut self, path: &Path, failure: Failure) {
        if self.failed.insert(path.to_path_buf(), failure).is_none() {
            self.hole = true;
        }
    }

    fn watch(&mut self, directory: &Path) -> Result<(), WatchFailure> {
        if self.directories.get(directory) == Some(&true) {
            return Ok(());
        }
        let needed = self.source.reach() == Reach::Directory || self.rules.is_root(directory);
        // It is a known directory even where it cannot be watched.
        self.directories.insert(directory.to_path_buf(), false);
        if needed {
            self.source.watch(directory)?;
            self.directories.insert(directory.to_path_buf(), true);
        }
        self.failed.remove(directory);
        Ok(())
    }

    fn unwatch(&mut self, directory: &Path) {
        if self.directories.remove(directory) == Some(true) {
            self.source.unwatch(directory);
        }
    }

    fn gone(&mut self, directory: &Path, at: Instant) {
        self.forget(directory);
        if self.rules.is_root(directory) {
            self.fail(directory, Failure::RootGone);
        }
        self.suspect(self.told.files_in(directory).collect(), at);
    }

    fn compare(&mut self, directory: &Path, why: Why, at: Instant, listing: Listing) {
        let Some(root) = self.rules.root_of(directory) else { return };
        let mut covered = |name: &std::ffi::OsString, is_directory| {
            let path = directory.join(name);
            self.rules.covers_entry(&root, &path, is_directory).then_some(path)
        };
        let files = listing.files.iter().filter_map(|name| covered(name, false)).collect::<Vec<_>>();
        let directories = listing.directories.iter().filter_map(|name| covered(name, true)).collect::<Vec<_>>();
        match why {
            Why::Start => self.told.list(directory, files),
            Why::Appeared => files.into_iter().for_each(|file| self.debouncer.push(Change::Appeared(file), at)),
            Why::Moved(since) => {
                for file in files.into_iter().filter(|file| probe::changed_since(file, since)) {
                    self.debouncer.push(Change::Modified(file), at);
                }
            }
            Why::Recheck if self.told.awaits_listing(directory) => self.told.list(directory, files),
            Why::Recheck => {
                let here = files.into_iter().collect::<HashSet<_>>();
                let told = self.told.files_in(directory).collect::<HashSet<_>>();
                self.suspect(here.symmetric_difference(&told).cloned().collect(), at);
            }
        }
        for directory in directories {
            self.descend(Visit { directory, why, at });
        }
    }

    fn descend(&mut self, visit: Visit) {
        match visit.why {
            Why::Start => {
                self.told.announce(&visit.directory);
                self.todo.push_back(visit);
            }
            // What is watched already tells of itself.
            Why::Appeared if self.directories.contains_key(&visit.directory) => {}
            Why::Appeared | Why::Moved(_) => self.todo.push_front(visit),
            Why::Recheck if self.told.lists(&visit.directory) => {}
            Why::Recheck => self.todo.push_back(visit),
        }
    }

    fn suspect(&mut self, files: Vec<PathBuf>, at: Instant) {
        for file in files {
            self.debouncer.push(Change::Suspect(file), at);
        }
    }
}
