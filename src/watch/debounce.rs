//! Gathers changes per path until the path is quiet; owns no clock, thread or channel.

use std::{
    collections::{HashMap, HashSet},
    mem,
    path::PathBuf,
    time::{Duration, Instant},
};

use super::index::rebase;

/// Holds back what changed until it has been quiet for a while, at the latest for [`LONGEST`].
#[derive(Debug)]
pub(super) struct Debouncer {
    quiet: Duration,
    files: HashMap<PathBuf, Pending>,
    /// In the order in which they happened. All paths in `files` are as they are after these.
    directories: Vec<DirectoryChange>,
    directories_span: Option<Span>,
    /// Nothing is due before; may be too early, never too late.
    wake: Option<Instant>,
    /// When something was due last.
    last_due: Option<Instant>,
}

/// A path that never is quiet is due this long after its first change.
pub(super) const LONGEST: Duration = Duration::from_secs(1);
/// What becomes due within this time after something else is told with the next group.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Something that happened, in the order in which it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// A file was made where none was.
    Created(PathBuf),
    /// A file is there now, whether or not there was one before.
    Appeared(PathBuf),
    Modified(PathBuf),
    Removed(PathBuf),
    /// A file was moved away; [`Change::Moved`] follows if it is known where to.
    Left(PathBuf),
    Moved {
        from: PathBuf,
        to: PathBuf,
    },
    /// A file may be there or not there, against what was reported.
    Suspect(PathBuf),
    /// A directory was removed or moved away as a whole; [`Change::DirectoryMoved`] follows if it is known where to.
    DirectoryGone(PathBuf),
    DirectoryMoved {
        from: PathBuf,
        to: PathBuf,
    },
}

/// What has become due: first the directories in this order, then the files.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    pub directories: Vec<DirectoryChange>,
    /// Those that were moved here come first.
    pub files: Vec<FileChange>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DirectoryChange {
    Gone(PathBuf),
    Moved { from: PathBuf, to: PathBuf },
}

/// The sum of a file's changes, as far as events tell; what is there now has to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileChange {
    pub path: PathBuf,
    /// Where what is here now stood before, if that was somewhere else.
    pub from: Option<PathBuf>,
    /// Whether a file was here before the first of the changes, if events tell.
    pub existed: Option<bool>,
    /// Something happened here; otherwise it is only suspected.
    pub touched: bool,
}

#[derive(Debug)]
struct Pending {
    span: Span,
    existed: Option<bool>,
    touched: bool,
    /// Where what is here now, or was here last, stood before the first of the changes; `None` for something new.
    origin: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    first: Instant,
    last: Instant,
}

impl Debouncer {
    pub fn new(quiet: Duration) -> Self {
        Self {
            quiet,
            files: HashMap::new(),
            directories: Vec::new(),
            directories_span: None,
            wake: None,
            last_due: None,
        }
    }

    pub fn push(&mut self, change: Change, now: Instant) {
        match change {
            Change::Created(path) => self.file(path, Some(false), now).origin = None,
            Change::Appeared(path) => self.file(path, None, now).origin = None,
            Change::Removed(path) => self.file(path, Some(true), now).origin = None,
            Change::Modified(path) | Change::Left(path) => {
                self.file(path, Some(true), now);
            }
            Change::Suspect(path) => {
                self.files.entry(path.clone()).or_insert_with(|| Pending::new(None, false, Some(path), now));
            }
            Change::Moved { from, to } => self.moved(from, to, now),
            Change::DirectoryGone(path) => {
                while matches!(self.directories.last(), Some(DirectoryChange::Gone(inner)) if inner.starts_with(&path))
                {
                    self.directories.pop();
                }
                self.directory(DirectoryChange::Gone(path), now);
            }
            Change::DirectoryMoved { from, to } => self.directory_moved(from, to, now),
        }
        let soonest = now + self.quiet.min(LONGEST);
        self.wake = Some(self.wake.map_or(soonest, |wake| wake.min(soonest)));
    }

    /// When to ask for what is due; never later than something is.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.wake
    }

    /// How many paths wait.
    pub fn len(&self) -> usize {
        self.files.len() + self.directories.len()
    }

    /// Takes out what is due.
    ///
    /// Many changes in a row make few groups: what becomes due shortly after something else waits a little, and what could
    /// not wait for the next group is told with this one. Directories are due together, and files not before them unless
    /// they can wait no longer: a file's path would mean nothing to someone who was not told that its directory has moved.
    /// The two ends of a move are due together.
    pub fn due(&mut self, now: Instant) -> Due {
        if self.wake.is_none_or(|wake| now < wake) {
            return Due::default();
        }
        let is_late = self.spans().any(|span| now >= span.first + LONGEST);
        let pause = self.quiet.min(LONGEST_PAUSE);
        let turn = self.last_due.map(|last| last + pause);
        let directories = self.directories_span.map(|span| span.deadline(self.quiet));
        // Whatever comes first of these, the other may still have to be waited for.
        let wait = [turn, directories].into_iter().flatten().find(|wait| now < *wait);
        if let Some(wait) = wait.filter(|_| !is_late) {
            self.wake = self.spans().map(|span| span.first + LONGEST).chain([wait]).min();
            return Due::default();
        }
        let quiet = self.quiet;
        let is_due = |file: &Pending| now >= file.span.deadline(quiet);
        let ahead = if self.files.values().any(is_due) { pause } else { Duration::ZERO };
        let due = self.take(|file| is_due(file) || now + ahead >= file.span.first + LONGEST);
        if due != Due::default() {
            self.last_due = Some(now);
        }
        // A file that is held back although its own time has come waits for one whose time has not.
        self.wake = self.spans().map(|span| span.deadline(self.quiet)).filter(|deadline| now < *deadline).min();
        due
    }

    /// Takes out everything, due or not.
    pub fn all(&mut self, now: Instant) -> Due {
        let due = self.take(|_| true);
        self.wake = None;
        if due != Due::default() {
            self.last_due = Some(now);
        }
        due
    }

    /// Takes out the files that are only suspected.
    pub fn suspects(&mut self) -> Vec<FileChange> {
        let (suspects, others): (HashMap<_, _>, _) =
            mem::take(&mut self.files).into_iter().partition(|(_, file)| !file.touched);
        self.files = others;
        suspects.into_iter().map(|(path, file)| file.into_change(path)).collect()
    }

    /// Takes out the directories.
    pub fn directories(&mut self) -> Vec<DirectoryChange> {
        self.directories_span = None;
        mem::take(&mut self.directories)
    }

    fn take(&mut self, is_due: impl Fn(&Pending) -> bool) -> Due {
        let waiting = self.files.values().filter(|file| !is_due(file));
        let held = waiting.filter_map(|file| file.origin.clone()).collect::<HashSet<_>>();
        let (taken, kept): (HashMap<_, _>, _) =
            mem::take(&mut self.files).into_iter().partition(|(path, file)| is_due(file) && !held.contains(path));
        self.files = kept;
        let mut files = taken.into_iter().map(|(path, file)| file.into_change(path)).collect::<Vec<_>>();
        files.sort_by(|a, b| (a.from.is_none(), &a.path).cmp(&(b.from.is_none(), &b.path)));
        Due { directories: self.directories(), files }
    }

    fn spans(&self) -> impl Iterator<Item = &Span> {
        self.directories_span.iter().chain(self.files.values().map(|file| &file.span))
    }

    fn file(&mut self, path: PathBuf, existed: Option<bool>, now: Instant) -> &mut Pending {
        let file = self.files.entry(path.clone()).or_insert_with(|| Pending::new(existed, true, Some(path), now));
        if !file.touched {
            file.existed = existed;
            file.touched = true;
        }
        file.span.last = file.span.last.max(now);
        file
    }

    fn moved(&mut self, from: PathBuf, to: PathBuf, now: Instant) {
        let source = self.file(from, Some(true), now);
        let (origin, first) = (source.origin.take(), source.span.first);
        let target = self.file(to, None, now);
        target.span.first = target.span.first.min(first);
        target.origin = origin.clone();
        let first = target.span.first;
        // Both ends can wait equally long, so that neither is told without the other.
        if let Some(start) = origin.and_then(|origin| self.files.get_mut(&origin)) {
            start.span.first = start.span.first.min(first);
        }
    }

    fn directory(&mut self, change: DirectoryChange, now: Instant) {
        self.directories.push(change);
        let span = self.directories_span.get_or_insert(Span::new(now));
        span.last = span.last.max(now);
    }

    fn directory_moved(&mut self, from: PathBuf, to: PathBuf, now: Instant) {
        let left = DirectoryChange::Gone(from.clone());
        if let Some(position) = self.directories.iter().rposition(|change| *change == left) {
            self.directories.remove(position);
        }
        // A file that stood at the very place of the directory before it is not in it.
        let inside = |path: &PathBuf| *path != from && path.starts_with(&from);
        for path in self.files.keys().filter(|path| inside(path)).cloned().collect::<Vec<_>>() {
            if let (Some(there), Some(file)) = (rebase(&path, &from, &to), self.files.remove(&path)) {
                self.files.insert(there, file);
            }
        }
        for origin in self.files.values_mut().filter_map(|file| file.origin.as_mut()).filter(|origin| inside(origin)) {
            if let Some(there) = rebase(origin, &from, &to) {
                *origin = there;
            }
        }
        let from = match self.directories.pop() {
            Some(DirectoryChange::Moved { from: earlier, to: between }) if between == from => {
                // Files may have been told to be at the place between while it was there.
                if between != earlier {
                    self.directory(DirectoryChange::Gone(between), now);
                }
                earlier
            }
            other => {
                self.directories.extend(other);
                from
            }
        };
        self.directory(DirectoryChange::Moved { from, to }, now);
    }
}

impl Pending {
    fn new(existed: Option<bool>, touched: bool, origin: Option<PathBuf>, now: Instant) -> Self {
        Self { span: Span::new(now), existed, touched, origin }
    }

    fn into_change(self, path: PathBuf) -> FileChange {
        let from = self.origin.filter(|origin| *origin != path);
        FileChange { path, from, existed: self.existed, touched: self.touched }
    }
}

impl Span {
    fn new(now: Instant) -> Self {
        Self { first: now, last: now }
    }

    fn deadline(&self, quiet: Duration) -> Instant {
        (self.last + quiet).min(self.first + LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_changes_in_a_row_are_due_in_few_groups_and_none_waits_for_long() {
        for quiet in [10, 50, 400, 900, 1000, 60_000].map(Duration::from_millis) {
            let mut debouncer = Debouncer::new(quiet);
            let start = Instant::now();
            let (mut told, mut groups) = (0, 0);
            for millis in 0..5000 {
                let now = start + Duration::from_millis(millis);
                if millis < 2000 {
                    debouncer.push(Change::Created(format!("/r/{millis}").into()), now);
                }
                let due = debouncer.due(now).files;
                groups += usize::from(!due.is_empty());
                told += due.len();
                for file in due {
                    let made: u64 = file.path.file_name().unwrap().to_str().unwrap().parse().unwrap();
                    assert!(millis - made <= 1000, "{made} waited until {millis} for {quiet:?}");
                }
            }
            assert_eq!(told, 2000);
            assert!(groups <= 2000 / quiet.as_millis().min(100) as usize + 2, "{groups} groups for {quiet:?}");
        }
    }
}
