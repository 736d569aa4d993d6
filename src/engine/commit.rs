//! Bringing planned contents to the disk: a file is replaced as a whole or not at all.
//!
//! Each new content is written to a temporary file beside its target, gets the target's metadata and is synced; then the
//! target is looked at once more, and only if it still is the file that was read is it renamed over. Nothing of a
//! transaction is renamed before all of its files are ready. Between that last look and the rename, two system calls
//! apart, a change from outside would still be lost.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering::Relaxed},
};

use super::{
    Atomicity, Durability, EditOutcome, EditRequest, Engine, FileStatus, locks::FileLock, parallel, plan::PlannedFile,
    plan::Targets,
};
use crate::{
    CancelToken,
    disk::{Dir, Disk, NewFileAccess, write_all},
    error::{ActualHashes, GuardKind, IoError, IoErrorKind, Warning},
    roots::{Resolver, RootedPath},
    temp_name::new_temp_name,
};

/// Looks at paths that are being swapped before giving up.
const MAX_LOOKS: usize = 16;

/// The locks of one request's files.
struct Locks<'e> {
    _files: Vec<FileLock<'e>>,
    _across: Vec<File>,
}

impl Engine {
    /// Carries out a request; see [`EditRequest`]. Once it has begun to write it cannot be cancelled.
    pub fn apply(&self, request: &EditRequest, cancel: &CancelToken) -> EditOutcome {
        let (targets, locks) = self.lock_targets(request);
        let mut files = self.plan(request, &targets);
        if let Err(error) = &locks {
            fail_all(&mut files, &error.kind);
        }
        let failed = files.iter().any(PlannedFile::has_failed);
        let nothing_to_write = files.iter().all(|file| file.new.is_none());
        if request.dry_run || nothing_to_write || (failed && request.atomicity == Atomicity::Transaction) {
            return outcome(request, targets, files, request.durability);
        }
        if !cancel.begin_commit() {
            fail_all(&mut files, &IoErrorKind::Cancelled);
            return outcome(request, targets, files, request.durability);
        }
        let reached = match request.atomicity {
            Atomicity::Transaction => self.commit(&mut files, request.durability),
            Atomicity::PerFile => {
                let each = files.iter_mut().map(|file| self.commit(std::slice::from_mut(file), request.durability));
                each.fold(request.durability, weaker)
            }
        };
        outcome(request, targets, files, reached)
    }

    /// Resolves the paths of a request and locks what they name, until the locks are dropped.
    ///
    /// What a path names may change while its lock is waited for; then the locks are those of other files, and it all
    /// begins anew.
    fn lock_targets<'r>(&self, request: &'r EditRequest) -> (Targets<'r>, Result<Locks<'_>, IoError>) {
        let roots = self.roots();
        let resolve = || Targets::resolve(request, &Resolver::new(&roots, &self.dir_budget));
        let mut places = resolve().places;
        for _ in 0..MAX_LOOKS {
            let _files = self.locks.lock(places.iter().cloned());
            let across = if request.dry_run { Ok(Vec::new()) } else { self.os_locks.lock(&places) };
            let targets = resolve();
            if targets.places == places || across.is_err() {
                return (targets, across.map(|_across| Locks { _files, _across }));
            }
            places = targets.places;
        }
        let restless = io::Error::other("the paths lead somewhere else at each look");
        (resolve(), Err(IoError::os("", "lock the files", restless)))
    }

    /// Writes all of these files, or none if something fails before the first rename; says how durable they are.
    fn commit(&self, files: &mut [PlannedFile], durability: Durability) -> Durability {
        // Dropped after all temporary files, which may stand in directories that were made for another file.
        let made = MadeDirs { disk: &*self.disk, made: Mutex::default() };
        let prepare = |file: &PlannedFile| -> Result<Option<Prepared>, IoError> {
            let (Some(path), Some(new)) = (&file.path, &file.new) else { return Ok(None) };
            self.prepare(file, path, new.text.as_bytes(), durability, &made).map(Some)
        };
        let mut prepared = parallel::map(files, self.threads, prepare);
        for (file, prepared) in files.iter_mut().zip(&mut prepared) {
            let ready = std::mem::replace(prepared, Ok(None)).and_then(|ready| {
                if let Some(ready) = &ready {
                    self.check_target(file, ready)?;
                }
                Ok(ready)
            });
            match ready {
                Ok(ready) => *prepared = Ok(ready),
                Err(error) => file.fail(error),
            }
        }
        if files.iter().any(PlannedFile::has_failed) {
            return durability;
        }
        let mut written = Vec::new();
        let mut files_failed = false;
        for (file, prepared) in files.iter_mut().zip(prepared) {
            let Ok(Some(prepared)) = prepared else { continue };
            match self.put_in_place(file, prepared) {
                Ok(dirs) => written.push((file, dirs)),
                Err(error) => {
                    file.fail(error);
                    files_failed = true;
                    break;
                }
            }
        }
        if !files_failed {
            made.keep();
        }
        if durability == Durability::Full { self.sync_dirs(&mut written) } else { durability }
    }

    /// Writes the new content beside its target.
    fn prepare(
        &self,
        file: &PlannedFile,
        path: &RootedPath,
        content: &[u8],
        durability: Durability,
        made: &MadeDirs,
    ) -> Result<Prepared<'_>, IoError> {
        let _permit = self.permits.acquire();
        let failed = |operation| move |error| IoError::os(path.relative(), operation, error);
        let mut prepared = Prepared { disk: &*self.disk, dirs: Vec::new(), temp: None, warnings: Vec::new() };
        let dir = match path.dir() {
            Err(error) if file.create_parents && error.kind() == io::ErrorKind::NotFound => {
                prepared.make_parents(path, made).map_err(failed("create the parent directories"))?
            }
            dir => dir.map_err(failed("open the directory"))?,
        };
        prepared.dirs.push(dir.clone());
        let name = new_temp_name();
        let access = if file.original.is_some() { NewFileAccess::Private } else { NewFileAccess::Default };
        let temp = self.disk.create(&dir, &name, access).map_err(failed("create a temporary file"))?;
        prepared.temp = Some((dir, name));
        write_all(&*self.disk, &temp, content).map_err(failed("write"))?;
        if file.original.is_some() {
            let original = path.open().map_err(failed("open"))?;
            let lost = self.disk.copy_metadata(&original, &temp).map_err(failed("copy the metadata"))?;
            if !lost.is_empty() {
                prepared.warnings.push(Warning::MetadataNotPreserved(lost));
            }
        }
        if durability == Durability::Full {
            self.disk.sync_file(&temp).map_err(failed("sync"))?;
        }
        Ok(prepared)
    }

    /// Fails if the target is not the file any more that was read.
    fn check_target(&self, file: &PlannedFile, ready: &Prepared) -> Result<(), IoError> {
        let (Some(path), Some(original), Some((dir, _))) = (&file.path, &file.original, &ready.temp) else {
            return Ok(());
        };
        // In the directory that the rename will be done in.
        let now = dir.stat(path.name()).map_err(|error| IoError::os(path.relative(), "look at", error))?;
        if now == original.stat && original.settled {
            return Ok(());
        }
        // A file that was written a moment ago may be written again without a trace in its stat data.
        let actual =
            self.read_file(path).ok().map(|(content, _)| ActualHashes { content: content.hash, tracking: None });
        if now == original.stat && actual.is_some_and(|actual| actual.content == original.hash) {
            return Ok(());
        }
        Err(IoError::new(path.relative(), IoErrorKind::ContentMismatch { guard: GuardKind::ContentHash, actual }))
    }

    /// Renames the new content over the target; returns the directories that this changed.
    fn put_in_place(&self, file: &mut PlannedFile, mut prepared: Prepared) -> Result<Vec<Arc<Dir>>, IoError> {
        let (Some(path), Some(new), Some((dir, temp))) = (&file.path, &file.new, &prepared.temp) else {
            return Err(IoError::new(file.relative(), IoErrorKind::Internal("nothing was prepared".into())));
        };
        let real = path.absolute();
        self.observer.will_write(&real, Some(new.hash));
        let renamed = match file.original {
            Some(_) => self.disk.replace(dir, temp, path.name()),
            None => self.disk.rename_new((dir, temp), (dir, path.name())),
        };
        self.cache.forget(&real);
        if let Err(error) = renamed {
            self.observer.did_not_write(&real, Some(new.hash));
            return Err(IoError::os(path.relative(), "rename the new content into place", error));
        }
        self.files_written.fetch_add(1, Relaxed);
        self.bytes_written.fetch_add(new.text.len() as u64, Relaxed);
        file.outcome.status = FileStatus::Applied;
        tracing::info!(path = %path.relative().display(), bytes = new.text.len(), "file written");
        Ok(prepared.keep(&mut file.outcome.warnings))
    }

    /// Syncs each directory once; what could not be synced is applied all the same, and said so.
    fn sync_dirs(&self, written: &mut [(&mut PlannedFile, Vec<Arc<Dir>>)]) -> Durability {
        let mut dirs: Vec<&Arc<Dir>> = written.iter().flat_map(|(_, dirs)| dirs).collect();
        dirs.sort_by_key(|dir| dir.id());
        dirs.dedup_by_key(|dir| dir.id());
        let synced = parallel::map(&dirs, self.threads, |dir| self.disk.sync_dir(dir));
        let failures: Vec<_> =
            dirs.iter().zip(synced).filter_map(|(dir, result)| Some((dir.id(), result.err()?))).collect();
        for (file, dirs) in written {
            if let Some((_, error)) = failures.iter().find(|(id, _)| dirs.iter().any(|dir| dir.id() == *id)) {
                file.outcome.warnings.push(Warning::DurabilityUnknown(error.to_string()));
            }
        }
        if failures.is_empty() { Durability::Full } else { Durability::Unknown }
    }
}

/// A new content that stands beside its target; removed again unless it is kept.
struct Prepared<'e> {
    disk: &'e dyn Disk,
    /// The directories whose entries change.
    dirs: Vec<Arc<Dir>>,
    temp: Option<(Arc<Dir>, OsString)>,
    warnings: Vec<Warning>,
}

impl Prepared<'_> {
    /// Makes the missing directories above a file, from the innermost that is there.
    fn make_parents(&mut self, path: &RootedPath, made: &MadeDirs) -> io::Result<Arc<Dir>> {
        let mut dir = path.root().dir()?.clone();
        for component in path.parent().components() {
            let name = Path::new(component.as_os_str());
            dir = match dir.open_dir(name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    match made.make(&dir, name.as_os_str()) {
                        Ok(()) => self.dirs.push(dir.clone()),
                        // Somebody else was faster.
                        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                        Err(error) => return Err(error),
                    }
                    Arc::new(dir.open_dir(name)?)
                }
                opened => Arc::new(opened?),
            };
        }
        Ok(dir)
    }

    fn keep(&mut self, warnings: &mut Vec<Warning>) -> Vec<Arc<Dir>> {
        self.temp = None;
        warnings.append(&mut self.warnings);
        std::mem::take(&mut self.dirs)
    }
}

impl Drop for Prepared<'_> {
    fn drop(&mut self) {
        if let Some((dir, name)) = self.temp.take() {
            self.disk.remove(&dir, &name).unwrap_or_else(|error| log_left_behind(&name, &error));
        }
    }
}

/// The directories that were made for the files of one commit; those that stay empty are removed again.
struct MadeDirs<'e> {
    disk: &'e dyn Disk,
    /// In the order they were made.
    made: Mutex<Vec<(Arc<Dir>, OsString)>>,
}

impl MadeDirs<'_> {
    fn make(&self, dir: &Arc<Dir>, name: &OsStr) -> io::Result<()> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        self.disk.make_dir(dir, name)?;
        made.push((dir.clone(), name.to_owned()));
        Ok(())
    }

    fn keep(self) {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Drop for MadeDirs<'_> {
    fn drop(&mut self) {
        let made = self.made.get_mut().unwrap_or_else(PoisonError::into_inner);
        for (dir, name) in made.drain(..).rev() {
            match self.disk.remove_dir(&dir, &name) {
                // A file was written there after all, or others use it already.
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                result => result.unwrap_or_else(|error| log_left_behind(&name, &error)),
            }
        }
    }
}

fn log_left_behind(name: &OsStr, error: &io::Error) {
    if error.kind() != io::ErrorKind::NotFound {
        tracing::warn!(?name, %error, "could not remove what a failed write left behind");
    }
}

fn weaker(one: Durability, other: Durability) -> Durability {
    if one == Durability::Unknown { one } else { other }
}

fn fail_all(files: &mut [PlannedFile], kind: &IoErrorKind) {
    for file in files {
        file.fail(IoError::new(file.relative(), kind.clone()));
    }
}

fn outcome(
    request: &EditRequest,
    targets: Targets,
    mut files: Vec<PlannedFile>,
    durability: Durability,
) -> EditOutcome {
    let failed_change = files.iter().filter(|file| file.has_failed()).map(|file| file.change).min();
    let applied = failed_change.is_none() && !request.dry_run;
    for file in &files {
        if let Some(error) = &file.outcome.error {
            tracing::info!(dry_run = request.dry_run, "edit refused: {error}");
        }
    }
    let touched = files.iter().any(|file| file.outcome.status == FileStatus::Applied);
    if failed_change.is_some() && request.atomicity == Atomicity::Transaction {
        files.iter_mut().for_each(PlannedFile::mark_not_applied);
    }
    let durability = if touched { durability } else { request.durability };
    let files = files.into_iter().map(|file| file.outcome).collect();
    EditOutcome { applied, failed_change, durability, files, file_of_change: targets.of_change }
}
