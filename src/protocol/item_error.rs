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
    /// Nothing is at the path, or a directory above a new file is missing. Look again; create with `createParents`. As
    /// the error of `ploke/undo`: nothing is known of this origin any more.
    NotFound,
    /// A directory, a FIFO, a socket or a device is at the path. Ask for a regular file.
    NotAFile,
    /// The path itself lies outside of all roots. Add a workspace folder if it should not.
    OutsideRoots,
    /// A symbolic link leads where the policy does not allow. Use the real path, or `symlinkPolicy` "follow" between roots.
    SymlinkDenied,
    /// The file may not be read or written by this user, or is read-only. Ask a person.
    PermissionDenied {
        /// Name of the operating system's error, such as "EACCES".
        #[serde(skip_serializing_if = "Option::is_none")]
        os: Option<&'static str>,
    },
    /// The file, the text or the document is not the one expected. Read it again and decide anew.
    ContentMismatch {
        /// The guard that failed.
        guard: Guard,
        /// The hashes that the file has, where they are known.
        #[serde(skip_serializing_if = "Option::is_none")]
        actual: Option<FileHashes>,
    },
    /// The range ends behind the text, or starts after its end. Read the file again.
    OutOfRange {
        /// Length of the file in bytes.
        file_bytes: u64,
    },
    /// The range cuts a character or a surrogate pair in two. Take one of the nearest boundaries.
    InvalidCharBoundary {
        /// The byte offsets of the boundaries before and after.
        nearest: [u64; 2],
    },
    /// The file is not UTF-8 text. Only `ploke/scan` by content hash works on it.
    NotUtf8 {
        /// Length in bytes of the valid beginning.
        valid_up_to: u64,
    },
    /// The text does not parse as Rust, so it has no tracking hash. Guard with the content hash.
    ParseError {
        /// From 1.
        line: u64,
        /// From 1.
        column: u64,
    },
    /// `expectedText` stands nowhere in the file. Read the file again.
    TextNotFound,
    /// `expectedText` stands in the file more than once. Give a range, or more of the text around it.
    AmbiguousText {
        /// How many times.
        count: u64,
        /// The first ten places.
        byte_ranges: Vec<ByteRange>,
    },
    /// Two edits of one entry overlap. Join them, or use an entry for each.
    OverlappingEdits {
        /// Index of one of them in `edits`.
        first: u64,
        /// Index of the other.
        second: u64,
    },
    /// An existing file would be changed without a byte-exact guard. Give one.
    GuardRequired,
    /// A file is at the path where one would be created. Edit it, or use `overwrite` with a guard.
    AlreadyExists,
    /// The file, its new text or all snippets of an answer are above a limit. Raise `limits`, or ask for less at a time.
    TooLarge {
        /// What there is.
        bytes: u64,
        /// What is allowed.
        limit: u64,
    },
    /// Another sidecar held the lock of the file for more than ten seconds. Try again later.
    Locked {
        /// Process id of that sidecar, where it is known.
        #[serde(skip_serializing_if = "Option::is_none")]
        pid: Option<u32>,
    },
    /// A document is open with unsaved changes, which the edit does not speak of or which would be lost. Read the
    /// document and guard with what was read, or have it saved.
    DocumentDirty,
    /// A document is open, but the server could not follow a change of it. Close and open it, or change it as a whole; the
    /// file can still be read with `source` "disk".
    DocumentUnknown,
    /// `source` is "buffer", and no document is open. Read the file.
    DocumentNotOpen,
    /// The editor was asked to change an open document and has not done so; the message says why. Read it again.
    EditorRefused,
    /// The editor was asked to change an open document, and it is not known whether it has. Read it again.
    EditorUnknown,
    /// The request was cancelled, or the session ended, before this item was begun; nothing of it was done.
    Cancelled,
    /// The operating system refused, or ("ENOTSUP") the server does not do this. The message says what was tried.
    Io {
        /// Name of the operating system's error, such as "ENOSPC".
        #[serde(skip_serializing_if = "Option::is_none")]
        os: Option<&'static str>,
    },
    /// A warning: applied, but the directory could not be synced. A power cut may bring the old content back.
    DurabilityUnknown,
    /// A warning: applied as the editor says, but it has not sent the changed document. Read it again.
    NotConfirmed,
    /// A warning: the open document holds the edit although the request failed. A person should undo it there.
    NotTakenBack,
    /// A warning: applied, but the new file lacks the attributes that the message names.
    MetadataNotPreserved,
    /// A warning: applied, but `ploke/undo` can not take it back; the message says why.
    UndoNotKept,
    /// A warning: applied by overwriting the file, which keeps its hard links. Readers may have seen a part of it.
    WrittenInPlace,
    /// A bug of the server. Report it.
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
    /// The document is not open in this version.
    Version,
}
