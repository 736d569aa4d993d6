//! What subscribers believe to be there: the names of all files that were found at the start or reported since.

use std::{
    collections::{BTreeMap, HashSet},
    ffi::{OsStr, OsString},
    ops::Bound,
    path::{Path, PathBuf},
};

/// The picture of the tree that the reports so far add up to; it knows names, not contents.
#[derive(Debug, Default)]
pub(super) struct Told {
    directories: BTreeMap<PathBuf, Directory>,
}

#[derive(Debug, Default)]
struct Directory {
    /// All its files are among the names; otherwise it has not been listed yet.
    complete: bool,
    names: HashSet<OsString>,
}

impl Told {
    /// Says that a directory exists whose files are not known yet.
    pub fn announce(&mut self, directory: &Path) {
        self.directories.entry(directory.to_path_buf()).or_default();
    }

    /// Fills in the files of a directory, unless they are known already.
    pub fn list(&mut self, directory: &Path, files: Vec<PathBuf>) {
        let known = self.directories.entry(directory.to_path_buf()).or_default();
        if !known.complete {
            known.complete = true;
            known.names.extend(files.iter().filter_map(|file| file.file_name()).map(OsStr::to_os_string));
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
            Some(directory) if directory.names.contains(name) => Some(true),
            Some(directory) => directory.complete.then_some(false),
            // A directory that is not listed where all of its parent's are did not exist.
            None => self.nearest(parent)?.complete.then_some(false),
        }
    }

    pub fn insert(&mut self, file: &Path) {
        if let (Some(parent), Some(name)) = (file.parent(), file.file_name()) {
            let complete = self.nearest(parent).is_some_and(|directory| directory.complete);
            let directory = self
                .directories
                .entry(parent.to_path_buf())
                .or_insert_with(|| Directory { complete, ..Directory::default() });
            directory.names.insert(name.to_os_string());
        }
    }

    pub fn remove(&mut self, file: &Path) {
        if let (Some(directory), Some(name)) =
            (file.parent().and_then(|dir| self.directories.get_mut(dir)), file.file_name())
        {
            directory.names.remove(name);
        }
    }

    /// Removes a directory and all below it; `true` if there were any files in it.
    pub fn remove_directory(&mut self, directory: &Path) -> bool {
        remove_below(&mut self.directories, directory).iter().any(|(_, removed)| !removed.names.is_empty())
    }

    /// Moves a directory and all below it; `true` if there were any files in it. Nothing may be known of the new place.
    pub fn move_directory(&mut self, from: &Path, to: &Path) -> bool {
        let mut any = false;
        for (path, moved) in remove_below(&mut self.directories, from) {
            any |= !moved.names.is_empty();
            let path = rebase(&path, from, to).unwrap_or(path);
            self.directories.insert(path, moved);
        }
        any
    }

    pub fn files_in(&self, directory: &Path) -> impl Iterator<Item = PathBuf> {
        let names = self.directories.get(directory).map(|known| &known.names);
        names.into_iter().flatten().map(move |name| directory.join(name))
    }

    /// The directories that anything is known of, from this one downwards.
    pub fn directories_below(&self, directory: &Path) -> Vec<PathBuf> {
        below(&self.directories, directory).map(|(path, _)| path.clone()).collect()
    }

    pub fn files_below(&self, directory: &Path) -> Vec<PathBuf> {
        let below = below(&self.directories, directory);
        below.flat_map(|(path, known)| known.names.iter().map(move |name| path.join(name))).collect()
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
fn below<'a, T>(map: &'a BTreeMap<PathBuf, T>, directory: &'a Path) -> impl Iterator<Item = (&'a PathBuf, &'a T)> {
    map.range::<Path, _>((Bound::Included(directory), Bound::Unbounded))
        .take_while(move |(path, _)| path.starts_with(directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_to_be_absent_only_where_the_directory_was_listed() {
        let mut told = Told::default();
        assert_eq!(told.knows(Path::new("/r/a")), None);
        told.announce(Path::new("/r/unlisted"));
        told.list(Path::new("/r"), vec!["/r/a".into()]);
        for (path, known) in [
            ("/r/a", Some(true)),
            ("/r/b", Some(false)),
            ("/r/new/deep/b", Some(false)),
            ("/r/unlisted/b", None),
            ("/r/unlisted/deep/b", None),
            ("/elsewhere/a", None),
        ] {
            assert_eq!(told.knows(Path::new(path)), known, "{path}");
        }
    }

    #[test]
    fn listing_again_does_not_overwrite_what_was_told() {
        let mut told = Told::default();
        told.list(Path::new("/r"), vec!["/r/a".into()]);
        told.list(Path::new("/r"), vec!["/r/a".into(), "/r/not told yet".into()]);
        assert_eq!(told.knows(Path::new("/r/not told yet")), Some(false));
    }

    #[test]
    fn a_directory_moves_and_goes_with_all_below_it_and_nothing_beside_it() {
        let mut told = Told::default();
        told.list(Path::new("/r"), Vec::new());
        for file in ["/r/d/a", "/r/d/deep/b", "/r/d-evil/c", "/r/d.x"] {
            told.insert(Path::new(file));
        }
        assert!(told.move_directory(Path::new("/r/d"), Path::new("/r/e")));
        assert_eq!(told.files_below(Path::new("/r/e")), ["/r/e/a", "/r/e/deep/b"].map(PathBuf::from));
        assert_eq!(told.knows(Path::new("/r/d/a")), Some(false));
        assert!(told.remove_directory(Path::new("/r/e")));
        assert!(!told.remove_directory(Path::new("/r/e")));
        assert_eq!(told.knows(Path::new("/r/d-evil/c")), Some(true));
        assert_eq!(told.knows(Path::new("/r/d.x")), Some(true));
    }
}
