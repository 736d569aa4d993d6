//! What a request would do: every guard checked, every new content made in memory, nothing written.

mod buffer;
mod draft;
mod needs;
mod planned;
mod steps;
mod targets;

use std::{collections::HashMap, path::PathBuf, sync::Arc};

pub(super) use draft::{Now, Slot};
pub(super) use planned::{Action, Like, Original, PlannedFile, PlannedStep};
pub(super) use targets::Targets;

use super::{Change, EditRequest, Engine, FileOutcome, FileStatus, Preview, documents::Located, file::FileContent};
use crate::{
    CancelToken,
    error::{IoError, IoErrorKind},
    hash::TrackingHash,
    roots::RootedPath,
};
use buffer::buffer_edit;
use draft::{Before, Draft, File, in_file};
use needs::{Need, needs_content, only_needs_hashes, replaced_targets};
use steps::hash_at;
use targets::{Step, Target};

impl Engine {
    /// Plans all files in the order of first mention, and says which of them each change concerns; call it with their
    /// locks held.
    pub(super) fn plan(
        &self,
        request: &EditRequest,
        targets: &Targets,
        documents: &Located,
    ) -> (Vec<PlannedFile>, Vec<usize>) {
        let copies = request.dry_run || self.has_room_for_copies(targets);
        let plan = |steps: &Vec<Step>| self.plan_group(request, &targets.targets, steps, (documents, copies));
        let groups = self.workers.map(&targets.groups, plan);
        let mut files: Vec<(usize, usize, PlannedFile)> = Vec::new();
        let mut of_change = vec![(0, 0); request.changes.len()];
        for (group, (planned, changes)) in groups.into_iter().enumerate() {
            for (change, file) in changes {
                of_change[change] = (group, file);
            }
            let in_group = planned.into_iter().enumerate();
            files.extend(in_group.map(|(index, (first, file))| (first, index, PlannedFile { group, ..file })));
        }
        files.sort_by_key(|(first, index, file)| (*first, file.group, *index));
        let mut position = HashMap::new();
        for (at, (_, index, file)) in files.iter().enumerate() {
            position.insert((file.group, *index), at);
        }
        let of_change = of_change.iter().map(|file| position.get(file).copied().unwrap_or_default()).collect();
        let mut files: Vec<_> = files.into_iter().map(|(.., file)| file).collect();
        refuse_files_above_files(&mut files);
        (files, of_change)
    }

    /// Whether what the request replaces will be kept for an undo. If not, it need not be held in memory either.
    fn has_room_for_copies(&self, targets: &Targets) -> bool {
        let stat = |target: usize| targets.targets[target].path.as_ref().ok().and_then(RootedPath::stat);
        let replaced = targets.groups.iter().flat_map(|steps| replaced_targets(steps));
        let bytes = replaced.filter_map(stat).map(|stat| stat.size).sum();
        self.state.as_ref().is_some_and(|state| state.undo().is_on() && state.undo().check_size(bytes).is_ok())
    }

    /// The files of a group, each with the target it begins at, and the file in this list that each change concerns.
    fn plan_group(
        &self,
        request: &EditRequest,
        targets: &[Target],
        steps: &[Step],
        (documents, copies): (&Located, bool),
    ) -> GroupPlan {
        let fail = |target: usize, step: &Step, error: IoError| {
            let mut outcome = FileOutcome::not_applied(targets[step.at].asked.to_path_buf());
            outcome.real_path = targets[step.at].path.as_ref().ok().map(RootedPath::absolute);
            let mut file = PlannedFile { change: step.index, group: 0, steps: Vec::new(), buffer: None, outcome };
            file.fail(error);
            (vec![(target, file)], steps.iter().map(|step| (step.index, 0)).collect())
        };
        let replaced = replaced_targets(steps);
        let is_read_whole = |target: usize| {
            !only_needs_hashes(steps) || request.dry_run || (copies && replaced.binary_search(&target).is_ok())
        };
        let mut places: Vec<(usize, &RootedPath, Option<Before>)> = Vec::new();
        let only_edits = steps.iter().all(|step| matches!(step.change, Change::Edit(_)));
        for step in steps {
            for target in [Some(step.at), step.to].into_iter().flatten() {
                if places.iter().any(|(known, ..)| *known == target) {
                    continue;
                }
                let read = targets[target].path.as_ref().map_err(IoError::clone).and_then(|path| {
                    let needs = steps.iter().filter(|step| step.at == target || step.to == Some(target));
                    let need = needs.map(|step| needs_content(step, target)).max().unwrap_or(Need::Nothing);
                    let before = self.read_before(path, need, is_read_whole(target))?;
                    let before = self.or_document(before, path, targets[target].asked, documents, only_edits);
                    Ok((target, path, before.map_err(in_file(path))?))
                });
                match read {
                    Ok(place) => places.push(place),
                    Err(error) => return fail(step.at, step, error),
                }
            }
        }
        let slot_of = |target| places.iter().position(|(known, ..)| *known == target).unwrap_or_default();
        let slots: Vec<_> = steps.iter().map(|step| (slot_of(step.at), step.to.map(slot_of))).collect();
        let mut draft = Draft::new(places, targets, steps, self.max_file_bytes, request.unguarded);
        let mut of_change = Vec::with_capacity(steps.len());
        let mut failure = None;
        for (step, &(at, to)) in steps.iter().zip(&slots) {
            let done = if failure.is_none() { draft.apply(step, at, to) } else { Ok(()) };
            let file = draft.slots[at].file;
            if let Err(kind) = done {
                let named = if matches!(kind, IoErrorKind::AlreadyExists) { to.unwrap_or(at) } else { at };
                failure = Some((step.index, file, in_file(draft.slots[named].path)(kind)));
            }
            of_change.push((step.index, file));
        }
        if let (None, Some(change)) = (&failure, draft.unguarded_change()) {
            let file = of_change.iter().find(|(index, _)| *index == change).map_or(0, |(_, file)| *file);
            let path = draft.slots[draft.files[file].home].path;
            failure = Some((change, file, in_file(path)(IoErrorKind::GuardRequired)));
        }
        self.planned(request, targets, draft, of_change, failure)
    }

    fn planned(
        &self,
        request: &EditRequest,
        targets: &[Target],
        draft: Draft,
        of_change: Vec<(usize, usize)>,
        mut failure: Option<(usize, usize, IoError)>,
    ) -> GroupPlan {
        let buffer_edit = buffer_edit(&draft, of_change.len());
        let entries = Entries::of(&draft);
        let of_change: Vec<_> =
            of_change.into_iter().map(|(change, file)| (change, entries.of_file(&draft, &draft.files[file]))).collect();
        let mut planned: Vec<(usize, PlannedFile)> = Vec::with_capacity(entries.slots.len());
        for (index, &slot) in entries.slots.iter().enumerate() {
            let first = of_change.iter().find(|(_, entry)| *entry == index).map(|(change, _)| *change);
            let (first_target, outcome) = outcome(&draft, slot, targets, request.dry_run);
            let change = first.unwrap_or_default();
            planned.push((first_target, PlannedFile { change, group: 0, steps: Vec::new(), buffer: None, outcome }));
        }
        if let (None, Some(edit)) = (&failure, buffer_edit) {
            // A document that is edited stands alone in its group.
            for (_, file) in &mut planned {
                file.outcome.in_buffer = true;
                file.buffer = edit.clone().map(|edit| (draft.slots[0].path.relative().to_path_buf(), edit));
            }
        } else if failure.is_none() {
            match self.steps(&draft.slots) {
                Ok(steps) => {
                    for (slot, step) in steps {
                        planned[entries.of_slot(slot)].1.steps.push(step);
                    }
                }
                Err((slot, error)) => {
                    let file = entries.of_slot(slot);
                    failure = Some((planned[file].1.change, draft.slots[slot].file, error));
                }
            }
        }
        if let Some((change, file, error)) = failure {
            for (_, file) in &mut planned {
                file.mark_not_applied();
            }
            let (_, file) = &mut planned[entries.of_file(&draft, &draft.files[file])];
            // The error tells what there is.
            file.outcome.old_content_hash = None;
            file.change = change;
            file.fail(error);
        }
        // A place that no change speaks of and that stays as it is has only been looked at.
        let spoken_of = |index| of_change.iter().any(|(_, entry)| *entry == index);
        let kept: Vec<bool> =
            planned.iter().enumerate().map(|(index, (_, file))| !file.steps.is_empty() || spoken_of(index)).collect();
        let new_index = |entry: usize| kept[..entry].iter().filter(|kept| **kept).count();
        let of_change = of_change.iter().map(|&(change, entry)| (change, new_index(entry))).collect();
        let planned = planned.into_iter().zip(&kept).filter_map(|(file, kept)| kept.then_some(file)).collect();
        (planned, of_change)
    }

    /// Reads the file at a place as far as its content matters; the bytes of a file that needs only a hash are kept if it
    /// is wanted and the file is not too large.
    fn read_before(&self, path: &RootedPath, need: Need, whole: bool) -> Result<Option<Before>, IoError> {
        let Some(stat) = path.stat().filter(|_| need != Need::Nothing) else { return Ok(None) };
        let _permit = self.permits.acquire();
        if need == Need::Hash && (!whole || stat.size > self.max_file_bytes) {
            let hashed = self.hash_file(path, &CancelToken::new())?;
            let stat = hashed.stat.ok_or_else(|| in_file(path)(restless()))?;
            let (hash, began) = (hashed.hash, hashed.began);
            let content = FileContent { bytes: Vec::new(), hash, stat, rested: true, began, version: None };
            return Ok(Some(Before { content: Arc::new(content), whole: false, buffer: None }));
        }
        let (content, _) = self.read_file(path)?;
        // Its stat data are newer than its bytes, so that they could not tell whether the file is still the same.
        if !content.rested {
            return Err(in_file(path)(restless()));
        }
        Ok(Some(Before { content: Arc::new(content), whole: true, buffer: None }))
    }

    /// Reads the file at a path, if there is one, for a step that changes it.
    pub(super) fn read_changed(&self, path: &RootedPath) -> Result<Option<Before>, IoError> {
        self.read_before(path, Need::Hash, true)
    }
}

/// The files of a group with the targets they begin at, and the file that each change concerns.
type GroupPlan = (Vec<(usize, PlannedFile)>, Vec<(usize, usize)>);

/// What is told of the places of a group: each that holds something in the end, and each that is empty unless its file
/// is told of where it has gone.
struct Entries {
    slots: Vec<usize>,
    /// The entry of each slot.
    by_slot: Vec<usize>,
}

impl Entries {
    fn of(draft: &Draft) -> Self {
        let slots = &draft.slots;
        let leaves = |slot: usize| draft.gone_to(slot).filter(|_| matches!(slots[slot].now, Now::Nothing));
        let told: Vec<usize> = (0..slots.len()).filter(|slot| leaves(*slot).is_none()).collect();
        let entry = |slot: usize| told.binary_search(&leaves(slot).unwrap_or(slot)).unwrap_or_default();
        let by_slot = (0..slots.len()).map(entry).collect();
        Self { slots: told, by_slot }
    }

    fn of_slot(&self, slot: usize) -> usize {
        self.by_slot[slot]
    }

    /// Where a file is told of; one that is gone, where it began, or where it ended if another file has come from there.
    fn of_file(&self, draft: &Draft, file: &File) -> usize {
        let gone = if draft.gone_to(file.home).is_some() { file.last } else { file.home };
        self.of_slot(file.at.unwrap_or(gone))
    }
}

/// What comes of a place if all goes well, and the target that its file was first mentioned by.
///
/// A file that comes where another one has been does not tell of that one, unless it is gone.
fn outcome(draft: &Draft, at: usize, targets: &[Target], dry_run: bool) -> (usize, FileOutcome) {
    let slot = &draft.slots[at];
    let file = &draft.files[slot.file];
    let is_here = !matches!(slot.now, Now::Nothing);
    let home = &draft.slots[file.home];
    let moved = is_here && slot.file == file.home && file.home != at && home.before.is_some();
    let was_here = slot.before.as_ref().filter(|_| draft.gone_to(at).is_none());
    let before = if moved { home.before.as_ref() } else { was_here };
    let mut outcome = FileOutcome::not_applied(targets[slot.target].asked.to_path_buf());
    outcome.real_path = Some(slot.path.absolute());
    outcome.old_content_hash = before.map(|before| before.content.hash);
    outcome.new_content_hash = hash_at(&draft.slots, at);
    if moved {
        outcome.old_path = Some(targets[home.target].asked.to_path_buf());
        outcome.old_real_path = Some(home.path.absolute());
    }
    outcome.edits = file.ranges.clone();
    let text = match &slot.now {
        Now::Text { text, .. } => Some(text),
        Now::Nothing | Now::Original(_) | Now::Bytes { .. } => None,
    };
    if let (Some(text), Some(guard)) = (text, file.tracked) {
        outcome.new_tracking_hash = TrackingHash::of_text(guard.namespace, &slot.path.absolute(), text).ok();
    }
    let old_bytes = before.map_or(0, |before| before.content.stat.size) as i64;
    outcome.byte_delta = match text {
        _ if !is_here => -old_bytes,
        Some(text) => text.len() as i64 - old_bytes,
        None => 0,
    };
    let changed = moved || outcome.old_content_hash != outcome.new_content_hash;
    outcome.status = match (changed, dry_run) {
        (false, _) => FileStatus::Unchanged,
        (true, true) => FileStatus::WouldApply,
        (true, false) => FileStatus::NotApplied,
    };
    if changed && dry_run {
        let text_of = |before: &Before| String::from_utf8_lossy(&before.content.bytes).into_owned();
        let old = before.map(text_of);
        outcome.preview = Some(Preview {
            path: slot.path.relative().to_path_buf(),
            old_path: moved.then(|| home.path.relative().to_path_buf()),
            new: text.cloned().or_else(|| old.clone().filter(|_| is_here)),
            old,
        });
    }
    (if moved { home.target } else { slot.target }, outcome)
}

/// One path cannot become both a file and the directory of another file: the change that comes later is refused.
fn refuse_files_above_files(files: &mut [PlannedFile]) {
    let mut paths: Vec<(PathBuf, usize)> = Vec::new();
    for (index, file) in files.iter().enumerate() {
        let written = file.steps.iter().filter(|step| !matches!(step.action, Action::Delete));
        paths.extend(written.map(|step| (step.path.absolute(), index)));
    }
    // By components, so that what lies below a path follows it.
    paths.sort_unstable();
    for pair in paths.windows(2) {
        let [(above, file), (below, file_below)] = pair else { continue };
        if !below.starts_with(above) {
            continue;
        }
        let (refused, kind) = if files[*file].change > files[*file_below].change {
            (*file, IoErrorKind::AlreadyExists)
        } else {
            (*file_below, IoErrorKind::NotFound)
        };
        let group = files[refused].group;
        files.iter_mut().filter(|file| file.group == group).for_each(PlannedFile::mark_not_applied);
        let relative = files[refused].relative();
        files[refused].fail(IoError::new(relative, kind));
    }
}

fn restless() -> IoErrorKind {
    IoErrorKind::ContentMismatch { guard: crate::error::GuardKind::ContentHash, actual: None }
}
