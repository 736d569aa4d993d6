//! `ploke/snippets`: verified reads.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    FileUri, ItemError,
    values::{ByteRange, Expected, HashKind, Id, Range},
};
use crate::hash::{ContentHash, TrackingHash};

pub const METHOD: &str = "ploke/snippets";

/// The snippets to read.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SnippetsParams {
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
    /// Without one: the one place where `expectedText` stands, else the whole file.
    pub range: Option<Range>,
    pub expected: Option<Expected>,
    /// The text that must stand at the range.
    pub expected_text: Option<String>,
    /// The tracking hash that the text of the range must have; Rust only.
    pub node_tracking_hash: Option<TrackingHash>,
    /// The hashes wanted in the answer.
    #[serde(default)]
    pub hashes: Vec<HashKind>,
}

/// One entry per snippet asked for, in the same order.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct SnippetsResult {
    pub snippets: Vec<SnippetResult>,
}

/// What became of one snippet.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "status", rename_all = "camelCase")]
pub enum SnippetResult {
    Ok(SnippetText),
    Error(SnippetError),
}

/// A verified piece of a file.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SnippetText {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Id>,
    /// As it was asked for.
    pub uri: FileUri,
    pub text: String,
    pub byte_range: ByteRange,
    /// Hash of the whole file that the text was taken from.
    pub content_hash: ContentHash,
    /// Present when it was asked for or guarded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracking_hash: Option<TrackingHash>,
}

/// Why one snippet could not be read.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct SnippetError {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Id>,
    /// As it was asked for.
    pub uri: FileUri,
    pub error: ItemError,
}
