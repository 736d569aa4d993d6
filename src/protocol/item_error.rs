//! The error of one item of a request.

use schemars::JsonSchema;
use serde::Serialize;

use super::values::{ByteRange, FileHashes};

/// Why one item failed, or what did not go ideally; other items of the same request are not affected.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ItemError {
    #[serde(flatten)]
    pub kind: ItemErrorKind,
    pub severity: Severity,
    /// For people; names paths relative to their root.
    pub message: String,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// The operation failed; the session goes on.
    Fatal,
    /// The operation succeeded, not ideally.
    Warning,
    /// A bug of the server.
    Internal,
}

/// What went wrong, with what a program needs to react.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ItemErrorKind {
    NotFound,
    NotAFile,
    /// The path itself lies outside of all roots.
    OutsideRoots,
    /// A symbolic link leads where the policy does not allow.
    SymlinkDenied,
    PermissionDenied {
        /// Name of the operating system's error, such as "EACCES".
        #[serde(skip_serializing_if = "Option::is_none")]
        os: Option<&'static str>,
    },
    ContentMismatch {
        /// The guard that failed.
        guard: Guard,
        /// The hashes that the file has, where they are known.
        #[serde(skip_serializing_if = "Option::is_none")]
        actual: Option<FileHashes>,
    },
    OutOfRange {
        file_bytes: u64,
    },
    InvalidCharBoundary {
        /// The byte offsets of the boundaries before and after.
        nearest: [u64; 2],
    },
    NotUtf8 {
        valid_up_to: u64,
    },
    /// The text is not Rust; line and column count from 1.
    ParseError {
        line: u64,
        column: u64,
    },
    TextNotFound,
    AmbiguousText {
        count: u64,
        /// The first ten places.
        byte_ranges: Vec<ByteRange>,
    },
    /// Indices of the two edits.
    OverlappingEdits {
        first: u64,
        second: u64,
    },
    GuardRequired,
    AlreadyExists,
    TooLarge {
        bytes: u64,
        limit: u64,
    },
    /// Another process holds the lock of the file.
    Locked,
    Cancelled,
    Io {
        /// Name of the operating system's error, such as "ENOSPC".
        #[serde(skip_serializing_if = "Option::is_none")]
        os: Option<&'static str>,
    },
    DurabilityUnknown,
    MetadataNotPreserved,
    Internal,
}

/// A guard that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Guard {
    ContentHash,
    TrackingHash,
    ExpectedText,
    NodeTrackingHash,
    Version,
}
