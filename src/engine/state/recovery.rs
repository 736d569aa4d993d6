//! Finishing what dead processes have left: their transactions first, then their temporary files.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read},
    iter,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use uuid::Uuid;

use super::{Action, OldFile, RECORD, Record, RecordedPath, StateDir, Step, lock_at, temporaries};
use crate::{
    disk::{Dir, DirId, FileKind, FileStat, NewFileAccess, stat_file, write_all},
    encoding::DecodeError,
    engine::{file::hash_open_file, os_locks::OsLocks},
    hash::ContentHash,
    roots::Place,
    temp_name::{is_foreign, is_of_session, kept_name},
};

/// What was done about transactions that others had left unfinished.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Transactions that were completed, with their files.
    pub finished: Vec<(Uuid, Vec<PathBuf>)>,
    /// Files that are neither what they were before their transaction nor what it would have made of them, and why.
    pub left_alone: Vec<(Uuid, PathBuf, String)>,
    /// Records that could not be read and were moved to these places, and why.
    pub set_aside: Vec<(PathBuf, String)>,
    /// Files that somebody had written to in the moment they were replaced or deleted, and the names they have now.
    pub kept: Vec<PathBuf>,
    /// What kept recovery from looking, or from finishing; the next start tries again.
    pub problems: Vec<String>,
}

/// What became of a step.
enum End {
    Done,
    LeftAlone(String),
}

impl StateDir {
    /// Finishes the transactions of processes that are gone and removes their temporary files. What belongs to a process
    /// that lives is left to it, so that of several that start at once each thing is done by one.
    pub fn recover(&self, locks: &OsLocks) -> RecoveryReport {
        let mut report = RecoveryReport::default();
        let failed = |what: &str, error: &io::Error| format!("{}: {what}: {error}", self.path.display());
        match self.transactions.names() {
            Ok(names) => {
                for name in names.iter().filter(|name| name.as_encoded_bytes().ends_with(RECORD.as_bytes())) {
                    if let Err(error) = self.recover_transaction(name, locks, &mut report) {
                        report.problems.push(failed(&format!("transaction {}", name.to_string_lossy()), &error));
                    }
                }
            }
            Err(error) => report.problems.push(failed("transactions", &error)),
        }
        // Only now, because what a transaction needs may be in a temporary file.
        if let Err(error) = self.remove_temporaries(&mut report) {
            report.problems.push(failed("temporary files", &error));
        }
        report
    }

    fn recover_transaction(&self, name: &OsStr, locks: &OsLocks, report: &mut RecoveryReport) -> io::Result<()> {
        let Some(file) = take_over(&self.transactions, name)? else { return Ok(()) };
        let bytes = read(&file)?;
        if bytes.is_empty() {
            // Its owner died before the transaction began, or after its end.
            return self.disk.remove(&self.transactions, name);
        }
        let record = match Record::decode(&bytes) {
            Ok(record) => record,
            Err(error) => return self.set_aside(name, &error, report),
        };
        let mut files = Vec::new();
        for step in &record.steps {
            let path = step.at.absolute();
            match self.finish(step, locks, report)? {
                End::Done => files.push(path),
                End::LeftAlone(reason) => report.left_alone.push((record.origin, path, reason)),
            }
        }
        report.finished.push((record.origin, files));
        self.open_record(file, name.to_owned(), true).finish()
    }

    fn set_aside(&self, name: &OsStr, error: &DecodeError, report: &mut RecoveryReport) -> io::Result<()> {
        let mut aside = name.to_owned();
        aside.push(".set-aside");
        self.disk.rename_new((&self.transactions, name), (&self.transactions, &aside))?;
        report.set_aside.push((self.path.join("transactions").join(aside), error.to_string()));
        Ok(())
    }

    /// Does what is left of a step. A second time it finds that nothing is.
    fn finish(&self, step: &Step, locks: &OsLocks, report: &mut RecoveryReport) -> io::Result<End> {
        let makes_parents =
            matches!(step.action, Action::Write { old: None, .. } | Action::MoveFrom { overwritten: None, .. });
        let dir = match self.open_parent(&step.at, makes_parents) {
            Ok(dir) => dir,
            Err(error) if is_gone(&error) => return Ok(End::LeftAlone(format!("its directory: {error}"))),
            Err(error) => return Err(error),
        };
        let target = Target::new(dir, &step.at);
        let source = match &step.action {
            Action::MoveFrom { from, .. } => self.open_source(from)?,
            _ => None,
        };
        // A process that lives may be editing the same file.
        let mut places: Vec<_> = iter::once(&target).chain(&source).map(Target::place).collect();
        if let Action::WriteInPlace { old, .. } = &step.action {
            // By another name.
            places.push(Place::of_file(DirId { device: old.device, inode: old.inode }));
        }
        let _locks = locks.lock(&places).map_err(io::Error::other)?;
        match &step.action {
            Action::Write { old, new, temp } => self.finish_write(&target, old.as_ref(), new, temp, report),
            Action::WriteInPlace { old, old_content, new } => self.finish_in_place(&target, old, old_content, new),
            Action::Delete { old, aside } => self.finish_delete(&target, old, aside, report),
            Action::MoveFrom { file, overwritten, .. } => self.finish_move(&target, source, file, overwritten.as_ref()),
        }
    }

    fn finish_write(
        &self,
        target: &Target,
        old: Option<&OldFile>,
        new: &[u8],
        temp: &OsStr,
        report: &mut RecoveryReport,
    ) -> io::Result<End> {
        let hash = ContentHash::of(new);
        let now = target.look(target.name)?;
        let beside = target.look(temp)?;
        let is_ready = match &beside {
            Some(stat) => stat.size == new.len() as u64 && target.hash(temp)? == Some(hash),
            None => false,
        };
        let is_new = match &now {
            Some(stat) => stat.size == new.len() as u64 && target.hash(target.name)? == Some(hash),
            None => false,
        };
        if is_new {
            // What was exchanged with it has this name.
            if let Some(beside) = &beside {
                self.discard(&target.dir, temp, beside, target.directory(), report)?;
            }
            self.disk.sync_dir(&target.dir)?;
            return Ok(End::Done);
        }
        if !target.is(now.as_ref(), old, target.name)? {
            if is_ready {
                self.disk.remove(&target.dir, temp)?;
            }
            return Ok(End::LeftAlone(CHANGED.into()));
        }
        let ready = if is_ready { temp.to_owned() } else { self.write_beside(target, now.is_some(), new)? };
        if now.is_some() {
            self.disk.replace(&target.dir, &ready, target.name)?;
        } else {
            self.disk.rename_new((&target.dir, &ready), (&target.dir, target.name))?;
        }
        self.disk.sync_dir(&target.dir)?;
        Ok(End::Done)
    }

    /// Writes the content once more, for a target whose temporary file did not survive.
    fn write_beside(&self, target: &Target, replaces: bool, new: &[u8]) -> io::Result<OsString> {
        self.temporaries.note(target.directory(), true)?;
        let name = self.temp_names.next(None);
        let access = if replaces { NewFileAccess::Private } else { NewFileAccess::Default };
        let file = self.disk.create(&target.dir, &name, access)?;
        let written = write_all(&*self.disk, &file, new).and_then(|()| {
            if replaces {
                let lost = self.disk.copy_metadata(&target.dir.open_file(target.name)?, &file)?;
                if !lost.is_empty() {
                    tracing::warn!(name = ?target.name, ?lost, "metadata could not be preserved");
                }
            }
            self.disk.sync_file(&file)
        });
        written.or_else(|error| {
            self.disk.remove(&target.dir, &name)?;
            Err(error)
        })?;
        Ok(name)
    }

    fn finish_in_place(&self, target: &Target, old: &OldFile, old_content: &[u8], new: &[u8]) -> io::Result<End> {
        let Some(stat) = target.look(target.name)? else { return Ok(End::LeftAlone(CHANGED.into())) };
        if (stat.device, stat.inode) != (old.device, old.inode) {
            return Ok(End::LeftAlone(CHANGED.into()));
        }
        let longest = old_content.len().max(new.len()) as u64;
        let now = if stat.size > longest { None } else { Some(read(&target.dir.open_file(target.name)?)?) };
        match now {
            Some(now) if now == new => return Ok(End::Done),
            Some(now) if is_mixture(&now, old_content, new) => {}
            _ => return Ok(End::LeftAlone(CHANGED.into())),
        }
        let file = target.dir.open_to_write(target.name)?;
        write_all(&*self.disk, &file, new)?;
        self.disk.set_len(&file, new.len() as u64)?;
        self.disk.sync_file(&file)?;
        Ok(End::Done)
    }

    fn finish_delete(
        &self,
        target: &Target,
        old: &OldFile,
        aside: &OsStr,
        report: &mut RecoveryReport,
    ) -> io::Result<End> {
        let beside = target.look(aside)?;
        if let Some(beside) = &beside {
            self.discard(&target.dir, aside, beside, target.directory(), report)?;
        }
        let now = target.look(target.name)?;
        let end = match &now {
            None => End::Done,
            Some(_) if target.is(now.as_ref(), Some(old), target.name)? => {
                self.disk.remove(&target.dir, target.name)?;
                End::Done
            }
            // Made again by somebody after it was gone.
            Some(_) if beside.is_some() => End::Done,
            Some(_) => End::LeftAlone(CHANGED.into()),
        };
        self.disk.sync_dir(&target.dir)?;
        Ok(end)
    }

    fn finish_move(
        &self,
        target: &Target,
        source: Option<Target>,
        file: &OldFile,
        overwritten: Option<&OldFile>,
    ) -> io::Result<End> {
        let there = source.as_ref().map_or(Ok(None), |source| source.look(source.name))?;
        let here = target.look(target.name)?;
        let has_come = here.is_some() && target.is(here.as_ref(), Some(file), target.name)?;
        let Some(source) = source.filter(|_| there.is_some()) else {
            return Ok(if has_come { End::Done } else { End::LeftAlone(CHANGED.into()) });
        };
        if has_come {
            if overwritten.is_some() && source.is(there.as_ref(), overwritten, source.name)? {
                self.disk.remove(&source.dir, source.name)?;
            }
        } else if source.is(there.as_ref(), Some(file), source.name)?
            && (here.is_none() || target.is(here.as_ref(), overwritten, target.name)?)
        {
            let (from, to) = ((&*source.dir, source.name), (&*target.dir, target.name));
            if here.is_some() {
                self.disk.remove(&target.dir, target.name)?;
            }
            self.disk.rename_new(from, to)?;
        } else {
            return Ok(End::LeftAlone(CHANGED.into()));
        }
        self.disk.sync_dir(&target.dir)?;
        self.disk.sync_dir(&source.dir)?;
        Ok(End::Done)
    }

    /// The place that a file comes from, unless its directory is gone.
    fn open_source<'s>(&self, from: &'s RecordedPath) -> io::Result<Option<Target<'s>>> {
        match self.open_parent(from, false) {
            Ok(dir) => Ok(Some(Target::new(dir, from))),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens the directory that a path lies in, beneath its root; fails at links.
    fn open_parent(&self, path: &RecordedPath, make: bool) -> io::Result<Arc<Dir>> {
        // It was recorded as a path without links, so one on it has come since. A root that is not there may come back
        // with its file system.
        if std::fs::canonicalize(&path.root)
            .map_err(|error| io::Error::other(format!("{}: {error}", path.root.display())))?
            != path.root
        {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the root leads somewhere else now"));
        }
        let mut dir = Arc::new(Dir::open_absolute(&path.root)?);
        let parent = path.relative.parent().unwrap_or(Path::new(""));
        for component in parent.components() {
            let Component::Normal(name) = component else { return Err(io::ErrorKind::InvalidData.into()) };
            dir = match dir.open_dir(Path::new(name)) {
                Err(error) if make && error.kind() == io::ErrorKind::NotFound => {
                    self.disk.make_dir(&dir, name)?;
                    self.disk.sync_dir(&dir)?;
                    Arc::new(dir.open_dir(Path::new(name))?)
                }
                opened => Arc::new(opened?),
            };
        }
        Ok(dir)
    }

    fn remove_temporaries(&self, report: &mut RecoveryReport) -> io::Result<()> {
        let notes = self.temporaries.dir();
        for name in notes.names()? {
            let session = name.to_str().and_then(|name| name.strip_suffix(temporaries::NOTE));
            let Some(session) = session else { continue };
            let Some(note) = take_over(notes, &name)? else { continue };
            for directory in temporaries::directories(&read(&note)?) {
                match self.remove_temporaries_in(&directory, session, report) {
                    Err(error) if is_gone(&error) => {}
                    result => result?,
                }
            }
            self.disk.remove(notes, &name)?;
        }
        Ok(())
    }

    fn remove_temporaries_in(&self, directory: &Path, session: &str, report: &mut RecoveryReport) -> io::Result<()> {
        let dir = Dir::open_absolute(directory)?;
        for name in dir.names()?.iter().filter(|name| is_of_session(name, session)) {
            match dir.stat(name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                stat => self.discard(&dir, name, &stat?, directory, report)?,
            }
        }
        Ok(())
    }

    /// Removes a file with the name of a temporary one, unless it is somebody else's: one that came in the moment of the
    /// exchange, or was written to since. That one is kept.
    fn discard(
        &self,
        dir: &Dir,
        name: &OsStr,
        stat: &FileStat,
        directory: &Path,
        report: &mut RecoveryReport,
    ) -> io::Result<()> {
        if is_foreign(name, stat) {
            let kept = kept_name(name);
            self.disk.rename_new((dir, name), (dir, &kept))?;
            report.kept.push(directory.join(kept));
            return Ok(());
        }
        self.disk.remove(dir, name)
    }
}

const CHANGED: &str = "it was changed after the crash";

/// A place that recovery looks at.
struct Target<'s> {
    dir: Arc<Dir>,
    name: &'s OsStr,
    path: PathBuf,
}

impl<'s> Target<'s> {
    fn new(dir: Arc<Dir>, path: &'s RecordedPath) -> Self {
        Self { dir, name: path.relative.file_name().unwrap_or_default(), path: path.absolute() }
    }

    /// What has this name; something else than a file is nothing that a transaction has touched.
    fn look(&self, name: &OsStr) -> io::Result<Option<FileStat>> {
        match self.dir.stat(name) {
            Ok(stat) if stat.kind == FileKind::File => Ok(Some(stat)),
            Ok(stat) => Ok(Some(FileStat { inode: 0, size: u64::MAX, ..stat })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn place(&self) -> Place {
        Place::in_directory(self.dir.id(), self.name)
    }

    fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    fn hash(&self, name: &OsStr) -> io::Result<Option<ContentHash>> {
        match self.dir.open_file(name) {
            Ok(file) => hash_open_file(&file).map(Some),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether what is there is what was there before the transaction.
    fn is(&self, now: Option<&FileStat>, old: Option<&OldFile>, name: &OsStr) -> io::Result<bool> {
        match (now, old) {
            (None, None) => Ok(true),
            (Some(now), Some(old)) => Ok(old.is(now) && self.hash(name)? == Some(old.hash)),
            _ => Ok(false),
        }
    }
}

/// Whether a crash in the middle of writing the new content over the old one may have left this: whatever order the
/// pieces came to the disk in.
fn is_mixture(now: &[u8], old: &[u8], new: &[u8]) -> bool {
    let at = |content: &[u8], index: usize| content.get(index).copied().unwrap_or(0);
    now.len() >= old.len().min(new.len())
        && now.iter().enumerate().all(|(index, byte)| *byte == at(old, index) || *byte == at(new, index))
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        || crate::disk::is_link_refusal(error)
}

/// Opens a file that nobody holds, and holds it from now on; `None` if somebody does, or it has gone.
fn take_over(dir: &Dir, name: &OsStr) -> io::Result<Option<File>> {
    let file = match dir.open_to_write(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    if stat_file(&file)?.kind != FileKind::File {
        return Ok(None);
    }
    Ok(lock_at(&file, dir, name)?.then_some(file))
}

fn read(mut file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}
