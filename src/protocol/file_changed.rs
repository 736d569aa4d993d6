//! `ploke/fileChanged`: what happened to files, and which request did it.

use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::{FileUri, values::Id};
use crate::{
    events::{Author, FileChangeEvent, FileEventKind},
    hash::ContentHash,
};

pub const METHOD: &str = "ploke/fileChanged";

/// Changes that are told together.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct FileChangedParams {
    /// Counts up by one per notification.
    pub seq: u64,
    /// One per path; none if there is only `rescan` to be told.
    pub changes: Vec<FileChange>,
    /// Changes may have been missed and could not be reconstructed: scan again.
    #[serde(skip_serializing_if = "is_false")]
    #[schemars(extend("const" = true))]
    pub rescan: bool,
}

/// One change of one file, or of a directory as a whole.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileChange {
    /// The real file's, also when it was changed through a link.
    pub uri: FileUri,
    pub kind: ChangeKind,
    /// Where a renamed file was before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_uri: Option<FileUri>,
    /// Hash of what is there now; absent for deleted and for very big files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_hash: Option<ContentHash>,
    /// The change stands for all that is in the directory.
    #[serde(skip_serializing_if = "is_false")]
    #[schemars(extend("const" = true))]
    pub directory: bool,
    /// Id of this connection's request that made the change; null for a change from outside.
    pub request_id: Option<Id>,
    /// Correlation id of the write that made the change; null for a change from outside.
    pub origin: Option<Uuid>,
    /// The other sidecar that made the change, which shares the state directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<ChangedBy>,
}

/// Another sidecar and its client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ChangedBy {
    /// The name that the client gave in `clientInfo`, at most 64 bytes of it.
    pub client: String,
    /// Process id of the sidecar.
    pub pid: u32,
}

/// The net effect of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ChangeKind {
    Created,
    Modified,
    Deleted,
    Renamed,
}

impl From<FileChangeEvent> for FileChange {
    /// The change as it is told when no request of this connection made it.
    fn from(event: FileChangeEvent) -> Self {
        Self {
            uri: FileUri::from_path(&event.path),
            kind: event.kind.into(),
            old_uri: event.old_path.as_deref().map(FileUri::from_path),
            content_hash: event.content_hash,
            directory: event.directory,
            request_id: None,
            origin: event.origin,
            by: event.by.map(|Author { client, pid }| ChangedBy { client, pid }),
        }
    }
}

impl From<FileEventKind> for ChangeKind {
    fn from(kind: FileEventKind) -> Self {
        match kind {
            FileEventKind::Created => Self::Created,
            FileEventKind::Modified => Self::Modified,
            FileEventKind::Deleted => Self::Deleted,
            FileEventKind::Renamed => Self::Renamed,
        }
    }
}

fn is_false(flag: &bool) -> bool {
    !flag
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_of_a_request_names_it() {
        let origin = Uuid::from_u128(7);
        let params = FileChangedParams {
            seq: 3,
            changes: vec![FileChange {
                uri: "file:///r/a%20b".parse().unwrap(),
                kind: ChangeKind::Modified,
                old_uri: None,
                content_hash: Some(ContentHash::of(b"x")),
                directory: false,
                request_id: Some(Id::Number(12)),
                origin: Some(origin),
                by: None,
            }],
            rescan: false,
        };
        assert_eq!(
            serde_json::to_value(params).unwrap(),
            json!({ "seq": 3, "changes": [{
                "uri": "file:///r/a%20b",
                "kind": "modified",
                "contentHash": ContentHash::of(b"x").to_string(),
                "requestId": 12,
                "origin": origin,
            }] })
        );
    }

    #[test]
    fn a_change_from_outside_says_null() {
        let event = FileChangeEvent {
            path: "/r/new".into(),
            kind: FileEventKind::Renamed,
            old_path: Some("/r/old".into()),
            content_hash: None,
            directory: true,
            origin: None,
            by: None,
        };
        let params = FileChangedParams { seq: 1, changes: vec![event.into()], rescan: true };
        assert_eq!(
            serde_json::to_value(params).unwrap(),
            json!({ "seq": 1, "rescan": true, "changes": [{
                "uri": "file:///r/new",
                "kind": "renamed",
                "oldUri": "file:///r/old",
                "directory": true,
                "requestId": null,
                "origin": null,
            }] })
        );
    }
}
