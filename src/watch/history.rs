//! What has changed since a moment: clocks that clients keep, and the files that have gone.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    path::{Path, PathBuf},
};

use uuid::Uuid;

use super::index::{Index, below};
use crate::events::{FileChangeEvent, FileEventKind};

/// A moment in the history of each root, as clients keep it: `<id of who counted>:<tick>`, joined by commas.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Clock(BTreeMap<Uuid, u64>);

/// What has changed since a clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangesSince {
    /// The net effect for each path, without hashes.
    pub changes: Vec<FileChangeEvent>,
    /// The moment up to which these are all.
    pub clock: Clock,
    /// The history of some root is not known back to that moment: all files of all roots are told as created.
    pub fresh: bool,
}

/// The history of one root. Each process that owns it, and each time it does, counts on under a name of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct History {
    pub id: Uuid,
    /// Nothing is known of what had gone by this tick.
    pub from: u64,
    /// The owners before, the latest last, each with the last tick it saved: nobody knows what it counted after that.
    pub before: Vec<(Uuid, u64)>,
    /// The roots inside this one when the last of them saved it: these files were not its own then.
    pub inner: Vec<PathBuf>,
}

impl History {
    /// One that begins at this tick.
    pub fn anew(tick: u64) -> Self {
        Self { id: Uuid::new_v4(), from: tick, before: Vec::new(), inner: Vec::new() }
    }

    /// Forgets what earlier owners counted: it was about other files.
    pub fn forget_before(&mut self) {
        self.before.clear();
        self.inner.clear();
    }

    /// The tick a clock means, if all that has happened since is known.
    fn tick_of(&self, clock: &Clock, index: &Index) -> Option<u64> {
        let owners = self.before.iter().copied().chain([(self.id, index.tick)]);
        let mut ticks = owners.filter_map(|(id, last)| clock.0.get(&id).copied().filter(|tick| *tick <= last));
        ticks.find(|tick| *tick >= self.from.max(index.graves.from))
    }
}

impl Clock {
    pub(super) fn new(moments: impl Iterator<Item = (Uuid, u64)>) -> Self {
        Self(moments.collect())
    }

    /// `None` if it is not the text of a clock.
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::default());
        }
        let moment = |part: &str| {
            let (id, tick) = part.split_once(':')?;
            Some((Uuid::try_parse(id).ok()?, tick.parse().ok()?))
        };
        text.split(',').map(moment).collect::<Option<_>>().map(Self)
    }
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (id, tick)) in self.0.iter().enumerate() {
            let comma = if number > 0 { "," } else { "" };
            write!(f, "{comma}{}:{tick}", id.simple())?;
        }
        Ok(())
    }
}

/// What has changed in these roots since a clock, without one nothing; `is_in` says whether a path belongs to a root and to none inside it.
pub(super) fn changes_since<'a>(
    index: &Index,
    roots: impl Iterator<Item = (&'a Path, &'a History)> + Clone,
    is_in: impl Fn(&Path, &Path) -> bool,
    since: Option<&Clock>,
) -> ChangesSince {
    let clock = Clock::new(roots.clone().map(|(_, history)| (history.id, index.tick)));
    let Some(since) = since else { return ChangesSince { changes: Vec::new(), clock, fresh: false } };
    let ticks: Option<Vec<_>> = roots.clone().map(|(_, history)| history.tick_of(since, index)).collect();
    let mut changes = Vec::new();
    for (number, (root, _)) in roots.enumerate() {
        let since = ticks.as_ref().map(|ticks| ticks[number]);
        let graves: Vec<_> = since.into_iter().flat_map(|since| index.graves.died_since(since)).collect();
        let existed = |path: &Path, born: u64, since: u64| {
            born <= since || index.graves.lives_of(path).iter().any(|(born, died)| *born <= since && since < *died)
        };
        for (directory, files) in index.listings_below(root).filter(|(directory, _)| is_in(root, directory)) {
            for (name, entry) in files.filter(|(_, entry)| since.is_none_or(|since| entry.changed > since)) {
                let path = directory.join(name);
                let existed = since.is_some_and(|since| existed(&path, entry.born, since));
                let kind = if existed { FileEventKind::Modified } else { FileEventKind::Created };
                changes.push(change(path, kind));
            }
        }
        for path in graves.into_iter().filter(|path| path.starts_with(root) && is_in(root, path)) {
            let existed = since.is_some_and(|since| existed(path, u64::MAX, since));
            if existed && index.look(path).is_none() {
                changes.push(change(path.to_path_buf(), FileEventKind::Deleted));
            }
        }
    }
    ChangesSince { changes, clock, fresh: ticks.is_none() }
}

fn change(path: PathBuf, kind: FileEventKind) -> FileChangeEvent {
    FileChangeEvent { path, kind, old_path: None, content_hash: None, directory: false, origin: None, by: None }
}

/// The files that have gone, as far as they are remembered.
#[derive(Debug, Default)]
pub(super) struct Graves {
    /// When the file came and went, each time.
    lives: BTreeMap<PathBuf, Vec<(u64, u64)>>,
    /// In the order they went.
    order: VecDeque<(u64, PathBuf)>,
    /// What had gone by this tick is not remembered.
    pub from: u64,
}

/// Paths remembered; more than these and the oldest are forgotten, so that older clocks are not known any more.
const MOST_GRAVES: usize = 100_000;

impl Graves {
    pub fn dig(&mut self, path: PathBuf, born: u64, died: u64) {
        self.lives.entry(path.clone()).or_default().push((born, died));
        self.order.push_back((died, path));
        if self.order.len() > MOST_GRAVES {
            if let Some((died, oldest)) = self.order.pop_front() {
                // Those of several roots are not in order.
                self.from = self.from.max(died);
                self.forget(&oldest, died);
            }
        }
    }

    /// The paths of files that have gone since then, each once.
    pub fn died_since(&self, tick: u64) -> impl Iterator<Item = &Path> {
        let all = self.lives.iter().filter(move |(_, lives)| lives.iter().any(|(_, died)| *died > tick));
        all.map(|(path, _)| path.as_path())
    }

    pub fn lives_of(&self, path: &Path) -> &[(u64, u64)] {
        self.lives.get(path).map_or(&[], Vec::as_slice)
    }

    pub fn below<'a>(&'a self, directory: &'a Path) -> impl Iterator<Item = (&'a PathBuf, &'a Vec<(u64, u64)>)> {
        below(&self.lives, directory)
    }

    /// Forgets those below this directory that are `meant`.
    pub fn forget_below(&mut self, directory: &Path, meant: impl Fn(&Path) -> bool) {
        let paths: BTreeSet<_> =
            self.below(directory).map(|(path, _)| path).filter(|path| meant(path)).cloned().collect();
        if !paths.is_empty() {
            self.order.retain(|(_, path)| !paths.contains(path));
            self.lives.retain(|path, _| !paths.contains(path));
        }
    }

    fn forget(&mut self, path: &Path, died: u64) {
        if let Some(lives) = self.lives.get_mut(path) {
            lives.retain(|(_, end)| *end != died);
            if lives.is_empty() {
                self.lives.remove(path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::index::Look;

    const ROOT: &str = "/r";

    #[test]
    fn changes_are_the_net_effect_since_the_clock() {
        let (mut index, history) = (Index::default(), history(1, 0));
        let path = |name: &str| Path::new(ROOT).join(name);
        for name in ["kept", "written", "deleted", "again"] {
            index.insert(&path(name), look(1), true);
        }
        let then = index.tick;
        index.insert(&path("written"), look(2), true);
        index.insert(&path("touched only"), look(2), true);
        index.remove(&path("touched only"));
        index.remove(&path("deleted"));
        index.remove(&path("again"));
        index.insert(&path("again"), look(3), true);
        index.insert(&path("new"), look(4), true);
        let since = |tick| changes(&index, &history, &Clock::new([(history.id, tick)].into_iter()));
        assert_eq!(
            since(then),
            (
                ["modified again", "created new", "modified written", "deleted deleted"].map(str::to_owned).to_vec(),
                false
            )
        );
        assert_eq!(since(index.tick), (Vec::new(), false));
        // In between, when it was not there.
        assert!(since(then + 5).0.contains(&"created again".to_owned()), "{:?}", since(then + 5));
    }

    #[test]
    fn a_clock_that_is_unknown_too_old_or_from_the_future_gives_all_files_as_created() {
        let mut index = Index::default().at(5);
        index.insert(Path::new("/r/a"), look(1), true);
        let history = history(1, 3);
        let at = |id, tick| Clock::new([(Uuid::from_u128(id), tick)].into_iter());
        for clock in [Clock::default(), at(2, 5), at(1, 2), at(1, 7)] {
            assert_eq!(changes(&index, &history, &clock), (vec!["created a".to_owned()], true), "{clock}");
        }
        assert!(!changes(&index, &history, &at(1, 3)).1);
    }

    #[test]
    fn a_clock_survives_being_written_down() {
        let clock = Clock::new([(Uuid::from_u128(1), 7), (Uuid::from_u128(2), 0)].into_iter());
        assert_eq!(Clock::parse(&clock.to_string()), Some(clock));
        assert_eq!(Clock::parse(""), Some(Clock::default()));
        for text in ["x", "1:2", "00000000000000000000000000000001:x", "00000000000000000000000000000001:1,"] {
            assert_eq!(Clock::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_oldest_graves_are_forgotten_first_and_it_is_known_from_when_on_all_are_there() {
        let mut graves = Graves::default();
        for number in 1..=MOST_GRAVES as u64 + 2 {
            graves.dig(format!("/r/{number}").into(), 0, number);
        }
        assert_eq!((graves.from, graves.lives.len()), (2, MOST_GRAVES));
        graves.forget_below(Path::new(ROOT), |path| path != Path::new("/r/7"));
        assert_eq!((graves.order.len(), graves.lives.len()), (1, 1));
    }

    #[test]
    fn graves_that_are_dug_out_of_order_do_not_make_known_again_what_was_forgotten() {
        let mut graves = Graves::default();
        graves.dig("/r/late".into(), 0, 500_000);
        graves.dig("/s/early".into(), 0, 1);
        (0..MOST_GRAVES).for_each(|number| graves.dig(format!("/r/{number}").into(), 0, 600_000));
        assert_eq!(graves.from, 500_000);
    }

    #[test]
    fn a_clock_of_an_earlier_owner_is_known_as_far_as_that_one_saved() {
        let mut index = Index::default().at(5);
        index.insert(Path::new("/r/a"), look(1), true);
        let history = History { before: vec![(Uuid::from_u128(7), 2), (Uuid::from_u128(8), 4)], ..history(9, 1) };
        let is_fresh = |id, tick| {
            let clock = Clock::new([(Uuid::from_u128(id), tick)].into_iter());
            changes(&index, &history, &clock).1
        };
        for (id, tick, fresh) in
            [(7, 0, true), (7, 1, false), (7, 2, false), (7, 3, true), (8, 4, false), (8, 5, true), (9, 5, false)]
        {
            assert_eq!(is_fresh(id, tick), fresh, "{tick} of {id}");
        }
    }

    #[test]
    fn where_one_root_is_not_known_the_files_of_all_are_told() {
        let mut index = Index::default();
        for path in ["/r/a", "/r/sub/b", "/s/c"] {
            index.insert(Path::new(path), look(1), true);
        }
        let (r, s) = (history(1, 0), history(2, 0));
        let roots = [(Path::new("/r"), &r), (Path::new("/s"), &s)];
        let clock = Clock::new([(r.id, index.tick)].into_iter());
        let found = changes_since(&index, roots.into_iter(), |_, _| true, Some(&clock));
        assert!(found.fresh);
        assert_eq!(found.changes.len(), 3);
    }

    fn history(id: u128, from: u64) -> History {
        History { id: Uuid::from_u128(id), ..History::anew(from) }
    }

    fn changes(index: &Index, history: &History, since: &Clock) -> (Vec<String>, bool) {
        let roots = [(Path::new(ROOT), history)];
        let found = changes_since(index, roots.into_iter(), |_, _| true, Some(since));
        assert_eq!(found.clock, Clock::new([(history.id, index.tick)].into_iter()));
        (
            found.changes.iter().map(|change| crate::watch::tests::describe(change, Path::new(ROOT))).collect(),
            found.fresh,
        )
    }

    fn look(number: u64) -> Look {
        Look { inode: number, size: number, ..Look::default() }
    }
}
