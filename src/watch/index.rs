//! What subscribers believe to be there: every file that was found at the start or reported since, and how it looked.

mod restore;

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    mem,
    ops::Bound,
    path::{Path, PathBuf},
};

use super::history::Graves;

pub(super) use super::look::Look;

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

/// The files of a directory as they were saved.
pub(super) type SavedFiles = Vec<(Box<OsStr>, Entry)>;

/// What is known of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub look: Look,
    /// When it came, and when it changed last.
    pub born: u64,
    pub changed: u64,
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

    /// The directories that anything is known of, from this one downwards, and the files in each.
    pub fn listings_below<'a>(
        &'a self,
        directory: &'a Path,
    ) -> impl Iterator<Item = (&'a Path, impl Iterator<Item = (&'a OsStr, &'a Entry)>)> {
        below(&self.directories, directory)
            .map(|(path, known)| (path.as_path(), known.files.iter().map(|(name, entry)| (&**name, entry))))
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
pub(super) mod tests {
    use super::*;

    impl Index {
        /// An index at this tick.
        pub fn at(self, tick: u64) -> Self {
            Self { tick, ..self }
        }

        pub fn files_below(&self, directory: &Path) -> Vec<PathBuf> {
            let all = self.listings_below(directory);
            all.flat_map(|(path, files)| files.map(move |(name, _)| path.join(name))).collect()
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
    fn a_file_takes_at_most_150_bytes_beyond_its_name() {
        // A map that is made of what is in order, as a listing is, fills its nodes.
        const FILES_IN_A_NODE: usize = 11;
        let (links_of_a_node, allocation_of_a_name) = (4 * size_of::<usize>(), 16);
        let of_a_node = FILES_IN_A_NODE * size_of::<(Box<OsStr>, Entry)>() + links_of_a_node;
        let bytes = of_a_node.div_ceil(FILES_IN_A_NODE) + allocation_of_a_name;
        assert!(bytes <= 150, "{bytes} bytes");
    }

    pub fn list(index: &mut Index, directory: &str, names: &[&str]) {
        let files = names.iter().map(|name| (OsString::from(name), look(1))).collect();
        index.list(Path::new(directory), files, |_| None);
    }

    pub fn look(number: u64) -> Look {
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
