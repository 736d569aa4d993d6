//! Keeps a watch on every covered directory: each is watched first and listed then, so that nothing made in it is missed.
//!
//! A directory that cannot be watched is polled: visited again and again.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ffi::{OsStr, OsString},
    mem,
    path::{Path, PathBuf},
    thread,
    time::Instant,
};

use super::{
    debounce::Change,
    index::{Look, below, remove_below},
    probe::{self, Listing},
    rules::Rules,
    source::{Reach, Source, WatchFailure},
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
    /// It was moved; it is compared with the index when the index knows of the move.
    Moved,
    /// It may differ from the index. What the index knows of directories below it is checked by visits of their own.
    Recheck,
    /// The same, but it is those directories below it that are polled which are checked by visits of their own.
    Poll,
}

/// How it is noticed that something changes in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attention {
    /// By a watch of its own.
    Watched,
    /// By the watch of its root.
    Inherited,
    Polled,
}

/// What a visit has found.
struct Seen {
    visit: Visit,
    watched: Result<Attention, WatchFailure>,
    listing: std::io::Result<Listing>,
}

/// Directories visited before events are looked at again.
const VISITS_AT_ONCE: usize = 512;
/// Fewer than these are not worth a thread.
const VISITS_PER_THREAD: usize = 8;
const MOST_THREADS: usize = 8;

impl Worker {
    pub(super) fn add_root(&mut self, root: PathBuf) {
        if let Err(error) = self.rules.add_root(&root) {
            self.fail(&root, Failure::Other(error.to_string()));
            return;
        }
        self.index.announce(&root);
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
            let is_left = |path: &Path| self.rules.root_of(path).is_none();
            self.index.forget_directories(root, is_left);
            self.index.graves.forget_below(root, is_left);
            for inner in
                self.rules.roots().filter(|inner| inner.starts_with(root)).map(Path::to_path_buf).collect::<Vec<_>>()
            {
                self.recheck(&inner, Instant::now());
            }
        }
    }

    /// Compares all below a directory with the index, and watches what is not watched.
    pub(super) fn recheck(&mut self, directory: &Path, at: Instant) {
        let mut visits: BTreeSet<_> = self.index.directories_below(directory).into_iter().collect();
        visits.extend(below(&self.directories, directory).map(|(directory, _)| directory.clone()));
        visits.insert(directory.to_path_buf());
        visits.retain(|directory| self.rechecks.insert(directory.clone()));
        self.todo.extend(visits.into_iter().map(|directory| Visit { directory, why: Why::Recheck, at }));
    }

    pub(super) fn recheck_all(&mut self) {
        for root in self.rules.roots().map(Path::to_path_buf).collect::<Vec<_>>() {
            self.recheck(&root, Instant::now());
        }
    }

    /// Compares what is polled with the index.
    pub(super) fn poll(&mut self) {
        let at = Instant::now();
        let polled = self.directories.iter().filter(|(_, attention)| **attention == Attention::Polled);
        self.todo.extend(polled.map(|(directory, _)| Visit { directory: directory.clone(), why: Why::Poll, at }));
    }

    /// Makes some of the visits that are to be made.
    pub(super) fn walk(&mut self) {
        let count = self.todo.len().min(VISITS_AT_ONCE);
        let visits: Vec<_> = self.todo.drain(..count).collect();
        for visit in visits.iter().filter(|visit| visit.why == Why::Recheck) {
            self.rechecks.remove(&visit.directory);
        }
        for seen in self.survey().make(visits, self.threads) {
            self.take_up(seen);
        }
    }

    /// Makes all of them, unless it is to stop.
    pub(super) fn walk_all(&mut self) {
        while !self.todo.is_empty() && !self.stopping {
            self.walk();
            self.stopping |= self.inbox.is_stopped();
        }
    }

    /// Forgets that a directory and all below it were watched, since they have gone, have moved or are not covered.
    pub(super) fn forget(&mut self, directory: &Path) {
        for (directory, attention) in remove_below(&mut self.directories, directory) {
            if attention == Attention::Watched {
                self.source.unwatch(&directory);
            }
        }
        remove_below(&mut self.failed, directory);
        self.rules.forget(directory);
    }

    /// Nobody is told any more of what the rules leave out now below this directory, not even that it has gone.
    pub(super) fn forget_uncovered(&mut self, directory: &Path) {
        self.index.forget_directories(directory, |path| !self.rules.is_root(path) && !self.rules.covers(path, true));
    }

    /// What was saved of a root and has not been found has gone, if it was looked for.
    pub(super) fn forget_unlisted(&mut self, root: &Path) {
        for directory in self.index.unlisted(root) {
            if !self.rules.covers(&directory, true) {
                self.forget_uncovered(&directory);
            } else if !directory.ancestors().any(|path| matches!(self.failed.get(path), Some(Failure::Other(_)))) {
                self.index.remove_unlisted(&directory);
            }
        }
    }

    pub(super) fn fail(&mut self, path: &Path, failure: Failure) {
        let is_hole = matches!(failure, Failure::Other(_));
        if self.failed.insert(path.to_path_buf(), failure).is_none() {
            self.hole |= is_hole;
        }
    }

    fn survey(&self) -> Survey<'_> {
        Survey { rules: &self.rules, source: &self.source, directories: &self.directories }
    }

    fn take_up(&mut self, seen: Result<Seen, PathBuf>) {
        let Seen { visit: Visit { directory, why, at }, watched, listing } = match seen {
            Ok(seen) => seen,
            Err(not_covered) => {
                self.forget(&not_covered);
                return self.forget_uncovered(&not_covered);
            }
        };
        match watched {
            Ok(attention) => {
                self.directories.insert(directory.clone(), attention);
                self.failed.remove(&directory);
            }
            Err(WatchFailure::Gone) => return self.gone(&directory, at),
            Err(WatchFailure::Limit) => {
                self.directories.insert(directory.clone(), Attention::Polled);
                self.fail(&directory, Failure::Limit);
            }
            Err(WatchFailure::Other(message)) => {
                self.directories.insert(directory.clone(), Attention::Polled);
                self.fail(&directory, Failure::Other(message));
            }
        }
        match listing {
            Ok(listing) => self.compare(&directory, why, at, listing),
            Err(error) if probe::is_gone(&error) => self.gone(&directory, at),
            Err(error) => {
                self.directories.insert(directory.clone(), Attention::Polled);
                self.fail(&directory, Failure::Other(error.to_string()));
            }
        }
    }

    fn unwatch(&mut self, directory: &Path) {
        if self.directories.remove(directory) == Some(Attention::Watched) {
            self.source.unwatch(directory);
        }
    }

    fn gone(&mut self, directory: &Path, at: Instant) {
        self.forget(directory);
        if self.rules.is_root(directory) {
            self.root_gone(directory);
        }
        // Something else may stand there, or it is back again: that is looked at when this is told.
        self.debouncer.push(Change::DirectoryGone(directory.to_path_buf()), at);
    }

    /// Looks for a root that has gone, again and again.
    pub(super) fn root_gone(&mut self, root: &Path) {
        self.directories.insert(root.to_path_buf(), Attention::Polled);
        // What comes there is new.
        self.index.list(root, Vec::new(), |_| None);
        self.fail(root, Failure::RootGone);
    }

    fn compare(&mut self, directory: &Path, why: Why, at: Instant, listing: Listing) {
        let Listing { files, directories } = listing;
        // A new root may lie where there was one before, which left out other files.
        let first = matches!(why, Why::Start | Why::Recheck | Why::Poll) && self.index.awaits_listing(directory);
        match why {
            _ if first => {
                let max_file_bytes = self.max_file_bytes;
                self.forget_uncovered_files(directory, &files);
                self.index.list(directory, files, |path| probe::look(path, max_file_bytes).1);
            }
            Why::Appeared => {
                files.into_iter().for_each(|(name, _)| self.debouncer.push(Change::Appeared(directory.join(name)), at));
            }
            Why::Moved => {}
            Why::Start | Why::Recheck | Why::Poll => {
                let here: HashMap<&OsStr, &Look> = files.iter().map(|(name, look)| (name.as_os_str(), look)).collect();
                let mut different = Vec::new();
                let mut known = 0;
                for (name, entry) in self.index.files_in(directory) {
                    let now = here.get(name);
                    known += usize::from(now.is_some());
                    if now.is_none_or(|now| entry.look.is_same(now) != Some(true)) {
                        different.push(directory.join(name));
                    }
                }
                if known < here.len() {
                    let new = here.keys().map(|name| directory.join(name));
                    different.extend(new.filter(|file| self.index.look(file).is_none()));
                }
                self.suspect(different, at);
            }
        }
        for name in directories {
            self.descend(Visit { directory: directory.join(name), why, at });
        }
    }

    /// Of those that are known but not `here`, which may as well have gone.
    fn forget_uncovered_files(&mut self, directory: &Path, here: &[(OsString, Look)]) {
        let here: HashSet<&OsStr> = here.iter().map(|(name, _)| name.as_os_str()).collect();
        let missing = self.index.files_in(directory).filter(|(name, _)| !here.contains(name));
        let missing: Vec<_> = missing.map(|(name, _)| directory.join(name)).collect();
        for file in missing {
            if !self.covers(&file, false) {
                self.index.forget_file(&file);
            }
        }
    }

    fn descend(&mut self, visit: Visit) {
        match visit.why {
            Why::Start => {
                self.index.announce(&visit.directory);
                self.todo.push_back(visit);
            }
            // What is watched already tells of itself.
            Why::Appeared if self.directories.contains_key(&visit.directory) => {}
            Why::Appeared | Why::Moved => self.todo.push_front(visit),
            Why::Recheck if self.index.lists(&visit.directory) || self.directories.contains_key(&visit.directory) => {}
            Why::Poll if self.directories.contains_key(&visit.directory) => {}
            Why::Recheck | Why::Poll => self.todo.push_back(visit),
        }
    }

    fn suspect(&mut self, files: Vec<PathBuf>, at: Instant) {
        for file in files {
            self.debouncer.push(Change::Suspect(file), at);
        }
    }
}

/// What can be done in several threads.
struct Survey<'w> {
    rules: &'w Rules,
    source: &'w Source,
    directories: &'w BTreeMap<PathBuf, Attention>,
}

impl Survey<'_> {
    /// Watches and lists directories, several at once; an error says that one is not covered any more.
    fn make(&self, visits: Vec<Visit>, threads: usize) -> Vec<Result<Seen, PathBuf>> {
        let threads = (visits.len() / VISITS_PER_THREAD).clamp(1, threads);
        if threads == 1 {
            return visits.into_iter().map(|visit| self.visit(visit)).collect();
        }
        let mut parts: Vec<Vec<Visit>> = (0..threads).map(|_| Vec::new()).collect();
        for (number, visit) in visits.into_iter().enumerate() {
            parts[number % threads].push(visit);
        }
        thread::scope(|scope| {
            let part = |part: Vec<Visit>| part.into_iter().map(|visit| self.visit(visit)).collect::<Vec<_>>();
            let running = parts.drain(1..).map(|visits| scope.spawn(move || part(visits))).collect::<Vec<_>>();
            let mut seen = part(mem::take(&mut parts[0]));
            for thread in running {
                seen.extend(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            seen
        })
    }

    fn visit(&self, visit: Visit) -> Result<Seen, PathBuf> {
        let directory = &visit.directory;
        let Some(root) = self.rules.root_of(directory) else { return Err(visit.directory) };
        let is_covered = || match directory.parent().is_some_and(|parent| self.directories.contains_key(parent)) {
            true => self.rules.covers_entry(&root, directory, true),
            false => self.rules.covers(directory, true),
        };
        // The listing it was found by has only what is covered.
        if visit.why != Why::Start && *directory != root && !is_covered() {
            return Err(visit.directory);
        }
        let watched = self.attend(directory, &root);
        let rules = self.rules.of_directory(&root, directory);
        let listing = probe::list(directory, |name, is_directory| {
            rules.as_ref().is_some_and(|rules| rules.covers(name, is_directory))
        });
        drop(rules);
        Ok(Seen { visit, watched, listing })
    }

    fn attend(&self, directory: &Path, root: &Path) -> Result<Attention, WatchFailure> {
        let known = self.directories.get(directory).copied();
        if matches!(known, Some(Attention::Watched | Attention::Inherited)) {
            return Ok(known.unwrap_or(Attention::Watched));
        }
        if !self.source.watches() || probe::is_remote(directory) {
            return Ok(Attention::Polled);
        }
        if self.source.reach() == Reach::Tree && directory != root {
            return Ok(Attention::Inherited);
        }
        self.source.watch(directory).map(|()| Attention::Watched)
    }
}

/// How many directories are looked at together.
pub(super) fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS)
}
