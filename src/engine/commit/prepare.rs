//! Everything that a step can get ready beforehand, without anybody seeing it.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    fs::File,
    io, iter,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    disk::{Dir, Disk, FileStat, NewFileAccess, stat_file, write_all},
    engine::{
        Engine,
        closing::may_wait,
        file::hash_open_file,
        plan::{Action, Like, Original, PlannedStep},
        state::StateDir,
    },
    error::{ActualHashes, GuardKind, IoError, IoErrorKind, Warning},
    hash::ContentHash,
    roots::RootedPath,
};

/// A step that can be put in place.
pub(super) struct Ready<'e> {
    engine: &'e Engine,
    /// The directory of the step's path.
    pub dir: Arc<Dir>,
    /// Where the file of a move comes from.
    pub from: Option<Arc<Dir>>,
    /// In the same directory: the new content until it is put in place, then the old one. Of a move over another file:
    /// where the file came from, the other one.
    pub name: OsString,
    /// The new content as it was when it was ready.
    pub written: Option<FileStat>,
    /// What is removed in the end, however it comes.
    pub surplus: Option<(Arc<Dir>, OsString)>,
    /// Whether that may still be [open](crate::engine::closing) when it is removed.
    closed_later: bool,
    /// The directories whose entries change.
    dirs: Vec<Arc<Dir>>,
    pub warnings: Vec<Warning>,
}

impl Engine {
    pub(super) fn prepare(&self, step: &PlannedStep, sync: bool, open: &Dirs) -> Result<Ready<'_>, IoError> {
        let _permit = self.permits.acquire();
        let failed = |operation| move |error| IoError::os(step.path.relative(), operation, error);
        let mut dirs = Vec::new();
        let create_parents = match step.action {
            Action::Write { create_parents, .. } | Action::MoveFrom { create_parents, .. } => create_parents,
            Action::Delete => false,
        };
        let dir = match open.of(&step.path) {
            Err(error) if create_parents && error.kind() == io::ErrorKind::NotFound => {
                open.make_parents(&step.path, &mut dirs).map_err(failed("create the parent directories"))?
            }
            dir => dir.map_err(failed("open the directory"))?,
        };
        let mut ready = Ready {
            engine: self,
            dir: dir.clone(),
            from: None,
            name: self.temp_names.next(step.original.as_ref().map(|original| &original.stat)),
            written: None,
            surplus: None,
            closed_later: false,
            dirs,
            warnings: Vec::new(),
        };
        if let Action::MoveFrom { from, .. } = &step.action {
            let name = from.name();
            let from = open.of(from).map_err(failed("open the directory"))?;
            if sync {
                // Whoever has written it may not have waited for the disk.
                let file = from.open_to_sync(name).map_err(failed("open"))?;
                self.disk.sync_file(&file).map_err(failed("sync"))?;
            }
            ready.dirs.push(from.clone());
            ready.from = Some(from);
        }
        ready.dirs.push(dir);
        match &step.action {
            Action::Write { in_place: true, .. } => ready.warnings.push(Warning::WrittenInPlace),
            Action::Write { new, like, .. } => {
                self.note_temporaries(&step.path, &ready.dir, sync)?;
                self.write_beside(step, new, like, sync, &mut ready)?;
            }
            Action::Delete => self.note_temporaries(&step.path, &ready.dir, sync)?,
            Action::MoveFrom { from, .. } if step.original.is_some() => {
                ready.from.iter().try_for_each(|dir| self.note_temporaries(from, dir, sync))?;
                self.note_temporaries(&step.path, &ready.dir, sync)?;
            }
            Action::MoveFrom { .. } => {}
        }
        Ok(ready)
    }

    /// Says in the state directory where a temporary file may stay behind if this process dies.
    fn note_temporaries(&self, path: &RootedPath, dir: &Dir, sync: bool) -> Result<(), IoError> {
        let Some(state) = &self.state else { return Ok(()) };
        let directory = path.root().real().join(path.parent());
        let noted = state.note_temporaries(&directory, dir.id(), sync);
        noted.map_err(|error| IoError::new("", IoErrorKind::from_state("note where temporary files are", error)))
    }

    /// Writes the new content beside its target, with the metadata that it is to have; where that is possible to a file
    /// that has no name until it is complete.
    fn write_beside(
        &self,
        step: &PlannedStep,
        new: &[u8],
        like: &Like,
        sync: bool,
        ready: &mut Ready,
    ) -> Result<(), IoError> {
        let failed = |operation| move |error| IoError::os(step.path.relative(), operation, error);
        let access = if matches!(like, Like::New) { NewFileAccess::Default } else { NewFileAccess::Private };
        let unnamed = self.disk.create_unnamed(&ready.dir, access);
        if let Some(file) = supported(unnamed).map_err(failed("create a temporary file"))? {
            self.fill(step, &file, (new, like, None), sync, ready)?;
            let named = self.disk.name(&file, &ready.dir, &ready.name);
            if supported(named).map_err(failed("name the temporary file"))?.is_some() {
                ready.surplus = Some((ready.dir.clone(), ready.name.clone()));
                // Only here: a file system that knows no files without names, such as NFS, gives a file that is removed
                // while it is open another name.
                let replaced = step.original.as_ref();
                ready.closed_later = replaced.is_some_and(|original| may_wait(original.stat.size, &ready.dir));
                return Ok(());
            }
        }
        let first_name = self.temp_names.next(None);
        let file = self.disk.create(&ready.dir, &first_name, access).map_err(failed("create a temporary file"))?;
        ready.surplus = Some((ready.dir.clone(), first_name.clone()));
        // What the umask and the directory's default ACL let others do, they may once it is complete.
        let later_mode = match access {
            NewFileAccess::Private => None,
            NewFileAccess::Default => Some(self.close_to_others(&file).map_err(failed("close to others"))?),
        };
        self.fill(step, &file, (new, like, later_mode), sync, ready)?;
        let renamed = self.disk.rename_new((&ready.dir, &first_name), (&ready.dir, &ready.name));
        renamed.map_err(failed("rename the temporary file"))?;
        ready.surplus = Some((ready.dir.clone(), ready.name.clone()));
        Ok(())
    }

    /// Leaves an empty file to its owner alone, and returns the mode that it had.
    fn close_to_others(&self, file: &File) -> io::Result<u32> {
        let mode = stat_file(file)?.mode & 0o7777;
        self.disk.set_mode(file, 0o600)?;
        Ok(mode)
    }

    fn fill(
        &self,
        step: &PlannedStep,
        file: &File,
        (new, like, later_mode): (&[u8], &Like, Option<u32>),
        sync: bool,
        ready: &mut Ready,
    ) -> Result<(), IoError> {
        let failed = |operation| move |error| IoError::os(step.path.relative(), operation, error);
        write_all(&*self.disk, file, new).map_err(failed("write"))?;
        let lost = match like {
            Like::New => later_mode.map_or(Ok(()), |mode| self.disk.set_mode(file, mode)).map(|()| Vec::new()),
            Like::File(path) => path.open().and_then(|from| self.disk.copy_metadata(&from, file)),
            Like::Gone(metadata) => self.disk.set_metadata(file, metadata),
        };
        let lost = lost.map_err(failed("set the metadata"))?;
        if sync {
            self.disk.sync_file(file).map_err(failed("sync"))?;
        }
        let written = stat_file(file).map_err(failed("look at"))?;
        ready.written = Some(written);
        // Only now it is known which file is to have this name.
        ready.name = self.temp_names.next(iter::once(&written).chain(step.original.as_ref().map(|old| &old.stat)));
        ready.warnings = if lost.is_empty() { Vec::new() } else { vec![Warning::MetadataNotPreserved(lost)] };
        Ok(())
    }

    pub(super) fn remove_temporary(&self, dir: &Dir, name: &OsStr) {
        // Once more for a failure that passes; what then stays is removed at the next start.
        match self.disk.remove(dir, name).or_else(|_| self.disk.remove(dir, name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(?name, %error, "could not remove a temporary file, the next start does");
                self.state.iter().for_each(StateDir::left_behind);
            }
            _ => {}
        }
    }

    /// Fails if a target is seen not to be the file any more that was read, so that nothing has to be taken back. Each
    /// step looks at the contents too when it is put in place.
    pub(super) fn check_unchanged(&self, step: &PlannedStep, ready: &Ready) -> Result<(), IoError> {
        let mut read = Vec::new();
        if let Some(original) = &step.original {
            read.push((original, &ready.dir, &step.path));
        }
        if let (Action::MoveFrom { from, file, .. }, Some(dir)) = (&step.action, &ready.from) {
            read.push((file, dir, from));
        }
        for (original, dir, path) in read {
            let now = dir.stat(path.name()).map_err(|error| IoError::os(path.relative(), "look at", error))?;
            if now != original.stat {
                self.check_same(original, dir, path.name(), path, Ctime::Same)?;
            }
        }
        Ok(())
    }

    /// Fails unless it is the original that has this name.
    pub(super) fn check_same(
        &self,
        original: &Original,
        dir: &Dir,
        name: &OsStr,
        path: &RootedPath,
        ctime: Ctime,
    ) -> Result<(), IoError> {
        // In the directory that the rename is done in.
        let now = dir.stat(name).map_err(|error| IoError::os(path.relative(), "look at", error))?;
        check_same(original, &now, ctime, path, || hash_open_file(&dir.open_file(name)?))
    }
}

/// Fails unless this is the original.
pub(super) fn check_same(
    original: &Original,
    now: &FileStat,
    ctime: Ctime,
    path: &RootedPath,
    hash: impl FnOnce() -> io::Result<ContentHash>,
) -> Result<(), IoError> {
    let same = match ctime {
        Ctime::Same => *now == original.stat,
        Ctime::Renamed => *now == FileStat { changed: now.changed, ..original.stat },
    };
    if same && original.settled {
        return Ok(());
    }
    // A file that was written a moment ago may be written again without a trace in its stat data.
    let hash = hash().ok();
    if same && hash == Some(original.hash) {
        return Ok(());
    }
    let actual = hash.map(|content| ActualHashes { content, tracking: None });
    Err(IoError::new(path.relative(), IoErrorKind::ContentMismatch { guard: GuardKind::ContentHash, actual }))
}

/// What is known of the time of the last status change.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ctime {
    Same,
    /// A rename has altered it.
    Renamed,
}

impl Ready<'_> {
    /// The directories whose entries change.
    pub fn dirs(&self) -> &[Arc<Dir>] {
        &self.dirs
    }

    /// Removes what is left over; returns the directories that have changed, and what did not go ideally.
    pub fn finish(mut self) -> (Vec<Arc<Dir>>, Vec<Warning>) {
        (std::mem::take(&mut self.dirs), std::mem::take(&mut self.warnings))
    }
}

impl Drop for Ready<'_> {
    fn drop(&mut self) {
        if let Some((dir, name)) = self.surplus.take() {
            let open = self.closed_later.then(|| dir.open_file(&name).ok()).flatten();
            self.engine.remove_temporary(&dir, &name);
            if let Some(file) = open {
                self.engine.closing.close(file);
            }
        }
    }
}

/// `None` where the system cannot do it at all.
pub(super) fn supported<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(None),
        result => result.map(Some),
    }
}

/// The directories of one commit: each is open once, and those that were made and stay empty are removed again.
pub(super) struct Dirs<'e> {
    disk: &'e dyn Disk,
    /// By their absolute paths.
    open: Mutex<HashMap<PathBuf, Arc<Dir>>>,
    /// In the order they were made.
    made: Mutex<Vec<(Arc<Dir>, OsString)>>,
}

impl<'e> Dirs<'e> {
    pub fn new(disk: &'e dyn Disk) -> Self {
        Self { disk, open: Mutex::default(), made: Mutex::default() }
    }

    /// The directory that holds a path's last component.
    fn of(&self, path: &RootedPath) -> io::Result<Arc<Dir>> {
        let at = path.root().real().join(path.parent());
        if let Some(dir) = self.open().get(&at) {
            return Ok(dir.clone());
        }
        let dir = path.dir()?;
        Ok(self.open().entry(at).or_insert(dir).clone())
    }

    /// Makes the missing directories above a file, from the innermost that is there.
    fn make_parents(&self, path: &RootedPath, changed: &mut Vec<Arc<Dir>>) -> io::Result<Arc<Dir>> {
        let mut dir = path.root().dir()?.clone();
        for component in path.parent().components() {
            let name = Path::new(component.as_os_str());
            dir = match dir.open_dir(name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    match self.make(&dir, name.as_os_str()) {
                        Ok(()) => changed.push(dir.clone()),
                        // Somebody else was faster.
                        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                        Err(error) => return Err(error),
                    }
                    Arc::new(dir.open_dir(name)?)
                }
                opened => Arc::new(opened?),
            };
        }
        Ok(self.open().entry(path.root().real().join(path.parent())).or_insert(dir).clone())
    }

    fn make(&self, dir: &Arc<Dir>, name: &OsStr) -> io::Result<()> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        self.disk.make_dir(dir, name)?;
        made.push((dir.clone(), name.to_owned()));
        Ok(())
    }

    fn open(&self) -> MutexGuard<'_, HashMap<PathBuf, Arc<Dir>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn keep(self) {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Drop for Dirs<'_> {
    fn drop(&mut self) {
        let made = self.made.get_mut().unwrap_or_else(PoisonError::into_inner);
        for (dir, name) in made.drain(..).rev() {
            match self.disk.remove_dir(&dir, &name) {
                // A file was written there after all, or others use it already.
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => result.unwrap_or_else(|error| {
                    tracing::warn!(?name, %error, "could not remove a directory that was made for nothing");
                }),
            }
        }
    }
}
