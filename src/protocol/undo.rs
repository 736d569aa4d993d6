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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::protocol::apply_edits::ReachedDurability;

    #[test]
    fn the_result_is_that_of_an_edit_and_one_field_more() {
        let (undone, origin) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let result = ApplyEditsResult {
            applied: true,
            origin,
            dry_run: false,
            durability: ReachedDurability::Full,
            failure_reason: None,
            failed_change: None,
            diff: None,
            files: Vec::new(),
        };
        assert_eq!(
            serde_json::to_value(UndoResult { undone, result }).unwrap(),
            json!({
                "undone": undone,
                "applied": true,
                "origin": origin,
                "dryRun": false,
                "durability": "full",
                "files": [],
            })
        );
    }
}
