//! A disk that exists only in memory, and what `debounce` and `settle` make of the events told about it.

use std::{
    collections::BTreeMap,
    mem,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    events::FileChangeEvent,
    watch::{
        debounce::{Change, Debouncer},
        index::{Index, Look, rebase},
        settle::{Disk, settle_directory, settle_file},
        worker::event,
    },
};

pub struct World {
    pub disk: Files,
    pub index: Index,
    debouncer: Debouncer,
    start: Instant,
}

/// Files with the number of the operation that wrote them; a directory is there as long as it has files.
#[derive(Debug, Default, Clone)]
pub struct Files(pub BTreeMap<PathBuf, usize>);

#[derive(Debug, Clone)]
pub enum Operation {
    Create(PathBuf),
    Write(PathBuf),
    Remove(PathBuf),
    /// Removes a directory with all in it.
    RemoveAll(PathBuf),
    Rename(PathBuf, PathBuf),
    /// Files or directories that take each other's place.
    Exchange(PathBuf, PathBuf),
    /// Moves a file here from where nobody watches.
    Arrive(PathBuf),
    /// Moves a file or directory to where nobody watches.
    Leave(PathBuf),
}

impl World {
    /// The debounce time is 50 ms.
    pub fn new() -> Self {
        Self {
            disk: Files::default(),
            index: Index::default(),
            debouncer: Debouncer::new(Duration::from_millis(50)),
            start: Instant::now(),
        }
    }

    /// Tells what happened at this millisecond.
    pub fn deliver(&mut self, change: Change, millis: u64) {
        self.debouncer.push(change, self.start + Duration::from_millis(millis));
    }

    /// Compares everything with the index, as a poll does.
    pub fn compare(&mut self, millis: u64) {
        let there = self.disk.0.keys().filter(|file| {
            let now = self.disk.look(file);
            self.index.look(file).zip(now).is_none_or(|(before, now)| before.is_same(&now) != Some(true))
        });
        let known = self.index.files_below(Path::new("/r"));
        let gone = known.iter().filter(|file| !self.disk.is_file(file));
        let different: Vec<_> = there.chain(gone).cloned().collect();
        different.into_iter().for_each(|file| self.deliver(Change::Suspect(file), millis));
    }

    /// When something is due next, in milliseconds.
    pub fn next_deadline(&self) -> Option<u64> {
        self.debouncer.next_deadline().map(|at| (at - self.start).as_millis() as u64)
    }

    /// What is reported at this millisecond.
    pub fn report(&mut self, millis: u64) -> Vec<FileChangeEvent> {
        let due = self.debouncer.due(self.start + Duration::from_millis(millis));
        let mut reports = Vec::new();
        for change in due.directories {
            let net = settle_directory(change, &mut self.index, &self.disk);
            reports.extend(
                net.tell.into_iter().map(|(path, net)| FileChangeEvent { directory: true, ..event(path, net) }),
            );
            let there = self.disk.0.keys().filter(|file| net.check.iter().any(|dir| file.starts_with(dir))).cloned();
            let known = net.check.iter().flat_map(|directory| self.index.files_below(directory));
            let suspects = there.chain(known).collect::<Vec<_>>();
            suspects.into_iter().for_each(|file| self.deliver(Change::Suspect(file), millis));
        }
        for change in due.files {
            let net = settle_file(&change, self.disk.look(&change.path), &mut self.index, &self.disk);
            reports.extend(net.map(|net| event(change.path, net)));
        }
        reports
    }
}

impl Files {
    /// How a file looks that was written last by this operation.
    pub fn look(&self, path: &Path) -> Option<Look> {
        let number = *self.0.get(path)?;
        Some(Look { inode: number as u64 + 1, size: number as u64 + 1, settled: true, ..Look::default() })
    }

    /// Does it and returns the events it makes; nothing happens if it cannot be done.
    pub fn operate(&mut self, operation: Operation, number: usize) -> Vec<Change> {
        match operation {
            Operation::Create(path) if self.is_free(&path) => {
                self.0.insert(path.clone(), number);
                vec![Change::Created(path)]
            }
            Operation::Arrive(path) if self.is_free(&path) || self.is_file(&path) => {
                self.0.insert(path.clone(), number);
                vec![Change::Appeared(path)]
            }
            Operation::Write(path) if self.is_file(&path) => {
                self.0.insert(path.clone(), number);
                vec![Change::Modified(path)]
            }
            Operation::Remove(path) if self.is_file(&path) => {
                self.0.remove(&path);
                vec![Change::Removed(path)]
            }
            Operation::RemoveAll(path) if self.is_directory(&path) => {
                let files = self.take_below(&path).into_iter().map(|(file, _)| Change::Removed(file));
                files.chain([Change::DirectoryGone(path)]).collect()
            }
            Operation::Leave(path) if self.is_directory(&path) => {
                self.take_below(&path);
                vec![Change::DirectoryGone(path)]
            }
            Operation::Leave(path) if self.is_file(&path) => {
                self.0.remove(&path);
                vec![Change::Left(path)]
            }
            Operation::Rename(from, to) if self.is_directory(&from) && self.is_free(&to) && !to.starts_with(&from) => {
                for (file, content) in self.take_below(&from) {
                    self.0.insert(rebase(&file, &from, &to).unwrap(), content);
                }
                vec![Change::DirectoryGone(from.clone()), Change::DirectoryMoved { from, to }]
            }
            Operation::Rename(from, to) if from != to && (self.is_free(&to) || self.is_file(&to)) => {
                let Some(content) = self.0.remove(&from) else { return Vec::new() };
                self.0.insert(to.clone(), content);
                vec![Change::Left(from.clone()), Change::Moved { from, to }]
            }
            Operation::Exchange(a, b)
                if self.is_there(&a) && self.is_there(&b) && !a.starts_with(&b) && !b.starts_with(&a) =>
            {
                let (at_a, at_b) = (self.take_below(&a), self.take_below(&b));
                let (there, back) = (move_of(&at_a, &a, &b), move_of(&at_b, &b, &a));
                for (file, content) in at_a {
                    self.0.insert(rebase(&file, &a, &b).unwrap(), content);
                }
                for (file, content) in at_b {
                    self.0.insert(rebase(&file, &b, &a).unwrap(), content);
                }
                there.into_iter().chain(back).collect()
            }
            _ => Vec::new(),
        }
    }

    fn is_there(&self, path: &Path) -> bool {
        self.is_file(path) || self.is_directory(path)
    }

    /// Nothing is there, and no file stands in the way.
    fn is_free(&self, path: &Path) -> bool {
        !self.is_directory(path) && !path.ancestors().any(|above| self.is_file(above))
    }

    fn take_below(&mut self, directory: &Path) -> Vec<(PathBuf, usize)> {
        let (below, others) = mem::take(&mut self.0).into_iter().partition(|(file, _)| file.starts_with(directory));
        self.0 = others;
        BTreeMap::into_iter(below).collect()
    }
}

/// The events of moving what is a file if these are its own path alone, else a directory.
fn move_of(moved: &[(PathBuf, usize)], from: &Path, to: &Path) -> [Change; 2] {
    let (from, to) = (from.to_path_buf(), to.to_path_buf());
    if moved.iter().any(|(path, _)| *path == from) {
        [Change::Left(from.clone()), Change::Moved { from, to }]
    } else {
        [Change::DirectoryGone(from.clone()), Change::DirectoryMoved { from, to }]
    }
}

impl Disk for Files {
    fn is_file(&self, path: &Path) -> bool {
        self.0.contains_key(path)
    }

    fn is_directory(&self, path: &Path) -> bool {
        self.0.keys().any(|file| file != path && file.starts_with(path))
    }
}
