//! `ploke/scan`: which of these files are not what the client knows.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};

use super::{
    FileUri, ItemError,
    values::{Expected, FileHashes, HashKind, Id, or_default},
};
use crate::hash::{ContentHash, TrackingHash};

pub const METHOD: &str = "ploke/scan";

/// The files to compare, or which files to list.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ScanParams {
    /// In any order. Without it the regular files of the workspace roots are listed, those that are watched: not what
    /// `.gitignore` files leave out.
    pub files: Option<Vec<ScanQuery>>,
    /// The hashes wanted in the answer.
    #[serde(default, deserialize_with = "or_default")]
    pub hashes: Vec<HashKind>,
    /// The workspace roots to list; all, if absent.
    pub roots: Option<Vec<FileUri>>,
    /// Lists only files that match one of these patterns, which are lines of a `.gitignore` file in the root (one with a
    /// `!` takes back those before it); all, if there is none.
    #[serde(default, deserialize_with = "or_default")]
    pub include: Vec<String>,
    /// Does not list files that match one of these patterns, nor what is in such directories.
    #[serde(default, deserialize_with = "or_default")]
    pub exclude: Vec<String>,
    /// Gets `$/progress` with the number of files listed so far, as LSP's work done progress.
    pub work_done_token: Option<Id>,
    /// Gets the listed files in parts, as `$/progress` with a `ScanResult`; the result itself is then empty.
    pub partial_result_token: Option<Id>,
}

/// One file to compare with what the client knows of it.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScanQuery {
    /// Echoed in the answer.
    pub id: Option<Id>,
    pub uri: FileUri,
    /// What the client knows of it; at least one hash, and no version.
    #[serde(deserialize_with = "with_a_hash")]
    #[schemars(extend("anyOf" = [
        { "required": ["contentHash"], "properties": { "contentHash": { "type": "string" } } },
        { "required": ["trackingHash"], "properties": { "trackingHash": { "type": "string" } } },
    ]))]
    #[schemars(extend("not" = { "required": ["version"], "properties": { "version": { "type": "integer" } } }))]
    pub expected: Expected,
}

fn with_a_hash<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Expected, D::Error> {
    let expected = Expected::deserialize(deserializer)?;
    // A guard that nothing checks must not look like one that holds.
    if expected.version.is_some() {
        return Err(de::Error::custom("a scan compares files on disk, which have no `version`"));
    }
    if expected.content_hash.is_none() && expected.tracking_hash.is_none() {
        return Err(de::Error::custom("a scan needs `contentHash` or `trackingHash`"));
    }
    Ok(expected)
}

/// One entry per file asked for, in the same order.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ScanResult {
    /// In the order of the request.
    pub files: Vec<ScannedFile>,
}

/// What became of one file.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "status", rename_all = "camelCase")]
pub enum ScannedFile {
    /// Every hash that was given is the file's.
    Unchanged(Comparison),
    /// A hash that was given is not the file's.
    Changed(Comparison),
    /// The tracking hash is the same, the bytes are not; only when both were given.
    Formatted(Comparison),
    /// No file is there.
    Missing(Comparison),
    /// It was listed.
    Found(ListedFile),
    /// It could not be compared.
    Error(ScanError),
}

/// The hashes that the client knew and those that the file has.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Comparison {
    /// As it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Id>,
    /// As it was asked for.
    pub uri: FileUri,
    /// The hashes that were given.
    pub old: KnownHashes,
    /// The hashes that the file has; absent for a missing file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<FileHashes>,
}

/// A file that nobody has asked for by name.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ListedFile {
    /// Below the URI of its root as it was given.
    pub uri: FileUri,
    /// The hashes that the file has.
    pub new: FileHashes,
}

/// The hashes that were given with the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KnownHashes {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_hash: Option<ContentHash>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracking_hash: Option<TrackingHash>,
}

/// Why one file could not be compared.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ScanError {
    /// As it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Id>,
    /// As it was asked for.
    pub uri: FileUri,
    pub error: ItemError,
}
