//! `ploke/changes`: what has changed since a moment.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::FileChange;

pub const METHOD: &str = "ploke/changes";

/// The moment to begin with.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangesParams {
    /// The `clock` of an earlier answer, also one of an earlier process; without it there are no changes, just the clock.
    pub since: Option<String>,
}

/// What has changed since then.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangesResult {
    /// The net effect for each file that is not what it was, in no order. Renamed files are deleted here and created there.
    pub changes: Vec<FileChange>,
    /// The moment up to which these are all; to be given back as it is.
    pub clock: String,
    /// The clock was unknown or too old for one of the roots: all files of all roots are told, as `created`, without hashes.
    pub fresh_instance: bool,
}
