//! Taking a transaction back, and keeping what is needed for that.

use std::time::SystemTime;

use uuid::Uuid;

use super::{Mode, Work, records::recorded_path};
use crate::{
    CancelToken,
    disk::metadata_of,
    engine::{
        Atomicity, Durability, EditOutcome, Editor, Engine, FileOutcome, FileStatus,
        documents::Located,
        plan::{Action, Like, Now, Original, PlannedFile, PlannedStep, Slot},
        state::{Before, KeptAt, RecordedPath, UndoEntry, UndoStep},
    },
    error::{ActualHashes, GuardKind, IoError, IoErrorKind, Warning},
    hash::ContentHash,
    roots::{Resolver, RootedPath},
};

/// What was kept for an undo before its transaction.
pub(super) struct Kept {
    /// `None` where nothing is kept.
    entry: Option<(UndoEntry, KeptAt)>,
    /// The file that each step of the entry belongs to.
    files: Vec<usize>,
    problem: Option<String>,
}

impl Engine {
    /// Takes a transaction back as long as each of its files still is what it left; `None` if it is unknown or no longer
    /// kept.
    ///
    /// # Errors
    /// If what is kept cannot be read.
    pub fn undo(
        &self,
        origin: Uuid,
        new_origin: Uuid,
        durability: Durability,
        editor: &dyn Editor,
        cancel: &CancelToken,
    ) -> Result<Option<EditOutcome>, IoError> {
        let Some(state) = &self.state else { return Ok(None) };
        let find = || {
            let found = state.undo().find(origin, SystemTime::now());
            found.map_err(|error| IoError::new("", IoErrorKind::from_state("read what is kept for the undo", error)))
        };
        let mut found = find()?;
        while let Some((entry, kept_at)) = found {
            let places = Places::of(&entry);
            let resolve = |resolver: &Resolver| {
                let paths: Vec<_> = places.0.iter().map(|place| resolver.resolve(&place.at.absolute())).collect();
                let found = paths.iter().flatten();
                let mut locked: Vec<_> =
                    found.flat_map(|path| path.place().ok().into_iter().chain(path.shared_file())).collect();
                locked.sort_unstable();
                locked.dedup();
                (locked, paths)
            };
            let (paths, locks) = self.lock_targets(false, resolve);
            found = find()?;
            if found.as_ref().is_none_or(|(_, now_at)| *now_at != kept_at) {
                // Somebody has taken it back, or kept another one, while the locks were waited for.
                continue;
            }
            let documents = &self.locate(editor.documents());
            let files = self.plan_undo(&places, &paths, documents);
            let (atomicity, dry_run) = (Atomicity::Transaction, false);
            let mode = Mode { origin: new_origin, atomicity, durability, dry_run, editor, documents };
            let outcome = self.carry_out(files, &locks, &mode, cancel);
            if outcome.applied {
                // What it left is no more; taking back the undo is the way there again.
                state.undo().forget(&kept_at);
            }
            return Ok(Some(outcome));
        }
        Ok(None)
    }

    /// Plans to bring all places back; those whose files are not what was left there fail.
    fn plan_undo(
        &self,
        places: &Places,
        paths: &[Result<RootedPath, IoError>],
        documents: &Located,
    ) -> Vec<PlannedFile> {
        let mut files: Vec<PlannedFile> = Vec::new();
        let mut slots = Vec::with_capacity(paths.len());
        for (index, (place, path)) in places.0.iter().zip(paths).enumerate() {
            let mut outcome = FileOutcome::not_applied(place.at.absolute());
            outcome.real_path = Some(place.at.absolute());
            outcome.old_content_hash = place.left;
            let mut file = PlannedFile { change: index, group: 0, steps: Vec::new(), buffer: None, outcome };
            let before = path.as_ref().map_err(IoError::clone).and_then(|path| {
                let before = self.read_changed(path)?;
                let actual = before.as_ref().map(|before| before.content.hash);
                // A link on the path has come since.
                let is_elsewhere = path.absolute() != place.at.absolute();
                if actual == place.left && !is_elsewhere {
                    documents.refuse_dirty(path, actual)?;
                    return Ok((path, before));
                }
                let actual = actual.map(|content| ActualHashes { content, tracking: None });
                let kind = IoErrorKind::ContentMismatch { guard: GuardKind::ContentHash, actual };
                Err(IoError::new(path.relative(), kind))
            });
            match before {
                Ok((path, before)) => {
                    let now = place.now.clone();
                    slots.push(Slot { target: index, path, before, now, create_parents: true, file: index });
                }
                Err(error) => file.fail(error),
            }
            files.push(file);
        }
        if slots.len() == files.len() {
            match self.steps(&slots) {
                Ok(steps) => {
                    for (slot, step) in steps {
                        describe(&mut files[slot].outcome, &slots, slot);
                        files[slot].steps.push(step);
                    }
                }
                Err((slot, error)) => files[slot].fail(error),
            }
        }
        // A place that a file only leaves is told where the file comes.
        let leaves = |index: usize| {
            let comes = |place: &Place| matches!(place.now, Now::Original(from) if from == index);
            matches!(places.0[index].now, Now::Nothing) && places.0.iter().any(comes)
        };
        files.retain(|file| file.has_failed() || !leaves(file.change));
        files
    }

    /// Keeps what is needed to take this work back, as far as that is wanted; nothing if a part of it is `in_buffers`,
    /// where only the editor can take it back.
    pub(super) fn keep_undo<'w>(
        &self,
        origin: Uuid,
        work: impl Iterator<Item = &'w Work> + Clone,
        in_buffers: bool,
    ) -> Kept {
        let nothing = Kept { entry: None, files: Vec::new(), problem: None };
        let Some(state) = self.state.as_ref().filter(|state| state.undo().is_on()) else { return nothing };
        if in_buffers {
            let problem = Some("a part of the edit is in a document that is open in an editor".to_owned());
            return Kept { problem, ..nothing };
        }
        let bytes =
            work.clone().filter_map(|work| work.step.original.as_ref()).map(|original| original.stat.size).sum();
        if let Err(error) = state.undo().check_size(bytes) {
            return Kept { problem: Some(error.to_string()), ..nothing };
        }
        let (mut files, mut steps) = (Vec::new(), Vec::new());
        for work in work {
            match undo_step(&work.step) {
                Ok(step) => steps.push(step),
                Err(problem) => return Kept { problem: Some(problem), ..nothing },
            }
            files.push(work.file);
        }
        let entry = UndoEntry { origin, steps };
        match state.undo().keep(&entry, SystemTime::now()) {
            Ok(at) => Kept { entry: Some((entry, at)), files, problem: None },
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
        let (Some(state), Some((mut entry, at))) = (&self.state, kept.entry) else { return };
        let mut applied = kept.files.iter().map(|file| is_applied(&files[*file]));
        let before = entry.steps.len();
        entry.steps.retain(|_| applied.next().unwrap_or(false));
        if entry.steps.len() == before {
            return;
        }
        if !entry.steps.is_empty() {
            if let Err(error) = state.undo().keep(&entry, SystemTime::now()) {
                for file in files.iter_mut().filter(|file| is_applied(file)) {
                    file.outcome.warnings.push(Warning::UndoNotKept(error.to_string()));
                }
            }
        }
        state.undo().forget(&at);
    }
}

/// What takes a step back, or why that is not known.
fn undo_step(step: &PlannedStep) -> Result<UndoStep, String> {
    let at = recorded_path(&step.path);
    let before = step.original.as_ref().map(|original| before(step, original)).transpose()?;
    Ok(match &step.action {
        Action::Write { hash, .. } => UndoStep::Restore { at, left: Some(*hash), before },
        Action::Delete => UndoStep::Restore { at, left: None, before },
        Action::MoveFrom { from, file, .. } => {
            UndoStep::MoveBack { now_at: at, was_at: recorded_path(from), left: file.hash, overwritten: before }
        }
    })
}

fn before(step: &PlannedStep, original: &Original) -> Result<Before, String> {
    let content = original.content.as_ref().ok_or("a file is larger than the limit of text operations")?;
    let metadata = if step.keeps_metadata() {
        None
    } else {
        let metadata = step.path.open().and_then(|file| metadata_of(&file));
        Some(metadata.map_err(|error| format!("the metadata of a file could not be read: {error}"))?)
    };
    Ok(Before { bytes: content.bytes.clone(), metadata })
}

impl PlannedStep {
    /// Whether the new file gets the metadata of the one that it replaces.
    fn keeps_metadata(&self) -> bool {
        match &self.action {
            Action::Write { in_place: true, .. } => true,
            Action::Write { like: Like::File(path), .. } => path.absolute() == self.path.absolute(),
            Action::Write { .. } | Action::Delete | Action::MoveFrom { .. } => false,
        }
    }
}

/// Says what an undo makes of a place.
fn describe(outcome: &mut FileOutcome, slots: &[Slot], index: usize) {
    let slot = &slots[index];
    let bytes_before = slot.before.as_ref().map_or(0, |before| before.content.stat.size) as i64;
    match &slot.now {
        Now::Original(from) => {
            let from = &slots[*from];
            outcome.old_path = Some(from.path.absolute());
            outcome.old_real_path = Some(from.path.absolute());
            let hash = from.before.as_ref().map(|before| before.content.hash);
            (outcome.old_content_hash, outcome.new_content_hash) = (hash, hash);
        }
        Now::Bytes { bytes, .. } => {
            outcome.new_content_hash = Some(ContentHash::of(bytes));
            outcome.byte_delta = bytes.len() as i64 - bytes_before;
        }
        Now::Nothing | Now::Text { .. } => outcome.byte_delta = -bytes_before,
    }
}

/// The places that a transaction has changed.
struct Places(Vec<Place>);

struct Place {
    at: RecordedPath,
    /// What the transaction has left there.
    left: Option<ContentHash>,
    /// What is to be there again, with the places as slots.
    now: Now,
}

impl Places {
    fn of(entry: &UndoEntry) -> Self {
        let mut places = Self(Vec::new());
        for step in &entry.steps {
            match step {
                UndoStep::Restore { at, left, before } => {
                    let at = places.at(at);
                    places.0[at].left = *left;
                    places.restore(at, before.as_ref());
                }
                UndoStep::MoveBack { now_at, was_at, left, overwritten } => {
                    let (to, from) = (places.at(was_at), places.at(now_at));
                    places.0[from].left = Some(*left);
                    places.restore(from, overwritten.as_ref());
                    places.0[to].now = Now::Original(from);
                }
            }
        }
        places
    }

    fn at(&mut self, path: &RecordedPath) -> usize {
        let known = self.0.iter().position(|place| place.at == *path);
        known.unwrap_or_else(|| {
            self.0.push(Place { at: path.clone(), left: None, now: Now::Nothing });
            self.0.len() - 1
        })
    }

    /// A file that comes back to the place takes precedence.
    fn restore(&mut self, at: usize, before: Option<&Before>) {
        if let (Now::Nothing, Some(Before { bytes, metadata })) = (&self.0[at].now, before) {
            self.0[at].now = Now::Bytes { bytes: bytes.clone(), metadata: metadata.clone() };
        }
    }
}
