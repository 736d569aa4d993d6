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

use super::{UndoEntry, create_locked, take_over};
use crate::{
    disk::{Dir, Disk, FileKind, FileStat, stat_file, write_all},
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
struct Log {
    /// The file that it appends to.
    file: Option<OwnFile>,
    /// Bytes of all files but those that other processes append to, as far as this one knows.
    total: u64,
    /// When the last entry was kept; the next one is newer, whatever the clock says.
    last: SystemTime,
}

struct OwnFile {
    file: File,
    name: OsString,
    inode: u64,
    bytes: u64,
    begun: SystemTime,
}

/// Where an entry is. No two files ever have the same name.
#[derive(Debug, PartialEq)]
pub(crate) struct KeptAt {
    file: OsString,
    offset: u64,
}

const SUFFIX: &str = ".undo";
/// A file takes at most this fraction of the room and the time; a larger entry has a file to itself.
const FRACTION: u32 = 64;

impl UndoStore {
    pub fn new(disk: Arc<dyn Disk>, dir: Arc<Dir>, limits: UndoLimits) -> Self {
        Self { disk, dir, limits, log: Mutex::new(Log { file: None, total: 0, last: SystemTime::UNIX_EPOCH }) }
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
        let mut encoded = entry.encode_behind(HEAD_BYTES + 1);
        let bytes = encoded.len() as u64;
        self.check_size(bytes)?;
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.last = now.max(log.last + Duration::from_nanos(1));
        let is_full = log.total + bytes > self.limits.keep_bytes;
        if is_full || log.file.as_ref().is_none_or(|own| !self.may_take(own, bytes, now)) {
            log.file = None;
            log.total = self.make_room(bytes, now)?;
        }
        let own = match log.file.take() {
            Some(own) => own,
            None => self.begin_file(now)?,
        };
        let head = Head { origin: entry.origin, kept: log.last, bytes: bytes - HEAD_BYTES as u64 - 1 };
        encoded[..HEAD_BYTES].copy_from_slice(&head.encode());
        encoded[HEAD_BYTES] = KEPT;
        if let Err(error) = write_all(&*self.disk, &own.file, &encoded) {
            // What is torn stays at the end of a file that nobody appends to any more, unless it can be cut off.
            let cut = self.disk.set_len(&own.file, own.bytes);
            if cut.and_then(|()| (&own.file).seek(SeekFrom::Start(own.bytes))).is_ok() {
                log.file = Some(own);
            }
            return Err(error);
        }
        let at = KeptAt { file: own.name.clone(), offset: own.bytes };
        let own = OwnFile { bytes: own.bytes + bytes, ..own };
        log.total += bytes;
        // What is not appended to has to be let go of, so that another process may remove it. Where there are no locks, it
        // may be removed at any time.
        log.file = Some(own).filter(|own| cfg!(unix) && own.bytes < self.max_file_bytes());
        Ok(at)
    }

    /// The newest entry of an origin, unless there is none, or it is too old. What is damaged is passed over.
    pub fn find(&self, origin: Uuid, now: SystemTime) -> io::Result<Option<(UndoEntry, KeptAt)>> {
        let (mut found, mut problem) = (Vec::new(), None);
        for (_, file) in self.files()? {
            match self.heads(&file, origin, &mut found) {
                // Of another user, once.
                Err(error) if error.kind() != io::ErrorKind::PermissionDenied => {
                    tracing::warn!(?file, %error, "what is kept for undos cannot be read");
                    problem = Some(error);
                }
                _ => {}
            }
        }
        found.sort_by_key(|(head, _)| head.kept);
        while let Some((head, at)) = found.pop().filter(|(head, _)| !self.is_expired(head.kept, now)) {
            match self.read(&head, &at)? {
                Some(Ok(entry)) => return Ok(Some((entry, at))),
                Some(Err(error)) => tracing::warn!(%origin, %error, "an entry for an undo cannot be read"),
                None => {}
            }
        }
        problem.map_or(Ok(None), Err)
    }

    /// Marks an entry as not to be found any more. Its bytes go with its file.
    pub fn forget(&self, at: &KeptAt) {
        let forget = || -> io::Result<()> {
            let mut file = self.dir.open_to_write(&at.file)?;
            let modified = stat_file(&file)?.modified;
            file.seek(SeekFrom::Start(at.offset + HEAD_BYTES as u64))?;
            write_all(&*self.disk, &file, &[FORGOTTEN])?;
            // It is as old as its newest entry.
            file.set_modified(modified)
        };
        match forget() {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "an entry for an undo cannot be marked as used");
            }
            _ => {}
        }
    }

    /// Whether the file is as it was left and may take so many bytes more.
    fn may_take(&self, own: &OwnFile, more: u64, now: SystemTime) -> bool {
        let age = now.duration_since(own.begun).unwrap_or_default();
        (own.bytes == 0 || own.bytes + more <= self.max_file_bytes())
            && age <= self.limits.max_age() / FRACTION
            // Somebody may have emptied the directory, or the file.
            && self.dir.stat(&own.name).is_ok_and(|stat| (stat.inode, stat.size) == (own.inode, own.bytes))
    }

    fn max_file_bytes(&self) -> u64 {
        self.limits.keep_bytes / u64::from(FRACTION)
    }

    fn begin_file(&self, now: SystemTime) -> io::Result<OwnFile> {
        let new_name = || OsString::from(format!("{}{SUFFIX}", Uuid::new_v4().simple()));
        let (file, name) = create_locked(&*self.disk, &self.dir, new_name)?;
        let inode = stat_file(&file)?.inode;
        Ok(OwnFile { file, name, inode, bytes: 0, begun: now })
    }

    /// Removes the files that are too old, and the oldest of the others where there is no room for so many bytes more; an
    /// eighth of the room is free then, so that not each entry from then on has to look. Returns how many bytes are left.
    ///
    /// What others append to or does not belong to the user is not counted: nothing would make room for it but to remove
    /// what this process has kept a moment ago.
    fn make_room(&self, more: u64, now: SystemTime) -> io::Result<u64> {
        let mut files = self.files()?;
        files.retain(|(stat, name)| self.is_expired(stat.modified, now) || self.is_free(name));
        files.sort_by_key(|(stat, _)| stat.modified);
        let mut bytes: u64 = files.iter().map(|(stat, _)| stat.size).sum();
        let limit = self.limits.keep_bytes;
        let goal = if bytes + more > limit { (limit - limit / 8).saturating_sub(more) } else { limit };
        for (stat, name) in files {
            if bytes > goal || self.is_expired(stat.modified, now) {
                match self.remove(&name) {
                    Ok(()) => {}
                    Err(error) => tracing::warn!(file = ?name, %error, "what was kept for undos cannot be removed"),
                }
                bytes -= stat.size;
            }
        }
        Ok(bytes)
    }

    /// Whether nobody appends to the file, and the user may remove it.
    fn is_free(&self, name: &OsStr) -> bool {
        take_over(&self.dir, name).is_ok_and(|held| held.is_some())
    }

    /// Removes a file unless somebody appends to it.
    fn remove(&self, name: &OsStr) -> io::Result<()> {
        let _held = match take_over(&self.dir, name) {
            Ok(None) => return Ok(()),
            Ok(held) => held,
            // Of another user, once.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => None,
            Err(error) => return Err(error),
        };
        match self.disk.remove(&self.dir, name) {
            // Another process was faster.
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn is_expired(&self, kept: SystemTime, now: SystemTime) -> bool {
        now.duration_since(kept).is_ok_and(|age| age > self.limits.max_age())
    }

    fn files(&self) -> io::Result<Vec<(FileStat, OsString)>> {
        let names = self.dir.names()?.into_iter();
        let names = names.filter(|name| name.as_encoded_bytes().ends_with(SUFFIX.as_bytes()));
        let files = names.filter_map(|name| Some((self.dir.stat(&name).ok()?, name)));
        Ok(files.filter(|(stat, _)| stat.kind == FileKind::File).collect())
    }

    /// Adds the heads of the entries of an origin that are not forgotten; those before an error too.
    fn heads(&self, file: &OsStr, origin: Uuid, found: &mut Vec<(Head, KeptAt)>) -> io::Result<()> {
        let open = match self.dir.open_file(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            open => open?,
        };
        let mut entries = Entries { left: stat_file(&open)?.size, from: BufReader::new(open), offset: 0 };
        while let Some((head, state, offset)) = entries.next()? {
            if head.origin == origin && state == KEPT {
                found.push((head, KeptAt { file: file.to_owned(), offset }));
            }
        }
        Ok(())
    }

    /// `None` if its file has been removed to make room.
    fn read(&self, head: &Head, at: &KeptAt) -> io::Result<Option<Result<UndoEntry, DecodeError>>> {
        let mut file = match self.dir.open_file(&at.file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        file.seek(SeekFrom::Start(at.offset + HEAD_BYTES as u64 + 1))?;
        let mut encoded = Vec::new();
        file.take(head.bytes).read_to_end(&mut encoded)?;
        Ok(Some(UndoEntry::decode(&encoded)))
    }
}

/// What stands before an entry, of known length.
#[derive(Debug)]
pub(super) struct Head {
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
pub(super) struct Entries<R> {
    pub from: BufReader<R>,
    /// Bytes to the end.
    pub left: u64,
    pub offset: u64,
}

impl<R: Read + Seek> Entries<R> {
    /// Head, state and offset of the next entry.
    pub fn next(&mut self) -> io::Result<Option<(Head, u8, u64)>> {
        let mut bytes = [0; HEAD_BYTES + 1];
        let Some(left) = self.left.checked_sub(bytes.len() as u64) else { return Ok(None) };
        match self.from.read_exact(&mut bytes) {
            // Its owner has cut off meanwhile what was torn.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let [head @ .., state] = bytes;
        let head = match Head::decode(&head) {
            Ok(head) => head,
            Err(error) => {
                tracing::warn!(offset = self.offset, %error, "what follows in a file of undo entries is lost");
                return Ok(None);
            }
        };
        let Some(left) = left.checked_sub(head.bytes) else { return Ok(None) };
        self.from.seek_relative(i64::try_from(head.bytes).map_err(io::Error::other)?)?;
        let offset = self.offset;
        self.offset += bytes.len() as u64 + head.bytes;
        self.left = left;
        Ok(Some((head, state, offset)))
    }
}

#[cfg(all(test, unix))]
mod tests;
