//! `ploke/sync`: waits until every change has been told.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub const METHOD: &str = "ploke/sync";

/// Nothing to say.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SyncParams {}

/// Everything that had happened below the watched roots when the request came has been told.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct SyncResult {
    /// In notifications with a `seq` up to this one; 0 if there was none yet.
    pub seq: u64,
}
