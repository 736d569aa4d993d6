//! What subscribers believe to be there: every file that was found at the start or reported since, and how it looked.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    mem,
    ops::Bound,
    path::{Path, PathBuf},
};

use super::{history::Graves, probe};

/// The picture of the tree that the reports so far add up to.
#[derive(Debug, Default)]
pub(super) struct Index {
    directories: BTreeMap<PathBuf, Directory>,
    /// Counts changes; each file says at which it came and changed last.
    pub(super) tick: u64,
    pub(super) graves: Graves,
}

#[derive(Debug, Default)]
struct Directory {
    /// All its files are known; otherwise it has not been listed yet.
    complete: bool,
    /// Its files were saved at this tick, by a process that was here before.
    saved: Option<u64>,
    files: BTreeMap<Box<OsStr>, Entry>,
}

/// What is known of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub look: Look,
    /// When it came, and when it changed last.
    pub born: u64,
    pub changed: u64,
}

/// How a file looked; nothing but zeros where it was only heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Look {
    pub device: u64,
    pub inode: u64,
    pub size: u64,
    /// In nanoseconds since the epoch.
    pub modified: i64,
    pub status_changed: i64,
    /// The beginning of its content's hash; 0 where it is not known.
    pub content: u64,
    /// It had been at rest for so long that a later change must show in its times.
    pub settled: bool,
    /// A symbolic link, which is a file of its own.
    pub is_link: bool,
    /// When it was seen like this for the first time, in nanoseconds since the epoch.
    pub seen: i64,
}

impl Look {
    /// Whether the file that looked so has the same content if it looks like `now`; `None` if only its content can tell.
    pub fn is_same(&self, now: &Self) -> Option<bool> {
        if *self == Self::default() {
            return Some(*now == Self::default());
        }
        if self.content != 0 && now.content != 0 {
            let content = |look: &Self| (look.content, look.size, look.is_link);
            return Some(content(self) == content(now));
        }
        match self.shows_the_same(now) {
            true if self.settled => Some(true),
            true => None,
            false => Some(false),
        }
    }

    /// This look, with what is known from the one before it: whoever looks twice sees that a file is at rest also where its
    /// times are of another clock.
    pub fn after(self, before: &Self) -> Self {
        if !self.shows_the_same(before) {
            return self;
        }
        let is_at_rest = self.seen.saturating_sub(before.seen) > probe::COARSE_TICK;
        let content = if self.content == 0 && before.settled { before.content } else { self.content };
        Self { content, settled: self.settled || before.settled || is_at_rest, seen: before.seen, ..self }
    }

    fn shows_the_same(&self, other: &Self) -> bool {
        let fields =
            |look: &Self| (look.is_link, look.device, look.inode, look.size, look.modified, look.status_changed);
        fields(self) == fields(other)
    }

    /// Whether it may be the same file under another name, which a rename does not show otherwise.
    pub fn may_be_renamed(&self, now: &Self) -> bool {
        let fields = |look: &Self| (look.device, look.inode, look.size, look.modified);
        self.inode != 0 && fields(self) == fields(now)
    }
}

impl Index {
    /// Says that a directory exists whose files are not known yet.
    pub fn announce(&mut self, directory: &Path) {
        self.directories.entry(directory.to_path_buf()).or_default();
    }

    /// Fills in the files of a directory, unless they are known already. What differs from what was saved of it counts
    /// as changed at this moment. `closer` looks at the content of those whose times will not show a change.
    pub fn list(&mut self, directory: &Path, mut files: Vec<(OsString, Look)>, closer: impl Fn(&Path) -> Option<Look>) {
        let known = self.directories.entry(directory.to_path_buf()).or_default();
        if known.complete {
            return;
        }
        known.complete = true;
        for (name, look) in files.iter_mut().filter(|(_, look)| !look.settled) {
            *look = closer(&directory.join(name)).unwrap_or(*look);
        }
        files.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let Some(saved) = known.saved.take() else {
            let entry = |look| Entry { look, born: self.tick, changed: self.tick };
            let files = files.into_iter().map(|(name, look)| (name.into_boxed_os_str(), entry(look)));
            // What was reported since is known already. A map of what is in order is built at once.
            let reported = mem::replace(&mut known.files, files.collect());
            known.files.extend(reported);
            return;
        };
        let tick = &mut self.tick;
        let mut next_tick = || {
            *tick += 1;
            *tick
        };
        let (mut new, mut here) = (Vec::new(), files.into_iter().peekable());
        known.files.retain(|name, entry| {
            while let Some(file) = here.next_if(|(file, _)| file.as_os_str() < &**name) {
                new.push(file);
            }
            let Some((_, mut look)) = here.next_if(|(file, _)| file.as_os_str() == &**name) else {
                // What was reported since and has gone again is told too.
                let stays = entry.changed > saved;
                if !stays {
                    self.graves.dig(directory.join(&**name), entry.born, next_tick());
                }
                return stays;
            };
            let mut same = entry.look.is_same(&look);
            if same != Some(true) && entry.look.content != 0 && look.content == 0 {
                look = closer(&directory.join(&**name)).unwrap_or(look);
                same = entry.look.is_same(&look);
            }
            match same {
                Some(true) if look.content == 0 => look.content = entry.look.content,
                Some(true) => {}
                Some(false) | None => entry.changed = next_tick(),
            }
            entry.look = look.after(&entry.look);
            true
        });
        for (name, look) in new.into_iter().chain(here) {
            let tick = next_tick();
            known.files.insert(name.into_boxed_os_str(), Entry { look, born: tick, changed: tick });
        }
    }

    /// Whether the directory was announced, but its files are not known yet.
    pub fn awaits_listing(&self, directory: &Path) -> bool {
        self.directories.get(directory).is_some_and(|known| !known.complete)
    }

    /// Whether anything is known of a directory.
    pub fn lists(&self, directory: &Path) -> bool {
        self.directories.contains_key(directory)
    }

    /// Whether subscribers believe this file to be there; `None` if they were never told what is in its directory.
    pub fn knows(&self, file: &Path) -> Option<bool> {
        let (parent, name) = (file.parent()?, file.file_name()?);
        match self.directories.get(parent) {
            Some(directory) if directory.files.contains_key(name) => Some(true),
            Some(directory) => directory.complete.then_some(false),
            // A directory that is not listed where all of its parent's are did not exist.
            None => self.nearest(parent)?.complete.then_some(false),
        }
    }

    /// How this file looked last.
    pub fn look(&self, file: &Path) -> Option<&Look> {
        self.entry(file).map(|entry| &entry.look)
    }

    /// Takes in how a file looks now; `is_change` unless only its look has changed.
    pub fn insert(&mut self, file: &Path, look: Look, is_change: bool) {
        let (Some(parent), Some(name)) = (file.parent(), file.file_name()) else { return };
        let complete = self.nearest(parent).is_some_and(|directory| directory.complete);
        let directory = self
            .directories
            .entry(parent.to_path_buf())
            .or_insert_with(|| Directory { complete, ..Directory::default() });
        match directory.files.get_mut(name) {
            Some(entry) => {
                if is_change {
                    self.tick += 1;
                    entry.changed = self.tick;
                }
                entry.look = look.after(&entry.look);
            }
            None => {
                self.tick += 1;
                directory.files.insert(name.into(), Entry { look, born: self.tick, changed: self.tick });
            }
        }
    }

    /// Counts a file that somebody else has told of as there, as nobody has seen it yet.
    pub fn hear_of(&mut self, file: &Path) {
        self.insert(file, Look::default(), true);
    }

    /// Lets only the times tell whether a file has changed: another content may have been told of in between.
    pub fn doubt_content(&mut self, file: &Path) {
        let Some((parent, name)) = file.parent().zip(file.file_name()) else { return };
        if let Some(entry) = self.directories.get_mut(parent).and_then(|directory| directory.files.get_mut(name)) {
            entry.look.content = 0;
        }
    }

    pub fn remove(&mut self, file: &Path) {
        let (Some(parent), Some(name)) = (file.parent(), file.file_name()) else { return };
        let removed = self.directories.get_mut(parent).and_then(|directory| directory.files.remove(name));
        if let Some(entry) = removed {
            self.tick += 1;
            self.graves.dig(file.to_path_buf(), entry.born, self.tick);
        }
    }

    /// Removes a directory and all below it; `true` if there were any files in it.
    pub fn remove_directory(&mut self, directory: &Path) -> bool {
        let mut any = false;
        for (path, removed) in remove_below(&mut self.directories, directory) {
            any |= !removed.files.is_empty();
            self.bury(&path, removed.files);
        }
        any
    }

    fn bury(&mut self, directory: &Path, files: impl IntoIterator<Item = (Box<OsStr>, Entry)>) {
        for (name, entry) in files {
            self.tick += 1;
            self.graves.dig(directory.join(&*name), entry.born, self.tick);
        }
    }

    /// Moves a directory and all below it; `true` if there were any files in it. Nothing may be known of the new place.
    pub fn move_directory(&mut self, from: &Path, to: &Path) -> bool {
        let mut any = false;
        for (path, mut moved) in remove_below(&mut self.directories, from) {
            let there = rebase(&path, from, to).unwrap_or_else(|| path.clone());
            for (name, entry) in &mut moved.files {
                any = true;
                self.tick += 1;
                self.graves.dig(path.join(&**name), entry.born, self.tick);
                (entry.born, entry.changed) = (self.tick, self.tick);
            }
            self.directories.insert(there, moved);
        }
        any
    }

    pub fn files_in(&self, directory: &Path) -> impl Iterator<Item = (&OsStr, &Entry)> {
        let files = self.directories.get(directory).map(|known| &known.files);
        files.into_iter().flatten().map(|(name, entry)| (&**name, entry))
    }

    /// The directories that anything is known of, from this one downwards.
    pub fn directories_below(&self, directory: &Path) -> Vec<PathBuf> {
        below(&self.directories, directory).map(|(path, _)| path.clone()).collect()
    }

    pub fn files_below(&self, directory: &Path) -> Vec<PathBuf> {
        let all = self.listings_below(directory);
        all.flat_map(|(path, files)| files.map(move |(name, _)| path.join(name))).collect()
    }

    /// The directories that anything is known of, from this one downwards, and the files in each.
    pub fn listings_below<'a>(
        &'a self,
        directory: &'a Path,
    ) -> impl Iterator<Item = (&'a Path, impl Iterator<Item = (&'a OsStr, &'a Entry)>)> {
        below(&self.directories, directory)
            .map(|(path, known)| (path.as_path(), known.files.iter().map(|(name, entry)| (&**name, entry))))
    }

    /// Takes in what was saved of a root: the files of its directories, and those that had gone. Where subscribers have been
    /// told by now what `is_in` it, that stays, and counts as changed at this moment where it is not what was saved.
    /// `closer` is as for [`Self::list`].
    pub fn restore(
        &mut self,
        root: &Path,
        directories: Vec<(PathBuf, Vec<(Box<OsStr>, Entry)>)>,
        graves: Vec<(PathBuf, u64, u64)>,
        is_in: impl Fn(&Path) -> bool,
        closer: impl Fn(&Path) -> Option<Look>,
    ) {
        self.graves.forget_below(root, &is_in);
        for (path, born, died) in graves.into_iter().filter(|(path, ..)| is_in(path)) {
            self.graves.dig(path, born, died);
        }
        let told = below(&self.directories, root).filter(|(path, known)| known.complete && is_in(path));
        let mut saved: BTreeMap<_, _> = told.map(|(path, _)| (path.clone(), Vec::new())).collect();
        saved.extend(directories.into_iter().filter(|(path, _)| is_in(path)));
        saved.into_iter().for_each(|(path, files)| self.restore_directory(path, files, &closer));
    }

    fn restore_directory(
        &mut self,
        path: PathBuf,
        files: Vec<(Box<OsStr>, Entry)>,
        closer: impl Fn(&Path) -> Option<Look>,
    ) {
        let is_told = self.nearest(&path).is_some_and(|known| known.complete);
        if is_told && !self.lists(&path) {
            return self.bury(&path, files);
        }
        let known = self.directories.entry(path.clone()).or_default();
        let since = known.saved.replace(self.tick).unwrap_or(0);
        let before = mem::replace(&mut known.files, files.into_iter().collect());
        if is_told {
            known.complete = false;
            let here = before.iter().map(|(name, entry)| (name.to_os_string(), entry.look)).collect();
            // Of what nobody was told yet nothing is taken in.
            let told = |file: &Path| before.get(file.file_name()?).map(|entry| entry.look);
            let as_told = |file: &Path, now: &Look| told(file).is_some_and(|told| told.is_same(now) == Some(true));
            self.list(&path, here, |file| closer(file).filter(|now| as_told(file, now)));
        } else {
            known.files.extend(before.into_iter().filter(|(_, entry)| entry.changed > since));
        }
    }

    /// The directories below a root that were saved and have not been found.
    pub fn unlisted(&self, root: &Path) -> Vec<PathBuf> {
        let all = below(&self.directories, root).filter(|(_, known)| !known.complete && known.saved.is_some());
        all.map(|(path, _)| path.clone()).collect()
    }

    /// Removes what was saved in a directory, but not what lies in those below it.
    pub fn remove_unlisted(&mut self, directory: &Path) {
        if let Some(known) = self.directories.remove(directory) {
            self.bury(directory, known.files);
        }
    }

    /// Forgets a file without a grave: it may be there, but nobody is told of it any more.
    pub fn forget_file(&mut self, file: &Path) {
        let Some((parent, name)) = file.parent().zip(file.file_name()) else { return };
        let removed = self.directories.get_mut(parent).and_then(|directory| directory.files.remove(name));
        self.tick += u64::from(removed.is_some());
    }

    /// Forgets the directories below this one, and itself, that are `meant`: nobody is told of them any more, or asks.
    pub fn forget_directories(&mut self, directory: &Path, meant: impl Fn(&Path) -> bool) {
        let paths: Vec<_> = self.directories_below(directory).into_iter().filter(|path| meant(path)).collect();
        self.tick += u64::from(!paths.is_empty());
        paths.iter().for_each(|path| drop(self.directories.remove(path)));
    }

    fn entry(&self, file: &Path) -> Option<&Entry> {
        self.directories.get(file.parent()?)?.files.get(file.file_name()?)
    }

    fn nearest(&self, directory: &Path) -> Option<&Directory> {
        directory.ancestors().find_map(|dir| self.directories.get(dir))
    }
}

/// The same path after `from` has become `to`; `None` if it does not lie there.
pub(super) fn rebase(path: &Path, from: &Path, to: &Path) -> Option<PathBuf> {
    let rest = path.strip_prefix(from).ok()?;
    // Joining nothing would add a separator.
    Some(if rest.as_os_str().is_empty() { to.to_path_buf() } else { to.join(rest) })
}

/// Takes out this directory and all below it.
pub(super) fn remove_below<T>(map: &mut BTreeMap<PathBuf, T>, directory: &Path) -> Vec<(PathBuf, T)> {
    let paths = below(map, directory).map(|(path, _)| path.clone()).collect::<Vec<_>>();
    paths.into_iter().filter_map(|path| map.remove_entry(&path)).collect()
}

// Paths are ordered by their components, so a directory and all below it stand next to each other.
pub(super) fn below<'a, T>(
    map: &'a BTreeMap<PathBuf, T>,
    directory: &'a Path,
) -> impl Iterator<Item = (&'a PathBuf, &'a T)> {
    map.range::<Path, _>((Bound::Included(directory), Bound::Unbounded))
        .take_while(move |(path, _)| path.starts_with(directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Index {
        /// An index at this tick.
        pub fn at(self, tick: u64) -> Self {
            Self { tick, ..self }
        }
    }

    #[test]
    fn a_name_is_known_to_be_absent_only_where_the_directory_was_listed() {
        let mut index = Index::default();
        assert_eq!(index.knows(Path::new("/r/a")), None);
        index.announce(Path::new("/r/unlisted"));
        list(&mut index, "/r", &["a"]);
        for (path, known) in [
            ("/r/a", Some(true)),
            ("/r/b", Some(false)),
            ("/r/new/deep/b", Some(false)),
            ("/r/unlisted/b", None),
            ("/r/unlisted/deep/b", None),
            ("/elsewhere/a", None),
        ] {
            assert_eq!(index.knows(Path::new(path)), known, "{path}");
        }
    }

    #[test]
    fn listing_again_does_not_overwrite_what_was_told() {
        let mut index = Index::default();
        list(&mut index, "/r", &["a"]);
        list(&mut index, "/r", &["a", "not told yet"]);
        assert_eq!(index.knows(Path::new("/r/not told yet")), Some(false));
    }

    #[test]
    fn a_directory_moves_and_goes_with_all_below_it_and_nothing_beside_it() {
        let mut index = Index::default();
        list(&mut index, "/r", &[]);
        for file in ["/r/d/a", "/r/d/deep/b", "/r/d-evil/c", "/r/d.x"] {
            index.insert(Path::new(file), look(1), true);
        }
        assert!(index.move_directory(Path::new("/r/d"), Path::new("/r/e")));
        assert_eq!(index.files_below(Path::new("/r/e")), ["/r/e/a", "/r/e/deep/b"].map(PathBuf::from));
        assert_eq!(index.knows(Path::new("/r/d/a")), Some(false));
        assert!(index.remove_directory(Path::new("/r/e")));
        assert!(!index.remove_directory(Path::new("/r/e")));
        assert_eq!(index.knows(Path::new("/r/d-evil/c")), Some(true));
        assert_eq!(index.knows(Path::new("/r/d.x")), Some(true));
    }

    #[test]
    fn only_a_file_at_rest_is_the_same_without_a_look_at_its_content() {
        let rest = Look { settled: true, ..look(1) };
        let hashed = |content| Look { content, ..look(1) };
        for (before, now, same) in [
            (rest, look(1), Some(true)),
            (look(1), rest, None),
            (rest, look(2), Some(false)),
            (rest, Look { inode: 9, ..rest }, Some(false)),
            (rest, Look { status_changed: 9, ..rest }, Some(false)),
            (Look::default(), look(1), Some(false)),
            (Look::default(), Look::default(), Some(true)),
            (hashed(5), Look { inode: 9, modified: 9, ..hashed(5) }, Some(true)),
            (hashed(5), Look { size: 9, ..hashed(5) }, Some(false)),
            (Look { settled: true, ..hashed(5) }, hashed(6), Some(false)),
            (hashed(5), Look { is_link: true, ..hashed(5) }, Some(false)),
        ] {
            assert_eq!(before.is_same(&now), same, "{before:?} {now:?}");
        }
    }

    #[test]
    fn a_file_that_looks_the_same_for_long_is_at_rest_whatever_its_times_say() {
        let seen = |seen, number| Look { seen, ..look(number) };
        assert!(!seen(probe::COARSE_TICK, 1).after(&seen(0, 1)).settled);
        assert_eq!(seen(probe::COARSE_TICK, 1).after(&seen(0, 1)).seen, 0);
        assert!(seen(probe::COARSE_TICK + 1, 1).after(&seen(0, 1)).settled);
        assert!(!seen(probe::COARSE_TICK + 1, 2).after(&seen(0, 1)).settled);
    }

    #[test]
    fn what_was_saved_is_compared_with_what_is_there() {
        let mut index = Index { tick: 10, ..Index::default() };
        let name = |name: &str| OsString::from(name).into_boxed_os_str();
        let entry = |number, settled| Entry { look: Look { settled, content: 7, ..look(number) }, born: 1, changed: 2 };
        let saved = [
            ("same", entry(1, true)),
            ("other", entry(2, true)),
            ("gone", entry(3, true)),
            ("unsure same", entry(4, false)),
            ("unsure other", entry(5, false)),
        ];
        let saved = saved.map(|(file, entry)| (name(file), entry)).into();
        let directories = vec![("/r".into(), saved), ("/r/dir".into(), vec![(name("x"), entry(6, true))])];
        index.restore(Path::new("/r"), directories, Vec::new(), |_| true, |_| None);
        let here = [("same", 1), ("other", 20), ("unsure same", 4), ("unsure other", 5), ("new", 8)];
        let here = here.map(|(name, number)| (name.into(), Look { settled: true, ..look(number) }));
        index.list(Path::new("/r"), here.into(), |path| {
            let (number, content) = if path.ends_with("unsure same") { (4, 7) } else { (5, 8) };
            Some(Look { content, ..look(number) })
        });
        assert_eq!(index.unlisted(Path::new("/r")), [Path::new("/r/dir")]);
        index.remove_unlisted(Path::new("/r/dir"));
        let changed = |name: &str| index.entry(&Path::new("/r").join(name)).unwrap().changed > 10;
        assert!(!changed("same") && !changed("unsure same"));
        assert!(changed("other") && changed("unsure other") && changed("new"));
        assert_eq!(index.graves.died_since(10).count(), 2);
    }

    #[test]
    fn what_was_told_by_now_is_compared_with_what_was_saved_and_stays() {
        let mut index = Index::default();
        list(&mut index, "/r", &["same", "other", "new", "unsure", "written since"]);
        list(&mut index, "/r/inner", &["x"]);
        index.announce(Path::new("/r/later"));
        for file in ["unsure", "written since"] {
            index.insert(&Path::new("/r").join(file), Look { settled: true, ..look(1) }, false);
        }
        index.graves.dig("/r/told".into(), 0, 1);
        index.tick = 100;
        let name = |name: &str| OsString::from(name).into_boxed_os_str();
        let entry = |number| Entry { look: Look { settled: true, ..look(number) }, born: 7, changed: 50 };
        let unsure = Entry { look: Look { content: 5, ..look(1) }, ..entry(1) };
        let saved = ["same", "other", "gone"].map(|file| (name(file), entry(if file == "other" { 2 } else { 1 })));
        let saved = saved.into_iter().chain(["unsure", "written since"].map(|file| (name(file), unsure)));
        let directories = vec![
            ("/r".into(), saved.collect()),
            ("/r/never".into(), vec![(name("y"), entry(1))]),
            ("/r/inner".into(), vec![(name("z"), entry(1))]),
            ("/r/later".into(), vec![(name("v"), entry(1))]),
        ];
        let is_in = |path: &Path| !path.starts_with("/r/inner");
        let closer = |path: &Path| Some(Look { content: 5, ..look(if path.ends_with("unsure") { 1 } else { 2 }) });
        index.restore(Path::new("/r"), directories, vec![("/r/w".into(), 1, 40)], is_in, closer);

        let entry =
            |name: &str| index.entry(&Path::new("/r").join(name)).map(|entry| (entry.born, entry.changed > 100));
        assert_eq!((entry("same"), entry("unsure")), (Some((7, false)), Some((7, false))));
        assert_eq!(entry("written since"), Some((7, true)));
        assert_eq!(index.look(Path::new("/r/written since")).unwrap().size, 1, "as it was told");
        assert_eq!(entry("other"), Some((7, true)));
        assert!(entry("new").is_some_and(|(born, is_changed)| born > 100 && is_changed));
        assert_eq!(entry("inner/x"), Some((0, false)), "of another root");
        assert_eq!(index.knows(Path::new("/r/gone")), Some(false));
        assert!(!index.lists(Path::new("/r/never")) && index.awaits_listing(Path::new("/r/later")));
        let graves = |tick| index.graves.died_since(tick).map(|path| path.display().to_string()).collect::<Vec<_>>();
        assert_eq!(
            (graves(0), graves(100)),
            (
                ["/r/gone", "/r/never/y", "/r/w"].map(String::from).into(),
                ["/r/gone", "/r/never/y"].map(String::from).into()
            )
        );
    }

    fn list(index: &mut Index, directory: &str, names: &[&str]) {
        let files = names.iter().map(|name| (OsString::from(name), look(1))).collect();
        index.list(Path::new(directory), files, |_| None);
    }

    fn look(number: u64) -> Look {
        Look {
            device: 1,
            inode: number,
            size: number,
            modified: number as i64,
            status_changed: number as i64,
            ..Look::default()
        }
    }
}
