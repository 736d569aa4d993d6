//! The synchronous core: reads, scans, plans and commits; knows no JSON, no async and no LSP.

mod edit;
mod read;
mod scan;

pub use edit::{
    Atomicity, Change, CreateOptions, Durability, EditOutcome, EditRequest, FileOutcome, FileStatus, Preview,
    TextChange, TextEdits,
};
pub use read::{EmbeddingData, Snippet};
pub use scan::{ChangedFileData, FileData, ScanStatus};

use uuid::Uuid;

use crate::{
    hash::{ContentHash, TrackingHash},
    position::{Position, PositionEncoding},
};

/// What a caller expects a file to be; whatever is given is checked against the bytes that are used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Guard {
    /// Hash of the file's bytes; the only one of these that guards offsets.
    pub content_hash: Option<ContentHash>,
    /// Hash of the file's tokens; Rust files only.
    pub tracking_hash: Option<TrackingHash>,
    /// Namespace of the tracking hash, also of those that are returned.
    pub namespace: Uuid,
    /// Version of an open document.
    pub version: Option<i32>,
}

/// A half-open range of a text; an empty one is an insertion point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextRange {
    /// Offsets into the file's raw bytes.
    Bytes { start: usize, end: usize },
    /// Lines and characters from 0, which begin after a byte order mark.
    Positions { start: Position, end: Position, encoding: PositionEncoding },
}
