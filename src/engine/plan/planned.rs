//! What a plan consists of: files, and what is to be done at the places of each.

use std::{path::PathBuf, sync::Arc};

use super::draft::Before;
use crate::{
    disk::{FileStat, Metadata},
    engine::{BufferEdit, FileOutcome, FileStatus, cache::is_settled, file::FileContent},
    error::IoError,
    hash::ContentHash,
    roots::RootedPath,
};

/// What a request would make of one file, followed through its renames.
pub(in crate::engine) struct PlannedFile {
    /// Index of the change that failed, or else of the first that speaks of the file.
    pub change: usize,
    /// Files of one group are changed together or not at all.
    pub group: usize,
    /// What is to be done at the places of the file; nothing if it stays as it is.
    pub steps: Vec<PlannedStep>,
    /// What its editor is to be asked for instead, and the path for messages.
    pub buffer: Option<(PathBuf, BufferEdit)>,
    pub outcome: FileOutcome,
}

/// What is to be done at one place.
pub(in crate::engine) struct PlannedStep {
    /// Among the steps of its group: those before it make way for it.
    pub order: usize,
    pub path: RootedPath,
    /// The file that is there; `None` if there is none.
    pub original: Option<Original>,
    pub action: Action,
}

pub(in crate::engine) enum Action {
    Write {
        new: Vec<u8>,
        hash: ContentHash,
        like: Like,
        /// Make the directories above it.
        create_parents: bool,
        /// Into the file that is there, instead of one that takes its place.
        in_place: bool,
    },
    Delete,
    /// The file comes from another place, where it is as the original says.
    MoveFrom {
        from: RootedPath,
        file: Original,
        create_parents: bool,
    },
}

/// Who may do what with a file that is written.
pub(in crate::engine) enum Like {
    /// As the umask and the directory have it.
    New,
    /// The same as with the file at this path.
    File(RootedPath),
    /// As with a file that is there no more.
    Gone(Metadata),
}

/// What is kept of a file that was read, to know it again and to bring it back.
#[derive(Clone)]
pub(in crate::engine) struct Original {
    pub stat: FileStat,
    pub hash: ContentHash,
    /// A later change must show in the stat data.
    pub settled: bool,
    /// `None` for a file above the size limit.
    pub content: Option<Arc<FileContent>>,
}

impl Original {
    pub(super) fn of(before: &Before) -> Self {
        let Before { content, whole, .. } = before;
        Self {
            stat: content.stat,
            hash: content.hash,
            settled: is_settled(&content.stat, content.began),
            content: whole.then(|| content.clone()),
        }
    }
}

impl PlannedFile {
    pub fn has_failed(&self) -> bool {
        self.outcome.error.is_some()
    }

    /// Path for messages.
    pub fn relative(&self) -> PathBuf {
        self.steps.first().map_or_else(|| self.outcome.path.clone(), |step| step.path.relative().to_path_buf())
    }

    pub fn fail(&mut self, error: IoError) {
        self.mark_not_applied();
        self.outcome.status = FileStatus::Error;
        self.outcome.error = Some(error);
    }

    /// Takes back what would have come of a file that is left as it was.
    pub fn mark_not_applied(&mut self) {
        self.steps = Vec::new();
        self.buffer = None;
        if matches!(self.outcome.status, FileStatus::Applied | FileStatus::Error) {
            return;
        }
        let old = std::mem::replace(&mut self.outcome, FileOutcome::not_applied(PathBuf::new()));
        self.outcome = FileOutcome {
            path: old.path,
            real_path: old.real_path,
            old_path: old.old_path,
            old_real_path: old.old_real_path,
            old_content_hash: old.old_content_hash,
            ..FileOutcome::not_applied(PathBuf::new())
        };
    }
}
