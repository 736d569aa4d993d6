//! Edits of documents that are open with unsaved changes, in place of their files.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::draft::{Before, Draft, Now};
use crate::{
    engine::{
        BufferEdit, Engine, Guard, OpenDocument,
        documents::{Located, Opened, READ_DOCUMENT, SAVE_FIRST, content_of},
    },
    error::IoErrorKind,
    hash::ContentHash,
    roots::RootedPath,
};

/// A document that is open with another text than its file has.
pub(in crate::engine) struct Buffer {
    /// By which it was opened.
    pub opened: PathBuf,
    pub document: Arc<OpenDocument>,
    pub on_disk: Option<ContentHash>,
}

impl Engine {
    /// What an edit begins with: the file, or a document that is open with another text than the file has.
    ///
    /// Nothing but an edit is possible where there is such a document.
    pub(super) fn or_document(
        &self,
        before: Option<Before>,
        path: &RootedPath,
        asked: &Path,
        documents: &Located,
        only_edits: bool,
    ) -> Result<Option<Before>, IoErrorKind> {
        let on_disk = before.as_ref().map(|before| before.content.hash);
        match documents.opened(path, asked, on_disk) {
            Opened::Nothing | Opened::Outdated => Ok(before),
            Opened::Clean(version) => Ok(before.map(|before| before.with_version(version))),
            Opened::Unknown => Err(IoErrorKind::DocumentUnknown),
            Opened::Dirty(opened, document) if only_edits => {
                let content = Arc::new(content_of(document, path, self.max_file_bytes)?);
                let buffer = Buffer { opened: opened.to_owned(), document: document.clone(), on_disk };
                Ok(Some(Before { content, whole: true, buffer: Some(buffer) }))
            }
            // Nothing is written where a file is in the way.
            Opened::Dirty(..) | Opened::DirtySeveral if before.is_none() && path.stat().is_some() => Ok(None),
            Opened::Dirty(..) | Opened::DirtySeveral => Err(IoErrorKind::DocumentDirty(SAVE_FIRST)),
        }
    }
}

impl Before {
    /// The same file, open as a document of this version with the same text.
    fn with_version(mut self, version: i32) -> Self {
        if let Some(content) = Arc::get_mut(&mut self.content) {
            content.version = Some(version);
        }
        self
    }

    /// A document is not changed for who speaks of the file that it was made of.
    pub(super) fn refuse_guard_of_file(&self, expected: &Guard, by_text: bool) -> Result<(), IoErrorKind> {
        let Some(buffer) = &self.buffer else { return Ok(()) };
        match expected.content_hash {
            Some(hash) if hash == self.content.hash => Ok(()),
            Some(hash) if Some(hash) != buffer.on_disk => Ok(()),
            None if by_text || expected.version.is_some() => Ok(()),
            _ => Err(IoErrorKind::DocumentDirty(READ_DOCUMENT)),
        }
    }
}

/// What the editor of the draft's document is to be asked for, after this many changes; nothing if its text stays as it
/// is. `None` if the draft is of files.
pub(super) fn buffer_edit(draft: &Draft, changes: usize) -> Option<Option<BufferEdit>> {
    let slot = draft.slots.first()?;
    let before = slot.before.as_ref()?;
    let Buffer { opened, document, .. } = before.buffer.as_ref()?;
    let Now::Text { text, .. } = &slot.now else { return Some(None) };
    if text.as_bytes() == before.content.bytes {
        return Some(None);
    }
    // The ranges of later changes are not those of the original.
    let ranges = if changes == 1 { draft.files[slot.file].ranges.as_slice() } else { &[] };
    Some(Some(BufferEdit::new(opened, document, text.clone(), ranges)))
}
