//! What subscribers are told about changes of files.

use std::path::PathBuf;

use uuid::Uuid;

use crate::hash::ContentHash;

/// One change of one file (or of a directory as a whole), told as its net effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChangeEvent {
    /// Absolute path of the real file, also when it was changed through a link.
    pub path: PathBuf,
    pub kind: FileEventKind,
    /// Where the file was before; only for [`FileEventKind::Renamed`].
    pub old_path: Option<PathBuf>,
    /// Hash of what is there now; absent for deleted files, directories and files above the size limit.
    pub content_hash: Option<ContentHash>,
    /// The change stands for a directory and all that is in it.
    pub directory: bool,
    /// Correlation id of the write that caused the change; `None` for a change from outside.
    pub origin: Option<Uuid>,
    /// The other process like this one that made the change; `None` for an own write and a change from outside.
    pub by: Option<Author>,
}

/// Another process that shares the state directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// The name its client has given.
    pub client: String,
    pub pid: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileEventKind {
    Created,
    Modified,
    Deleted,
    Renamed,
}

/// Changes that are reported together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileEventBatch {
    pub changes: Vec<FileChangeEvent>,
    /// Changes may have been missed (queue overflow, lost watch): the subscriber should scan again.
    pub rescan: bool,
    /// Something the user should know of how files are watched, once.
    pub notice: Option<String>,
    /// Everything has been told that had happened before the call of
    /// `IoManagerHandle::sync_file_events` that returned this number.
    pub barrier: Option<u64>,
}
