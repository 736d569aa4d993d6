//! Guarded edits: what is asked for and what came of it.

use std::{ops::Range, path::PathBuf};

use uuid::Uuid;

use super::{Guard, TextRange};
use crate::{
    error::{IoError, Warning},
    hash::{ContentHash, TrackingHash},
};

/// Changes that are planned in order, each on the result of those before it.
#[derive(Debug, Clone, Default)]
pub struct EditRequest {
    pub changes: Vec<Change>,
    pub atomicity: Atomicity,
    pub durability: Durability,
    /// Check everything, write nothing.
    pub dry_run: bool,
    /// Allow changes of existing files without a byte-exact guard.
    pub unguarded: bool,
    /// Correlation id that is reported with the changes.
    pub origin: Uuid,
}

#[derive(Debug, Clone)]
pub enum Change {
    Edit(WriteSnippetData),
    Create(CreateFileData),
    Rename {
        old_path: PathBuf,
        new_path: PathBuf,
        overwrite: bool,
        ignore_if_exists: bool,
        expected: Guard,
        /// What the file that is overwritten is expected to be.
        expected_overwritten: Guard,
    },
    /// Directories are not deleted; asking for it is an error.
    Delete {
        path: PathBuf,
        ignore_if_not_exists: bool,
        recursive: bool,
        expected: Guard,
    },
}

/// A file to make.
#[derive(Debug, Clone, Default)]
pub struct CreateFileData {
    /// Absolute path.
    pub path: PathBuf,
    pub text: String,
    pub options: CreateOptions,
    /// What the file that is overwritten is expected to be.
    pub expected: Guard,
}

/// Edits of one file, all relative to the same original text.
#[derive(Debug, Clone, Default)]
pub struct WriteSnippetData {
    /// Absolute path.
    pub path: PathBuf,
    pub expected: Guard,
    pub edits: Vec<TextChange>,
}

#[derive(Debug, Clone, Default)]
pub struct TextChange {
    /// Without a range: the one place where `expected_text` stands.
    pub range: Option<TextRange>,
    pub new_text: String,
    pub expected_text: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CreateOptions {
    pub overwrite: bool,
    pub ignore_if_exists: bool,
    pub create_parents: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Atomicity {
    /// All files or none.
    #[default]
    Transaction,
    /// Each file on its own.
    PerFile,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Durability {
    /// File and directory are synced before the write is reported.
    #[default]
    Full,
    /// Nothing is synced: a power cut may lose the write, never tear it on file systems that order it.
    BestEffort,
    /// Reported only: the directory could not be synced.
    Unknown,
}

#[derive(Debug)]
pub struct EditOutcome {
    /// Everything was written; `false` for dry runs.
    pub applied: bool,
    /// Index of the change that failed.
    pub failed_change: Option<usize>,
    pub durability: Durability,
    /// One entry per file in the order of first mention.
    pub files: Vec<FileOutcome>,
    /// The file that each change concerns, as an index into `files`.
    pub file_of_change: Vec<usize>,
}

#[derive(Debug)]
pub struct FileOutcome {
    /// The path as it was asked for.
    pub path: PathBuf,
    /// Where a renamed file was before, as it was asked for.
    pub old_path: Option<PathBuf>,
    /// Absolute path of the real file, where it was resolved.
    pub real_path: Option<PathBuf>,
    /// The same of the place where a renamed file was before.
    pub old_real_path: Option<PathBuf>,
    pub status: FileStatus,
    /// What is told of here happens in a document that is open in an editor; the file stays as it is.
    pub in_buffer: bool,
    /// `None` for a file that is created, or was not looked at.
    pub old_content_hash: Option<ContentHash>,
    /// `None` for a file that is deleted.
    pub new_content_hash: Option<ContentHash>,
    pub new_tracking_hash: Option<TrackingHash>,
    /// Length of the new content less that of the old one.
    pub byte_delta: i64,
    /// Old and new range of each edit, in the order given.
    pub edits: Vec<(Range<usize>, Range<usize>)>,
    pub warnings: Vec<Warning>,
    pub error: Option<IoError>,
    /// Old and new text; dry runs only.
    pub preview: Option<Preview>,
}

impl FileOutcome {
    pub(crate) fn not_applied(path: PathBuf) -> Self {
        Self {
            path,
            old_path: None,
            real_path: None,
            old_real_path: None,
            status: FileStatus::NotApplied,
            in_buffer: false,
            old_content_hash: None,
            new_content_hash: None,
            new_tracking_hash: None,
            byte_delta: 0,
            edits: Vec::new(),
            warnings: Vec::new(),
            error: None,
            preview: None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileStatus {
    Applied,
    WouldApply,
    /// The new content is the same as the old one; nothing was written.
    Unchanged,
    NotApplied,
    Error,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// Path relative to its root.
    pub path: PathBuf,
    /// Where a renamed file was before, relative to its root.
    pub old_path: Option<PathBuf>,
    /// `None` for a file that does not exist yet.
    pub old: Option<String>,
    /// `None` for a file that is deleted.
    pub new: Option<String>,
}
