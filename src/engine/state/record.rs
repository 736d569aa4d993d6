//! The record of a transaction: what it changes, and the new contents.

use std::{
    ffi::{OsStr, OsString},
    path::{Component, PathBuf},
    time::SystemTime,
};

use uuid::Uuid;

use super::undo_entry::{decode_metadata, encode_metadata};
use crate::{
    disk::{FileStat, Metadata},
    encoding::{DecodeError, Decoder, Encoder, Kind},
    hash::ContentHash,
};

/// What is needed to finish a transaction after a crash.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record {
    pub origin: Uuid,
    /// Those of all paths.
    pub roots: Vec<RecordedRoot>,
    pub steps: Vec<Step>,
}

/// What a transaction does at one place. A file leaves its place in an earlier step than another one comes there.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    pub at: RecordedPath,
    pub action: Action,
}

/// A root as it was, to tell it from another directory that has its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RecordedRoot {
    pub path: PathBuf,
    /// Unlike a device number it stays the same when the machine starts anew.
    pub inode: u64,
}

/// A path that led through no link when it was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct RecordedPath {
    /// Real path of the root.
    pub root: PathBuf,
    /// Beneath the root, normal components only.
    pub relative: PathBuf,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    /// A new content replaces what was there, if anything, by a rename.
    Write {
        old: Option<OldFile>,
        new: Vec<u8>,
        /// Name in the same directory where the new content stands ready with its metadata; after the exchange the old
        /// content has this name.
        temp: OsString,
        /// What the file has beside its content.
        metadata: Metadata,
    },
    /// A new content is written over the old one in the same inode, to keep its links.
    WriteInPlace { old: OldFile, old_content: Vec<u8>, new: Vec<u8> },
    /// The file goes; until the end of the transaction it has the name `aside` in the same directory.
    Delete { old: OldFile, aside: OsString },
    /// The file comes from another path, where nothing stays. Over an existing file the two are exchanged first.
    /// What is overwritten has the name `aside` at last, or where that is impossible before.
    MoveFrom { from: RecordedPath, file: OldFile, overwritten: Option<OldFile>, aside: OsString },
}

/// A file as it was before the transaction.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OldFile {
    pub inode: u64,
    pub size: u64,
    pub modified: SystemTime,
    pub mode: u32,
    pub hash: ContentHash,
}

impl OldFile {
    pub fn new(stat: &FileStat, hash: ContentHash) -> Self {
        let FileStat { inode, size, modified, mode, .. } = *stat;
        Self { inode, size, modified, mode, hash }
    }

    /// Whether it may be the same file, by its stat data. The time of its last status change says nothing: a rename
    /// alters it; nor does the device number, which may be another one when the machine has started anew.
    pub fn is(&self, stat: &FileStat) -> bool {
        (self.inode, self.size, self.modified) == (stat.inode, stat.size, stat.modified)
    }
}

impl Record {
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Encoder::new(Kind::Transaction);
        to.uuid(self.origin);
        to.number(self.roots.len() as u64);
        for RecordedRoot { path, inode } in &self.roots {
            to.path(path);
            to.number(*inode);
        }
        for Step { at, action } in &self.steps {
            at.encode(&mut to);
            action.encode(&mut to);
        }
        to.finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Decoder::new(bytes, Kind::Transaction)?;
        let origin = from.uuid()?;
        let mut roots = Vec::new();
        for _ in 0..from.number()? {
            roots.push(RecordedRoot { path: from.path()?, inode: from.number()? });
        }
        let steps = from.rest(|from| Ok(Step { at: RecordedPath::decode(from)?, action: Action::decode(from)? }))?;
        Ok(Self { origin, roots, steps })
    }
}

impl RecordedPath {
    pub fn absolute(&self) -> PathBuf {
        self.root.join(&self.relative)
    }

    pub(super) fn encode(&self, to: &mut Encoder) {
        to.path(&self.root);
        to.path(&self.relative);
    }

    pub(super) fn decode(from: &mut Decoder) -> Result<Self, DecodeError> {
        let (root, relative) = (from.path()?, from.path()?);
        let normal = relative.components().all(|component| matches!(component, Component::Normal(_)));
        if normal && relative.file_name().is_some() && root.is_absolute() {
            Ok(Self { root, relative })
        } else {
            Err(DecodeError::Torn)
        }
    }
}

impl Action {
    /// The name of the temporary file, if there is one.
    pub(super) fn temporary(&self) -> Option<&OsStr> {
        match self {
            Self::Write { temp: name, .. } | Self::Delete { aside: name, .. } | Self::MoveFrom { aside: name, .. } => {
                Some(name)
            }
            Self::WriteInPlace { .. } => None,
        }
    }

    fn encode(&self, to: &mut Encoder) {
        match self {
            Self::Write { old, new, temp, metadata } => {
                to.tag(0);
                to.optional(old.as_ref(), |to, old| old.encode(to));
                to.bytes(new);
                to.name(temp);
                encode_metadata(to, metadata);
            }
            Self::WriteInPlace { old, old_content, new } => {
                to.tag(1);
                old.encode(to);
                to.bytes(old_content);
                to.bytes(new);
            }
            Self::Delete { old, aside } => {
                to.tag(2);
                old.encode(to);
                to.name(aside);
            }
            Self::MoveFrom { from, file, overwritten, aside } => {
                to.tag(3);
                from.encode(to);
                file.encode(to);
                to.optional(overwritten.as_ref(), |to, old| old.encode(to));
                to.name(aside);
            }
        }
    }

    fn decode(from: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(match from.tag()? {
            0 => Self::Write {
                old: from.optional(OldFile::decode)?,
                new: from.bytes()?.to_vec(),
                temp: from.name()?,
                metadata: decode_metadata(from)?,
            },
            1 => Self::WriteInPlace {
                old: OldFile::decode(from)?,
                old_content: from.bytes()?.to_vec(),
                new: from.bytes()?.to_vec(),
            },
            2 => Self::Delete { old: OldFile::decode(from)?, aside: from.name()? },
            3 => Self::MoveFrom {
                from: RecordedPath::decode(from)?,
                file: OldFile::decode(from)?,
                overwritten: from.optional(OldFile::decode)?,
                aside: from.name()?,
            },
            _ => return Err(DecodeError::Torn),
        })
    }
}

impl OldFile {
    fn encode(&self, to: &mut Encoder) {
        to.number(self.inode);
        to.number(self.size);
        to.time(self.modified);
        to.number(self.mode.into());
        to.hash(&self.hash);
    }

    fn decode(from: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(Self {
            inode: from.number()?,
            size: from.number()?,
            modified: from.time()?,
            mode: from.mode()?,
            hash: from.hash()?,
        })
    }
}
