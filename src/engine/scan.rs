//! Change scans: which of these files are not what the caller knows.

use std::path::PathBuf;

use super::{
    Engine, Guard,
    cache::{KnownHashes, KnownTracking},
    file::refuse_special,
};
use crate::{
    CancelToken,
    error::{IoError, IoErrorKind},
    hash::{ContentHash, TrackingError, TrackingHash},
    roots::{Resolver, RootedPath},
};

/// A file to compare with what the caller knows of it; `expected` needs at least one hash.
#[derive(Debug, Clone, Default)]
pub struct FileData {
    /// Absolute path.
    pub path: PathBuf,
    pub expected: Guard,
    /// Return the tracking hash although `expected` has none.
    pub want_tracking: bool,
}

/// What a scan found out about one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedFileData {
    pub status: ScanStatus,
    /// The hashes the file has now; `None` when it is missing.
    pub content_hash: Option<ContentHash>,
    pub tracking_hash: Option<TrackingHash>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScanStatus {
    Unchanged,
    Changed,
    /// The tokens are the same, the bytes are not; only when both hashes were expected.
    Formatted,
    Missing,
}

impl Engine {
    /// Compares files with what the caller knows of them; the results have the length and order of the requests.
    pub fn scan(&self, requests: &[FileData], cancel: &CancelToken) -> Vec<Result<ChangedFileData, IoError>> {
        let roots = self.roots();
        let resolver = Resolver::new(&roots, &self.dir_budget);
        self.workers.map(requests, |request| {
            if cancel.is_cancelled() {
                return Err(IoError::new(roots.relative(&request.path), IoErrorKind::Cancelled));
            }
            let path = match resolver.resolve(&request.path) {
                Ok(path) => path,
                Err(error) => return missing_or(error),
            };
            self.scan_file(&path, request, cancel).or_else(missing_or)
        })
    }

    fn scan_file(
        &self,
        path: &RootedPath,
        request: &FileData,
        cancel: &CancelToken,
    ) -> Result<ChangedFileData, IoError> {
        let Some(stat) = path.stat() else { return Err(IoError::new(path.relative(), IoErrorKind::NotFound)) };
        refuse_special(path, stat.kind)?;
        let expected = &request.expected;
        let wants_tracking = request.want_tracking || expected.tracking_hash.is_some();
        let absolute = path.absolute();
        let known = self.cache.get(&absolute, stat);
        let hashes = match known {
            Some(known) if !wants_tracking || known.tracking_of(expected) => known,
            _ if wants_tracking => self.read_hashes(path, absolute, expected)?,
            _ => self.read_content_hash(path, absolute, cancel)?,
        };
        let tracking_hash = match hashes.tracking {
            Some(KnownTracking { hash, .. }) if wants_tracking => {
                Some(hash.map_err(|error| IoError::new(path.relative(), IoErrorKind::Parse(error)))?)
            }
            _ => None,
        };
        let status = compare(expected, hashes.content, tracking_hash);
        Ok(ChangedFileData { status, content_hash: Some(hashes.content), tracking_hash })
    }

    fn read_content_hash(
        &self,
        path: &RootedPath,
        absolute: PathBuf,
        cancel: &CancelToken,
    ) -> Result<KnownHashes, IoError> {
        let _permit = self.permits.acquire();
        let read = self.hash_file(path, cancel)?;
        let hashes = KnownHashes { content: read.hash, tracking: None };
        if let Some(stat) = read.stat {
            self.cache.put(absolute, &read.file, stat, read.began, hashes.clone());
        }
        Ok(hashes)
    }

    fn read_hashes(&self, path: &RootedPath, absolute: PathBuf, expected: &Guard) -> Result<KnownHashes, IoError> {
        let (content, file) = {
            let _permit = self.permits.acquire();
            self.read_file(path)?
        };
        let text = content.text(path.relative())?;
        let namespace = expected.namespace;
        let hash = match TrackingHash::of_text(namespace, &absolute, text) {
            Ok(hash) => Ok(hash),
            Err(TrackingError::Parse(error)) => Err(error),
            // Says nothing about the file, so it must not be cached.
            Err(error @ TrackingError::Thread(_)) => return Err(IoError::new(path.relative(), error.into())),
        };
        let tracking = KnownTracking { namespace, hash };
        let hashes = KnownHashes { content: content.hash, tracking: Some(tracking) };
        if content.rested {
            self.cache.put(absolute, &file, content.stat, content.began, hashes.clone());
        }
        Ok(hashes)
    }
}

impl KnownHashes {
    fn tracking_of(&self, expected: &Guard) -> bool {
        self.tracking.as_ref().is_some_and(|tracking| tracking.namespace == expected.namespace)
    }
}

fn missing_or(error: IoError) -> Result<ChangedFileData, IoError> {
    match error.kind {
        IoErrorKind::NotFound => {
            Ok(ChangedFileData { status: ScanStatus::Missing, content_hash: None, tracking_hash: None })
        }
        _ => Err(error),
    }
}

fn compare(expected: &Guard, content: ContentHash, tracking: Option<TrackingHash>) -> ScanStatus {
    let same_content = expected.content_hash.map(|expected| expected == content);
    let same_tracking = expected.tracking_hash.map(|expected| Some(expected) == tracking);
    match (same_content, same_tracking) {
        (Some(false), Some(true)) => ScanStatus::Formatted,
        (Some(false), _) | (_, Some(false)) => ScanStatus::Changed,
        _ => ScanStatus::Unchanged,
    }
}
