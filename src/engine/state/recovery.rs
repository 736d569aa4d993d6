//! Finishing what dead processes have left: their transactions first, then their temporary files.

use std::{
    collections::HashSet,
    ffi::{OsStr, OsString},
    fs::File,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use uuid::Uuid;

use super::{
    RECORD, Record, RecordedRoot, StateDir,
    finish::End,
    take_over,
    target::{is_gone, read},
    temporaries,
};
use crate::{
    disk::{Dir, stat_file},
    engine::{
        locks::{FileLock, FileLocks},
        os_locks::OsLocks,
    },
    roots::Place,
    temp_name::is_of_session,
};

/// What was done about transactions that others had left unfinished.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Transactions that were completed, with their files.
    pub finished: Vec<(Uuid, Vec<PathBuf>)>,
    /// Files that are neither what they were before their transaction nor what it would have made of them, and why.
    pub left_alone: Vec<(Uuid, PathBuf, String)>,
    /// Records that could not be read or carried out and were moved to these places, and why.
    pub set_aside: Vec<(PathBuf, String)>,
    /// Files that somebody had written to in the moment they were replaced or deleted, and the names they have now.
    pub kept: Vec<PathBuf>,
    /// What keeps recovery from looking, or from finishing; the next one tries again.
    pub problems: Vec<String>,
}

impl RecoveryReport {
    /// Adds what a later recovery has done; it has met all problems that still are some.
    pub(crate) fn add(&mut self, later: Self) {
        self.finished.extend(later.finished);
        self.left_alone.extend(later.left_alone);
        self.set_aside.extend(later.set_aside);
        self.kept.extend(later.kept);
        self.problems = later.problems;
    }
}

/// The locks that keep edits of this process and of others away from a file.
#[derive(Clone, Copy)]
pub(crate) struct Locking<'a> {
    pub here: &'a FileLocks,
    pub across: &'a OsLocks,
}

impl<'a> Locking<'a> {
    pub(super) fn lock(self, places: &[Place]) -> io::Result<(Vec<FileLock<'a>>, Vec<File>)> {
        let here = self.here.lock(places.iter().cloned());
        Ok((here, self.across.lock(places).map_err(io::Error::other)?))
    }
}

/// How long a root or a directory that is not there is waited for: it may come back with its file system.
const PATIENCE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

impl StateDir {
    /// Finishes the transactions of processes that are gone and removes their temporary files. What belongs to a process
    /// that lives is left to it, so that of several that start at once each thing is done by one.
    pub fn recover(&self, locking: Locking) -> RecoveryReport {
        let mut report = RecoveryReport::default();
        let mut needed = HashSet::new();
        match self.transactions.names() {
            Ok(names) => {
                let is_record = |name: &&OsString| name.as_encoded_bytes().ends_with(RECORD.as_bytes());
                for name in names.iter().filter(is_record).filter(|name| !self.is_own(name)) {
                    if let Err(error) = self.recover_transaction(name, locking, &mut needed, &mut report) {
                        report.problems.push(self.problem(&format!("transaction {}", name.to_string_lossy()), &error));
                    }
                }
            }
            Err(error) => report.problems.push(self.problem("transactions", &error)),
        }
        // Only now, because what a transaction needs may be in a temporary file.
        self.remove_temporaries(&needed, &mut report);
        report
    }

    /// Adds the temporary files that the transaction still needs if it is not finished.
    fn recover_transaction(
        &self,
        name: &OsStr,
        locking: Locking,
        needed: &mut HashSet<OsString>,
        report: &mut RecoveryReport,
    ) -> io::Result<()> {
        let Some(file) = take_over(&self.transactions, name)? else { return Ok(()) };
        let bytes = read(&file)?;
        if bytes.is_empty() {
            // Its owner died before the transaction began, or after its end.
            return self.disk.remove(&self.transactions, name);
        }
        let record = match Record::decode(&bytes) {
            Ok(record) => record,
            Err(error) => return self.reject(name, error.to_string(), report),
        };
        // All of it or nothing: a step that was done long before the others could undo what was done since.
        let missing = record.roots.iter().try_for_each(check_root);
        let finished = match missing {
            Err(error) if is_old(&file)? => return self.reject(name, error.to_string(), report),
            missing => missing.and_then(|()| self.finish_all(&record, locking, report)),
        };
        match finished {
            Ok(()) => self.open_record(file, name.to_owned(), true).finish(),
            Err(error) => {
                needed.extend(record.steps.iter().filter_map(|step| step.action.temporary()).map(OsStr::to_owned));
                Err(error)
            }
        }
    }

    fn finish_all(&self, record: &Record, locking: Locking, report: &mut RecoveryReport) -> io::Result<()> {
        let (mut files, mut left_alone) = (Vec::new(), Vec::new());
        for step in &record.steps {
            let path = step.at.absolute();
            match self.finish(step, locking, report)? {
                End::Done => files.push(path),
                End::LeftAlone(reason) => left_alone.push((record.origin, path, reason)),
            }
        }
        report.finished.push((record.origin, files));
        report.left_alone.extend(left_alone);
        Ok(())
    }

    /// Moves a record aside that cannot be carried out.
    fn reject(&self, name: &OsStr, reason: String, report: &mut RecoveryReport) -> io::Result<()> {
        let mut aside = name.to_owned();
        aside.push(".set-aside");
        self.disk.rename_new((&self.transactions, name), (&self.transactions, &aside))?;
        report.set_aside.push((self.path.join("transactions").join(aside), reason));
        Ok(())
    }

    fn remove_temporaries(&self, needed: &HashSet<OsString>, report: &mut RecoveryReport) {
        let notes = match self.temporaries.dir().names() {
            Ok(notes) => notes,
            Err(error) => return report.problems.push(self.problem("notes of temporary files", &error)),
        };
        for name in notes.iter().filter(|name| !self.is_own(name)) {
            let session = name.to_str().and_then(|name| name.strip_suffix(temporaries::NOTE));
            let Some(session) = session else { continue };
            if let Err(error) = self.remove_temporaries_of(session, name, needed, report) {
                report.problems.push(self.problem("temporary files", &error));
            }
        }
    }

    /// Removes the temporary files of a session, and its note if none can be left.
    fn remove_temporaries_of(
        &self,
        session: &str,
        name: &OsStr,
        needed: &HashSet<OsString>,
        report: &mut RecoveryReport,
    ) -> io::Result<()> {
        let notes = self.temporaries.dir();
        let Some(note) = take_over(notes, name)? else { return Ok(()) };
        let mut is_done = true;
        for (directory, inode) in temporaries::directories(&read(&note)?) {
            let (dir, names) = match list(&directory, inode) {
                Ok(Some(found)) => found,
                not_found => {
                    if let Err(error) = not_found {
                        report.problems.push(self.problem(&directory.display().to_string(), &error));
                    }
                    is_done = false;
                    continue;
                }
            };
            let mut is_changed = false;
            for name in names.iter().filter(|name| is_of_session(name, session)) {
                is_changed = true;
                if needed.contains(name) {
                    is_done = false;
                } else if let Err(error) = self.discard_in(&dir, name, &directory, report) {
                    report.problems.push(self.problem(&directory.join(name).display().to_string(), &error));
                    is_done = false;
                }
            }
            if is_changed {
                // Or else a power cut could bring them back when the note, which may be on another disk, is gone for good.
                self.disk.sync_dir(&dir)?;
            }
        }
        if is_done || is_old(&note)? { self.disk.remove(notes, name) } else { Ok(()) }
    }

    /// Where there are no locks, this is what keeps recovery from what this very process is doing.
    fn is_own(&self, name: &OsStr) -> bool {
        name.as_encoded_bytes().starts_with(self.temp_names.session().as_bytes())
    }

    fn problem(&self, what: &str, error: &io::Error) -> String {
        format!("{}: {what}: {error}", self.path.display())
    }
}

/// Fails unless the directory is there that was the root: a mount point may be empty, or something else mounted.
fn check_root(root: &RecordedRoot) -> io::Result<()> {
    let failed = |reason: String| Err(io::Error::other(format!("{}: {reason}", root.path.display())));
    match Dir::open_absolute(&root.path) {
        Ok(dir) if dir.id().inode == root.inode => Ok(()),
        Ok(_) => failed("another directory is where the root was".into()),
        Err(error) => failed(error.to_string()),
    }
}

/// A directory and what is in it, unless another one or none is there now.
fn list(path: &Path, inode: u64) -> io::Result<Option<(Dir, Vec<OsString>)>> {
    match Dir::open_absolute(path) {
        Ok(dir) if dir.id().inode == inode => Ok(Some(dir.names().map(|names| (dir, names))?)),
        Ok(_) => Ok(None),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_old(file: &File) -> io::Result<bool> {
    Ok(stat_file(file)?.modified.elapsed().is_ok_and(|age| age > PATIENCE))
}
