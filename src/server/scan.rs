//! `ploke/scan`.

#[cfg(feature = "watcher")]
use std::path::{Path, PathBuf};

#[cfg(feature = "watcher")]
use serde::Serialize;
#[cfg(feature = "watcher")]
use serde_json::json;

use super::{
    convert,
    errors::refuse_cancelled,
    method::{Call, Method, Reply, RpcError},
};
use crate::{
    engine::{ChangedFileData, FileData, ScanStatus},
    error::IoError,
    protocol::{
        scan,
        scan::{Comparison, KnownHashes, ScanError, ScanParams, ScanQuery, ScanResult, ScannedFile},
        values::{FileHashes, HashKind},
    },
};
#[cfg(feature = "watcher")]
use crate::{
    protocol::{FileUri, scan::ListedFile, values::Id},
    watch::Selection,
};

pub(crate) struct Scan;

impl Method for Scan {
    const NAME: &'static str = scan::METHOD;
    type Params = ScanParams;
    type Result = ScanResult;

    fn run(call: &Call, params: ScanParams) -> Result<Reply<ScanResult>, RpcError> {
        let want_tracking = params.hashes.contains(&HashKind::Tracking);
        let ScanParams { files, roots, include, exclude, .. } = &params;
        match files {
            None => list(call, &params, want_tracking),
            Some(_) if roots.is_some() || !include.is_empty() || !exclude.is_empty() => Err(RpcError::invalid_params(
                "files: either `files`, or `roots`, `include` and `exclude` to list the files of a tree",
            )),
            Some(files) => compare(call, files, want_tracking),
        }
    }
}

fn compare(call: &Call, files: &[ScanQuery], want_tracking: bool) -> Result<Reply<ScanResult>, RpcError> {
    let known: Vec<_> = files
        .iter()
        .map(|query| FileData {
            path: query.uri.path().to_owned(),
            expected: convert::guard(Some(query.expected), call.session.namespace),
            want_tracking,
        })
        .collect();
    let outcomes = call.session.manager.scan(&known, &call.cancel)?;
    refuse_cancelled(&outcomes)?;
    let files = files.iter().cloned().zip(outcomes).map(|(query, outcome)| scanned(query, outcome)).collect();
    Ok(ScanResult { files }.into())
}

#[cfg(not(feature = "watcher"))]
fn list(_: &Call, _: &ScanParams, _: bool) -> Result<Reply<ScanResult>, RpcError> {
    Err(RpcError::invalid_params("files: missing; this build has no watcher and lists no trees"))
}

/// Lists the files of trees, in parts that are told as soon as they are hashed.
#[cfg(feature = "watcher")]
fn list(call: &Call, params: &ScanParams, want_tracking: bool) -> Result<Reply<ScanResult>, RpcError> {
    let known = call.session.manager.status().roots;
    let roots = match &params.roots {
        None => known,
        Some(roots) => roots.iter().map(|root| root.path().to_owned()).collect(),
    };
    let known = call.session.manager.status().roots;
    if let Some(index) = roots.iter().position(|root| !known.contains(root)) {
        return Err(RpcError::invalid_params(format!("roots[{index}]: not a workspace root")));
    }
    let mut listing = Listing { call, params, want_tracking, files: Vec::new(), count: 0 };
    listing.progress(json!({ "kind": "begin", "title": "Listing files", "cancellable": true }));
    let listed = roots.iter().try_for_each(|root| listing.list(root));
    listing.progress(json!({ "kind": "end", "message": format!("found {}", listing.count) }));
    listed.map(|()| ScanResult { files: listing.files }.into())
}

#[cfg(feature = "watcher")]
struct Listing<'c> {
    call: &'c Call,
    params: &'c ScanParams,
    want_tracking: bool,
    /// Not told yet.
    files: Vec<ScannedFile>,
    count: usize,
}

/// Files hashed and told together.
#[cfg(feature = "watcher")]
const PART: usize = 500;

#[cfg(feature = "watcher")]
impl Listing<'_> {
    fn list(&mut self, root: &Path) -> Result<(), RpcError> {
        let ScanParams { include, exclude, .. } = self.params;
        let selection = Selection::new(root, include, exclude, true)
            .map_err(|error| RpcError::invalid_params(format!("include or exclude: {error}")))?;
        let cancel = &self.call.cancel;
        let (mut part, mut result) = (Vec::new(), Ok(()));
        let mut failures = Vec::new();
        selection.list(
            cancel,
            |files| {
                part.extend(files);
                if part.len() >= PART && result.is_ok() {
                    result = self.hash(std::mem::take(&mut part));
                }
            },
            |directory, error| failures.push((directory.to_owned(), error)),
        );
        result?;
        if cancel.is_cancelled() {
            return Err(RpcError::cancelled());
        }
        self.hash(part)?;
        for (directory, error) in failures {
            let name = directory.strip_prefix(root).unwrap_or(&directory);
            let error = IoError::os(name, "list the directory", error);
            let uri = FileUri::from_path(&directory);
            self.files.push(ScannedFile::Error(ScanError { id: None, uri, error: (&error).into() }));
        }
        self.tell();
        Ok(())
    }

    fn hash(&mut self, part: Vec<PathBuf>) -> Result<(), RpcError> {
        let (expected, want_tracking) = (convert::guard(None, self.call.session.namespace), self.want_tracking);
        let wanted: Vec<_> = part.into_iter().map(|path| FileData { path, expected, want_tracking }).collect();
        let outcomes = self.call.session.manager.scan(&wanted, &self.call.cancel)?;
        refuse_cancelled(&outcomes)?;
        self.count += wanted.len();
        for (FileData { path, .. }, outcome) in wanted.into_iter().zip(outcomes) {
            let uri = FileUri::from_path(&path);
            self.files.extend(match outcome {
                Ok(ChangedFileData { content_hash: Some(content_hash), tracking_hash, .. }) => {
                    Some(ScannedFile::Found(ListedFile { uri, new: FileHashes { content_hash, tracking_hash } }))
                }
                // It has gone meanwhile.
                Ok(_) => None,
                Err(error) => Some(ScannedFile::Error(ScanError { id: None, uri, error: (&error).into() })),
            });
        }
        self.tell();
        self.progress(json!({ "kind": "report", "message": format!("found {}", self.count) }));
        Ok(())
    }

    /// Tells what was found so far, if it is wanted in parts.
    fn tell(&mut self) {
        if let Some(token) = self.params.partial_result_token.as_ref().filter(|_| !self.files.is_empty()) {
            let part = ScanResult { files: std::mem::take(&mut self.files) };
            self.send(token, &part);
        }
    }

    fn progress(&self, value: serde_json::Value) {
        if let Some(token) = &self.params.work_done_token {
            self.send(token, &value);
        }
    }

    /// Tokens mean nothing any more once the request is answered, as it is when it has been cancelled.
    fn send(&self, token: &Id, value: &impl Serialize) {
        if self.call.cancel.is_cancelled() {
            return;
        }
        let params = json!({ "token": token, "value": value });
        let message = json!({ "jsonrpc": "2.0", "method": "$/progress", "params": params });
        self.call.session.send(message.to_string().into_bytes());
    }
}

fn scanned(query: ScanQuery, outcome: Result<ChangedFileData, IoError>) -> ScannedFile {
    let ScanQuery { id, uri, expected } = query;
    let found = match outcome {
        Ok(found) => found,
        Err(error) => return ScannedFile::Error(ScanError { id, uri, error: (&error).into() }),
    };
    let comparison = Comparison {
        id,
        uri,
        old: KnownHashes { content_hash: expected.content_hash, tracking_hash: expected.tracking_hash },
        new: found.content_hash.map(|content_hash| FileHashes { content_hash, tracking_hash: found.tracking_hash }),
    };
    match found.status {
        ScanStatus::Unchanged => ScannedFile::Unchanged(comparison),
        ScanStatus::Changed => ScannedFile::Changed(comparison),
        ScanStatus::Formatted => ScannedFile::Formatted(comparison),
        ScanStatus::Missing => ScannedFile::Missing(comparison),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::{
        error::IoErrorKind,
        hash::{ContentHash, TrackingHash},
        protocol::values::{Expected, Id},
    };

    fn query(expected: Expected) -> ScanQuery {
        ScanQuery { id: Some(Id::String("a".into())), uri: "file:///r/a.rs".parse().unwrap(), expected }
    }

    #[test]
    fn old_hashes_are_those_given_and_new_ones_those_found() {
        let (old, new) = (ContentHash::of(b"old"), ContentHash::of(b"new"));
        let tracking = TrackingHash(Uuid::from_u128(5));
        let both = Expected { content_hash: Some(old), tracking_hash: Some(tracking), ..Expected::default() };
        let content = Expected { content_hash: Some(old), ..Expected::default() };
        let only_tracking = Expected { tracking_hash: Some(tracking), ..Expected::default() };
        let found = |status, content_hash, tracking_hash| ChangedFileData { status, content_hash, tracking_hash };

        for (expected, found, answer) in [
            (
                content,
                found(ScanStatus::Unchanged, Some(old), None),
                json!({ "status": "unchanged", "old": { "contentHash": old }, "new": { "contentHash": old } }),
            ),
            (
                content,
                found(ScanStatus::Changed, Some(new), Some(tracking)),
                json!({
                    "status": "changed",
                    "old": { "contentHash": old },
                    "new": { "contentHash": new, "trackingHash": tracking },
                }),
            ),
            (
                both,
                found(ScanStatus::Formatted, Some(new), Some(tracking)),
                json!({
                    "status": "formatted",
                    "old": { "contentHash": old, "trackingHash": tracking },
                    "new": { "contentHash": new, "trackingHash": tracking },
                }),
            ),
            (
                only_tracking,
                found(ScanStatus::Missing, None, None),
                json!({ "status": "missing", "old": { "trackingHash": tracking } }),
            ),
        ] {
            let mut answer = answer;
            answer["id"] = json!("a");
            answer["uri"] = json!("file:///r/a.rs");
            assert_eq!(serde_json::to_value(scanned(query(expected), Ok(found))).unwrap(), answer);
        }
    }

    #[test]
    fn a_file_that_can_not_be_read_gets_its_error() {
        let error = IoError::new("a.rs", IoErrorKind::SymlinkDenied);
        let answer = serde_json::to_value(scanned(query(Expected::default()), Err(error))).unwrap();
        assert_eq!(answer["status"], "error");
        assert_eq!(answer["id"], "a");
        assert_eq!(answer["uri"], "file:///r/a.rs");
        assert_eq!(answer["error"]["kind"], "symlinkDenied");
    }
}
