//! The form of what is in the state directory: what it is and in which version, fields of known length, and a checksum
//! over all of it.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use uuid::Uuid;

use crate::hash::ContentHash;

const MAGIC: &[u8; 8] = b"ploke-io";
const CHECKSUM_BYTES: usize = 32;

/// What it is; a record is never taken for something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Transaction = b'T' as isize,
    Undo = b'U' as isize,
    /// What stands before an undo entry.
    UndoHead = b'H' as isize,
    #[cfg(feature = "watcher")]
    Index = b'I' as isize,
}

/// All kinds change their version together.
const VERSION: u32 = 1;

/// Why a file cannot be read; nothing of it is used then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("it is torn or damaged")]
    Torn,
    #[error("it was written by a newer version, in format {0}")]
    NewerVersion(u32),
}

/// Writes fields one behind the other.
pub(crate) struct Encoder {
    bytes: Vec<u8>,
    /// Where they begin.
    begin: usize,
}

impl Encoder {
    pub fn new(kind: Kind) -> Self {
        Self::behind(0, kind)
    }

    /// Begins behind so many zeros, in whose place something else is to be written.
    pub fn behind(begin: usize, kind: Kind) -> Self {
        let mut bytes = vec![0; begin];
        bytes.extend(MAGIC);
        bytes.push(kind as u8);
        bytes.extend(VERSION.to_le_bytes());
        Self { bytes, begin }
    }

    pub fn number(&mut self, number: u64) {
        self.bytes.extend(number.to_le_bytes());
    }

    pub fn tag(&mut self, tag: u8) {
        self.bytes.push(tag);
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.bytes.extend(bytes);
    }

    pub fn name(&mut self, name: &OsStr) {
        self.bytes(&os_bytes(name));
    }

    pub fn path(&mut self, path: &Path) {
        self.name(path.as_os_str());
    }

    pub fn hash(&mut self, hash: &ContentHash) {
        self.bytes.extend(hash.as_bytes());
    }

    pub fn uuid(&mut self, uuid: Uuid) {
        self.bytes.extend(uuid.as_bytes());
    }

    pub fn time(&mut self, time: SystemTime) {
        let (before, distance) = match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => (0, since),
            Err(error) => (1, error.duration()),
        };
        self.tag(before);
        self.number(distance.as_secs());
        self.number(distance.subsec_nanos().into());
    }

    pub fn optional<T>(&mut self, value: Option<T>, encode: impl FnOnce(&mut Self, T)) {
        self.tag(value.is_some().into());
        if let Some(value) = value {
            encode(self, value);
        }
    }

    pub fn finish(mut self) -> Vec<u8> {
        let checksum = blake3::hash(&self.bytes[self.begin..]);
        self.bytes.extend(checksum.as_bytes());
        self.bytes
    }
}

/// Reads what an [`Encoder`] has written; every way in which the bytes may be wrong is an error.
pub(crate) struct Decoder<'a>(&'a [u8]);

impl<'a> Decoder<'a> {
    pub fn new(bytes: &'a [u8], kind: Kind) -> Result<Self, DecodeError> {
        let length = bytes.len().checked_sub(CHECKSUM_BYTES).ok_or(DecodeError::Torn)?;
        let (bytes, checksum) = bytes.split_at(length);
        if blake3::hash(bytes).as_bytes() != checksum {
            return Err(DecodeError::Torn);
        }
        let mut decoder = Self(bytes);
        if decoder.take(MAGIC.len())? != MAGIC || decoder.tag()? != kind as u8 {
            return Err(DecodeError::Torn);
        }
        match u32::from_le_bytes(decoder.array()?) {
            VERSION => Ok(decoder),
            version if version > VERSION => Err(DecodeError::NewerVersion(version)),
            _ => Err(DecodeError::Torn),
        }
    }

    pub fn number(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    pub fn tag(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[tag]| tag)
    }

    pub fn mode(&mut self) -> Result<u32, DecodeError> {
        u32::try_from(self.number()?).map_err(|_| DecodeError::Torn)
    }

    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.number()?;
        self.take(usize::try_from(length).map_err(|_| DecodeError::Torn)?)
    }

    pub fn name(&mut self) -> Result<OsString, DecodeError> {
        os_string(self.bytes()?)
    }

    pub fn path(&mut self) -> Result<PathBuf, DecodeError> {
        self.name().map(PathBuf::from)
    }

    pub fn hash(&mut self) -> Result<ContentHash, DecodeError> {
        self.array().map(ContentHash::from_bytes)
    }

    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        self.array().map(Uuid::from_bytes)
    }

    pub fn time(&mut self) -> Result<SystemTime, DecodeError> {
        let before = self.tag()?;
        let seconds = self.number()?;
        let nanos = u32::try_from(self.number()?).ok().filter(|nanos| *nanos < 1_000_000_000);
        let distance = Duration::new(seconds, nanos.ok_or(DecodeError::Torn)?);
        let time = match before {
            0 => SystemTime::UNIX_EPOCH.checked_add(distance),
            1 if !distance.is_zero() => SystemTime::UNIX_EPOCH.checked_sub(distance),
            _ => None,
        };
        time.ok_or(DecodeError::Torn)
    }

    pub fn optional<T>(
        &mut self,
        decode: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        match self.tag()? {
            0 => Ok(None),
            1 => decode(self).map(Some),
            _ => Err(DecodeError::Torn),
        }
    }

    /// Items to the end.
    pub fn rest<T>(
        mut self,
        mut decode: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let mut items = Vec::new();
        while !self.0.is_empty() {
            items.push(decode(&mut self)?);
        }
        Ok(items)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.take(N)?.try_into().map_err(|_| DecodeError::Torn)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(DecodeError::Torn)?;
        self.0 = rest;
        Ok(taken)
    }
}

#[cfg(unix)]
pub(crate) fn os_bytes(name: &OsStr) -> Vec<u8> {
    std::os::unix::ffi::OsStrExt::as_bytes(name).to_vec()
}

#[cfg(unix)]
pub(crate) fn os_string(bytes: &[u8]) -> Result<OsString, DecodeError> {
    Ok(std::os::unix::ffi::OsStringExt::from_vec(bytes.to_vec()))
}

/// Names that are no Unicode are not found again.
#[cfg(not(unix))]
pub(crate) fn os_bytes(name: &OsStr) -> Vec<u8> {
    name.to_string_lossy().into_owned().into_bytes()
}

#[cfg(not(unix))]
pub(crate) fn os_string(bytes: &[u8]) -> Result<OsString, DecodeError> {
    String::from_utf8(bytes.to_vec()).map(OsString::from).map_err(|_| DecodeError::Torn)
}
