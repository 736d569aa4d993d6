//! Verified reads: each file is read once, all guards are checked on those bytes.

use std::{
    collections::HashMap,
    mem,
    ops::Range,
    path::{Path, PathBuf},
    slice,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use super::{
    Engine, Guard, OpenDocuments, Source, TextRange,
    documents::{Located, content_of},
    file::FileContent,
    verified_text::VerifiedText,
};
use crate::{
    CancelToken,
    error::{IoError, IoErrorKind},
    hash::{ContentHash, TrackingHash},
    roots::{Resolver, RootedPath},
};

/// A snippet to read, with what the caller expects it to be. `P` is what the caller has the path in.
#[derive(Debug, Clone, Default)]
pub struct EmbeddingData<P = PathBuf> {
    /// Absolute path.
    pub path: P,
    /// By default the document that is open, if there is one, else the file.
    pub source: Option<Source>,
    /// Without a range: the one place where `expected_text` stands, else the whole file.
    pub range: Option<TextRange>,
    pub expected: Guard,
    pub expected_text: Option<String>,
    /// Tracking hash of the text of the range.
    pub node_tracking_hash: Option<TrackingHash>,
    /// Return the file's tracking hash (it is also returned when `expected` has one).
    pub want_tracking: bool,
}

/// Who asks for snippets.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    pub documents: &'a Arc<OpenDocuments>,
    /// Texts that find no room in so many bytes together are refused, so that many requests for one large file do not
    /// take as many times its memory.
    pub max_bytes: u64,
    /// When the request came. What was read from a file since then is as good as what would be read now.
    pub since: Instant,
    pub cancel: &'a CancelToken,
}

/// A verified piece of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snippet {
    pub text: String,
    pub byte_range: Range<usize>,
    /// Hash of the whole file that the text was taken from.
    pub content_hash: ContentHash,
    pub tracking_hash: Option<TrackingHash>,
    /// What was read.
    pub source: Source,
    /// Of the document that is open with the text that was read, if there is one.
    pub version: Option<i32>,
}

/// A [`Snippet`] whose text still stands among the bytes that were read.
#[derive(Debug)]
pub struct SnippetRef<'t> {
    pub text: &'t str,
    pub byte_range: Range<usize>,
    pub content_hash: ContentHash,
    pub tracking_hash: Option<TrackingHash>,
    pub source: Source,
    pub version: Option<i32>,
}

impl From<SnippetRef<'_>> for Snippet {
    fn from(snippet: SnippetRef) -> Self {
        let SnippetRef { text, byte_range, content_hash, tracking_hash, source, version } = snippet;
        Self { text: text.to_owned(), byte_range, content_hash, tracking_hash, source, version }
    }
}

/// The snippets of one file, each with the index of its request; what is not taken is not answered.
pub struct Found<'f, P> {
    indexes: slice::Iter<'f, usize>,
    requests: &'f [EmbeddingData<P>],
    /// Or why there is none.
    text: Result<VerifiedText<'f>, IoError>,
    /// What was read for who names none.
    source: Source,
    room: &'f Room,
    /// Room that they have taken.
    text_bytes: u64,
}

impl<'f, P> Iterator for Found<'f, P> {
    type Item = (usize, Result<SnippetRef<'f>, IoError>);

    fn next(&mut self) -> Option<Self::Item> {
        let index = *self.indexes.next()?;
        let request = &self.requests[index];
        let found = match &mut self.text {
            Ok(text) => text.snippet(request, request.source.unwrap_or(self.source), self.room),
            Err(error) => Err(error.clone()),
        };
        self.text_bytes += found.as_ref().map_or(0, |snippet| snippet.text.len() as u64);
        Some((index, found))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.indexes.size_hint()
    }
}

impl<P> ExactSizeIterator for Found<'_, P> {}

impl Engine {
    /// Reads snippets; the results have the length and order of the requests.
    pub fn each_snippet(&self, requests: &[EmbeddingData], asking: &Asking) -> Vec<Result<Snippet, IoError>> {
        let owned = |(index, found): (_, Result<SnippetRef, _>)| (index, found.map(Snippet::from));
        let files = self.snippets(requests, asking, |found| found.map(owned).collect::<Vec<_>>());
        let mut all = Vec::with_capacity(requests.len());
        files.into_iter().for_each(|mut of_file| all.append(&mut of_file));
        all.sort_unstable_by_key(|(index, _)| *index);
        debug_assert!(all.iter().map(|(index, _)| *index).eq(0..requests.len()));
        all.into_iter().map(|(_, result)| result).collect()
    }

    /// Reads snippets and makes something of those of each file while their texts are at hand; `make` gets each with the
    /// index of its request, and may be called again for some whose first result is dropped.
    pub fn snippets<P: AsRef<Path> + Sync, R: Send>(
        &self,
        requests: &[EmbeddingData<P>],
        &Asking { documents, max_bytes, since, cancel }: &Asking,
        make: impl Fn(&mut Found<P>) -> R + Sync,
    ) -> Vec<R> {
        let room = Room { left: AtomicU64::new(max_bytes), limit: max_bytes };
        let mut files = by_spelling(requests);
        if let [file @ FileGroup { source: None | Some(Source::Disk), .. }] = &files[..] {
            if documents.is_empty() && !cancel.is_cancelled() {
                return vec![self.snippets_of_file(file, since, requests, &room, make)];
            }
        }
        let documents = self.locate(documents.clone());
        let roots = self.roots();
        let resolver = Resolver::new(&roots, &self.dir_budget);
        let reading = Reading { resolver: &resolver, documents: &documents, requests, room: &room, cancel };
        let read = |file: &FileGroup| self.read_group(file, &reading, &make);
        let mut read_files = self.workers.map(&files, read);
        // Which spellings lead to one file is known now; what they have in common has to come from one reading.
        for (first, other) in same_files(&files, &read_files) {
            let items = mem::take(&mut files[other].items);
            files[first].items.extend(items);
            for file in [first, other] {
                read_files[file].made = None;
                room.give_back(mem::take(&mut read_files[file].text_bytes));
            }
            read_files[first] = read(&files[first]);
        }
        read_files.into_iter().filter_map(|file| file.made).collect()
    }

    /// The same for requests that all speak of one file, where no documents are open.
    fn snippets_of_file<P, R>(
        &self,
        file: &FileGroup,
        since: Instant,
        requests: &[EmbeddingData<P>],
        room: &Room,
        make: impl Fn(&mut Found<P>) -> R,
    ) -> R {
        let reading = self.last_reading.since(since, file.spelling, || {
            let path = Resolver::new(&self.roots(), &self.dir_budget).resolve(file.spelling)?;
            let _permit = self.permits.acquire();
            let (content, _) = self.read_file(&path)?;
            Ok((path, content))
        });
        let text = reading.as_ref().map_err(IoError::clone);
        let text = text.and_then(|reading| VerifiedText::new(&reading.path, &reading.content));
        make(&mut Found { indexes: file.items.iter(), requests, text, source: Source::Disk, room, text_bytes: 0 })
    }

    fn read_group<P, R>(
        &self,
        file: &FileGroup,
        &Reading { resolver, documents, requests, room, cancel }: &Reading<P>,
        make: impl Fn(&mut Found<P>) -> R,
    ) -> ReadFile<R> {
        let path = resolver.resolve(file.spelling);
        let (source, content) = match &path {
            Ok(path) if cancel.is_cancelled() => {
                (Source::Disk, Err(IoError::new(path.relative(), IoErrorKind::Cancelled)))
            }
            Ok(path) => self.read_source(path, file, documents),
            Err(error) => (Source::Disk, Err(error.clone())),
        };
        let text = path.as_ref().and_then(|path| Ok((path, content.as_ref()?))).map_err(IoError::clone);
        let text = text.and_then(|(path, content)| VerifiedText::new(path, content));
        // The file and a document with the same text are one to who names neither.
        let is_open = text.as_ref().is_ok_and(|text| text.version.is_some());
        let unnamed = if is_open { Source::Buffer } else { source };
        let mut found = Found { indexes: file.items.iter(), requests, text, source: unnamed, room, text_bytes: 0 };
        let made = Some(make(&mut found));
        let text_bytes = found.text_bytes;
        ReadFile { origin: path.map(|path| (path.absolute(), source)).ok(), made, text_bytes }
    }

    /// Reads what is asked for; by default a document that is open with unsaved changes, else the file.
    fn read_source(
        &self,
        path: &RootedPath,
        file: &FileGroup,
        documents: &Located,
    ) -> (Source, Result<FileContent, IoError>) {
        let document = documents.document(path, file.spelling);
        let on_disk = || {
            let _permit = self.permits.acquire();
            let (content, _) = self.read_file(path)?;
            Ok(FileContent { version: documents.version_of(path, file.spelling, content.hash), ..content })
        };
        let in_buffer = || {
            let document = document.ok_or(IoErrorKind::DocumentNotOpen);
            let content = document.and_then(|document| content_of(document, path, self.max_file_bytes));
            content.map_err(|kind| IoError::new(path.relative(), kind))
        };
        match (file.source, document) {
            (Some(Source::Buffer), _) => (Source::Buffer, in_buffer()),
            (Some(Source::Disk), _) | (None, None) => (Source::Disk, on_disk()),
            (None, Some(_)) => match on_disk() {
                Ok(content) if documents.refuse_dirty(path, Some(content.hash)).is_ok() => (Source::Disk, Ok(content)),
                _ => (Source::Buffer, in_buffer()),
            },
        }
    }
}

/// What the readings of one request have in common.
struct Reading<'r, P> {
    resolver: &'r Resolver<'r>,
    documents: &'r Located,
    requests: &'r [EmbeddingData<P>],
    room: &'r Room,
    cancel: &'r CancelToken,
}

/// The items of one file, as far as their paths are spelled alike and they are read from the same source.
struct FileGroup<'r> {
    spelling: &'r Path,
    source: Option<Source>,
    items: Vec<usize>,
}

fn by_spelling<P: AsRef<Path>>(requests: &[EmbeddingData<P>]) -> Vec<FileGroup<'_>> {
    let is_like = |one: &EmbeddingData<P>, next: &EmbeddingData<P>| {
        (one.path.as_ref().as_os_str(), one.source) == (next.path.as_ref().as_os_str(), next.source)
    };
    let runs: Vec<_> = requests.chunk_by(is_like).collect();
    let mut known = HashMap::with_capacity(runs.len());
    let mut files: Vec<FileGroup> = Vec::with_capacity(runs.len());
    let mut begin = 0;
    for run in runs {
        let (spelling, source) = (run[0].path.as_ref(), run[0].source);
        let file = *known.entry((spelling.as_os_str(), source)).or_insert(files.len());
        if file == files.len() {
            files.push(FileGroup { spelling, source, items: Vec::new() });
        }
        files[file].items.extend(begin..begin + run.len());
        begin += run.len();
    }
    files
}

/// The real path of a file, and whether it was read or its document.
type Origin = (PathBuf, Source);

/// What was made of the items of one file.
struct ReadFile<R> {
    /// `None` if the path could not be resolved.
    origin: Option<Origin>,
    /// `None` if it was made together with those of another spelling.
    made: Option<R>,
    /// Room that the texts have taken.
    text_bytes: u64,
}

/// Pairs of groups that were read from the same source: the first of them, and each other.
fn same_files<R>(files: &[FileGroup], read: &[ReadFile<R>]) -> Vec<(usize, usize)> {
    let all_are_alike = files.windows(2).all(|pair| pair[0].source == pair[1].source);
    let is_as_spelled = |(file, read): (&FileGroup, &ReadFile<R>)| {
        all_are_alike && read.origin.as_ref().is_none_or(|(path, _)| path.as_os_str() == file.spelling.as_os_str())
    };
    if files.iter().zip(read).all(is_as_spelled) {
        return Vec::new();
    }
    let mut known: HashMap<&Origin, usize> = HashMap::new();
    let mut same = Vec::new();
    for (index, file) in read.iter().enumerate() {
        let Some(origin) = &file.origin else { continue };
        let first = *known.entry(origin).or_insert(index);
        if first != index {
            same.push((first, index));
        }
    }
    same
}

/// The room for all texts of one answer.
pub(super) struct Room {
    left: AtomicU64,
    limit: u64,
}

impl Room {
    fn give_back(&self, bytes: u64) {
        self.left.fetch_add(bytes, Relaxed);
    }

    pub fn take(&self, bytes: u64) -> Result<(), IoErrorKind> {
        let taken = self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes));
        taken.map(drop).map_err(|_| IoErrorKind::AnswerTooLarge { bytes, limit: self.limit })
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
