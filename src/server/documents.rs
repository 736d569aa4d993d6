//! The documents that the client has open, followed change by change.

use std::{
    collections::HashMap,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Deserialize;

use super::decode::decode_params;
use crate::{
    engine::{OpenDocument, OpenDocuments},
    position::{LineIndex, Position, PositionEncoding, PositionError},
    protocol::{FileUri, values},
};

/// The texts of open documents, which are exactly the client's as long as it tells every change.
///
/// A document whose change can not be followed stays open with an unknown text, until it is opened again or a later
/// change gives all of its text.
pub(super) struct Documents {
    encoding: PositionEncoding,
    /// Shared with the requests that came before the next change.
    open: Arc<OpenDocuments>,
    /// As the client spells them.
    uris: HashMap<PathBuf, FileUri>,
}

impl Documents {
    pub fn new(encoding: PositionEncoding) -> Self {
        Self { encoding, open: Arc::default(), uris: HashMap::new() }
    }

    pub fn open(&self) -> &Arc<OpenDocuments> {
        &self.open
    }

    pub fn get(&self, path: &Path) -> Option<&OpenDocument> {
        self.open.get(path).map(|document| &**document)
    }

    /// The URI that a document was opened with.
    pub fn uri(&self, path: &Path) -> FileUri {
        self.uris.get(path).cloned().unwrap_or_else(|| FileUri::from_path(path))
    }

    /// Follows a notification; returns the document that it speaks of. Those that mean nothing here are ignored, and so
    /// are documents that are no files.
    pub fn notified(&mut self, method: &str, params: &str) -> Option<PathBuf> {
        let follow = match method {
            "textDocument/didOpen" => Self::did_open,
            "textDocument/didChange" => Self::did_change,
            "textDocument/didSave" => Self::did_save,
            "textDocument/didClose" => Self::did_close,
            _ => return None,
        };
        let uri = match decode_params::<AnyParams>(params) {
            Ok(params) => params.text_document.uri.parse::<FileUri>().ok()?,
            Err(error) => {
                tracing::warn!(method, error = error.message, "ignored a notification that names no document");
                return None;
            }
        };
        if let Err(problem) = follow(self, &uri, params) {
            tracing::warn!(method, problem, "the text of an open document is not known any more");
        }
        Some(uri.path().to_owned())
    }

    fn did_open(&mut self, uri: &FileUri, params: &str) -> Result<(), String> {
        let params = decode_params::<OpenParams>(params).map_err(|error| self.lose(uri, error.message))?;
        let OpenedDocument { version, text } = params.text_document;
        if self.get(uri.path()).is_some() {
            tracing::warn!("a document was opened that had not been closed");
        }
        self.put(uri, OpenDocument::new(version, text));
        Ok(())
    }

    fn did_change(&mut self, uri: &FileUri, params: &str) -> Result<(), String> {
        let params = decode_params::<ChangeParams>(params).map_err(|error| self.lose(uri, error.message))?;
        let Some(version) = params.text_document.version else {
            return Err(self.lose(uri, "a change without a version".into()));
        };
        let encoding = self.encoding;
        let Some(document) = Arc::make_mut(&mut self.open).get_mut(uri.path()) else {
            self.put(uri, OpenDocument::unknown(version));
            return Err("a change of a document that is not open".into());
        };
        let document = Arc::make_mut(document);
        let last = document.version();
        document.change(version.max(last), |text| {
            if version <= last {
                return Err(format!("a change to version {version} after version {last}"));
            }
            let was_known = text.is_some();
            let mut lines = text.take().map(LineIndex::of_document);
            let made = params.content_changes.into_iter().map(|change| change.make(&mut lines, encoding));
            let problem = made.filter_map(Result::err).last();
            *text = lines.map(LineIndex::into_text);
            match problem {
                Some(problem) if text.is_none() && was_known => Err(problem.to_string()),
                _ => Ok(()),
            }
        })
    }

    /// What was saved is what the client has, if there was a difference.
    fn did_save(&mut self, uri: &FileUri, params: &str) -> Result<(), String> {
        let params = decode_params::<SaveParams>(params).map_err(|error| self.lose(uri, error.message))?;
        let (Some(text), Some(document)) = (params.text, self.get(uri.path())) else { return Ok(()) };
        if document.text().is_some_and(|known| known != text) {
            tracing::warn!("a document was saved with another text than its changes have led to");
        }
        if document.text() != Some(&text) {
            let version = document.version();
            self.put(uri, OpenDocument::new(version, text));
        }
        Ok(())
    }

    fn did_close(&mut self, uri: &FileUri, _: &str) -> Result<(), String> {
        Arc::make_mut(&mut self.open).remove(uri.path());
        self.uris.remove(uri.path());
        Ok(())
    }

    fn put(&mut self, uri: &FileUri, document: OpenDocument) {
        // Without a slash at its end, which would make it the path of a directory.
        let path: PathBuf = uri.path().components().collect();
        Arc::make_mut(&mut self.open).insert(path.clone(), Arc::new(document));
        self.uris.insert(path, uri.clone());
    }

    /// Goes on without the text of a document.
    fn lose(&mut self, uri: &FileUri, problem: String) -> String {
        let version = self.get(uri.path()).map_or(i32::MIN, OpenDocument::version);
        self.put(uri, OpenDocument::unknown(version));
        problem
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnyParams {
    text_document: AnyDocument,
}

#[derive(Deserialize)]
struct AnyDocument {
    uri: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OpenParams {
    text_document: OpenedDocument,
}

#[derive(Deserialize)]
struct OpenedDocument {
    version: i32,
    text: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChangeParams {
    text_document: ChangedDocument,
    content_changes: Vec<ContentChange>,
}

#[derive(Deserialize)]
struct ChangedDocument {
    version: Option<i32>,
}

#[derive(Deserialize)]
struct ContentChange {
    range: Option<values::PositionRange>,
    text: String,
}

#[derive(Deserialize)]
struct SaveParams {
    text: Option<String>,
}

#[derive(Debug, thiserror::Error)]
enum ChangeError {
    #[error("a change at a place that the text does not have: {0}")]
    Place(#[from] PositionError),
    #[error("a change whose range starts after its end")]
    Reversed,
}

impl ContentChange {
    /// Makes the change; a text that it does not fit is not known any more.
    fn make(self, lines: &mut Option<LineIndex>, encoding: PositionEncoding) -> Result<(), ChangeError> {
        let Some(range) = self.range else {
            *lines = Some(LineIndex::of_document(self.text));
            return Ok(());
        };
        let Some(known) = lines else { return Ok(()) };
        let made = range_of(range, known, encoding).map(|range| known.replace(range, &self.text));
        made.inspect_err(|_| *lines = None)
    }
}

fn range_of(
    range: values::PositionRange,
    lines: &LineIndex,
    encoding: PositionEncoding,
) -> Result<Range<usize>, ChangeError> {
    let offset = |at: values::Position| lines.offset(Position { line: at.line, character: at.character }, encoding);
    let range = offset(range.start)?..offset(range.end)?;
    if range.start <= range.end { Ok(range) } else { Err(ChangeError::Reversed) }
}

#[cfg(test)]
mod tests;
