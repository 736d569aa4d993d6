//! What is needed to take transactions back, as long as there is room.
//!
//! Each process appends its entries to a file of its own, whose lock it holds: a new file for each entry would cost more
//! than the edit (a file system has to find, note and later free an inode). A file that has its part of the room or of the
//! time is left, and another one begun; to make room the oldest files go that nobody writes to.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use uuid::Uuid;

use super::{UndoEntry, create_locked, lock_at};
use crate::{
    disk::{Dir, Disk, FileStat, write_all},
    encoding::{DecodeError, Decoder, Encoder, Kind},
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

impl UndoLimits {
    fn max_age(self) -> Duration {
        Duration::from_secs(self.keep_days.saturating_mul(24 * 60 * 60))
    }
}

/// The entries of all processes that use the directory. They are not synced: after a power cut the last ones may be
/// missing.
pub(crate) struct UndoStore {
    disk: Arc<dyn Disk>,
    dir: Arc<Dir>,
    limits: UndoLimits,
    log: Mutex<Log>,
}

/// What this process has written and knows.
#[derive(Default)]
struct Log {
    /// The file that it appends to.
    file: Option<OwnFile>,
    /// Bytes of all files, as far as this process knows.
    total: u64,
}

struct OwnFile {
    file: File,
    name: OsString,
    bytes: u64,
    begun: SystemTime,
}

/// Where an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeptAt {
    file: OsString,
    offset: u64,
}

const SUFFIX: &str = ".undo";
/// A file takes at most this part of the room and of the time, one entry if that is more.
const PARTS: u32 = 64;

impl UndoStore {
    pub fn new(disk: Arc<dyn Disk>, dir: Arc<Dir>, limits: UndoLimits) -> Self {
        Self { disk, dir, limits, log: Mutex::default() }
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

    /// Keeps an entry; the oldest ones go to make room.
    pub fn keep(&self, entry: &UndoEntry, now: SystemTime) -> io::Result<KeptAt> {
        let encoded = entry.encode();
        let head = Head { origin: entry.origin, kept: now, bytes: encoded.len() as u64 };
        let bytes = [&head.encode()[..], &[KEPT], &encoded].concat();
        let size = bytes.len() as u64;
        self.check_size(size)?;
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = log.total + size > self.limits.keep_bytes;
        if is_full || log.file.as_ref().is_none_or(|own| self.is_done(own, size, now)) {
            log.file = None;
            log.total = self.make_room(size, now)?;
        }
        let own = match log.file.take() {
            Some(own) => own,
            None => self.begin_file(now)?,
        };
        let at = KeptAt { file: own.name.clone(), offset: own.bytes };
        match write_all(&*self.disk, &own.file, &bytes) {
            Ok(()) => {
                log.file = Some(OwnFile { bytes: own.bytes + size, ..own });
                log.total += size;
                Ok(at)
            }
            // What is torn stays at the end of a file that nobody appends to any more, unless it can be cut off.
            Err(error) => {
                let mut rest = &own.file;
                let cut = self.disk.set_len(&own.file, own.bytes);
                if cut.and_then(|()| rest.seek(SeekFrom::Start(own.bytes))).is_ok() {
                    log.file = Some(own);
                }
                Err(error)
            }
        }
    }

    /// The newest entry of an origin, unless there is none, or it is too old or torn.
    pub fn find(&self, origin: Uuid, now: SystemTime) -> io::Result<Option<(UndoEntry, KeptAt)>> {
        let mut newest: Option<(Head, KeptAt)> = None;
        for file in self.files()? {
            let Some(mut entries) = self.entries(&file)? else { continue };
            while let Some((head, state, offset)) = entries.next()? {
                let is_newer = newest.as_ref().is_none_or(|(newest, _)| newest.kept <= head.kept);
                if head.origin == origin && state == KEPT && is_newer {
                    newest = Some((head, KeptAt { file: file.clone(), offset }));
                }
            }
        }
        let Some((head, at)) = newest.filter(|(head, _)| !self.is_expired(head.kept, now)) else { return Ok(None) };
        let mut file = self.dir.open_file(&at.file)?;
        file.seek(SeekFrom::Start(at.offset + HEAD_BYTES as u64 + 1))?;
        let mut encoded = Vec::new();
        file.take(head.bytes).read_to_end(&mut encoded)?;
        let entry = UndoEntry::decode(&encoded);
        let entry = entry.inspect_err(|error| tracing::warn!(%origin, %error, "an entry for an undo cannot be read"));
        Ok(entry.ok().map(|entry| (entry, at)))
    }

    pub fn forget(&self, at: &KeptAt) {
        let forget = || -> io::Result<()> {
            let mut file = self.dir.open_to_write(&at.file)?;
            file.seek(SeekFrom::Start(at.offset + HEAD_BYTES as u64))?;
            write_all(&*self.disk, &file, &[FORGOTTEN])
        };
        match forget() {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "an entry for an undo cannot be marked as used");
            }
            _ => {}
        }
    }

    /// Whether another file should take the next bytes.
    fn is_done(&self, own: &OwnFile, next: u64, now: SystemTime) -> bool {
        let has_its_part = own.bytes + next > self.limits.keep_bytes / u64::from(PARTS);
        let age = now.duration_since(own.begun).unwrap_or_default();
        own.bytes > 0 && (has_its_part || age > self.limits.max_age() / PARTS)
    }

    fn begin_file(&self, now: SystemTime) -> io::Result<OwnFile> {
        let new_name = || OsString::from(format!("{}{SUFFIX}", Uuid::new_v4().simple()));
        let (file, name) = create_locked(&*self.disk, &self.dir, new_name)?;
        Ok(OwnFile { file, name, bytes: 0, begun: now })
    }

    /// Removes the files that are too old, and the oldest of the others where there is no room for so many bytes more; an
    /// eighth of the room is free then, so that not each entry from then on has to look. Returns how many bytes are left.
    fn make_room(&self, more: u64, now: SystemTime) -> io::Result<u64> {
        let mut files: Vec<(FileStat, OsString)> =
            self.files()?.into_iter().filter_map(|name| Some((self.dir.stat(&name).ok()?, name))).collect();
        files.sort_by_key(|(stat, _)| stat.modified);
        let mut bytes: u64 = files.iter().map(|(stat, _)| stat.size).sum();
        let limit = self.limits.keep_bytes;
        let goal = if bytes + more > limit { (limit - limit / 8).saturating_sub(more) } else { limit };
        for (stat, name) in files {
            if (bytes > goal || self.is_expired(stat.modified, now)) && self.remove(&name)? {
                bytes -= stat.size;
            }
        }
        Ok(bytes)
    }

    /// Removes a file that nobody writes to; whether it is gone.
    fn remove(&self, name: &OsStr) -> io::Result<bool> {
        let gone = |result: io::Result<()>| match result {
            // Another process was faster.
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(true),
        };
        let file = match self.dir.open_file(name) {
            Err(error) => return gone(Err(error)),
            Ok(file) => file,
        };
        if lock_at(&file, &self.dir, name)? { gone(self.disk.remove(&self.dir, name)) } else { Ok(false) }
    }

    fn is_expired(&self, kept: SystemTime, now: SystemTime) -> bool {
        now.duration_since(kept).is_ok_and(|age| age > self.limits.max_age())
    }

    fn files(&self) -> io::Result<Vec<OsString>> {
        let mut names = self.dir.names()?;
        names.retain(|name| name.as_encoded_bytes().ends_with(SUFFIX.as_bytes()));
        Ok(names)
    }

    /// `None` if the file is gone.
    fn entries(&self, file: &OsStr) -> io::Result<Option<Entries>> {
        match self.dir.open_file(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            file => Ok(Some(Entries { from: BufReader::new(file?), offset: 0 })),
        }
    }
}

/// What stands before an entry, of known length.
struct Head {
    origin: Uuid,
    kept: SystemTime,
    /// Length of the entry that follows the head and its state.
    bytes: u64,
}

const HEAD_BYTES: usize = 86;
/// The state of an entry, the only byte that is ever changed.
const KEPT: u8 = 1;
const FORGOTTEN: u8 = 0;

impl Head {
    fn encode(&self) -> Vec<u8> {
        let mut to = Encoder::new(Kind::UndoHead);
        to.uuid(self.origin);
        to.time(self.kept);
        to.number(self.bytes);
        to.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Decoder::new(bytes, Kind::UndoHead)?;
        Ok(Self { origin: from.uuid()?, kept: from.time()?, bytes: from.number()? })
    }
}

/// Walks the heads of a file, up to its end or what is torn.
struct Entries {
    from: BufReader<File>,
    offset: u64,
}

impl Entries {
    /// Head, state and offset of the next entry.
    fn next(&mut self) -> io::Result<Option<(Head, u8, u64)>> {
        let mut bytes = [0; HEAD_BYTES + 1];
        match self.from.read_exact(&mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            result => result?,
        }
        let [head @ .., state] = bytes;
        let Ok(head) = Head::decode(&head) else { return Ok(None) };
        let Ok(distance) = i64::try_from(head.bytes) else { return Ok(None) };
        self.from.seek_relative(distance)?;
        let offset = self.offset;
        self.offset += bytes.len() as u64 + head.bytes;
        Ok(Some((head, state, offset)))
    }
}

#[cfg(all(test, unix))]
mod tests;
