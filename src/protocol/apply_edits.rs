//! `ploke/applyEdits`: guarded, atomic edits; a superset of LSP's `WorkspaceEdit`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    FileUri, ItemError, UriMap,
    document_change::{DocumentChange, TextEdit},
    values::{ByteRange, Expected, Id, or_default},
};
use crate::hash::{ContentHash, TrackingHash};

pub const METHOD: &str = "ploke/applyEdits";

/// What to change; exactly one of `documentChanges` and `changes` is given.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    { "required": ["documentChanges"], "properties": { "documentChanges": { "type": "array" } } },
    { "required": ["changes"], "properties": { "changes": { "type": "object" } } },
]))]
pub struct ApplyEditsParams {
    /// For people; not used.
    pub label: Option<String>,
    /// Correlation id, told in the result and with each change; a new one by default.
    pub origin: Option<Uuid>,
    /// Whether the files stand or fall together.
    #[serde(default, deserialize_with = "or_default")]
    #[schemars(extend("default" = "transaction"))]
    pub atomicity: Atomicity,
    /// What is synced before the answer; by default that of `initializationOptions`.
    pub durability: Option<Durability>,
    /// Check everything, write nothing.
    #[serde(default, deserialize_with = "or_default")]
    pub dry_run: bool,
    /// Allow changes of existing files without a byte-exact guard.
    #[serde(default, deserialize_with = "or_default")]
    pub unguarded: bool,
    /// Changes that are planned in order, each on the result of those before it.
    pub document_changes: Option<Vec<DocumentChange>>,
    /// Edits by file, in the order given; the short form of LSP.
    pub changes: Option<UriMap<Vec<TextEdit>>>,
    /// Guards by file, for files that the request changes.
    #[serde(default, deserialize_with = "or_default")]
    pub expected: UriMap<Expected>,
    /// Taken as LSP gives them; not used.
    #[serde(default, deserialize_with = "or_default")]
    pub change_annotations: BTreeMap<String, ChangeAnnotation>,
    /// Taken as LSP gives it; not used.
    pub work_done_token: Option<Id>,
}

/// Whether the files of a request stand or fall together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Atomicity {
    /// All files or none.
    #[default]
    Transaction,
    /// Each file on its own.
    PerFile,
}

/// What a write waits for before it is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Durability {
    /// File and directory are synced.
    Full,
    /// Nothing is synced.
    BestEffort,
}

/// LSP's description of edits for people.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChangeAnnotation {
    /// A few words.
    pub label: String,
    /// Not used: what is sent is applied.
    pub needs_confirmation: Option<bool>,
    /// More words.
    pub description: Option<String>,
}

/// What became of the request.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplyEditsResult {
    /// Everything was written; false for dry runs.
    pub applied: bool,
    /// The correlation id of the request, or a new one.
    pub origin: Uuid,
    /// As it was asked for.
    pub dry_run: bool,
    /// What was reached; what was asked for if nothing was written.
    pub durability: ReachedDurability,
    /// Absent if everything was, or would have been, written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<String>,
    /// Index of the change that failed, in `documentChanges` or in the order of `changes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_change: Option<u64>,
    /// Dry runs only: what would change, as a unified diff with paths relative to the root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
    /// One entry per file, in the order of first mention.
    pub files: Vec<FileResult>,
}

/// What the write has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ReachedDurability {
    /// Files and directories are synced.
    Full,
    /// Nothing was synced.
    BestEffort,
    /// Written, but a directory could not be synced.
    Unknown,
}

/// What became of one file.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileResult {
    /// As it was asked for; of a renamed file the new one.
    pub uri: FileUri,
    /// Where a renamed file was before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_uri: Option<FileUri>,
    pub status: FileStatus,
    /// Where the edit went, if not to the disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied_to: Option<AppliedTo>,
    /// Of the file before the request, as far as it was read; absent for a created file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_content_hash: Option<ContentHash>,
    /// Of the new content, also where it would only be written; absent for a deleted file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_content_hash: Option<ContentHash>,
    /// Of the new content; present if the guard had a tracking hash and the new text parses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_tracking_hash: Option<TrackingHash>,
    /// Length of the new content less that of the old one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub byte_delta: Option<i64>,
    /// Where each edit stood and stands, in the order given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub edits: Vec<EditResult>,
    /// What did not go ideally although the file was written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<ItemError>,
    /// With status `error` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ItemError>,
}

/// Where an edit went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum AppliedTo {
    /// To the open document, which had unsaved changes; all else told of the file speaks of that document.
    Buffer,
}

/// How a file stands after the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum FileStatus {
    /// It was written, renamed or deleted.
    Applied,
    /// Dry runs only.
    WouldApply,
    /// All is as it was: the new content is the same as the old one, or an option says to do nothing.
    Unchanged,
    /// Nothing is wrong with this file, another one failed.
    NotApplied,
    /// See `error`.
    Error,
}

/// Where an edit's text stood, and where its new text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EditResult {
    pub old_byte_range: ByteRange,
    pub new_byte_range: ByteRange,
}
