//! Records of transactions, kept in the state directory until they are finished.
//!
//! A record says what a transaction changes and holds the new contents. Once it is written and synced the transaction is
//! committed: whatever happens then, it is finished, by its owner or by the next start.

use std::{ffi::OsString, path::PathBuf, time::SystemTime};

use uuid::Uuid;

use crate::{disk::FileStat, hash::ContentHash};

/// What is needed to finish a transaction after a crash.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Record {
    pub origin: Uuid,
    pub steps: Vec<Step>,
}

/// What a transaction does at one place; places do not overlap, so that the order of the steps does not matter.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Step {
    pub at: RecordedPath,
    pub action: Action,
}

/// A path that led through no link when it was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct RecordedPath {
    /// Real path of the root.
    pub root: PathBuf,
    /// Beneath the root, normal components only.
    pub relative: PathBuf,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action {
    /// A new content replaces what was there, if anything, by a rename.
    Write {
        old: Option<OldFile>,
        new: Vec<u8>,
        /// Name in the same directory where the new content stands ready with its metadata; after the exchange the old
        /// content has this name.
        temp: OsString,
    },
    /// A new content is written over the old one in the same inode, to keep its links.
    WriteInPlace { old: OldFile, old_content: Vec<u8>, new: Vec<u8> },
    /// The file goes; until the end of the transaction it has the name `aside` in the same directory.
    Delete { old: OldFile, aside: OsString },
    /// The file comes from another path, where nothing stays. Over an existing file the two are exchanged first.
    MoveFrom { from: RecordedPath, file: OldFile, overwritten: Option<OldFile> },
}

/// A file as it was before the transaction.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct OldFile {
    pub device: u64,
    pub inode: u64,
    pub size: u64,
    pub modified: SystemTime,
    pub hash: ContentHash,
}

impl OldFile {
    pub fn new(stat: &FileStat, hash: ContentHash) -> Self {
        let FileStat { device, inode, size, modified, .. } = *stat;
        Self { device, inode, size, modified, hash }
    }

    /// Whether it may be the same file, by its stat data. The time of its last status change says nothing: a rename alters it.
    pub fn is(&self, stat: &FileStat) -> bool {
        (self.device, self.inode, self.size, self.modified) == (stat.device, stat.inode, stat.size, stat.modified)
    }
}
