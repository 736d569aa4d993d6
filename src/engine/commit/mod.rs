//! Bringing planned contents to the disk: every file is changed as a whole or not at all, and so is a transaction.
//!
//! 1. Each new content is written to a temporary file beside its target, gets its metadata and is synced (`prepare`).
//! 2. All targets are looked at once more: they must still be the files that were read.
//! 3. A transaction of more than one step is recorded in the state directory. From here on it is committed: if this
//!    process dies, the next start finishes it.
//! 4. One after the other, new and old content change places in one step (`swap`). What comes out is looked at: if
//!    somebody has changed a target in the very last moment, or a step fails, all steps are taken back.
//! 5. The old contents are removed, the directories synced, the record removed.

mod buffers;
mod failure;
mod prepare;
mod records;
mod swap;
mod undo;

use std::{
    collections::{BTreeMap, HashSet},
    fs::File,
    io, iter,
    sync::Arc,
    sync::atomic::Ordering::Relaxed,
};

use uuid::Uuid;

use super::{
    Atomicity, Durability, EditOutcome, EditRequest, Editor, Engine, FileStatus,
    documents::Located,
    locks::FileLock,
    parallel,
    plan::{Action, PlannedFile, PlannedStep, Targets},
    state::OpenRecord,
};
use crate::{
    CancelToken,
    disk::Dir,
    error::{IoError, IoErrorKind, Warning},
    roots::{Place, Resolver, RootedPath},
};
use prepare::{Dirs, Ready};

/// Looks at paths that are being swapped before giving up.
const MAX_LOOKS: usize = 16;

const TOO_MANY_DIRECTORIES: &str = "changing files in more directories in one transaction than three quarters of the files that may be open (ulimit -n)";

/// The locks of one request's files.
pub(super) struct Locks<'e> {
    _files: Vec<FileLock<'e>>,
    _across: Vec<File>,
}

/// How planned files are brought to the disk.
pub(super) struct Mode<'e> {
    pub origin: Uuid,
    pub atomicity: Atomicity,
    pub durability: Durability,
    pub dry_run: bool,
    pub editor: &'e dyn Editor,
    /// Its documents as they were when the files were planned.
    pub documents: &'e Located,
}

/// One step and the file it belongs to.
struct Work {
    file: usize,
    step: PlannedStep,
}

impl Engine {
    /// Carries out a request; see [`EditRequest`]. Once it has begun to write it cannot be cancelled.
    ///
    /// A document that is open in the editor with another text than its file has is changed there, and its file is left
    /// alone.
    pub fn apply(&self, request: &EditRequest, editor: &dyn Editor, cancel: &CancelToken) -> EditOutcome {
        let resolve = |resolver: &Resolver| {
            let targets = Targets::resolve(request, resolver);
            (targets.places.clone(), targets)
        };
        let (targets, locks) = self.lock_targets(request.dry_run, resolve);
        let documents = &self.locate(editor.documents());
        let (files, file_of_change) = self.plan(request, &targets, documents);
        let &EditRequest { origin, atomicity, durability, dry_run, .. } = request;
        let mode = Mode { origin, atomicity, durability, dry_run, editor, documents };
        let outcome = self.carry_out(files, &locks, &mode, cancel);
        EditOutcome { file_of_change, ..outcome }
    }

    /// Brings planned files to the disk.
    pub(super) fn carry_out(
        &self,
        mut files: Vec<PlannedFile>,
        locks: &Result<Locks, IoError>,
        mode: &Mode,
        cancel: &CancelToken,
    ) -> EditOutcome {
        if let Err(error) = locks {
            fail_all(&mut files, &error.kind);
        }
        let failed = files.iter().any(PlannedFile::has_failed);
        let nothing_to_do = files.iter().all(|file| file.steps.is_empty() && file.buffer.is_none());
        if mode.dry_run || nothing_to_do || (failed && mode.atomicity == Atomicity::Transaction) {
            return outcome(files, mode, mode.durability);
        }
        if !cancel.begin_commit() {
            fail_all(&mut files, &IoErrorKind::Cancelled);
            return outcome(files, mode, mode.durability);
        }
        let in_buffers = self.edit_buffers(&mut files, mode);
        let failed = files.iter().any(PlannedFile::has_failed);
        if failed && mode.atomicity == Atomicity::Transaction {
            self.take_buffers_back(&mut files, in_buffers, mode);
            return outcome(files, mode, mode.durability);
        }
        let mut together: BTreeMap<usize, Vec<Work>> = BTreeMap::new();
        for (index, file) in files.iter_mut().enumerate() {
            let group = if mode.atomicity == Atomicity::Transaction { 0 } else { file.group };
            let steps = std::mem::take(&mut file.steps).into_iter();
            together.entry(group).or_default().extend(steps.map(|step| Work { file: index, step }));
        }
        for work in together.values_mut() {
            work.sort_by_key(|work| work.step.order);
        }
        let kept = self.keep_undo(mode.origin, together.values().flatten(), !in_buffers.is_empty());
        let mut reached = mode.durability;
        for work in together.into_values().filter(|work| !work.is_empty()) {
            reached = weaker(reached, self.commit(&mut files, work, mode));
        }
        if mode.atomicity == Atomicity::Transaction && files.iter().any(PlannedFile::has_failed) {
            self.take_buffers_back(&mut files, in_buffers, mode);
        }
        self.conclude_undo(kept, &mut files);
        outcome(files, mode, reached)
    }

    /// Resolves the paths of a request and locks what they name, until the locks are dropped.
    ///
    /// What a path names may change while its lock is waited for; then the locks are those of other files, and it all
    /// begins anew.
    pub(super) fn lock_targets<T>(
        &self,
        dry_run: bool,
        resolve: impl Fn(&Resolver) -> (Vec<Place>, T),
    ) -> (T, Result<Locks<'_>, IoError>) {
        let roots = self.roots();
        let resolve = || resolve(&Resolver::new(&roots, &self.dir_budget));
        let (mut places, _) = resolve();
        for _ in 0..MAX_LOOKS {
            let _files = self.locks.lock(places.iter().cloned());
            let across = if dry_run { Ok(Vec::new()) } else { self.os_locks.lock(&places) };
            let (now, targets) = resolve();
            if now == places || across.is_err() {
                return (targets, across.map(|_across| Locks { _files, _across }));
            }
            places = now;
        }
        let restless = io::Error::other("the paths lead somewhere else at each look");
        (resolve().1, Err(IoError::os("", "lock the files", restless)))
    }

    /// Does all of this work, or none of it if something fails; says how durable it is.
    fn commit(&self, files: &mut [PlannedFile], work: Vec<Work>, mode: &Mode) -> Durability {
        if directories(&work) > self.max_commit_dirs {
            let kind = IoErrorKind::NotSupported(TOO_MANY_DIRECTORIES);
            work.iter().for_each(|work| files[work.file].fail(IoError::new(work.step.path.relative(), kind.clone())));
            return mode.durability;
        }
        if let Err(error) = self.remove_kept_records() {
            let kind = IoErrorKind::from_state("remove the record of an earlier transaction", error);
            fail_together(files, &work, &IoError::new("", kind));
            return mode.durability;
        }
        let open = Dirs::new(&*self.disk);
        let sync = mode.durability == Durability::Full;
        let prepared = parallel::map_waiting(&work, self.write_threads, |work| self.prepare(&work.step, sync, &open));
        let mut ready = Vec::with_capacity(work.len());
        let documents = self.documents_now(mode);
        for (work, prepared) in work.iter().zip(prepared) {
            let prepared = prepared.and_then(|ready| self.check_unchanged(&work.step, &ready).map(|()| ready));
            let prepared = prepared.and_then(|ready| documents.check_clean(&work.step).map(|()| ready));
            prepared.map_or_else(|error| files[work.file].fail(error), |prepared| ready.push(prepared));
        }
        if ready.len() < work.len() {
            return mode.durability;
        }
        let record = match self.record(&work, &ready, mode, sync) {
            Ok(record) => record,
            Err(error) => {
                fail_together(files, &work, &error);
                return mode.durability;
            }
        };
        let mut put = Vec::with_capacity(work.len());
        for index in 0..work.len() {
            match self.put_in_place(&work[index].step, &mut ready[index], (mode.origin, sync)) {
                Ok(how) => put.push(how),
                Err(error) => {
                    self.fail(files, &work, (&mut ready, put), error, record, sync);
                    return mode.durability;
                }
            }
        }
        open.keep();
        let changed = ready.into_iter().map(Ready::finish).collect();
        self.conclude(files, &work, changed, record, sync)
    }

    /// Makes what was put in place durable and tells the files so.
    fn conclude(
        &self,
        files: &mut [PlannedFile],
        work: &[Work],
        changed: Vec<(Vec<Arc<Dir>>, Vec<Warning>)>,
        record: Option<OpenRecord>,
        sync: bool,
    ) -> Durability {
        for (Work { file, step }, (_, warnings)) in work.iter().zip(&changed) {
            let outcome = &mut files[*file].outcome;
            outcome.status = FileStatus::Applied;
            outcome.warnings.extend(warnings.iter().cloned());
            let bytes = step.action.new_bytes();
            self.files_written.fetch_add(1, Relaxed);
            self.bytes_written.fetch_add(bytes, Relaxed);
            tracing::info!(path = %step.path.relative().display(), bytes, "file {}", step.action.name());
        }
        let failures = if sync { self.sync_dirs(&changed) } else { Vec::new() };
        for (work, (dirs, _)) in work.iter().zip(&changed) {
            if let Some((_, error)) = failures.iter().find(|(id, _)| dirs.iter().any(|dir| dir.id() == *id)) {
                files[work.file].outcome.warnings.push(Warning::DurabilityUnknown(error.to_string()));
            }
        }
        let durable = failures.is_empty();
        if let Some(record) = record {
            self.finish_record(record, durable);
        }
        match (sync, durable) {
            (false, _) => Durability::BestEffort,
            (true, true) => Durability::Full,
            (true, false) => Durability::Unknown,
        }
    }

    /// Syncs each directory once; returns those that could not be.
    fn sync_dirs(&self, changed: &[(Vec<Arc<Dir>>, Vec<Warning>)]) -> Vec<(crate::disk::DirId, io::Error)> {
        let mut dirs: Vec<&Arc<Dir>> = changed.iter().flat_map(|(dirs, _)| dirs).collect();
        dirs.sort_by_key(|dir| dir.id());
        dirs.dedup_by_key(|dir| dir.id());
        let synced = parallel::map_waiting(&dirs, self.write_threads, |dir| self.disk.sync_dir(dir));
        dirs.iter().zip(synced).filter_map(|(dir, result)| Some((dir.id(), result.err()?))).collect()
    }
}

impl PlannedStep {
    /// A crash leaves either all or nothing of it done.
    fn is_one_rename(&self) -> bool {
        match &self.action {
            Action::Write { in_place, .. } => !in_place,
            Action::Delete => true,
            Action::MoveFrom { .. } => self.original.is_none(),
        }
    }

    /// The paths whose files it touches.
    fn paths(&self) -> impl Iterator<Item = &RootedPath> {
        let from = match &self.action {
            Action::MoveFrom { from, .. } => Some(from),
            Action::Write { .. } | Action::Delete => None,
        };
        iter::once(&self.path).chain(from)
    }

    fn old_bytes(&self) -> &[u8] {
        let content = self.original.as_ref().and_then(|original| original.content.as_ref());
        content.map_or(&[], |content| &content.bytes)
    }
}

impl Action {
    fn new_bytes(&self) -> u64 {
        match self {
            Self::Write { new, .. } => new.len() as u64,
            Self::Delete | Self::MoveFrom { .. } => 0,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Write { .. } => "written",
            Self::Delete => "deleted",
            Self::MoveFrom { .. } => "renamed",
        }
    }
}

/// How many directories a commit keeps open, at most.
fn directories(work: &[Work]) -> usize {
    let mut directories = HashSet::new();
    for Work { step, .. } in work {
        let make = matches!(
            step.action,
            Action::Write { create_parents: true, .. } | Action::MoveFrom { create_parents: true, .. }
        );
        // To make a directory, the one above it is needed.
        let above = if make { usize::MAX } else { 1 };
        directories.extend(step.path.parent().ancestors().take(above).map(|dir| (step.path.root().real(), dir)));
        if let Action::MoveFrom { from, .. } = &step.action {
            directories.insert((from.root().real(), from.parent()));
        }
    }
    directories.len()
}

fn weaker(one: Durability, other: Durability) -> Durability {
    if one == Durability::Unknown { one } else { other }
}

fn fail_together(files: &mut [PlannedFile], work: &[Work], error: &IoError) {
    work.iter().for_each(|work| files[work.file].fail(error.clone()));
}

fn fail_all(files: &mut [PlannedFile], kind: &IoErrorKind) {
    for file in files {
        file.fail(IoError::new(file.relative(), kind.clone()));
    }
}

fn outcome(mut files: Vec<PlannedFile>, mode: &Mode, durability: Durability) -> EditOutcome {
    let failed_change = files.iter().filter(|file| file.has_failed()).map(|file| file.change).min();
    let applied = failed_change.is_none() && !mode.dry_run;
    for file in &files {
        if let Some(error) = &file.outcome.error {
            tracing::info!(dry_run = mode.dry_run, "edit refused: {error}");
        }
    }
    let touched = files.iter().any(|file| file.outcome.status == FileStatus::Applied);
    for file in &mut files {
        let left = mode.atomicity == Atomicity::Transaction && failed_change.is_some();
        // Of a group that failed, those that did not fail themselves.
        let untouched = file.outcome.status == FileStatus::NotApplied;
        if left || untouched {
            file.mark_not_applied();
        }
    }
    let durability = if touched { durability } else { mode.durability };
    let files = files.into_iter().map(|file| file.outcome).collect();
    EditOutcome { applied, failed_change, durability, files, file_of_change: Vec::new() }
}
