//! The editor that has documents open, and what it is asked for.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{OpenDocument, OpenDocuments};
use crate::{error::IoErrorKind, hash::ContentHash};

/// An editor that has documents open and can change them.
pub trait Editor: Send + Sync {
    /// The documents as they are now.
    fn documents(&self) -> Arc<OpenDocuments>;

    /// Asks for a change of one document, and waits for the answer for a bounded time.
    ///
    /// # Errors
    /// If the document is not changed, or if that can not be known.
    fn apply(&self, edit: &BufferEdit) -> Result<EditedBuffer, EditorError>;
}

/// A change of one open document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BufferEdit {
    /// By which the document was opened.
    pub path: PathBuf,
    /// The only version that may be changed.
    pub version: i32,
    /// The text of this version.
    pub old_text: String,
    /// Ranges of the old text and what takes their place: in order, none touches another.
    pub edits: Vec<(Range<usize>, String)>,
    /// What comes of it.
    pub new_text: String,
}

/// What an editor has said about a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EditedBuffer {
    /// Hash and length of the text that the editor has shown to hold the change; `None` if it has only said so.
    pub shown: Option<(ContentHash, u64)>,
}

/// Why a document was not changed, or is not known to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditorError {
    /// It can not be asked.
    #[error("{0}")]
    CanNotEdit(&'static str),
    /// It has not changed the document.
    #[error("{0}")]
    Refused(String),
    /// Nobody knows whether it has changed the document.
    #[error("{0}")]
    Unknown(String),
}

impl From<EditorError> for IoErrorKind {
    fn from(error: EditorError) -> Self {
        match error {
            EditorError::CanNotEdit(why) => Self::DocumentDirty(why),
            EditorError::Refused(reason) => Self::EditorRefused(reason),
            EditorError::Unknown(reason) => Self::EditorUnknown(reason),
        }
    }
}

/// For callers whose files are open nowhere.
pub struct NoEditor;

impl Editor for NoEditor {
    fn documents(&self) -> Arc<OpenDocuments> {
        Arc::default()
    }

    fn apply(&self, _: &BufferEdit) -> Result<EditedBuffer, EditorError> {
        Err(EditorError::CanNotEdit("there is no editor"))
    }
}

impl BufferEdit {
    /// A change of a document to this text; `ranges` tell which range of it has become which of the new text, or nothing.
    pub fn new(
        path: &Path,
        document: &OpenDocument,
        new_text: String,
        ranges: &[(Range<usize>, Range<usize>)],
    ) -> Self {
        let old_text = document.text().unwrap_or_default().to_owned();
        let edits = if ranges.is_empty() { replacement(&old_text, &new_text) } else { joined(ranges, &new_text) };
        Self { path: path.to_owned(), version: document.version(), old_text, edits, new_text }
    }
}

/// Edits that touch each other as one, so that it does not matter which is made first.
fn joined(ranges: &[(Range<usize>, Range<usize>)], new_text: &str) -> Vec<(Range<usize>, String)> {
    let mut ranges = ranges.to_vec();
    ranges.sort_by_key(|(old, new)| (old.start, new.start, old.end));
    let mut joined: Vec<(Range<usize>, Range<usize>)> = Vec::with_capacity(ranges.len());
    for (old, new) in ranges {
        match joined.last_mut() {
            Some((last_old, last_new)) if last_old.end == old.start => {
                last_old.end = old.end;
                last_new.end = new.end;
            }
            _ => joined.push((old, new)),
        }
    }
    joined.into_iter().map(|(old, new)| (old, new_text[new].to_owned())).collect()
}

/// The one edit that makes one text of another, as short as it can be; none if they are the same.
fn replacement(old: &str, new: &str) -> Vec<(Range<usize>, String)> {
    if old == new {
        return Vec::new();
    }
    let same = old.chars().zip(new.chars()).take_while(|(old, new)| old == new);
    let start: usize = same.map(|(character, _)| character.len_utf8()).sum();
    let (old_rest, new_rest) = (&old[start..], &new[start..]);
    let same = old_rest.chars().rev().zip(new_rest.chars().rev()).take_while(|(old, new)| old == new);
    let end: usize = same.map(|(character, _)| character.len_utf8()).sum();
    vec![(start..old.len() - end, new_rest[..new_rest.len() - end].to_owned())]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn apply(old: &str, edits: &[(Range<usize>, String)]) -> String {
        let mut text = old.to_owned();
        for (range, new) in edits.iter().rev() {
            text.replace_range(range.clone(), new);
        }
        text
    }

    #[test]
    fn edits_that_touch_are_one() {
        let ranges = [(5..5, 4..6), (1..3, 1..2), (3..3, 2..3)];
        assert_eq!(joined(&ranges, "aXYb12"), [(1..3, "XY".to_owned()), (5..5, "12".to_owned())]);
    }

    proptest! {
        #[test]
        fn a_replacement_makes_one_text_of_the_other(old in "[aä🦀\n]{0,8}", new in "[aä🦀\n]{0,8}") {
            let edits = replacement(&old, &new);
            prop_assert!(edits.len() <= 1);
            prop_assert_eq!(apply(&old, &edits), new);
        }
    }
}
