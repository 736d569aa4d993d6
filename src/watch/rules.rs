//! What is left out of watching: version control's own directories, temporary files of writes, what the configuration
//! and `.gitignore` files say.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    io::Read,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ignore::{
    Match,
    gitignore::{Gitignore, GitignoreBuilder},
};

use super::{WatchError, probe};
use crate::temp_name::is_temp_name;

/// Decides which paths are watched; a path belongs to the deepest root that holds it, and roots are never left out.
pub(super) struct Rules {
    patterns: Vec<String>,
    gitignore: bool,
    roots: BTreeMap<PathBuf, Root>,
    /// By directory; `None` where there is no `.gitignore`.
    files: Mutex<BTreeMap<PathBuf, Option<Arc<Gitignore>>>>,
}

struct Root {
    configured: Gitignore,
    /// The directories above the root whose `.gitignore` files count for it, the nearest first.
    above: Vec<PathBuf>,
}

/// What is left out of one directory.
pub(super) struct DirectoryRules<'r> {
    rules: &'r Rules,
    directory: &'r Path,
    configured: &'r Gitignore,
    /// The nearest first.
    files: Vec<Arc<Gitignore>>,
    /// Some of its entries are roots.
    holds_roots: bool,
}

const GITIGNORE: &str = ".gitignore";
const VERSION_CONTROL: [&str; 3] = [".git", ".hg", ".jj"];

/// No sensible `.gitignore` is longer; what is put there by mistake must not fill the memory.
const LONGEST_GITIGNORE: u64 = 1 << 20;

impl Rules {
    /// Fails if one of the patterns is malformed.
    pub fn new(patterns: &[String], gitignore: bool) -> Result<Self, WatchError> {
        let rules = Self { patterns: patterns.to_vec(), gitignore, roots: BTreeMap::new(), files: Mutex::default() };
        rules.configured(Path::new("/"))?;
        Ok(rules)
    }

    pub fn add_root(&mut self, root: &Path) -> Result<(), WatchError> {
        let configured = self.configured(root)?;
        let above = if self.gitignore { above(root) } else { Vec::new() };
        self.roots.insert(root.to_path_buf(), Root { configured, above });
        Ok(())
    }

    /// Forgets a root, and what the `.gitignore` files say that nobody watches any more.
    pub fn remove_root(&mut self, root: &Path) {
        self.roots.remove(root);
        self.forget(root);
        let roots = &self.roots;
        let counts = |dir: &PathBuf| roots.iter().any(|(root, of)| dir.starts_with(root) || of.above.contains(dir));
        self.files.get_mut().unwrap_or_else(PoisonError::into_inner).retain(|dir, _| counts(dir));
    }

    pub fn roots(&self) -> impl Iterator<Item = &Path> {
        self.roots.keys().map(PathBuf::as_path)
    }

    pub fn is_root(&self, path: &Path) -> bool {
        self.roots.contains_key(path)
    }

    /// The deepest root that is this path or holds it.
    pub fn root_of(&self, path: &Path) -> Option<PathBuf> {
        path.ancestors().find(|dir| self.roots.contains_key(*dir)).map(Path::to_path_buf)
    }

    /// Whether this path lies below a root and no rule leaves out itself or a directory above it.
    pub fn covers(&self, path: &Path, is_directory: bool) -> bool {
        let Some(root) = self.root_of(path) else { return false };
        let below = path.ancestors().take_while(|ancestor| *ancestor != root).collect::<Vec<_>>();
        below.iter().rev().all(|step| self.covers_entry(&root, step, is_directory || *step != path))
    }

    /// The same for an entry of a directory that is known to be covered.
    pub fn covers_entry(&self, root: &Path, path: &Path, is_directory: bool) -> bool {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return false };
        self.of_directory(root, directory).is_some_and(|rules| rules.covers(name, is_directory))
    }

    /// What holds for the entries of a directory that is known to be covered; `None` if this is no root.
    pub fn of_directory<'r>(&'r self, root: &Path, directory: &'r Path) -> Option<DirectoryRules<'r>> {
        let Root { configured, above } = self.roots.get(root)?;
        let inside = directory.ancestors().take_while(|dir| dir.starts_with(root));
        let files = inside.chain(above.iter().map(PathBuf::as_path)).filter_map(|dir| self.gitignore_of(dir)).collect();
        let holds_roots = self.roots.keys().any(|root| root.parent() == Some(directory));
        Some(DirectoryRules { rules: self, directory, configured, files, holds_roots })
    }

    /// Whether a change of this file changes the rules.
    pub fn is_made_of(&self, path: &Path) -> bool {
        self.gitignore && path.file_name() == Some(OsStr::new(GITIGNORE))
    }

    /// Forgets what the `.gitignore` files of this directory and all below it say, so that they are read again.
    pub fn forget(&self, directory: &Path) {
        super::index::remove_below(&mut self.files(), directory);
    }

    fn gitignore_of(&self, directory: &Path) -> Option<Arc<Gitignore>> {
        if !self.gitignore {
            return None;
        }
        if let Some(known) = self.files().get(directory) {
            return known.clone();
        }
        let read = read_gitignore(directory).map(Arc::new);
        self.files().insert(directory.to_path_buf(), read.clone());
        read
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Option<Arc<Gitignore>>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn configured(&self, root: &Path) -> Result<Gitignore, WatchError> {
        let mut builder = GitignoreBuilder::new(root);
        for pattern in &self.patterns {
            let error =
                |error: ignore::Error| WatchError::Pattern { pattern: pattern.clone(), message: error.to_string() };
            builder.add_line(None, pattern).map_err(error)?;
        }
        builder
            .build()
            .map_err(|error| WatchError::Pattern { pattern: self.patterns.join(", "), message: error.to_string() })
    }
}

impl DirectoryRules<'_> {
    /// Whether this entry is covered.
    pub fn covers(&self, name: &OsStr, is_directory: bool) -> bool {
        if VERSION_CONTROL.iter().any(|own| name == OsStr::new(own)) || is_temp_name(name) {
            return false;
        }
        let rules = std::iter::once(self.configured).chain(self.files.iter().map(|file| &**file));
        let mut rules = rules.filter(|rules| !rules.is_empty()).peekable();
        if rules.peek().is_none() && !self.holds_roots {
            return true;
        }
        let path = self.directory.join(name);
        if self.holds_roots && self.rules.is_root(&path) {
            return true;
        }
        for rules in rules {
            match rules.matched(&path, is_directory) {
                Match::Ignore(_) => return false,
                Match::Whitelist(_) => return true,
                Match::None => {}
            }
        }
        true
    }
}

/// The directories above a root, up to the top of the repository that it lies in; none if it lies in none.
fn above(root: &Path) -> Vec<PathBuf> {
    if root.join(".git").exists() {
        return Vec::new();
    }
    let above = root.ancestors().skip(1).map(Path::to_path_buf).collect::<Vec<_>>();
    match above.iter().position(|dir| dir.join(".git").exists()) {
        Some(top) => above.into_iter().take(top + 1).collect(),
        None => Vec::new(),
    }
}

/// As git does, a `.gitignore` that is a link is not followed, and a line that cannot be understood leaves out nothing.
fn read_gitignore(directory: &Path) -> Option<Gitignore> {
    let path = directory.join(GITIGNORE);
    let mut text = Vec::new();
    match probe::open_regular(&path) {
        Ok(Some(file)) => {
            if let Err(error) = file.take(LONGEST_GITIGNORE).read_to_end(&mut text) {
                tracing::warn!(%error, "could not read a .gitignore file");
                return None;
            }
        }
        Ok(None) => return None,
        Err(error) => {
            if error.kind() != std::io::ErrorKind::NotFound {
                tracing::warn!(%error, "could not open a .gitignore file");
            }
            return None;
        }
    }
    let mut builder = GitignoreBuilder::new(directory);
    for line in String::from_utf8_lossy(&text).trim_start_matches('\u{feff}').lines() {
        if let Err(error) = builder.add_line(Some(path.clone()), line) {
            tracing::debug!(%error, "a line of a .gitignore file is malformed");
        }
    }
    builder.build().inspect_err(|error| tracing::warn!(%error, "could not use a .gitignore file")).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn version_control_and_own_temporary_files_are_always_left_out() {
        let rules = rules(Path::new("/r"), &[], false);
        for path in ["/r/.git", "/r/.git/HEAD", "/r/a/.hg/x/y", "/r/.jj", "/r/a/.ploke-io.12.tmp"] {
            assert!(!rules.covers(Path::new(path), false), "{path}");
        }
        for path in ["/r/.gitignore", "/r/.github/x", "/r/a.tmp", "/r/.ploke-io.toml"] {
            assert!(rules.covers(Path::new(path), false), "{path}");
        }
    }

    #[test]
    fn patterns_are_those_of_a_gitignore_file_in_the_root() {
        let rules = rules(Path::new("/r"), &["*.log", "/target/", "!keep.log", "a/b"], false);
        let covers = |path: &str, directory| rules.covers(Path::new(path), directory);
        assert!(!covers("/r/x.log", false) && !covers("/r/d/x.log", false));
        assert!(covers("/r/d/keep.log", false));
        assert!(!covers("/r/target", true) && !covers("/r/target/x/y", false), "all below goes too");
        assert!(covers("/r/target", false) && covers("/r/d/target", true), "a directory of the root only");
        assert!(!covers("/r/a/b", false) && covers("/r/d/a/b", false));
    }

    #[test]
    fn a_malformed_pattern_is_refused_by_name() {
        let error = Rules::new(&["ok".into(), "a{b".into()], true).err().map(|error| error.to_string());
        assert!(error.is_some_and(|message| message.contains("a{b")));
    }

    #[test]
    fn deeper_gitignore_files_go_before_higher_ones_and_patterns_before_all() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::write(root.join(".gitignore"), "*.txt\nout/\n").unwrap();
        fs::write(root.join("sub/.gitignore"), "!b.txt\n").unwrap();
        let rules = rules(root, &["!pinned.txt"], true);
        assert!(!rules.covers(&root.join("b.txt"), false) && rules.covers(&root.join("sub/b.txt"), false));
        assert!(!rules.covers(&root.join("sub/out/b.txt"), false), "nothing comes back below what is left out");
        assert!(rules.covers(&root.join("pinned.txt"), false));
    }

    #[test]
    fn gitignore_files_above_the_root_count_up_to_the_top_of_the_repository() {
        let dir = tempfile::tempdir().unwrap();
        let repository = dir.path().join("repo");
        let root = repository.join("crates/a");
        fs::create_dir_all(&root).unwrap();
        fs::write(dir.path().join(".gitignore"), "outside\n").unwrap();
        fs::write(repository.join(".gitignore"), "inside\ncrates/a/fixed\n").unwrap();
        assert!(rules(&root, &[], true).covers(&root.join("inside"), false), "not a repository yet");
        fs::create_dir(repository.join(".git")).unwrap();
        let rules = rules(&root, &[], true);
        assert!(!rules.covers(&root.join("inside"), false) && !rules.covers(&root.join("fixed"), false));
        assert!(rules.covers(&root.join("outside"), false));
    }

    #[test]
    fn a_changed_gitignore_counts_once_the_old_one_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let (root, file) = (dir.path(), dir.path().join(".gitignore"));
        let rules = rules(root, &[], true);
        assert!(rules.covers(&root.join("a"), false) && rules.is_made_of(&file));
        fs::write(&file, "a\n").unwrap();
        rules.forget(root);
        assert!(!rules.covers(&root.join("a"), false));
    }

    #[test]
    fn what_is_known_of_a_removed_root_and_above_it_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let (root, other) = (dir.path().join("a"), dir.path().join("b"));
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::create_dir_all(dir.path().join(".git")).unwrap();
        fs::write(dir.path().join(".gitignore"), "x").unwrap();
        fs::write(root.join(".gitignore"), "y").unwrap();
        let mut rules = rules(&root, &[], true);
        rules.add_root(&other).unwrap();
        for root in [&root, &other] {
            assert!(rules.covers(&root.join("sub/z"), false) && !rules.covers(&root.join("sub/x"), false));
        }
        rules.remove_root(&root);
        let left: Vec<_> = rules.files().keys().cloned().collect();
        assert_eq!(left, [dir.path().to_path_buf(), other.clone(), other.join("sub")]);
        rules.remove_root(&other);
        assert!(rules.files().is_empty());
    }

    #[test]
    fn a_nested_root_is_covered_even_where_the_outer_one_leaves_it_out() {
        let mut rules = rules(Path::new("/r"), &["/vendor"], false);
        assert!(!rules.covers(Path::new("/r/vendor/lib/x"), false));
        rules.add_root(Path::new("/r/vendor/lib")).unwrap();
        assert!(rules.covers(Path::new("/r/vendor/lib/x"), false));
        assert_eq!(rules.root_of(Path::new("/r/vendor/lib/x")), Some("/r/vendor/lib".into()));
        assert!(!rules.covers(Path::new("/r/vendor/x"), false));
        assert!(!rules.covers(Path::new("/r-evil/x"), false), "a root's name is no prefix");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_fifo_called_gitignore_does_not_block() {
        let dir = tempfile::tempdir().unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, dir.path().join(GITIGNORE), rustix::fs::Mode::RWXU).unwrap();
        assert!(rules(dir.path(), &[], true).covers(&dir.path().join("a"), false));
    }

    fn rules(root: &Path, patterns: &[&str], gitignore: bool) -> Rules {
        let patterns = patterns.iter().map(|pattern| pattern.to_string()).collect::<Vec<_>>();
        let mut rules = Rules::new(&patterns, gitignore).unwrap();
        rules.add_root(root).unwrap();
        rules
    }
}
