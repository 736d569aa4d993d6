//! Taking a transaction back, and keeping what is needed for that.

use uuid::Uuid;

use super::{Mode, Work, recorded_path};
use crate::{
    CancelToken,
    engine::{
        Atomicity, Durability, EditOutcome, Engine, FileOutcome, FileStatus,
        plan::{Action, Like, Original, PlannedFile, PlannedStep},
        state::{Before, RecordedPath, UndoEntry, UndoStep},
    },
    error::{ActualHashes, GuardKind, IoError, IoErrorKind, Warning},
    hash::ContentHash,
    roots::{Resolver, RootedPath},
};

/// What was kept for an undo before its transaction.
pub(super) struct Kept {
    /// `None` where nothing is kept.
    entry: Option<UndoEntry>,
    /// The file that each step of the entry belongs to.
    files: Vec<usize>,
    problem: Option<String>,
}

impl Engine {
    /// Takes a transaction back as long as each of its files still is what it left; `None` if it is unknown or no longer
    /// kept.
    pub fn undo(
        &self,
        origin: Uuid,
        new_origin: Uuid,
        durability: Durability,
        cancel: &CancelToken,
    ) -> Option<EditOutcome> {
        let state = self.state.as_ref()?;
        let found = state.undo().find(origin);
        let entry = found.inspect_err(|error| tracing::warn!(%origin, %error, "cannot read what is kept")).ok()??;
        let resolve = |resolver: &Resolver| {
            let paths = entry.steps.iter().flat_map(paths_of);
            let paths: Vec<_> = paths.map(|path| resolver.resolve(&path.root.join(&path.relative))).collect();
            let mut places: Vec<_> = paths.iter().flatten().filter_map(|path| path.place().ok()).collect();
            places.sort_unstable();
            places.dedup();
            (places, paths)
        };
        let (paths, locks) = self.lock_targets(false, resolve);
        let mut paths = paths.into_iter();
        let files = entry.steps.iter().enumerate().map(|(index, step)| {
            let mut file = PlannedFile {
                change: index,
                group: 0,
                steps: Vec::new(),
                outcome: FileOutcome::not_applied(absolute(paths_of(step)[0])),
            };
            let paths = paths.by_ref().take(paths_of(step).len()).collect::<Result<Vec<_>, _>>();
            let planned = paths.and_then(|paths| self.plan_undo(step, &paths, &mut file));
            planned.unwrap_or_else(|error| file.fail(error));
            file
        });
        let files = files.collect();
        let mode = Mode { origin: new_origin, atomicity: Atomicity::Transaction, durability, dry_run: false };
        let outcome = self.carry_out(files, &locks, &mode, cancel);
        if outcome.applied {
            // What it left is no more; taking back the undo is the way there again.
            state.undo().forget(origin);
        }
        Some(outcome)
    }

    fn plan_undo(&self, step: &UndoStep, paths: &[RootedPath], file: &mut PlannedFile) -> Result<(), IoError> {
        let place = |index: usize| {
            paths.get(index).ok_or_else(|| IoError::new("", IoErrorKind::Internal("a step without a path".into())))
        };
        let at = place(0)?;
        file.outcome.real_path = Some(at.absolute());
        match step {
            UndoStep::Restore { left, before, .. } => {
                let original = self.expect_left(at, *left)?;
                file.outcome.old_content_hash = *left;
                file.outcome.byte_delta = size(before.as_ref()) - stat_size(original.as_ref());
                if let Some(before) = before {
                    self.plan_restore(at, original, before, file)?;
                } else {
                    file.steps.push(PlannedStep { path: at.clone(), original, action: Action::Delete });
                }
            }
            UndoStep::MoveBack { left, overwritten, .. } => {
                let back = place(1)?;
                let moved = self.expect_left(at, Some(*left))?;
                self.expect_left(back, None)?;
                file.outcome.path = back.absolute();
                file.outcome.real_path = Some(back.absolute());
                file.outcome.old_path = Some(at.absolute());
                file.outcome.old_real_path = Some(at.absolute());
                file.outcome.old_content_hash = Some(*left);
                file.outcome.new_content_hash = Some(*left);
                let Some(moved) = moved else { return Ok(()) };
                match overwritten {
                    None => {
                        let action = Action::MoveFrom { from: at.clone(), file: moved, create_parents: true };
                        file.steps.push(PlannedStep { path: back.clone(), original: None, action });
                    }
                    Some(before) => {
                        let content = moved.content.clone();
                        let new = content.ok_or_else(|| too_large(at, moved.stat.size, self))?.bytes.clone();
                        let (hash, like) = (moved.hash, Like::File(at.clone()));
                        let action = Action::Write { new, hash, like, create_parents: true, in_place: false };
                        file.steps.push(PlannedStep { path: back.clone(), original: None, action });
                        self.plan_restore(at, Some(moved), before, file)?;
                        file.outcome.new_content_hash = Some(*left);
                    }
                }
            }
        }
        file.steps.iter().try_for_each(|step| self.check_writable(step))
    }

    fn plan_restore(
        &self,
        at: &RootedPath,
        original: Option<Original>,
        before: &Before,
        file: &mut PlannedFile,
    ) -> Result<(), IoError> {
        let hash = ContentHash::of(&before.bytes);
        file.outcome.new_content_hash = Some(hash);
        let like = if original.is_some() { Like::File(at.clone()) } else { Like::Mode(before.mode & 0o7777) };
        let action = self.write(at, before.bytes.clone(), hash, like, true);
        file.steps.push(PlannedStep { path: at.clone(), original, action });
        Ok(())
    }

    /// The file at a path, which must be what a transaction left there.
    fn expect_left(&self, at: &RootedPath, left: Option<ContentHash>) -> Result<Option<Original>, IoError> {
        let now = self.read_original(at)?;
        let actual = now.as_ref().map(|now| ActualHashes { content: now.hash, tracking: None });
        if now.as_ref().map(|now| now.hash) == left {
            return Ok(now);
        }
        Err(IoError::new(at.relative(), IoErrorKind::ContentMismatch { guard: GuardKind::ContentHash, actual }))
    }

    /// Keeps what is needed to take this work back, as far as that is wanted.
    pub(super) fn keep_undo<'w>(&self, origin: Uuid, work: impl Iterator<Item = &'w Work>) -> Kept {
        let nothing = Kept { entry: None, files: Vec::new(), problem: None };
        let Some(state) = self.state.as_ref().filter(|state| state.undo().is_on()) else { return nothing };
        let (mut files, mut steps) = (Vec::new(), Vec::new());
        for work in work {
            let Some(step) = undo_step(&work.step) else {
                let problem = Some("a file is larger than the limit of text operations".to_owned());
                return Kept { problem, ..nothing };
            };
            files.push(work.file);
            steps.push(step);
        }
        let entry = UndoEntry { origin, steps };
        match state.undo().keep(&entry) {
            Ok(()) => Kept { entry: Some(entry), files, problem: None },
            Err(error) => Kept { problem: Some(error.to_string()), ..nothing },
        }
    }

    /// Keeps only what has happened, and says so where nothing could be kept.
    pub(super) fn conclude_undo(&self, kept: Kept, files: &mut [PlannedFile]) {
        let is_applied = |file: &PlannedFile| file.outcome.status == FileStatus::Applied;
        if let Some(problem) = kept.problem {
            for file in files.iter_mut().filter(|file| is_applied(file)) {
                file.outcome.warnings.push(Warning::UndoNotKept(problem.clone()));
            }
        }
        let (Some(state), Some(mut entry)) = (&self.state, kept.entry) else { return };
        let mut applied = kept.files.iter().map(|file| is_applied(&files[*file]));
        let before = entry.steps.len();
        entry.steps.retain(|_| applied.next().unwrap_or(false));
        if entry.steps.len() == before {
            return;
        }
        state.undo().forget(entry.origin);
        if !entry.steps.is_empty() {
            if let Err(error) = state.undo().keep(&entry) {
                for file in files.iter_mut().filter(|file| is_applied(file)) {
                    file.outcome.warnings.push(Warning::UndoNotKept(error.to_string()));
                }
            }
        }
    }
}

/// What takes a step back; `None` if the old content is not known.
fn undo_step(step: &PlannedStep) -> Option<UndoStep> {
    let at = recorded_path(&step.path);
    let before = match &step.original {
        Some(original) => Some(before(original)?),
        None => None,
    };
    Some(match &step.action {
        Action::Write { hash, .. } => UndoStep::Restore { at, left: Some(*hash), before },
        Action::Delete => UndoStep::Restore { at, left: None, before },
        Action::MoveFrom { from, file, .. } => {
            UndoStep::MoveBack { now_at: at, was_at: recorded_path(from), left: file.hash, overwritten: before }
        }
    })
}

fn before(original: &Original) -> Option<Before> {
    let content = original.content.as_ref()?;
    Some(Before { bytes: content.bytes.clone(), mode: original.stat.mode })
}

/// The places of a step, first the one it left something at.
fn paths_of(step: &UndoStep) -> Vec<&RecordedPath> {
    match step {
        UndoStep::Restore { at, .. } => vec![at],
        UndoStep::MoveBack { now_at, was_at, .. } => vec![now_at, was_at],
    }
}

fn absolute(path: &RecordedPath) -> std::path::PathBuf {
    path.root.join(&path.relative)
}

fn size(before: Option<&Before>) -> i64 {
    before.map_or(0, |before| before.bytes.len() as i64)
}

fn stat_size(original: Option<&Original>) -> i64 {
    original.map_or(0, |original| original.stat.size as i64)
}

fn too_large(path: &RootedPath, bytes: u64, engine: &Engine) -> IoError {
    IoError::new(path.relative(), IoErrorKind::TooLarge { bytes, limit: engine.max_file_bytes })
}
