//! `ploke/snippets`: verified reads.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    FileUri, ItemError,
    values::{ByteRange, Expected, HashKind, Id, Range, or_default},
};
use crate::hash::{ContentHash, TrackingHash};

pub const METHOD: &str = "ploke/snippets";

/// The snippets to read.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SnippetsParams {
    /// In any order, of any files.
    pub snippets: Vec<SnippetQuery>,
}

/// One snippet to read.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SnippetQuery {
    /// Echoed in the answer.
    pub id: Option<Id>,
    /// For people who read the messages; not used.
    pub name: Option<String>,
    pub uri: FileUri,
    /// What to read; by default the document if it is open, else the file.
    pub source: Option<Source>,
    /// Without one: the one place where `expectedText` stands, else the whole file.
    pub range: Option<Range>,
    /// What the file must be.
    pub expected: Option<Expected>,
    /// The text that must stand at the range.
    pub expected_text: Option<String>,
    /// The tracking hash that the text of the range must have; Rust only.
    pub node_tracking_hash: Option<TrackingHash>,
    /// The hashes wanted in the answer.
    #[serde(default, deserialize_with = "or_default")]
    pub hashes: Vec<HashKind>,
}

/// Where a text is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// The open document, as the client has told it.
    Buffer,
    /// The file.
    Disk,
}

/// One entry per snippet asked for, in the same order.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct SnippetsResult<'a> {
    /// In the order of the request.
    pub snippets: Vec<SnippetResult<'a>>,
}

/// What became of one snippet.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "status", rename_all = "camelCase")]
pub enum SnippetResult<'a> {
    /// Every guard holds.
    Ok(SnippetText<'a>),
    /// It could not be read, or a guard does not hold.
    Error(SnippetError<'a>),
}

/// A verified piece of a file.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SnippetText<'a> {
    /// As it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<&'a Id>,
    /// As it was asked for.
    pub uri: &'a FileUri,
    /// What stands at the range.
    pub text: &'a str,
    /// Where the text stands in the file, whatever kind of range was asked for.
    pub byte_range: ByteRange,
    /// Hash of the whole text that this one was taken from.
    pub content_hash: ContentHash,
    /// Present when it was asked for or guarded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracking_hash: Option<TrackingHash>,
    /// What was read.
    pub source: Source,
    /// Version of the document that is open with just the text that was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<i32>,
}

/// Why one snippet could not be read.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct SnippetError<'a> {
    /// As it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<&'a Id>,
    /// As it was asked for.
    pub uri: &'a FileUri,
    pub error: ItemError,
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::protocol::values::{Position, PositionRange};

    #[test]
    fn every_field_of_a_query_is_read() {
        let (content, tracking) = (ContentHash::of(b"a"), TrackingHash(Uuid::from_u128(1)));
        let params = json!({ "snippets": [
            {
                "id": "one",
                "name": "fn a",
                "uri": "file:///r/a.rs",
                "source": "disk",
                "range": { "startByte": 1, "endByte": 4 },
                "expected": {
                    "contentHash": content,
                    "trackingHash": tracking,
                    "namespace": Uuid::from_u128(2),
                    "version": 3,
                },
                "expectedText": "fn",
                "nodeTrackingHash": tracking,
                "hashes": ["content", "tracking"],
            },
            {
                "id": -1,
                "uri": "file:///r/a.rs",
                "range": { "start": { "line": 0, "character": 1 }, "end": { "line": 2, "character": 3 } },
            },
            { "id": null, "uri": "file:///r/a.rs", "range": null, "expected": null, "hashes": [] },
        ] });
        let uri: FileUri = "file:///r/a.rs".parse().unwrap();
        let whole = SnippetQuery {
            id: None,
            name: None,
            uri,
            source: None,
            range: None,
            expected: None,
            expected_text: None,
            node_tracking_hash: None,
            hashes: vec![],
        };
        let lines =
            PositionRange { start: Position { line: 0, character: 1 }, end: Position { line: 2, character: 3 } };
        assert_eq!(
            serde_json::from_value::<SnippetsParams>(params).unwrap().snippets,
            [
                SnippetQuery {
                    id: Some(Id::String("one".into())),
                    name: Some("fn a".into()),
                    range: Some(Range::Bytes(ByteRange { start_byte: 1, end_byte: 4 })),
                    expected: Some(Expected {
                        content_hash: Some(content),
                        tracking_hash: Some(tracking),
                        namespace: Some(Uuid::from_u128(2)),
                        version: Some(3),
                    }),
                    expected_text: Some("fn".into()),
                    source: Some(Source::Disk),
                    node_tracking_hash: Some(tracking),
                    hashes: vec![HashKind::Content, HashKind::Tracking],
                    ..whole.clone()
                },
                SnippetQuery { id: Some(Id::Number(-1)), range: Some(Range::Positions(lines)), ..whole.clone() },
                whole,
            ]
        );
    }
}
