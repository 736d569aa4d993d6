//! What errors are on the wire: the kinds of item errors and the codes of responses. Nothing else knows them.

use super::method::RpcError;
use crate::{
    error::{ActualHashes, GuardKind, IoError, IoErrorKind, Severity, Warning, os_name},
    protocol::{
        item_error::{self as wire, ItemError, ItemErrorKind},
        values::{ByteRange, FileHashes},
    },
};

/// The error codes of JSON-RPC and LSP that this server uses.
pub(crate) mod code {
    pub const PARSE_ERROR: i64 = -32700;
    pub const INVALID_REQUEST: i64 = -32600;
    pub const METHOD_NOT_FOUND: i64 = -32601;
    pub const INVALID_PARAMS: i64 = -32602;
    pub const INTERNAL_ERROR: i64 = -32603;
    pub const NOT_INITIALIZED: i64 = -32002;
    pub const REQUEST_CANCELLED: i64 = -32800;
    pub const REQUEST_FAILED: i64 = -32803;
}

/// Places of an ambiguous text that are told.
const MAX_PLACES: usize = 10;

/// Characters of a message; serde puts what it was given into its messages, which may be a whole file.
const MAX_MESSAGE: usize = 1000;

impl RpcError {
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: shortened(message.into()), data: None }
    }

    pub fn parse_error(message: impl Into<String>) -> Self {
        Self::new(code::PARSE_ERROR, message)
    }

    pub fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(code::INVALID_REQUEST, message)
    }

    pub fn method_not_found(method: &str) -> Self {
        Self::new(code::METHOD_NOT_FOUND, format!("unknown method {method:.100}"))
    }

    /// `message` begins with the JSON path of the field that is wrong.
    pub fn invalid_params(message: impl Into<String>) -> Self {
        Self::new(code::INVALID_PARAMS, message)
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(code::INTERNAL_ERROR, message)
    }

    pub fn not_initialized() -> Self {
        Self::new(code::NOT_INITIALIZED, "the first request must be initialize")
    }

    pub fn cancelled() -> Self {
        Self::new(code::REQUEST_CANCELLED, "cancelled")
    }
}

/// The request failed as a whole, for a reason that single items have too.
impl From<IoError> for RpcError {
    fn from(error: IoError) -> Self {
        let data = serde_json::to_value(ItemError::from(&error)).ok();
        Self { data, ..Self::new(code::REQUEST_FAILED, error.to_string()) }
    }
}

/// Answers a cancelled request as a whole, whatever some of its items had come to.
pub(super) fn refuse_cancelled<T>(outcomes: &[Result<T, IoError>]) -> Result<(), RpcError> {
    let is_cancelled =
        |outcome: &Result<T, IoError>| matches!(outcome, Err(error) if matches!(error.kind, IoErrorKind::Cancelled));
    if outcomes.iter().any(is_cancelled) { Err(RpcError::cancelled()) } else { Ok(()) }
}

fn shortened(mut message: String) -> String {
    if let Some((end, _)) = message.char_indices().nth(MAX_MESSAGE) {
        message.truncate(end);
        message.push('…');
    }
    message
}

impl From<&IoError> for ItemError {
    fn from(error: &IoError) -> Self {
        // Absolute paths stay out of messages; the item says which file is meant.
        let message = if error.path.is_absolute() { error.kind.to_string() } else { error.to_string() };
        Self { kind: (&error.kind).into(), severity: error.severity().into(), message }
    }
}

impl From<&Warning> for ItemError {
    fn from(warning: &Warning) -> Self {
        let kind = match warning {
            Warning::DurabilityUnknown(_) => ItemErrorKind::DurabilityUnknown,
            Warning::MetadataNotPreserved(_) => ItemErrorKind::MetadataNotPreserved,
            Warning::UndoNotKept(_) => ItemErrorKind::UndoNotKept,
            Warning::NotConfirmed => ItemErrorKind::NotConfirmed,
            Warning::NotTakenBack(_) => ItemErrorKind::NotTakenBack,
            Warning::WrittenInPlace => ItemErrorKind::WrittenInPlace,
        };
        Self { kind, severity: wire::Severity::Warning, message: warning.to_string() }
    }
}

impl From<&IoErrorKind> for ItemErrorKind {
    fn from(kind: &IoErrorKind) -> Self {
        match kind {
            IoErrorKind::NotFound | IoErrorKind::NothingToUndo => Self::NotFound,
            IoErrorKind::NotAFile { .. } => Self::NotAFile,
            IoErrorKind::OutsideRoots { .. } => Self::OutsideRoots,
            IoErrorKind::SymlinkDenied => Self::SymlinkDenied,
            IoErrorKind::PermissionDenied { os } => Self::PermissionDenied { os: *os },
            IoErrorKind::ReadOnly => Self::PermissionDenied { os: None },
            IoErrorKind::ContentMismatch { guard, actual } => {
                Self::ContentMismatch { guard: (*guard).into(), actual: actual.map(FileHashes::from) }
            }
            IoErrorKind::KeptBeside { .. } => {
                Self::ContentMismatch { guard: crate::error::GuardKind::ContentHash.into(), actual: None }
            }
            IoErrorKind::OutOfRange { file_bytes } => Self::OutOfRange { file_bytes: *file_bytes },
            IoErrorKind::InvalidCharBoundary { nearest } => {
                Self::InvalidCharBoundary { nearest: nearest.map(|offset| offset as u64) }
            }
            IoErrorKind::NotUtf8 { valid_up_to } => Self::NotUtf8 { valid_up_to: *valid_up_to as u64 },
            IoErrorKind::Parse(error) => Self::ParseError { line: error.line as u64, column: error.column as u64 },
            IoErrorKind::TextNotFound => Self::TextNotFound,
            IoErrorKind::AmbiguousText { count, byte_ranges } => Self::AmbiguousText {
                count: *count as u64,
                byte_ranges: byte_ranges.iter().take(MAX_PLACES).map(ByteRange::from).collect(),
            },
            IoErrorKind::OverlappingEdits { first, second } => {
                Self::OverlappingEdits { first: *first as u64, second: *second as u64 }
            }
            IoErrorKind::GuardRequired => Self::GuardRequired,
            IoErrorKind::AlreadyExists => Self::AlreadyExists,
            IoErrorKind::TooLarge { bytes, limit } | IoErrorKind::AnswerTooLarge { bytes, limit } => {
                Self::TooLarge { bytes: *bytes, limit: *limit }
            }
            // Whether the client or the end of the session stopped it: nothing was touched.
            IoErrorKind::Cancelled | IoErrorKind::ShutDown => Self::Cancelled,
            IoErrorKind::DocumentDirty(_) => Self::DocumentDirty,
            IoErrorKind::DocumentUnknown => Self::DocumentUnknown,
            IoErrorKind::DocumentNotOpen => Self::DocumentNotOpen,
            IoErrorKind::EditorRefused(_) => Self::EditorRefused,
            IoErrorKind::EditorUnknown(_) => Self::EditorUnknown,
            IoErrorKind::Os { source, .. } => Self::Io { os: os_name(source) },
            IoErrorKind::NotSupported(_) => Self::Io { os: Some("ENOTSUP") },
            IoErrorKind::NotSynced { os, .. } => Self::Io { os: Some(os) },
            IoErrorKind::Locked { holder, .. } => Self::Locked { pid: *holder },
            IoErrorKind::AcrossFileSystems => Self::Io { os: Some("EXDEV") },
            IoErrorKind::Unfinished { .. } => Self::Io { os: None },
            IoErrorKind::NotADirectory => Self::Io { os: Some("ENOTDIR") },
            IoErrorKind::InvalidSetting(_) => Self::Io { os: Some("EINVAL") },
            IoErrorKind::Internal(_) => Self::Internal,
        }
    }
}

impl From<Severity> for wire::Severity {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Fatal => Self::Fatal,
            Severity::Warning => Self::Warning,
            Severity::Internal => Self::Internal,
        }
    }
}

impl From<GuardKind> for wire::Guard {
    fn from(guard: GuardKind) -> Self {
        match guard {
            GuardKind::ContentHash => Self::ContentHash,
            GuardKind::TrackingHash => Self::TrackingHash,
            GuardKind::ExpectedText => Self::ExpectedText,
            GuardKind::NodeTrackingHash => Self::NodeTrackingHash,
            GuardKind::Version => Self::Version,
        }
    }
}

impl From<ActualHashes> for FileHashes {
    fn from(actual: ActualHashes) -> Self {
        Self { content_hash: actual.content, tracking_hash: actual.tracking }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;
    use crate::hash::{ContentHash, ParseError, TrackingHash};

    fn wire(kind: IoErrorKind) -> Value {
        serde_json::to_value(ItemError::from(&IoError::new("src/a.rs", kind))).unwrap()
    }

    #[test]
    fn every_kind_has_its_fields() {
        let content = ContentHash::of(b"now");
        let tracking = TrackingHash(Uuid::from_u128(1));
        let places: Vec<_> = (0..12).map(|place| place..place + 1).collect();
        let first_places: Vec<_> = (0..10).map(|place| json!({ "startByte": place, "endByte": place + 1 })).collect();
        let parse_error = ParseError { line: 3, column: 7, message: "expected `;`".into() };

        for (kind, expected) in [
            (IoErrorKind::NotFound, json!({ "kind": "notFound" })),
            (IoErrorKind::NotAFile { found: "directory" }, json!({ "kind": "notAFile" })),
            (IoErrorKind::OutsideRoots { no_roots: false }, json!({ "kind": "outsideRoots" })),
            (IoErrorKind::SymlinkDenied, json!({ "kind": "symlinkDenied" })),
            (
                IoErrorKind::PermissionDenied { os: Some("EACCES") },
                json!({ "kind": "permissionDenied", "os": "EACCES" }),
            ),
            (IoErrorKind::PermissionDenied { os: None }, json!({ "kind": "permissionDenied" })),
            (
                IoErrorKind::ContentMismatch {
                    guard: GuardKind::ContentHash,
                    actual: Some(ActualHashes { content, tracking: None }),
                },
                json!({ "kind": "contentMismatch", "guard": "contentHash", "actual": { "contentHash": content } }),
            ),
            (
                IoErrorKind::ContentMismatch {
                    guard: GuardKind::TrackingHash,
                    actual: Some(ActualHashes { content, tracking: Some(tracking) }),
                },
                json!({
                    "kind": "contentMismatch",
                    "guard": "trackingHash",
                    "actual": { "contentHash": content, "trackingHash": tracking },
                }),
            ),
            (
                IoErrorKind::ContentMismatch { guard: GuardKind::ExpectedText, actual: None },
                json!({ "kind": "contentMismatch", "guard": "expectedText" }),
            ),
            (
                IoErrorKind::ContentMismatch { guard: GuardKind::NodeTrackingHash, actual: None },
                json!({ "kind": "contentMismatch", "guard": "nodeTrackingHash" }),
            ),
            (
                IoErrorKind::ContentMismatch { guard: GuardKind::Version, actual: None },
                json!({ "kind": "contentMismatch", "guard": "version" }),
            ),
            (IoErrorKind::OutOfRange { file_bytes: 9 }, json!({ "kind": "outOfRange", "fileBytes": 9 })),
            (
                IoErrorKind::InvalidCharBoundary { nearest: [2, 4] },
                json!({ "kind": "invalidCharBoundary", "nearest": [2, 4] }),
            ),
            (IoErrorKind::NotUtf8 { valid_up_to: 5 }, json!({ "kind": "notUtf8", "validUpTo": 5 })),
            (IoErrorKind::Parse(parse_error), json!({ "kind": "parseError", "line": 3, "column": 7 })),
            (IoErrorKind::TextNotFound, json!({ "kind": "textNotFound" })),
            (
                IoErrorKind::AmbiguousText { count: 12, byte_ranges: places },
                json!({ "kind": "ambiguousText", "count": 12, "byteRanges": first_places }),
            ),
            (
                IoErrorKind::OverlappingEdits { first: 0, second: 2 },
                json!({ "kind": "overlappingEdits", "first": 0, "second": 2 }),
            ),
            (IoErrorKind::GuardRequired, json!({ "kind": "guardRequired" })),
            (IoErrorKind::AlreadyExists, json!({ "kind": "alreadyExists" })),
            (IoErrorKind::TooLarge { bytes: 20, limit: 10 }, json!({ "kind": "tooLarge", "bytes": 20, "limit": 10 })),
            (IoErrorKind::AnswerTooLarge { bytes: 6, limit: 5 }, json!({ "kind": "tooLarge", "bytes": 6, "limit": 5 })),
            (IoErrorKind::DocumentDirty("save it"), json!({ "kind": "documentDirty" })),
            (IoErrorKind::DocumentUnknown, json!({ "kind": "documentUnknown" })),
            (IoErrorKind::DocumentNotOpen, json!({ "kind": "documentNotOpen" })),
            (IoErrorKind::EditorRefused("no".into()), json!({ "kind": "editorRefused" })),
            (IoErrorKind::EditorUnknown("late".into()), json!({ "kind": "editorUnknown" })),
            (IoErrorKind::Cancelled, json!({ "kind": "cancelled" })),
            (IoErrorKind::ShutDown, json!({ "kind": "cancelled" })),
            (IoErrorKind::NotSupported("this"), json!({ "kind": "io", "os": "ENOTSUP" })),
            (
                IoErrorKind::NotSynced { message: "late".into(), os: "ETIMEDOUT" },
                json!({ "kind": "io", "os": "ETIMEDOUT" }),
            ),
            (IoErrorKind::Locked { waited_ms: 9, holder: Some(42) }, json!({ "kind": "locked", "pid": 42 })),
            (IoErrorKind::Locked { waited_ms: 9, holder: None }, json!({ "kind": "locked" })),
            (IoErrorKind::AcrossFileSystems, json!({ "kind": "io", "os": "EXDEV" })),
            (
                IoErrorKind::Unfinished { cause: "full".into(), not_taken_back: "gone".into(), recorded: true },
                json!({ "kind": "io" }),
            ),
            (IoErrorKind::NothingToUndo, json!({ "kind": "notFound" })),
        ] {
            let message = format!("src/a.rs: {kind}");
            let mut expected = expected;
            expected["severity"] = json!("fatal");
            expected["message"] = json!(message);
            assert_eq!(wire(kind), expected);
        }
    }

    #[test]
    fn a_bug_is_told_as_one() {
        assert_eq!(
            wire(IoErrorKind::Internal("no plan".into())),
            json!({ "kind": "internal", "severity": "internal", "message": "src/a.rs: internal error: no plan" })
        );
    }

    #[cfg(unix)]
    #[test]
    fn an_error_of_the_system_is_named() {
        for (code, expected) in [
            (28, json!({ "kind": "io", "os": "ENOSPC" })),
            (30, json!({ "kind": "io", "os": "EROFS" })),
            (13, json!({ "kind": "permissionDenied", "os": "EACCES" })),
            (1, json!({ "kind": "permissionDenied", "os": "EPERM" })),
            (2, json!({ "kind": "notFound" })),
            (4000, json!({ "kind": "io" })),
        ] {
            let error = IoErrorKind::from_os("write", std::io::Error::from_raw_os_error(code));
            let mut actual = wire(error);
            let fields = actual.as_object_mut().unwrap();
            assert_eq!(fields.remove("severity"), Some(json!("fatal")));
            assert!(fields.remove("message").is_some());
            assert_eq!(actual, expected, "{code}");
        }
    }

    #[test]
    fn warnings_are_told_as_warnings() {
        for (warning, kind) in [
            (Warning::DurabilityUnknown("EIO".into()), "durabilityUnknown"),
            (Warning::MetadataNotPreserved(vec!["owner".into()]), "metadataNotPreserved"),
            (Warning::UndoNotKept("the file is larger than what may be kept".into()), "undoNotKept"),
            (Warning::WrittenInPlace, "writtenInPlace"),
            (Warning::NotConfirmed, "notConfirmed"),
            (Warning::NotTakenBack("it was changed since".into()), "notTakenBack"),
        ] {
            assert_eq!(
                serde_json::to_value(ItemError::from(&warning)).unwrap(),
                json!({ "kind": kind, "severity": "warning", "message": warning.to_string() })
            );
        }
    }

    #[test]
    fn the_holder_of_a_lock_is_named_where_it_is_known() {
        let message = |holder| IoErrorKind::Locked { waited_ms: 9, holder }.to_string();
        assert_eq!(message(Some(42)), "locked by another process (pid 42) for longer than 9 ms");
        assert_eq!(message(None), "locked by another process for longer than 9 ms");
    }

    #[cfg(unix)]
    #[test]
    fn absolute_paths_stay_out_of_messages() {
        let error = IoError::new("/etc/passwd", IoErrorKind::OutsideRoots { no_roots: true });
        assert_eq!(ItemError::from(&error).message, "outside of all workspace roots: there are no workspace roots");
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let error = RpcError::invalid_params("ü".repeat(2 * MAX_MESSAGE));
        assert_eq!(error.message.chars().count(), MAX_MESSAGE + 1);
    }
}
