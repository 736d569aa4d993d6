//! `ploke/scan`.

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

pub(crate) struct Scan;

impl Method for Scan {
    const NAME: &'static str = scan::METHOD;
    type Params = ScanParams;
    type Result = ScanResult;

    fn run(call: &Call, params: ScanParams) -> Result<Reply<ScanResult>, RpcError> {
        let want_tracking = params.hashes.contains(&HashKind::Tracking);
        let known: Vec<_> = params
            .files
            .iter()
            .map(|query| FileData {
                path: query.uri.path().to_owned(),
                expected: convert::guard(Some(query.expected), call.session.namespace),
                want_tracking,
            })
            .collect();
        let outcomes = call.session.manager.scan(&known, &call.cancel)?;
        refuse_cancelled(&outcomes)?;
        let files = params.files.into_iter().zip(outcomes).map(|(query, outcome)| scanned(query, outcome)).collect();
        Ok(ScanResult { files }.into())
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
