//! Change scans: which of these files are not what the caller knows.

use std::path::PathBuf;

use super::Guard;
use crate::hash::{ContentHash, TrackingHash};

/// A file to compare with what the caller knows of it; `expected` needs at least one hash.
#[derive(Debug, Clone, Default)]
pub struct FileData {
    /// Absolute path.
    pub path: PathBuf,
    pub expected: Guard,
    /// Return the tracking hash although `expected` has none.
    pub want_tracking: bool,
}

/// What a scan found out about one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedFileData {
    pub status: ScanStatus,
    /// The hashes the file has now; `None` when it is missing.
    pub content_hash: Option<ContentHash>,
    pub tracking_hash: Option<TrackingHash>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScanStatus {
    Unchanged,
    Changed,
    /// The tokens are the same, the bytes are not; only when both hashes were expected.
    Formatted,
    Missing,
}
