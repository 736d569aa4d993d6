//! `ploke/undo`: takes a transaction back.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::apply_edits::ApplyEditsResult;

pub const METHOD: &str = "ploke/undo";

/// What to take back.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UndoParams {
    /// The `origin` in the result of the request that is to be taken back.
    pub origin: Uuid,
}

/// What became of it: the result of `ploke/applyEdits`, with an `origin` of its own.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct UndoResult {
    /// The origin that was to be taken back.
    pub undone: Uuid,
    #[serde(flatten)]
    pub result: ApplyEditsResult,
}
