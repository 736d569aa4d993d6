//! The part of an edit that goes to documents which are open in an editor with unsaved changes.
//!
//! One document is asked for after the other, so that it is known of each whether it holds its edit, and before anything
//! is written to the disk; when a transaction fails later, what was done is taken back.

use super::Mode;
use crate::{
    engine::{
        Atomicity, BufferEdit, EditedBuffer, EditorError, Engine, FileStatus, OpenDocument,
        documents::Located,
        plan::{Action, PlannedFile, PlannedStep},
    },
    error::{IoError, IoErrorKind, Warning},
};

/// An edit that a document holds.
pub(super) struct InBuffer {
    file: usize,
    edit: BufferEdit,
    made: EditedBuffer,
}

impl Engine {
    /// Has the editor make all edits of documents, up to the first failure of a transaction; returns those it has made.
    pub(super) fn edit_buffers(&self, files: &mut [PlannedFile], mode: &Mode) -> Vec<InBuffer> {
        let mut in_buffers = Vec::new();
        let mut silent = false;
        for (index, file) in files.iter_mut().enumerate() {
            let Some((path, edit)) = file.buffer.take() else { continue };
            let made = if silent {
                // Each would take as long again.
                Err(EditorError::Refused("it was not asked, as it had left another question without an answer".into()))
            } else {
                mode.editor.apply(&edit)
            };
            match made {
                Ok(made) => {
                    file.tell_made(&edit, made);
                    in_buffers.push(InBuffer { file: index, edit, made });
                }
                Err(error) => {
                    tracing::warn!(%error, "an edit of an open document");
                    silent |= matches!(error, EditorError::Unknown(_));
                    file.fail(IoError::new(path, error.into()));
                    if mode.atomicity == Atomicity::Transaction {
                        break;
                    }
                }
            }
        }
        in_buffers
    }

    /// Has the editor take back its part of a transaction that failed, or says where that is impossible.
    ///
    /// A transaction that the next start finishes is not taken back.
    pub(super) fn take_buffers_back(&self, files: &mut [PlannedFile], in_buffers: Vec<InBuffer>, mode: &Mode) {
        let is_finished_later = |file: &PlannedFile| {
            let kind = file.outcome.error.as_ref().map(|error| &error.kind);
            matches!(kind, Some(IoErrorKind::Unfinished { recorded: true, .. }))
        };
        if files.iter().any(is_finished_later) {
            return;
        }
        for InBuffer { file, edit, made } in in_buffers.into_iter().rev() {
            let documents = mode.editor.documents();
            let inverse = inverse(&edit, made, documents.get(&edit.path).map(|document| &**document));
            let file = &mut files[file];
            match inverse.and_then(|inverse| mode.editor.apply(&inverse)) {
                Ok(_) => {
                    file.outcome.status = FileStatus::NotApplied;
                    file.mark_not_applied();
                }
                Err(error) => {
                    tracing::error!(%error, "an edit of an open document could not be taken back");
                    file.outcome.warnings.push(Warning::NotTakenBack(error.to_string()));
                }
            }
        }
    }

    /// The documents as they are now.
    pub(super) fn documents_now(&self, mode: &Mode) -> OpenNow {
        let documents = mode.editor.documents();
        if mode.documents.is_of(&documents) { OpenNow::AsPlanned } else { OpenNow::Changed(self.locate(documents)) }
    }
}

impl PlannedFile {
    fn tell_made(&mut self, edit: &BufferEdit, made: EditedBuffer) {
        let outcome = &mut self.outcome;
        outcome.status = FileStatus::Applied;
        match made.shown {
            None => outcome.warnings.push(Warning::NotConfirmed),
            Some((hash, _)) if Some(hash) == outcome.new_content_hash => {}
            // The editor has line endings of its own.
            Some((hash, bytes)) => {
                outcome.new_content_hash = Some(hash);
                outcome.new_tracking_hash = None;
                outcome.byte_delta = bytes as i64 - edit.old_text.len() as i64;
                outcome.edits = Vec::new();
            }
        }
    }
}

/// The edit that brings the old text back, if the document still is what was made of it.
fn inverse(edit: &BufferEdit, made: EditedBuffer, now: Option<&OpenDocument>) -> Result<BufferEdit, EditorError> {
    let unknown = || EditorError::Refused("the document was closed or changed since".into());
    let now = now.ok_or_else(unknown)?;
    let is_made = match made.shown {
        Some((hash, _)) => now.hash() == Some(hash),
        None => now.text() == Some(&edit.new_text),
    };
    let current = if is_made {
        now.clone()
    } else if made.shown.is_none() && now.version() == edit.version {
        // The editor has not sent it yet; one that counts versions refuses what is not for its own.
        OpenDocument::new(edit.version, edit.new_text.clone())
    } else {
        return Err(unknown());
    };
    Ok(BufferEdit::new(&edit.path, &current, edit.old_text.clone(), &[]))
}

/// What the editor has open when its files are about to be written.
pub(super) enum OpenNow {
    /// The same as when they were planned.
    AsPlanned,
    Changed(Located),
}

impl OpenNow {
    /// Refuses to write beneath a document that was changed in the meantime.
    pub fn check_clean(&self, step: &PlannedStep) -> Result<(), IoError> {
        let Self::Changed(documents) = self else { return Ok(()) };
        if let Action::MoveFrom { from, file, .. } = &step.action {
            documents.refuse_dirty(from, Some(file.hash))?;
        }
        documents.refuse_dirty(&step.path, step.original.as_ref().map(|original| original.hash))
    }
}
