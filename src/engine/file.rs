//! Reading one file: whole for text, in pieces for its hash.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    time::SystemTime,
};

use super::Engine;
use crate::{
    CancelToken,
    disk::{FileKind, FileStat, read_more, stat_file},
    error::{IoError, IoErrorKind},
    hash::{ContentHash, ContentHasher},
    roots::RootedPath,
};

/// Times a file is read again when it was changed meanwhile; a file that never rests is then taken as it was read.
const READINGS: usize = 4;
/// Enough for the hash to use the widest vector instructions, small enough for the processor's cache.
const PIECE: usize = 128 << 10;

/// The bytes of a file, read once.
#[derive(Debug)]
pub(crate) struct FileContent {
    pub bytes: Vec<u8>,
    pub hash: ContentHash,
    pub stat: FileStat,
    /// The file had the same stat data before and after the reading.
    pub rested: bool,
    /// When the reading began.
    pub began: SystemTime,
    /// Version of the document that is open with just this text.
    pub version: Option<i32>,
}

impl FileContent {
    /// The text of the file, if it is UTF-8.
    pub fn text(&self, path: &Path) -> Result<&str, IoError> {
        simdutf8::compat::from_utf8(&self.bytes)
            .map_err(|error| IoError::new(path, IoErrorKind::NotUtf8 { valid_up_to: error.valid_up_to() }))
    }
}

impl Engine {
    /// Reads a whole file into memory and returns it still open; files above the size limit are refused unread.
    pub(super) fn read_file(&self, path: &RootedPath) -> Result<(FileContent, File), IoError> {
        let limit = self.max_file_bytes;
        let (mut file, mut stat, mut began) = open_first(path)?;
        for reading in 1.. {
            let too_large = |bytes| IoError::new(path.relative(), IoErrorKind::TooLarge { bytes, limit });
            if stat.size > limit {
                return Err(too_large(stat.size));
            }
            let bytes = read_bytes(&file, stat.size, limit).map_err(|error| read_error(path, error))?;
            if bytes.len() as u64 > limit {
                return Err(too_large(bytes.len() as u64));
            }
            let after = stat_file(&file).map_err(|error| read_error(path, error))?;
            if after == stat || reading == READINGS {
                let hash = ContentHash::of(&bytes);
                tracing::debug!(path = %path.relative().display(), bytes = bytes.len(), "file read");
                let rested = after == stat;
                return Ok((FileContent { bytes, hash, stat: after, rested, began, version: None }, file));
            }
            (file, stat, began) = open_regular(path)?;
        }
        unreachable!("the last reading is taken as it is")
    }

    /// Hashes a file of any size in bounded memory.
    pub(super) fn hash_file(&self, path: &RootedPath, cancel: &CancelToken) -> Result<HashedFile, IoError> {
        let (mut file, mut stat, mut began) = open_first(path)?;
        for reading in 1.. {
            let Some(hash) = hash_pieces(&file, stat.size, cancel).map_err(|error| read_error(path, error))? else {
                return Err(IoError::new(path.relative(), IoErrorKind::Cancelled));
            };
            let after = stat_file(&file).map_err(|error| read_error(path, error))?;
            if after == stat || reading == READINGS {
                return Ok(HashedFile { hash, stat: (after == stat).then_some(stat), file, began });
            }
            (file, stat, began) = open_regular(path)?;
        }
        unreachable!("the last reading is taken as it is")
    }
}

/// What hashing a file brought.
pub(super) struct HashedFile {
    pub hash: ContentHash,
    /// Stat data that the file had before and after the reading; `None` if it never rested.
    pub stat: Option<FileStat>,
    pub file: File,
    pub began: SystemTime,
}

/// Opens what the path names if it is a regular file, with its stat data and the time they were looked at.
///
/// They may be those from when the path was resolved: whether they are of what was opened, and it has not changed since,
/// is seen from the stat data after the reading.
fn open_first(path: &RootedPath) -> Result<(File, FileStat, SystemTime), IoError> {
    let Some((stat, looked)) = path.look() else { return open_regular(path) };
    refuse_special(path, stat.kind)?;
    Ok((open(path)?, *stat, *looked))
}

/// As [`open_first`], with stat data of what was opened.
fn open_regular(path: &RootedPath) -> Result<(File, FileStat, SystemTime), IoError> {
    let file = open(path)?;
    let looked = SystemTime::now();
    let stat = stat_file(&file).map_err(|error| IoError::os(path.relative(), "open", error))?;
    refuse_special(path, stat.kind)?;
    Ok((file, stat, looked))
}

fn open(path: &RootedPath) -> Result<File, IoError> {
    path.open().map_err(|error| IoError::os(path.relative(), "open", error))
}

pub(super) fn refuse_special(path: &RootedPath, kind: FileKind) -> Result<(), IoError> {
    match kind {
        FileKind::File => Ok(()),
        other => Err(IoError::new(path.relative(), IoErrorKind::NotAFile { found: other.name() })),
    }
}

/// Reads as many bytes as the file is said to have; that it has grown is seen from its stat data after the reading.
fn read_bytes(file: &File, size: u64, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if size == 0 {
        // Files that are made up when they are read are said to be empty.
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        return Ok(bytes);
    }
    bytes.try_reserve_exact(usize::try_from(size).unwrap_or(usize::MAX))?;
    while (bytes.len() as u64) < size {
        match read_more(file, &mut bytes) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

/// Hashes all of an open file.
pub(super) fn hash_open_file(file: &File) -> io::Result<ContentHash> {
    let until_the_end = 0;
    hash_pieces(file, until_the_end, &CancelToken::new())?.ok_or_else(|| io::ErrorKind::Interrupted.into())
}

/// Hashes as many bytes as the file is said to have; `None` if cancelled before.
fn hash_pieces(mut file: &File, size: u64, cancel: &CancelToken) -> io::Result<Option<ContentHash>> {
    // Files that are made up when they are read are said to be empty.
    let mut left = if size == 0 { u64::MAX } else { size };
    let mut piece = vec![0; usize::try_from(left).unwrap_or(PIECE).min(PIECE)];
    let mut hasher = ContentHasher::new();
    while left > 0 {
        if cancel.is_cancelled() {
            return Ok(None);
        }
        match file.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => {
                hasher.update(&piece[..length]);
                left = left.saturating_sub(length as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(hasher.finish()))
}

fn read_error(path: &RootedPath, error: io::Error) -> IoError {
    IoError::os(path.relative(), "read", error)
}
