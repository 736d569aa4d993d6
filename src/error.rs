//! The error of one file operation: what went wrong, with which file.

use std::{
    fmt,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::hash::{ContentHash, ParseError, TrackingHash};

/// Why one item of a request failed; other items of the same request are not affected.
#[derive(Debug, Clone)]
pub struct IoError {
    /// Path relative to its root, or as it was given when it lies in no root; empty when no file is concerned.
    pub path: PathBuf,
    pub kind: IoErrorKind,
}

impl IoError {
    pub(crate) fn new(path: impl AsRef<Path>, kind: IoErrorKind) -> Self {
        Self { path: path.as_ref().to_path_buf(), kind }
    }

    /// An error of the operating system, with what was being done: `operation` is a verb such as "read".
    pub(crate) fn os(path: impl AsRef<Path>, operation: &'static str, source: std::io::Error) -> Self {
        Self::new(path, IoErrorKind::from_os(operation, source))
    }

    pub fn severity(&self) -> Severity {
        match self.kind {
            IoErrorKind::Internal(_) => Severity::Internal,
            _ => Severity::Fatal,
        }
    }
}

/// How bad an error or warning is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The operation failed; the manager goes on.
    Fatal,
    /// A bug of this crate.
    Internal,
    /// The operation succeeded, not ideally.
    Warning,
}

/// The guard that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GuardKind {
    ContentHash,
    TrackingHash,
    ExpectedText,
    NodeTrackingHash,
    Version,
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum IoErrorKind {
    #[error("no such file or directory")]
    NotFound,
    #[error("not a regular file but a {found}")]
    NotAFile { found: &'static str },
    #[error("not a directory")]
    NotADirectory,
    #[error("outside of all workspace roots{}", if *.no_roots { ": there are no workspace roots" } else { "" })]
    OutsideRoots { no_roots: bool },
    #[error("a symbolic link on the way leads where the link policy does not allow")]
    SymlinkDenied,
    #[error("permission denied{}", os_suffix(.os))]
    PermissionDenied { os: Option<&'static str> },
    #[error("the file is read-only: its mode lets nobody write; change the mode first")]
    ReadOnly,
    #[error("{}", mismatch_message(.guard))]
    ContentMismatch { guard: GuardKind, actual: Option<ActualHashes> },
    #[error("range lies outside of the text or starts after its end; the file has {file_bytes} bytes")]
    OutOfRange { file_bytes: u64 },
    #[error("range cuts a character in two; the nearest boundaries are {} and {}", .nearest[0], .nearest[1])]
    InvalidCharBoundary { nearest: [usize; 2] },
    #[error("not UTF-8: valid up to byte {valid_up_to}")]
    NotUtf8 { valid_up_to: usize },
    #[error("does not parse as Rust: {0}")]
    Parse(ParseError),
    #[error("the expected text does not stand in the file")]
    TextNotFound,
    #[error("the expected text stands in the file {count} times; give a range or more of the text around it")]
    AmbiguousText { count: usize, byte_ranges: Vec<Range<usize>> },
    #[error("edits {first} and {second} overlap")]
    OverlappingEdits { first: usize, second: usize },
    #[error(
        "a change of an existing file needs a byte-exact guard: expected.contentHash or expectedText on every edit"
    )]
    GuardRequired,
    #[error("already exists")]
    AlreadyExists,
    #[error("{bytes} bytes are above the limit of {limit} bytes")]
    TooLarge { bytes: u64, limit: u64 },
    #[error("{bytes} bytes more than fit: all snippets of one answer may have {limit} bytes; ask in several requests")]
    AnswerTooLarge { bytes: u64, limit: u64 },
    #[error("locked by another process{} for longer than {waited_ms} ms", pid_suffix(.holder))]
    Locked { waited_ms: u64, holder: Option<u32> },
    #[error("cannot be renamed to another file system; create the file there and delete this one")]
    AcrossFileSystems,
    #[error("nothing to undo: no transaction of this origin is known, or what it replaced is not kept any more")]
    NothingToUndo,
    #[error("open in an editor with changes that are not saved: {0}")]
    DocumentDirty(&'static str),
    #[error(
        "open in an editor, but its text is not known: a change of it could not be followed; open the document anew"
    )]
    DocumentUnknown,
    #[error("not open in an editor")]
    DocumentNotOpen,
    #[error("the editor did not apply the edit: {0}")]
    EditorRefused(String),
    #[error("it is not known whether the editor has applied the edit: {0}")]
    EditorUnknown(String),
    #[error("cancelled before anything was changed")]
    Cancelled,
    #[error("could not {operation}: {source}")]
    Os { operation: &'static str, source: Arc<std::io::Error> },
    #[error(
        "{cause}; what had been done before could not be taken back ({not_taken_back}){}",
        if *.recorded { " and is finished at the next start" } else { "" }
    )]
    Unfinished { cause: String, not_taken_back: String, recorded: bool },
    #[error(
        "{cause}; somebody wrote to the new content before it was taken back: it is kept beside the file as {kept}"
    )]
    KeptBeside { cause: String, kept: String },
    /// It is not known whether every change has been reported.
    #[error("{message}")]
    NotSynced { message: String, os: &'static str },
    #[error("{0} is not supported")]
    NotSupported(&'static str),
    #[error("{0}")]
    InvalidSetting(String),
    #[error("the manager has been shut down")]
    ShutDown,
    #[error("internal error: {0}")]
    Internal(String),
}

/// The hashes a file has now, told when a guard failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActualHashes {
    pub content: ContentHash,
    pub tracking: Option<TrackingHash>,
}

impl IoErrorKind {
    pub(crate) fn from_os(operation: &'static str, source: std::io::Error) -> Self {
        use std::io::ErrorKind;
        match source.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => Self::NotFound,
            ErrorKind::PermissionDenied => Self::PermissionDenied { os: os_name(&source) },
            ErrorKind::AlreadyExists => Self::AlreadyExists,
            _ => Self::Os { operation, source: Arc::new(source) },
        }
    }
}

impl IoErrorKind {
    /// An error of the state directory: never a kind of its own such as "not found", which would speak of a file that
    /// is edited.
    pub(crate) fn from_state(operation: &'static str, source: std::io::Error) -> Self {
        Self::Os { operation, source: Arc::new(source) }
    }
}

/// The symbolic name of an operating system's error, such as "ENOSPC".
pub(crate) fn os_name(error: &std::io::Error) -> Option<&'static str> {
    #[cfg(unix)]
    {
        use rustix::io::Errno;
        let code = error.raw_os_error()?;
        let name = match Errno::from_raw_os_error(code) {
            Errno::ACCESS => "EACCES",
            Errno::PERM => "EPERM",
            Errno::NOSPC => "ENOSPC",
            Errno::ROFS => "EROFS",
            Errno::DQUOT => "EDQUOT",
            Errno::IO => "EIO",
            Errno::INTR => "EINTR",
            Errno::MFILE => "EMFILE",
            Errno::NFILE => "ENFILE",
            Errno::LOOP => "ELOOP",
            Errno::NAMETOOLONG => "ENAMETOOLONG",
            Errno::NOTEMPTY => "ENOTEMPTY",
            Errno::XDEV => "EXDEV",
            Errno::FBIG => "EFBIG",
            Errno::BUSY => "EBUSY",
            Errno::TXTBSY => "ETXTBSY",
            Errno::NOMEM => "ENOMEM",
            Errno::STALE => "ESTALE",
            Errno::TIMEDOUT => "ETIMEDOUT",
            Errno::NOTSUP => "ENOTSUP",
            Errno::INVAL => "EINVAL",
            Errno::ISDIR => "EISDIR",
            Errno::NOTDIR => "ENOTDIR",
            Errno::NOENT => "ENOENT",
            Errno::EXIST => "EEXIST",
            Errno::NODEV => "ENODEV",
            Errno::NXIO => "ENXIO",
            _ => return None,
        };
        Some(name)
    }
    #[cfg(not(unix))]
    {
        let _ = error;
        None
    }
}

fn os_suffix(os: &Option<&'static str>) -> String {
    os.map(|name| format!(" ({name})")).unwrap_or_default()
}

fn pid_suffix(holder: &Option<u32>) -> String {
    holder.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
}

fn mismatch_message(guard: &GuardKind) -> &'static str {
    match guard {
        GuardKind::ContentHash => "the file is not the one expected: its content hash differs; read it again",
        GuardKind::TrackingHash => "the file is not the one expected: its tracking hash differs; read it again",
        GuardKind::ExpectedText => "another text than the expected one stands at the range; read the file again",
        GuardKind::NodeTrackingHash => {
            "the code at the range is not the one expected: its tracking hash differs; read the file again"
        }
        GuardKind::Version => "the document is not open in the expected version",
    }
}

impl fmt::Display for IoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.as_os_str().is_empty() {
            self.kind.fmt(f)
        } else {
            write!(f, "{}: {}", self.path.display(), self.kind)
        }
    }
}

impl std::error::Error for IoError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            IoErrorKind::Os { source, .. } => Some(&**source),
            _ => None,
        }
    }
}

/// What did not go ideally although the write succeeded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// The new content is in place, but its directory could not be synced: a power cut may bring the old one back.
    #[error("applied, but the directory could not be synced ({0}): a power cut may bring the old content back")]
    DurabilityUnknown(String),
    /// The file has several hard links or is a mount point, so its content was written over in place: readers may have
    /// seen a mixture for a moment.
    #[error("written in place to keep its hard links or mount: readers may have seen old and new mixed for a moment")]
    WrittenInPlace,
    /// The change cannot be taken back with an undo.
    #[error("applied, but the old content could not be kept for an undo: {0}")]
    UndoNotKept(String),
    /// The editor has said so, but not sent the document as it is now.
    #[error("the editor says that it has applied the edit, but has not sent the changed document")]
    NotConfirmed,
    /// The document holds the edit although the request failed.
    #[error("the editor has applied the edit and could not take it back when the request failed: {0}")]
    NotTakenBack(String),
    /// These attributes of the old file could not be given to the new one.
    #[error("could not preserve {}", .0.join(", "))]
    MetadataNotPreserved(Vec<String>),
}
