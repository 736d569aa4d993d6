//! The text of a file, and what can be asked of it.

use std::ops::Range;

use uuid::Uuid;

use super::{EmbeddingData, Guard, SnippetRef, Source, TextRange, file::FileContent, range::RangeFinder, read::Room};
use crate::{
    error::{ActualHashes, GuardKind, IoError, IoErrorKind},
    hash::{ContentHash, TrackingHash},
    roots::RootedPath,
};

/// The text of one reading, against which guards are checked.
pub(super) struct VerifiedText<'c> {
    path: &'c RootedPath,
    hash: ContentHash,
    /// Of the document that is open with this text.
    pub version: Option<i32>,
    pub text: &'c str,
    ranges: RangeFinder<'c>,
    tracking: Vec<(Uuid, Result<TrackingHash, IoErrorKind>)>,
}

impl<'c> VerifiedText<'c> {
    pub fn new(path: &'c RootedPath, content: &'c FileContent) -> Result<Self, IoError> {
        let text = content.text(path.relative())?;
        let FileContent { hash, version, .. } = *content;
        let ranges = RangeFinder::new(text, version.is_some());
        Ok(Self { path, hash, version, text, ranges, tracking: Vec::new() })
    }

    pub fn snippet<P>(
        &mut self,
        request: &EmbeddingData<P>,
        source: Source,
        room: &Room,
    ) -> Result<SnippetRef<'c>, IoError> {
        self.check(request, source, room).map_err(|kind| IoError::new(self.path.relative(), kind))
    }

    fn check<P>(
        &mut self,
        request: &EmbeddingData<P>,
        source: Source,
        room: &Room,
    ) -> Result<SnippetRef<'c>, IoErrorKind> {
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
        let (content_hash, version) = (self.hash, self.version);
        Ok(SnippetRef { text, byte_range, content_hash, tracking_hash, source, version })
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
            Some(version) if self.version != Some(version) => Err(self.mismatch(GuardKind::Version)),
            _ => Ok(()),
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
