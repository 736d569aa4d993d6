//! The record of a transaction in the state directory, from which the next start finishes what a crash has left undone.

use std::{
    io,
    sync::{MutexGuard, PoisonError},
};

use super::{Mode, Work, prepare::Ready};
use crate::{
    disk::metadata_of,
    engine::{
        Engine,
        plan::{Action, PlannedStep},
        state::{self, BeginError, OldFile, OpenRecord, Record, RecordedPath, RecordedRoot},
    },
    error::{IoError, IoErrorKind},
    roots::RootedPath,
};

impl Engine {
    /// Records a transaction that a crash could leave half done; a single rename could not.
    pub(super) fn record(
        &self,
        work: &[Work],
        ready: &[Ready],
        mode: &Mode,
        sync: bool,
    ) -> Result<Option<OpenRecord>, IoError> {
        let Some(state) = &self.state else { return Ok(None) };
        let one_rename = work.len() == 1 && work.iter().all(|work| work.step.is_one_rename());
        if one_rename {
            return Ok(None);
        }
        let failed = |error| IoErrorKind::from_state("record the transaction", error);
        let steps = work.iter().zip(ready).map(|(work, ready)| recorded_step(&work.step, ready));
        let steps = steps.collect::<io::Result<_>>().map_err(|error| IoError::new("", failed(error)))?;
        let roots = recorded_roots(work).map_err(|error| IoError::new("", failed(error)))?;
        let record = Record { origin: mode.origin, roots, steps };
        let begun = state.begin(&record, sync).map_err(|error| match error {
            BeginError::NotRecorded(error) => failed(error),
            BeginError::Recorded { cause, not_removed } => IoErrorKind::Unfinished {
                cause: failed(cause).to_string(),
                not_taken_back: not_removed.to_string(),
                recorded: true,
            },
        });
        begun.map(Some).map_err(|kind| IoError::new("", kind))
    }

    /// Removes the record of a transaction that is done, or keeps it for now if it is not `durable` or cannot be removed.
    pub(super) fn finish_record(&self, record: OpenRecord, durable: bool) {
        let is_removed = durable && is_removed(&record);
        if !is_removed {
            self.kept_records().push(record);
        }
    }

    /// Removes the records of finished transactions that are still there. Until the next one begins, the record of one
    /// whose directories could not be synced is what brings it back after a power cut; carried out later, it would undo
    /// what has been done since.
    pub(in crate::engine) fn remove_kept_records(&self) -> io::Result<()> {
        let mut records = self.kept_records();
        while let Some(record) = records.last() {
            record.finish()?;
            records.pop();
        }
        Ok(())
    }

    fn kept_records(&self) -> MutexGuard<'_, Vec<OpenRecord>> {
        self.kept_records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_removed(record: &OpenRecord) -> bool {
    let removed = record.finish();
    removed.inspect_err(|error| tracing::error!(%error, "the record of a transaction could not be removed")).is_ok()
}

fn recorded_step(step: &PlannedStep, ready: &Ready) -> io::Result<state::Step> {
    let old = step.original.as_ref().map(|original| OldFile::new(&original.stat, original.hash));
    let aside = || ready.name.clone();
    let action = match (&step.action, old) {
        (Action::Write { new, in_place: true, .. }, Some(old)) => {
            state::Action::WriteInPlace { old, old_content: step.old_bytes().to_vec(), new: new.clone() }
        }
        (Action::Write { new, .. }, old) => state::Action::Write {
            old,
            new: new.clone(),
            temp: aside(),
            metadata: metadata_of(&ready.dir.open_file(&ready.name)?)?,
        },
        (Action::MoveFrom { from, file, .. }, overwritten) => state::Action::MoveFrom {
            from: recorded_path(from),
            file: OldFile::new(&file.stat, file.hash),
            overwritten,
            aside: aside(),
        },
        (Action::Delete, Some(old)) => state::Action::Delete { old, aside: aside() },
        (Action::Delete, None) => unreachable!("only what is there is deleted"),
    };
    Ok(state::Step { at: recorded_path(&step.path), action })
}

/// The roots of all paths, each once.
fn recorded_roots(work: &[Work]) -> io::Result<Vec<RecordedRoot>> {
    let mut roots: Vec<RecordedRoot> = Vec::new();
    for path in work.iter().flat_map(|work| work.step.paths()) {
        let root = RecordedRoot { path: path.root().real().to_path_buf(), inode: path.root().dir()?.id().inode };
        if !roots.contains(&root) {
            roots.push(root);
        }
    }
    Ok(roots)
}

pub(super) fn recorded_path(path: &RootedPath) -> RecordedPath {
    RecordedPath { root: path.root().real().to_path_buf(), relative: path.relative().to_path_buf() }
}
