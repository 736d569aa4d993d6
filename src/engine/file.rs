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
    disk::{FileKind, FileStat, stat_file},
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
}

impl FileContent {
    /// The text of the file, if it is UTF-8.
    pub fn text(&self, path: &Path) -> Result<&str, IoError> {
        std::str::from_utf8(&self.bytes)
            .map_err(|error| IoError::new(path, IoErrorKind::NotUtf8 { valid_up_to: error.valid_up_to() }))
    }
}

impl Engine {
    /// Reads a whole file into memory and returns it still open; files above the size limit are refused unread.
    pub(super) fn read_file(&self, path: &RootedPath) -> Result<(FileContent, File), IoError> {
        let limit = self.max_file_bytes;
        let (mut file, mut stat) = open_regular(path)?;
        for reading in 1.. {
            let too_large = |bytes| IoError::new(path.relative(), IoErrorKind::TooLarge { bytes, limit });
            if stat.size > limit {
                return Err(too_large(stat.size));
            }
            let began = SystemTime::now();
            // One byte more than expected tells the end without a further call, and growth by its presence.
            let mut bytes = Vec::new();
            let expected = usize::try_from(stat.size).unwrap_or(usize::MAX).saturating_add(1);
            bytes.try_reserve_exact(expected).map_err(|error| read_error(path, error.into()))?;
            (&file).take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| read_error(path, error))?;
            if bytes.len() as u64 > limit {
                return Err(too_large(bytes.len() as u64));
            }
            let after = stat_file(&file).map_err(|error| read_error(path, error))?;
            if after == stat || reading == READINGS {
                let hash = ContentHash::of(&bytes);
                tracing::debug!(path = %path.relative().display(), bytes = bytes.len(), "file read");
                return Ok((FileContent { bytes, hash, stat: after, rested: after == stat, began }, file));
            }
            (file, stat) = open_regular(path)?;
        }
        unreachable!("the last reading is taken as it is")
    }

    /// Hashes a file of any size in bounded memory.
    pub(super) fn hash_file(&self, path: &RootedPath, cancel: &CancelToken) -> Result<HashedFile, IoError> {
        let (mut file, mut stat) = open_regular(path)?;
        for reading in 1.. {
            let began = SystemTime::now();
            let Some(hash) = hash_pieces(&file, stat.size, cancel).map_err(|error| read_error(path, error))? else {
                return Err(IoError::new(path.relative(), IoErrorKind::Cancelled));
            };
            let after = stat_file(&file).map_err(|error| read_error(path, error))?;
            if after == stat || reading == READINGS {
                return Ok(HashedFile { hash, stat: (after == stat).then_some(stat), file, began });
            }
            (file, stat) = open_regular(path)?;
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

/// Opens what the path names if it is a regular file.
fn open_regular(path: &RootedPath) -> Result<(File, FileStat), IoError> {
    let open = || -> io::Result<(File, FileStat)> {
        let file = path.open()?;
        let stat = stat_file(&file)?;
        Ok((file, stat))
    };
    if let Some(stat) = path.stat() {
        refuse_special(path, stat.kind)?;
    }
    let (file, stat) = open().map_err(|error| IoError::os(path.relative(), "open", error))?;
    refuse_special(path, stat.kind)?;
    Ok((file, stat))
}

pub(super) fn refuse_special(path: &RootedPath, kind: FileKind) -> Result<(), IoError> {
    match kind {
        FileKind::File => Ok(()),
        other => Err(IoError::new(path.relative(), IoErrorKind::NotAFile { found: other.name() })),
    }
}

/// Hashes to the end of the file; `None` if cancelled before.
fn hash_pieces(mut file: &File, size: u64, cancel: &CancelToken) -> io::Result<Option<ContentHash>> {
    let mut piece = vec![0; usize::try_from(size).map_or(PIECE, |size| PIECE.min(size.saturating_add(1)))];
    let mut hasher = ContentHasher::new();
    while !cancel.is_cancelled() {
        match file.read(&mut piece) {
            Ok(0) => return Ok(Some(hasher.finish())),
            Ok(length) => hasher.update(&piece[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn read_error(path: &RootedPath, error: io::Error) -> IoError {
    IoError::os(path.relative(), "read", error)
}
