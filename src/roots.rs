//! Which paths may be touched: roots, links, and the only maker of a `RootedPath`.
//!
//! Links are followed by looking, the result is a path without links beneath a root, and what is then opened is opened
//! beneath that root's open directory by a call that refuses links. Whoever swaps a name for a link in between gets a
//! refusal or another look, never a file outside.

mod budget;
mod path;
mod walk;

use std::{
    collections::HashMap,
    ffi::OsString,
    io, iter,
    path::{Component, MAIN_SEPARATOR_STR, Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

pub(crate) use budget::DirBudget;
use budget::{BudgetPlace, HeldDir};
pub(crate) use path::{Place, RootedPath};
use walk::{Walk, too_many_links};

use crate::{
    disk::{Dir, FileKind, is_link_refusal},
    error::{IoError, IoErrorKind},
};

/// Looks at a path whose names are being swapped before giving up.
const MAX_LOOKS: usize = 16;

/// Where symbolic links inside a root may lead; never outside of all roots.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum SymlinkPolicy {
    /// Anywhere inside the same root.
    #[default]
    DenyCrossRoot,
    /// Into any configured root.
    Follow,
}

/// The directories that may be touched, as they were when the request began.
#[derive(Debug, Clone, Default)]
pub(crate) struct Roots {
    roots: Vec<Arc<Root>>,
    policy: SymlinkPolicy,
}

/// A directory that may be touched, held open.
#[derive(Debug)]
pub(crate) struct Root {
    /// As it was given; may lead through links.
    given: PathBuf,
    /// Without links.
    real: PathBuf,
    /// `None` as long as there is no directory any more.
    dir: Option<Arc<Dir>>,
}

impl Root {
    pub fn open(path: &Path) -> Result<Self, IoError> {
        if !path.is_absolute() {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "a root needs an absolute path");
            return Err(IoError::os(path, "open the root", source));
        }
        let open = || -> io::Result<(PathBuf, Dir)> {
            let real = std::fs::canonicalize(path)?;
            let dir = Dir::open_absolute(&real)?;
            Ok((real, dir))
        };
        let (real, dir) = open().map_err(|error| match error.kind() {
            io::ErrorKind::NotADirectory => IoError::new(path, IoErrorKind::NotADirectory),
            _ => IoError::os(path, "open the root", error),
        })?;
        Ok(Self { given: path.components().collect(), real, dir: Some(Arc::new(dir)) })
    }

    pub fn given(&self) -> &Path {
        &self.given
    }

    pub fn real(&self) -> &Path {
        &self.real
    }

    pub fn dir(&self) -> io::Result<&Arc<Dir>> {
        self.dir.as_ref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn open_dir(&self, relative: &Path) -> io::Result<Arc<Dir>> {
        let dir = self.dir()?;
        if relative.as_os_str().is_empty() { Ok(dir.clone()) } else { dir.open_dir(relative).map(Arc::new) }
    }

    /// Whether the directory that is held open still is the one at the root's path.
    fn is_current(&self) -> bool {
        self.dir.as_ref().is_some_and(|dir| dir.is_at(&self.real))
    }
}

impl Roots {
    pub fn new(policy: SymlinkPolicy) -> Self {
        Self { roots: Vec::new(), policy }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Root>> {
        self.roots.iter()
    }

    /// Whether no root was moved away or made again since it was opened.
    pub fn are_current(&self) -> bool {
        self.roots.iter().all(|root| root.is_current())
    }

    /// Opens the roots again that were made again, and returns their real paths; nothing is found beneath those that are
    /// gone.
    pub fn reopen(&mut self) -> Vec<PathBuf> {
        let mut replaced = Vec::new();
        for root in self.roots.iter_mut().filter(|root| !root.is_current()) {
            let gone = |_| Root { given: root.given.clone(), real: root.real.clone(), dir: None };
            *root = Arc::new(Root::open(&root.given).unwrap_or_else(gone));
            replaced.extend(root.dir.is_some().then(|| root.real.clone()));
        }
        replaced
    }

    /// Adds a root; one that is there already under the same name is replaced.
    pub fn add(&mut self, root: Root) {
        self.remove(&root.given.clone());
        self.roots.push(Arc::new(root));
    }

    /// Removes the root that was given by this path.
    pub fn remove(&mut self, given: &Path) -> Option<Arc<Root>> {
        let index = self.roots.iter().position(|root| root.given == given)?;
        Some(self.roots.remove(index))
    }

    /// The root that a path lies in by its spelling, and the rest of the path; the innermost of nested roots.
    fn locate<'p>(&self, path: &'p Path) -> Option<(&Arc<Root>, &'p Path)> {
        let spellings = self.roots.iter().flat_map(|root| {
            let real = (root.real != root.given).then_some((root, &root.real));
            iter::once((root, &root.given)).chain(real)
        });
        spellings
            .filter_map(|(root, prefix)| Some((root, path.strip_prefix(prefix).ok()?)))
            .min_by_key(|(_, rest)| rest.as_os_str().len())
    }

    /// The root of a path that leads through no link.
    fn locate_real<'p>(&self, real: &'p Path) -> Option<(&Arc<Root>, &'p Path)> {
        let inside = self.roots.iter().filter_map(|root| Some((root, real.strip_prefix(&root.real).ok()?)));
        inside.min_by_key(|(_, rest)| rest.as_os_str().len())
    }

    /// A path for messages: relative to its root, or as given.
    pub fn relative<'p>(&self, path: &'p Path) -> &'p Path {
        self.locate(path).map_or(path, |(_, rest)| rest)
    }
}

/// Resolves the paths of one request; keeps directories that several of them share open.
pub(crate) struct Resolver<'a> {
    roots: &'a Roots,
    budget: &'a DirBudget,
    held: Mutex<HeldDirs>,
}

/// Open directories by the root they were opened beneath, and their path there.
type HeldDirs = HashMap<usize, HashMap<OsString, Arc<HeldDir>>>;

impl<'a> Resolver<'a> {
    pub fn new(roots: &'a Roots, budget: &'a DirBudget) -> Self {
        Self { roots, budget, held: Mutex::default() }
    }

    /// Resolves an absolute path. That nothing is there is no error, also when whole directories are missing.
    pub fn resolve(&self, path: &Path) -> Result<RootedPath, IoError> {
        let Some((root, rest)) = self.roots.locate(path) else {
            return Err(IoError::new(path, IoErrorKind::OutsideRoots { no_roots: self.roots.roots.is_empty() }));
        };
        if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
            // With a slash behind it, a path can only mean a directory.
            return Err(IoError::new(rest, Look::DIRECTORY));
        }
        let mut last = io::ErrorKind::NotFound.into();
        for _ in 0..MAX_LOOKS {
            let found = match self.look_at(root, rest) {
                Ok(found) => Ok(found),
                Err(Look::Follow) => match self.follow(root, rest) {
                    Ok((_, rest)) if rest.as_os_str().is_empty() => Err(Look::Refused(Look::DIRECTORY)),
                    Ok((root, rest)) => self.look_at(&root, &rest),
                    Err(look) => Err(look),
                },
                Err(look) => Err(look),
            };
            match found {
                Ok(found) => return Ok(found),
                Err(Look::Refused(kind)) => return Err(IoError::new(self.roots.relative(path), kind)),
                Err(Look::Failed(error)) => {
                    return Err(IoError::os(self.roots.relative(path), "look up the path", error));
                }
                // A name was swapped for a link since it was followed.
                Err(Look::Follow) => last = too_many_links(),
            }
        }
        Err(IoError::os(self.roots.relative(path), "look up the path", last))
    }

    /// Looks at a path that is to lead through no link.
    fn look_at(&self, root: &Arc<Root>, rest: &Path) -> Result<RootedPath, Look> {
        if rest.as_os_str().is_empty() {
            return Err(Look::Refused(Look::DIRECTORY));
        }
        let relative = normal(rest).ok_or(Look::Follow)?;
        let mut found = RootedPath { root: root.clone(), relative, dir: None, look: None };
        let (dir, held) = match self.open_parent(&found) {
            Ok(opened) => opened,
            Err(error) if is_link_refusal(&error) => return Err(Look::Follow),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
            Err(error) => return Err(Look::Failed(error)),
        };
        let now = SystemTime::now();
        match dir.stat(found.name()) {
            Ok(stat) if stat.kind == FileKind::Link => return Err(Look::Follow),
            Ok(stat) => found.look = Some((stat, now)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Look::Failed(error)),
        }
        found.dir = held;
        Ok(found)
    }

    fn open_parent(&self, path: &RootedPath) -> io::Result<(Arc<Dir>, Option<Arc<HeldDir>>)> {
        let (root, parent) = (Arc::as_ptr(&path.root) as usize, path.parent());
        if let Some(held) = self.held().get(&root).and_then(|dirs| dirs.get(parent.as_os_str())) {
            return Ok((held.dir.clone(), Some(held.clone())));
        }
        let dir = path.root.open_dir(parent)?;
        let Some(place) = self.budget.take().or_else(|| self.make_room()) else { return Ok((dir, None)) };
        let held = Arc::new(HeldDir { dir: dir.clone(), _place: place });
        self.held().entry(root).or_default().insert(parent.into(), held.clone());
        Ok((dir, Some(held)))
    }

    /// Closes the directories that no path needs at the moment.
    fn make_room(&self) -> Option<BudgetPlace> {
        let mut unused = Vec::new();
        for dirs in self.held().values_mut() {
            dirs.retain(|_, dir| {
                let is_used = Arc::strong_count(dir) > 1;
                unused.extend((!is_used).then(|| dir.clone()));
                is_used
            });
        }
        // Others need not wait until they are closed.
        drop(unused);
        self.budget.take()
    }

    fn held(&self) -> MutexGuard<'_, HeldDirs> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows the links of a path and says where it leads, if the policy allows it.
    fn follow(&self, origin: &Arc<Root>, rest: &Path) -> Result<(Arc<Root>, PathBuf), Look> {
        let walk = Walk::of(origin, rest).map_err(Look::Failed)?;
        let real = walk.real();
        let refusal =
            if walk.links == 0 { IoErrorKind::OutsideRoots { no_roots: false } } else { IoErrorKind::SymlinkDenied };
        let Some((root, rest)) = self.roots.locate_real(&real) else { return Err(Look::Refused(refusal)) };
        // A `..` may lead from a root to one around it; only links are kept in theirs.
        if self.roots.policy == SymlinkPolicy::Follow || walk.links == 0 {
            return Ok((root.clone(), rest.to_path_buf()));
        }
        match real.strip_prefix(&origin.real) {
            Ok(rest) => Ok((origin.clone(), rest.to_path_buf())),
            Err(_) => Err(Look::Refused(refusal)),
        }
    }
}

/// The path built anew from its components, so that two spellings ("a//b", "a/./b") become one; `None` if there is a `..`.
fn normal(rest: &Path) -> Option<PathBuf> {
    let mut normal = OsString::with_capacity(rest.as_os_str().len());
    for component in rest.components() {
        let Component::Normal(name) = component else { return None };
        if !normal.is_empty() {
            normal.push(MAIN_SEPARATOR_STR);
        }
        normal.push(name);
    }
    Some(normal.into())
}

/// Why looking at a path came to no result.
enum Look {
    /// There is a link or a `..` on the way.
    Follow,
    Refused(IoErrorKind),
    Failed(io::Error),
}

impl Look {
    const DIRECTORY: IoErrorKind = IoErrorKind::NotAFile { found: FileKind::Directory.name() };
}
