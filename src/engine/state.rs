//! stub
use super::journal::{Record, RecordedPath};
use crate::{disk::Disk, hash::ContentHash};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};
use uuid::Uuid;
/// How much is kept to take transactions back; zero of either turns it off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UndoLimits {
    /// Bytes of all copies together; the oldest go first.
    pub keep_bytes: u64,
    /// Age at which copies go.
    pub keep_days: u64,
}

impl Default for UndoLimits {
    fn default() -> Self {
        Self { keep_bytes: 256 << 20, keep_days: 7 }
    }
}

/// What was done about transactions that others left unfinished.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Transactions that were completed, with their files.
    pub finished: Vec<(Uuid, Vec<PathBuf>)>,
    /// Files that are neither what they were before their transaction nor what it would have made of them, and why.
    pub left_alone: Vec<(Uuid, PathBuf, String)>,
    /// Records that could not be read and were moved to these places, and why.
    pub set_aside: Vec<(PathBuf, String)>,
    /// What kept recovery from looking.
    pub problems: Vec<String>,
}

pub(crate) struct StateDir {
    undo: UndoStore,
}
pub(crate) struct UndoStore;
pub(super) struct OpenRecord;
#[derive(Debug, Clone, PartialEq)]
pub(super) struct UndoEntry {
    pub origin: Uuid,
    pub steps: Vec<UndoStep>,
}
#[derive(Debug, Clone, PartialEq)]
pub(super) enum UndoStep {
    Restore { at: RecordedPath, left: Option<ContentHash>, before: Option<Before> },
    MoveBack { now_at: RecordedPath, was_at: RecordedPath, left: ContentHash, overwritten: Option<Before> },
}
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Before {
    pub bytes: Vec<u8>,
    pub mode: u32,
}
impl StateDir {
    pub fn open(_p: &Path, _d: Arc<dyn Disk>, _u: UndoLimits) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }
    pub fn recover(&self) -> RecoveryReport {
        todo!()
    }
    pub fn undo(&self) -> &UndoStore {
        &self.undo
    }
    pub fn begin(&self, _r: &Record, _sync: bool) -> io::Result<OpenRecord> {
        todo!()
    }
    pub fn note_temporaries(&self, _d: &Path, _sync: bool) -> io::Result<()> {
        todo!()
    }
}
impl OpenRecord {
    pub fn finish(self) -> io::Result<()> {
        todo!()
    }
    pub fn leave(self) {
        todo!()
    }
}
impl UndoStore {
    pub fn is_on(&self) -> bool {
        false
    }
    pub fn find(&self, _o: Uuid) -> io::Result<Option<UndoEntry>> {
        todo!()
    }
    pub fn keep(&self, _e: &UndoEntry) -> io::Result<()> {
        todo!()
    }
    pub fn forget(&self, _o: Uuid) {
        todo!()
    }
}
