//! The places a request speaks of, and which of them belong together.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use crate::{
    engine::{Change, EditRequest},
    error::IoError,
    roots::{Place, Resolver, RootedPath},
};

/// The places of a request in the order of first mention.
pub(in crate::engine) struct Targets<'r> {
    pub targets: Vec<Target<'r>>,
    /// The changes of one group depend on each other, those of different groups do not.
    pub groups: Vec<Vec<Step<'r>>>,
    /// Where the files are, and those with several names themselves, each once and sorted; what is locked.
    pub places: Vec<Place>,
}

/// A place a request speaks of.
pub(in crate::engine) struct Target<'r> {
    pub path: Result<RootedPath, IoError>,
    /// As it was first given.
    pub asked: &'r Path,
    /// An earlier change makes the directory the file is in.
    pub parents_made: bool,
}

/// One change and the targets it speaks of.
pub(in crate::engine) struct Step<'r> {
    /// Index of the change in the request.
    pub index: usize,
    pub change: &'r Change,
    pub at: usize,
    /// Where a rename leads.
    pub to: Option<usize>,
}

impl<'r> Targets<'r> {
    /// Resolves the paths of a request; two spellings of one file are one target.
    pub fn resolve(request: &'r EditRequest, resolver: &Resolver) -> Self {
        let mut found = Finder { resolver, by_place: HashMap::new(), made: Vec::new(), targets: Vec::new() };
        let mut links = Links::default();
        let mut steps = Vec::with_capacity(request.changes.len());
        for (index, change) in request.changes.iter().enumerate() {
            let at = found.target(change.path());
            let to = match change {
                Change::Rename { new_path, .. } => Some(found.target(new_path)),
                Change::Edit(_) | Change::Create(_) | Change::Delete { .. } => None,
            };
            if matches!(change, Change::Create(create) if create.options.create_parents) {
                found.parents_of(at);
            }
            links.join(at, to.unwrap_or(at));
            steps.push(Step { index, change, at, to });
        }
        let mut groups: Vec<Vec<Step>> = Vec::new();
        let mut group_of = HashMap::new();
        for step in steps {
            let group = *group_of.entry(links.first(step.at)).or_insert_with(|| {
                groups.push(Vec::new());
                groups.len() - 1
            });
            groups[group].push(step);
        }
        let paths = found.targets.iter().filter_map(|target| target.path.as_ref().ok());
        let shared = paths.filter_map(RootedPath::shared_file);
        let mut places: Vec<_> = found.by_place.into_keys().filter_map(Result::ok).chain(shared).collect();
        places.sort_unstable();
        places.dedup();
        Self { targets: found.targets, groups, places }
    }
}

impl Change {
    /// The file that the change begins with.
    fn path(&self) -> &PathBuf {
        match self {
            Self::Edit(edits) => &edits.path,
            Self::Create(create) => &create.path,
            Self::Delete { path, .. } => path,
            Self::Rename { old_path, .. } => old_path,
        }
    }
}

struct Finder<'r, 'a> {
    resolver: &'a Resolver<'a>,
    by_place: HashMap<Result<Place, &'r Path>, usize>,
    /// Directories that earlier changes make.
    made: Vec<PathBuf>,
    targets: Vec<Target<'r>>,
}

impl<'r> Finder<'r, '_> {
    fn target(&mut self, asked: &'r Path) -> usize {
        let found = self.resolver.resolve(asked).and_then(|path| {
            let place = path.place();
            Ok((place.map_err(|error| IoError::os(path.relative(), "look up the directory", error))?, path))
        });
        let (place, path) = match found {
            Ok((place, path)) => (Ok(place), Ok(path)),
            Err(error) => (Err(asked), Err(error)),
        };
        let parent = path.as_ref().ok().and_then(parent_of);
        let parents_made = parent.is_some_and(|parent| self.made.iter().any(|dir| dir.starts_with(&parent)));
        *self.by_place.entry(place).or_insert_with(|| {
            self.targets.push(Target { path, asked, parents_made });
            self.targets.len() - 1
        })
    }

    fn parents_of(&mut self, target: usize) {
        self.made.extend(self.targets[target].path.as_ref().ok().and_then(parent_of));
    }
}

fn parent_of(path: &RootedPath) -> Option<PathBuf> {
    path.absolute().parent().map(Path::to_path_buf)
}

/// Which targets depend on each other: a forest in which each points to an earlier one.
#[derive(Default)]
struct Links(HashMap<usize, usize>);

impl Links {
    /// The first of all targets that depend on this one.
    fn first(&mut self, mut target: usize) -> usize {
        while let Some(&earlier) = self.0.get(&target) {
            // A shorter way for the next time.
            if let Some(&still_earlier) = self.0.get(&earlier) {
                self.0.insert(target, still_earlier);
            }
            target = earlier;
        }
        target
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.first(one), self.first(other));
        if one != other {
            self.0.insert(one.max(other), one.min(other));
        }
    }
}
