//! Verified reads: each file is read once, all guards are checked on those bytes.

use std::{
    collections::HashMap,
    ffi::OsStr,
    mem,
    ops::Range,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use uuid::Uuid;

use super::{Engine, Guard, TextRange, file::FileContent, parallel, range::RangeFinder};
use crate::{
    CancelToken,
    error::{ActualHashes, GuardKind, IoError, IoErrorKind},
    hash::{ContentHash, TrackingHash},
    roots::{Resolver, RootedPath},
};

/// A snippet to read, with what the caller expects it to be.
#[derive(Debug, Clone, Default)]
pub struct EmbeddingData {
    /// Absolute path.
    pub path: PathBuf,
    /// Without a range: the one place where `expected_text` stands, else the whole file.
    pub range: Option<TextRange>,
    pub expected: Guard,
    pub expected_text: Option<String>,
    /// Tracking hash of the text of the range.
    pub node_tracking_hash: Option<TrackingHash>,
    /// Return the file's tracking hash (it is also returned when `expected` has one).
    pub want_tracking: bool,
}

/// A verified piece of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snippet {
    pub text: String,
    pub byte_range: Range<usize>,
    /// Hash of the whole file that the text was taken from.
    pub content_hash: ContentHash,
    pub tracking_hash: Option<TrackingHash>,
}

impl Engine {
    /// Reads snippets; the results have the length and order of the requests.
    ///
    /// Texts that find no room in `max_bytes` together are refused before they are copied, so that many requests for
    /// one large file do not take as many times its memory.
    pub fn snippets(
        &self,
        requests: &[EmbeddingData],
        max_bytes: u64,
        cancel: &CancelToken,
    ) -> Vec<Result<Snippet, IoError>> {
        let room = Room { left: AtomicU64::new(max_bytes), limit: max_bytes };
        let roots = self.roots();
        let resolver = Resolver::new(&roots, &self.dir_budget);
        let mut files = by_spelling(requests);
        let read = |file: &FileGroup| {
            let path = resolver.resolve(file.spelling);
            let snippets = self.read_snippets(&path, &file.items, requests, &room, cancel);
            (path.map(|path| path.absolute()).ok(), snippets)
        };
        let mut read_files = parallel::map(&files, self.threads, read);
        // Which spellings lead to one file is known now; what they have in common has to come from one reading.
        for (first, other) in same_files(&files, &read_files) {
            let items = mem::take(&mut files[other].items);
            files[first].items.extend(items);
            for file in [first, other] {
                room.give_back(&mem::take(&mut read_files[file].1));
            }
            read_files[first] = read(&files[first]);
        }

        let mut results: Vec<Option<Result<Snippet, IoError>>> = requests.iter().map(|_| None).collect();
        for (file, (_, snippets)) in files.iter().zip(read_files) {
            for (&index, snippet) in file.items.iter().zip(snippets) {
                results[index] = Some(snippet);
            }
        }
        let missing = || Err(IoError::new("", IoErrorKind::Internal("an item was left out".into())));
        results.into_iter().map(|result| result.unwrap_or_else(missing)).collect()
    }

    fn read_snippets(
        &self,
        path: &Result<RootedPath, IoError>,
        items: &[usize],
        requests: &[EmbeddingData],
        room: &Room,
        cancel: &CancelToken,
    ) -> Vec<Result<Snippet, IoError>> {
        let for_all = |error: IoError| items.iter().map(|_| Err(error.clone())).collect();
        let path = match path {
            Ok(path) => path,
            Err(error) => return for_all(error.clone()),
        };
        if cancel.is_cancelled() {
            return for_all(IoError::new(path.relative(), IoErrorKind::Cancelled));
        }
        let content = {
            let _permit = self.permits.acquire();
            match self.read_file(path) {
                Ok((content, _)) => content,
                Err(error) => return for_all(error),
            }
        };
        let mut verified = match VerifiedText::new(path, &content) {
            Ok(verified) => verified,
            Err(error) => return for_all(error),
        };
        items.iter().map(|&index| verified.snippet(&requests[index], room)).collect()
    }
}

/// The items of one file, as far as their paths are spelled alike.
struct FileGroup<'r> {
    spelling: &'r Path,
    items: Vec<usize>,
}

fn by_spelling(requests: &[EmbeddingData]) -> Vec<FileGroup<'_>> {
    let mut known: HashMap<&OsStr, usize> = HashMap::new();
    let mut files: Vec<FileGroup> = Vec::new();
    let mut last = 0;
    for (index, request) in requests.iter().enumerate() {
        let spelling = request.path.as_path();
        if files.get(last).is_none_or(|file| file.spelling.as_os_str() != spelling.as_os_str()) {
            last = *known.entry(spelling.as_os_str()).or_insert_with(|| {
                files.push(FileGroup { spelling, items: Vec::new() });
                files.len() - 1
            });
        }
        files[last].items.push(index);
    }
    files
}

/// Pairs of groups of the same file: the first of them, and each other.
fn same_files<R>(files: &[FileGroup], read: &[(Option<PathBuf>, R)]) -> Vec<(usize, usize)> {
    let is_as_spelled = |(file, (path, _)): (&FileGroup, &(Option<PathBuf>, R))| {
        path.as_ref().is_none_or(|path| path.as_os_str() == file.spelling.as_os_str())
    };
    if files.iter().zip(read).all(is_as_spelled) {
        return Vec::new();
    }
    let mut known: HashMap<&Path, usize> = HashMap::new();
    let mut same = Vec::new();
    for (index, (path, _)) in read.iter().enumerate() {
        let Some(path) = path else { continue };
        let first = *known.entry(path).or_insert(index);
        if first != index {
            same.push((first, index));
        }
    }
    same
}

/// The room for all texts of one answer.
struct Room {
    left: AtomicU64,
    limit: u64,
}

impl Room {
    fn give_back(&self, discarded: &[Result<Snippet, IoError>]) {
        let bytes: usize = discarded.iter().flatten().map(|snippet| snippet.text.len()).sum();
        self.left.fetch_add(bytes as u64, Relaxed);
    }

    fn take(&self, bytes: u64) -> Result<(), IoErrorKind> {
        let taken = self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes));
        taken.map(drop).map_err(|_| IoErrorKind::AnswerTooLarge { bytes, limit: self.limit })
    }
}

/// The text of one reading, against which guards are checked.
pub(super) struct VerifiedText<'c> {
    path: &'c RootedPath,
    hash: ContentHash,
    pub text: &'c str,
    ranges: RangeFinder<'c>,
    tracking: Vec<(Uuid, Result<TrackingHash, IoErrorKind>)>,
}

impl<'c> VerifiedText<'c> {
    pub fn new(path: &'c RootedPath, content: &'c FileContent) -> Result<Self, IoError> {
        let text = content.text(path.relative())?;
        Ok(Self { path, hash: content.hash, text, ranges: RangeFinder::new(text), tracking: Vec::new() })
    }

    fn snippet(&mut self, request: &EmbeddingData, room: &Room) -> Result<Snippet, IoError> {
        self.check(request, room).map_err(|kind| IoError::new(self.path.relative(), kind))
    }

    fn check(&mut self, request: &EmbeddingData, room: &Room) -> Result<Snippet, IoErrorKind> {
        self.check_guard(&request.expected)?;
        let byte_range = self.find(request.range, request.expected_text.as_deref())?;
        let text = &self.text[byte_range.clone()];
        let namespace = request.expected.namespace;
        if let Some(expected) = request.node_tracking_hash {
            let actual = TrackingHash::of_text(namespace, &self.path.absolute(), text)?;
            if actual != expected {
                return Err(self.mismatch(GuardKind::NodeTrackingHash));
            }
        }
        let wanted = request.want_tracking || request.expected.tracking_hash.is_some();
        let tracking_hash = if wanted { Some(self.tracking(namespace)?) } else { None };
        room.take(text.len() as u64)?;
        Ok(Snippet { text: text.to_owned(), byte_range, content_hash: self.hash, tracking_hash })
    }

    /// Checks what is expected of the file as a whole.
    pub fn check_guard(&mut self, expected: &Guard) -> Result<(), IoErrorKind> {
        if expected.content_hash.is_some_and(|expected| expected != self.hash) {
            return Err(self.mismatch(GuardKind::ContentHash));
        }
        if let Some(hash) = expected.tracking_hash {
            if self.tracking(expected.namespace)? != hash {
                return Err(self.mismatch(GuardKind::TrackingHash));
            }
        }
        match expected.version {
            Some(_) => Err(self.mismatch(GuardKind::Version)),
            None => Ok(()),
        }
    }

    /// Finds a range in the text; see [`RangeFinder::find`].
    pub fn find(&mut self, range: Option<TextRange>, expected: Option<&str>) -> Result<Range<usize>, IoErrorKind> {
        self.ranges.find(range, expected).map_err(|kind| self.with_actual(kind))
    }

    /// The tracking hash of the file, made once for each namespace.
    fn tracking(&mut self, namespace: Uuid) -> Result<TrackingHash, IoErrorKind> {
        if let Some((_, known)) = self.tracking.iter().find(|(of, _)| *of == namespace) {
            return known.clone();
        }
        let hash = TrackingHash::of_text(namespace, &self.path.absolute(), self.text).map_err(IoErrorKind::from);
        self.tracking.push((namespace, hash.clone()));
        hash
    }

    fn mismatch(&self, guard: GuardKind) -> IoErrorKind {
        let tracking = self.tracking.iter().find_map(|(_, hash)| hash.clone().ok());
        IoErrorKind::ContentMismatch { guard, actual: Some(ActualHashes { content: self.hash, tracking }) }
    }

    fn with_actual(&self, kind: IoErrorKind) -> IoErrorKind {
        match kind {
            IoErrorKind::ContentMismatch { guard, actual: None } => self.mismatch(guard),
            kind => kind,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_room_is_refused_and_takes_none() {
        let room = Room { left: AtomicU64::new(10), limit: 10 };
        assert!(room.take(5).is_ok());
        assert!(matches!(room.take(6), Err(IoErrorKind::AnswerTooLarge { bytes: 6, limit: 10 })));
        assert!(room.take(5).is_ok());
    }
}
