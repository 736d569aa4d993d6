//! The files of a tree by the rules of watching, for who wants to list them.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
};

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::{WatchError, probe, rules::Rules};
use crate::CancelToken;

/// Which files of a tree are wanted; patterns are lines as in a `.gitignore` file at its root.
pub struct Selection {
    include: Option<Gitignore>,
    rules: Rules,
    root: PathBuf,
}

impl Selection {
    /// All files below `root` that match one of `include` (all, if there is none) and none of `exclude`; what version
    /// control keeps for itself is never among them, and what `.gitignore` files leave out is not with `gitignore`.
    ///
    /// # Errors
    /// If a pattern is malformed.
    pub fn new(root: &Path, include: &[String], exclude: &[String], gitignore: bool) -> Result<Self, WatchError> {
        let mut rules = Rules::new(exclude, gitignore)?;
        rules.add_root(root)?;
        let include = if include.is_empty() { None } else { Some(matcher(root, include)?) };
        Ok(Self { include, rules, root: root.to_path_buf() })
    }

    /// Calls `each` with the regular files of one directory after the other, in order of their names, until it is
    /// cancelled. Links are not followed. A directory that cannot be listed is given to `failed`.
    pub fn list(
        &self,
        cancel: &CancelToken,
        mut each: impl FnMut(Vec<PathBuf>),
        mut failed: impl FnMut(&Path, std::io::Error),
    ) {
        let mut todo = VecDeque::from([self.root.clone()]);
        while let Some(directory) = todo.pop_front().filter(|_| !cancel.is_cancelled()) {
            let rules = self.rules.of_directory(&self.root, &directory);
            let covers = |name: &std::ffi::OsStr, is_directory| {
                rules.as_ref().is_some_and(|rules| rules.covers(name, is_directory))
            };
            let mut listing = match probe::list(&directory, covers) {
                Ok(listing) => listing,
                Err(error) => {
                    failed(&directory, error);
                    continue;
                }
            };
            listing.files.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
            listing.directories.sort_unstable();
            let files = listing.files.iter().filter(|(_, look)| !look.is_link).map(|(name, _)| directory.join(name));
            let files: Vec<_> = files.filter(|file| self.includes(file)).collect();
            if !files.is_empty() {
                each(files);
            }
            listing.directories.iter().rev().for_each(|name| todo.push_front(directory.join(name)));
        }
    }

    fn includes(&self, file: &Path) -> bool {
        self.include.as_ref().is_none_or(|include| include.matched_path_or_any_parents(file, false).is_ignore())
    }
}

fn matcher(root: &Path, patterns: &[String]) -> Result<Gitignore, WatchError> {
    let mut builder = GitignoreBuilder::new(root);
    for pattern in patterns {
        let failed =
            |error: ignore::Error| WatchError::Pattern { pattern: pattern.clone(), message: error.to_string() };
        builder.add_line(None, pattern).map_err(failed)?;
    }
    let failed =
        |error: ignore::Error| WatchError::Pattern { pattern: patterns.join(", "), message: error.to_string() };
    builder.build().map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_tree_is_listed_in_order_without_what_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["b.rs", "a.rs", "a.txt", "d/x.rs", "d/deep/y.rs", "target/z.rs", ".git/w.rs", "gen/out.rs"] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        fs::write(dir.path().join(".gitignore"), "target\n").unwrap();
        let list = |include: &[&str], exclude: &[&str], gitignore| {
            let strings = |patterns: &[&str]| patterns.iter().map(|pattern| pattern.to_string()).collect::<Vec<_>>();
            let wanted = Selection::new(dir.path(), &strings(include), &strings(exclude), gitignore).unwrap();
            let mut names = Vec::new();
            let each = |files: Vec<PathBuf>| {
                names.extend(files.iter().map(|file| file.strip_prefix(dir.path()).unwrap().display().to_string()));
            };
            wanted.list(&CancelToken::new(), each, |_, error| panic!("{error}"));
            names
        };
        assert_eq!(list(&["*.rs"], &["/gen"], true), ["a.rs", "b.rs", "d/x.rs", "d/deep/y.rs"]);
        assert_eq!(list(&["/d"], &["deep"], true), ["d/x.rs"]);
        assert_eq!(list(&["*.rs"], &["/d", "/gen"], false), ["a.rs", "b.rs", "target/z.rs"]);
        assert!(list(&[], &[], true).contains(&".gitignore".to_owned()));
        assert!(Selection::new(dir.path(), &["a{b".to_owned()], &[], true).is_err());
    }
}
