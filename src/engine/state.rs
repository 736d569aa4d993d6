//! stub
use std::{io, path::{Path, PathBuf}, sync::Arc};
use uuid::Uuid;
use super::journal::{Record, RecordedPath};
use crate::{disk::Disk, hash::ContentHash};
pub(crate) struct StateDir { undo: UndoStore }
pub(crate) struct UndoStore;
pub(super) struct OpenRecord;
#[derive(Debug, Clone, PartialEq)]
pub(super) struct UndoEntry { pub origin: Uuid, pub steps: Vec<UndoStep> }
#[derive(Debug, Clone, PartialEq)]
pub(super) enum UndoStep {
    Restore { at: RecordedPath, left: Option<ContentHash>, before: Option<Before> },
    MoveBack { now_at: RecordedPath, was_at: RecordedPath, left: ContentHash, overwritten: Option<Before> },
}
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Before { pub bytes: Vec<u8>, pub mode: u32 }
impl StateDir {
    pub fn undo(&self) -> &UndoStore { &self.undo }
    pub fn begin(&self, _r: &Record, _sync: bool) -> io::Result<OpenRecord> { todo!() }
    pub fn note_temporaries(&self, _d: &Path, _sync: bool) -> io::Result<()> { todo!() }
}
impl OpenRecord {
    pub fn finish(self) -> io::Result<()> { todo!() }
    pub fn leave(self) { todo!() }
}
impl UndoStore {
    pub fn is_on(&self) -> bool { false }
    pub fn find(&self, _o: Uuid) -> io::Result<Option<UndoEntry>> { todo!() }
    pub fn keep(&self, _e: &UndoEntry) -> io::Result<()> { todo!() }
    pub fn forget(&self, _o: Uuid) { todo!() }
}
