//! What is needed to take transactions back, as long as there is room.

use std::{
    ffi::{CString, OsString},
    io::{self, Read},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use uuid::Uuid;

use super::RecordedPath;
use crate::{
    disk::{Dir, Disk, Metadata, NewFileAccess, write_all},
    encoding::{DecodeError, Decoder, Encoder, Kind},
    hash::ContentHash,
};

/// How much is kept to take transactions back; zero of either turns it off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UndoLimits {
    /// Bytes of all copies together; the oldest go first.
    pub keep_bytes: u64,
    /// Age at which copies go.
    pub keep_days: u64,
}

impl Default for UndoLimits {
    fn default() -> Self {
        Self { keep_bytes: 256 << 20, keep_days: 7 }
    }
}

/// What takes a transaction back.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct UndoEntry {
    pub origin: Uuid,
    pub steps: Vec<UndoStep>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum UndoStep {
    Restore {
        at: RecordedPath,
        /// What the transaction left there, if anything.
        left: Option<ContentHash>,
        before: Option<Before>,
    },
    MoveBack {
        now_at: RecordedPath,
        was_at: RecordedPath,
        left: ContentHash,
        /// What was where the file is now.
        overwritten: Option<Before>,
    },
}

/// A file as it was.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Before {
    pub bytes: Vec<u8>,
    /// `None` if the file that has taken its place has the same.
    pub metadata: Option<Metadata>,
}

/// The entries of all processes that use the directory, one file each. They are not synced: after a power cut the last
/// ones may be missing.
pub(crate) struct UndoStore {
    disk: Arc<dyn Disk>,
    dir: Arc<Dir>,
    limits: UndoLimits,
    /// Bytes of all entries, as far as this process knows; `None` before it has looked.
    bytes: Mutex<Option<u64>>,
}

const ENTRY: &str = ".undo";

impl UndoStore {
    pub fn new(disk: Arc<dyn Disk>, dir: Arc<Dir>, limits: UndoLimits) -> Self {
        Self { disk, dir, limits, bytes: Mutex::new(None) }
    }

    pub fn is_on(&self) -> bool {
        self.limits.keep_bytes > 0 && self.limits.keep_days > 0
    }

    /// Fails if an entry with so many bytes of contents would not be kept even if it were the only one.
    pub fn check_size(&self, bytes: u64) -> io::Result<()> {
        let limit = self.limits.keep_bytes;
        if bytes <= limit {
            return Ok(());
        }
        Err(io::Error::other(format!("it takes {bytes} bytes, undo.keepBytes is {limit}")))
    }

    /// Keeps an entry, in place of an older one of the same origin; the oldest ones go to make room.
    pub fn keep(&self, entry: &UndoEntry) -> io::Result<()> {
        let encoded = entry.encode();
        let (bytes, limit) = (encoded.len() as u64, self.limits.keep_bytes);
        self.check_size(bytes)?;
        let name = file_name(entry.origin);
        let create = || self.disk.create(&self.dir, &name, NewFileAccess::Private);
        let file = match create() {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.forget(entry.origin);
                create()?
            }
            file => file?,
        };
        write_all(&*self.disk, &file, &encoded).inspect_err(|_| self.forget(entry.origin))?;
        let mut known = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        *known = match *known {
            Some(before) if before + bytes <= limit => Some(before + bytes),
            _ => Some(self.make_room(&name)?),
        };
        Ok(())
    }

    /// The entry of an origin, unless there is none, or it is too old or torn.
    pub fn find(&self, origin: Uuid) -> io::Result<Option<UndoEntry>> {
        let name = file_name(origin);
        let mut bytes = Vec::new();
        match self.dir.open_file(&name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?.read_to_end(&mut bytes)?,
        };
        if self.is_expired(self.dir.stat(&name)?.modified) {
            return Ok(None);
        }
        let entry = UndoEntry::decode(&bytes);
        Ok(entry.inspect_err(|error| tracing::warn!(%origin, %error, "an entry for an undo cannot be read")).ok())
    }

    pub fn forget(&self, origin: Uuid) {
        match self.disk.remove(&self.dir, &file_name(origin)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%origin, %error, "an entry for an undo cannot be removed");
            }
            _ => {}
        }
    }

    /// Removes the oldest entries but this one where they are too many, and returns how many bytes are left. An eighth of
    /// the room is then free again, so that not every entry from then on has to look at all others.
    fn make_room(&self, newest: &OsString) -> io::Result<u64> {
        let names = self.dir.names()?.into_iter().filter(|name| name.as_encoded_bytes().ends_with(ENTRY.as_bytes()));
        let mut entries: Vec<_> = names.filter_map(|name| self.dir.stat(&name).ok().map(|stat| (stat, name))).collect();
        entries.sort_by_key(|(stat, name)| (name == newest, stat.modified));
        let mut bytes: u64 = entries.iter().map(|(stat, _)| stat.size).sum();
        let limit = self.limits.keep_bytes;
        let goal = if bytes > limit { limit - limit / 8 } else { limit };
        for (stat, name) in &entries {
            let must_go = bytes > goal || self.is_expired(stat.modified);
            if name == newest || !must_go {
                continue;
            }
            match self.disk.remove(&self.dir, name) {
                // Another process was faster.
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => bytes -= stat.size,
            }
        }
        Ok(bytes)
    }

    fn is_expired(&self, kept: SystemTime) -> bool {
        let days = Duration::from_secs(self.limits.keep_days.saturating_mul(24 * 60 * 60));
        kept.elapsed().is_ok_and(|age| age > days)
    }
}

fn file_name(origin: Uuid) -> OsString {
    format!("{}{ENTRY}", origin.simple()).into()
}

impl UndoEntry {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut to = Encoder::new(Kind::Undo);
        to.uuid(self.origin);
        for step in &self.steps {
            match step {
                UndoStep::Restore { at, left, before } => {
                    to.tag(0);
                    at.encode(&mut to);
                    to.optional(left.as_ref(), Encoder::hash);
                    to.optional(before.as_ref(), Before::encode);
                }
                UndoStep::MoveBack { now_at, was_at, left, overwritten } => {
                    to.tag(1);
                    now_at.encode(&mut to);
                    was_at.encode(&mut to);
                    to.hash(left);
                    to.optional(overwritten.as_ref(), Before::encode);
                }
            }
        }
        to.finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Decoder::new(bytes, Kind::Undo)?;
        let origin = from.uuid()?;
        let steps = from.rest(|from| {
            Ok(match from.tag()? {
                0 => UndoStep::Restore {
                    at: RecordedPath::decode(from)?,
                    left: from.optional(Decoder::hash)?,
                    before: from.optional(Before::decode)?,
                },
                1 => UndoStep::MoveBack {
                    now_at: RecordedPath::decode(from)?,
                    was_at: RecordedPath::decode(from)?,
                    left: from.hash()?,
                    overwritten: from.optional(Before::decode)?,
                },
                _ => return Err(DecodeError::Torn),
            })
        })?;
        Ok(Self { origin, steps })
    }
}

impl Before {
    fn encode(to: &mut Encoder, before: &Self) {
        to.bytes(&before.bytes);
        to.optional(before.metadata.as_ref(), encode_metadata);
    }

    fn decode(from: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(Self { bytes: from.bytes()?.to_vec(), metadata: from.optional(decode_metadata)? })
    }
}

pub(super) fn encode_metadata(to: &mut Encoder, metadata: &Metadata) {
    let Metadata { mode, owner, group, attributes } = metadata;
    for number in [mode, owner, group] {
        to.number((*number).into());
    }
    to.number(attributes.len() as u64);
    for (name, value) in attributes {
        to.bytes(name.to_bytes());
        to.optional(value.as_ref(), |to, value| to.bytes(value));
    }
}

pub(super) fn decode_metadata(from: &mut Decoder) -> Result<Metadata, DecodeError> {
    let mut number = || u32::try_from(from.number()?).map_err(|_| DecodeError::Torn);
    let (mode, owner, group) = (number()?, number()?, number()?);
    let attribute = |from: &mut Decoder| {
        let name = CString::new(from.bytes()?).map_err(|_| DecodeError::Torn)?;
        Ok((name, from.optional(|from| Ok(from.bytes()?.to_vec()))?))
    };
    let attributes = (0..from.number()?).map(|_| attribute(from)).collect::<Result<_, _>>()?;
    Ok(Metadata { mode, owner, group, attributes })
}
