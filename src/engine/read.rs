//! Verified reads: each file is read once, all guards are checked on those bytes.

use std::{ops::Range, path::PathBuf};

use super::{Guard, TextRange};
use crate::hash::{ContentHash, TrackingHash};

/// A snippet to read, with what the caller expects it to be.
#[derive(Debug, Clone, Default)]
pub struct EmbeddingData {
    /// Absolute path.
    pub path: PathBuf,
    /// Without a range: the one place where `expected_text` stands, else the whole file.
    pub range: Option<TextRange>,
    pub expected: Guard,
    pub expected_text: Option<String>,
    /// Tracking hash of the text of the range.
    pub node_tracking_hash: Option<TrackingHash>,
    /// Return the file's tracking hash (it is also returned when `expected` has one).
    pub want_tracking: bool,
}

/// A verified piece of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snippet {
    pub text: String,
    pub byte_range: Range<usize>,
    /// Hash of the whole file that the text was taken from.
    pub content_hash: ContentHash,
    pub tracking_hash: Option<TrackingHash>,
}
