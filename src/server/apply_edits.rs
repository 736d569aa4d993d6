//! `ploke/applyEdits`.

use uuid::Uuid;

use super::{
    edit_request::{MentionedFiles, edit_request},
    method::{Call, Method, Reply, RequestId, RpcError},
    unified_diff::unified_diff,
};
use crate::{
    engine::{self, EditOutcome, FileOutcome},
    error::IoErrorKind,
    protocol::{
        FileChange, ItemError, apply_edits,
        apply_edits::{
            AppliedTo, ApplyEditsParams, ApplyEditsResult, EditResult, FileResult, FileStatus, ReachedDurability,
        },
        values::Id,
    },
};

pub(crate) struct ApplyEdits;

impl Method for ApplyEdits {
    const NAME: &'static str = apply_edits::METHOD;
    type Params = ApplyEditsParams;
    type Result = ApplyEditsResult;

    fn run(call: &Call, params: ApplyEditsParams) -> Result<Reply<ApplyEditsResult>, RpcError> {
        let (request, mentioned) = edit_request(params, call.session.as_ref().into())?;
        let (origin, dry_run) = (request.origin, request.dry_run);
        let outcome = call.session.manager.apply_with(&request, &call.session.editor, &call.cancel)?;
        if was_cancelled(&outcome) {
            return Err(RpcError::cancelled());
        }
        Ok(Reply { changes: changes(&outcome, origin, &call.id), result: answer(outcome, &mentioned, origin, dry_run) })
    }
}

/// A cancelled edit never began: no file was touched.
pub(super) fn was_cancelled(outcome: &EditOutcome) -> bool {
    let cancelled =
        |file: &FileOutcome| file.error.as_ref().is_some_and(|error| matches!(error.kind, IoErrorKind::Cancelled));
    let applied = |file: &FileOutcome| file.status == engine::FileStatus::Applied;
    outcome.files.iter().any(cancelled) && !outcome.files.iter().any(applied)
}

/// One change per file that was written, renamed or deleted.
pub(super) fn changes(outcome: &EditOutcome, origin: Uuid, request_id: &RequestId) -> Vec<FileChange> {
    let request_id = Option::<Id>::from(request_id);
    let events = outcome.files.iter().filter_map(|file| file.event(origin));
    events.map(|event| FileChange { request_id: request_id.clone(), ..event.into() }).collect()
}

pub(super) fn answer(
    outcome: EditOutcome,
    mentioned: &MentionedFiles,
    origin: Uuid,
    dry_run: bool,
) -> ApplyEditsResult {
    let diff = dry_run.then(|| unified_diff(outcome.files.iter().filter_map(|file| file.preview.as_ref())));
    let files: Vec<_> = outcome.files.into_iter().map(|file| file_result(file, mentioned)).collect();
    ApplyEditsResult {
        applied: outcome.applied,
        origin,
        dry_run,
        durability: outcome.durability.into(),
        failure_reason: files.iter().find_map(|file| file.error.as_ref()).map(|error| error.message.clone()),
        failed_change: outcome.failed_change.map(|index| index as u64),
        diff,
        files,
    }
}

fn file_result(file: FileOutcome, mentioned: &MentionedFiles) -> FileResult {
    let goes_somewhere = matches!(file.status, engine::FileStatus::Applied | engine::FileStatus::WouldApply);
    let planned = !matches!(file.status, engine::FileStatus::NotApplied | engine::FileStatus::Error);
    FileResult {
        uri: mentioned.uri(&file.path),
        old_uri: file.old_path.as_deref().map(|path| mentioned.uri(path)),
        applied_to: (goes_somewhere && file.in_buffer).then_some(AppliedTo::Buffer),
        status: file.status.into(),
        old_content_hash: file.old_content_hash,
        new_content_hash: file.new_content_hash,
        new_tracking_hash: file.new_tracking_hash,
        byte_delta: planned.then_some(file.byte_delta),
        edits: file
            .edits
            .iter()
            .map(|(old, new)| EditResult { old_byte_range: old.into(), new_byte_range: new.into() })
            .collect(),
        warnings: file.warnings.iter().map(ItemError::from).collect(),
        error: file.error.as_ref().map(ItemError::from),
    }
}

impl From<engine::Durability> for ReachedDurability {
    fn from(durability: engine::Durability) -> Self {
        match durability {
            engine::Durability::Full => Self::Full,
            engine::Durability::BestEffort => Self::BestEffort,
            engine::Durability::Unknown => Self::Unknown,
        }
    }
}

impl From<engine::FileStatus> for FileStatus {
    fn from(status: engine::FileStatus) -> Self {
        match status {
            engine::FileStatus::Applied => Self::Applied,
            engine::FileStatus::WouldApply => Self::WouldApply,
            engine::FileStatus::Unchanged => Self::Unchanged,
            engine::FileStatus::NotApplied => Self::NotApplied,
            engine::FileStatus::Error => Self::Error,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde_json::json;

    use super::*;
    use crate::{
        engine::{EditRequest, Preview},
        error::{IoError, Warning},
        hash::ContentHash,
        position::PositionEncoding,
        server::edit_request::Context,
    };

    const ORIGIN: Uuid = Uuid::from_u128(1);

    fn file(path: &str, status: engine::FileStatus) -> FileOutcome {
        FileOutcome { status, ..FileOutcome::not_applied(path.into()) }
    }

    fn outcome(files: Vec<FileOutcome>) -> EditOutcome {
        EditOutcome {
            applied: false,
            failed_change: None,
            durability: engine::Durability::Full,
            files,
            file_of_change: Vec::new(),
        }
    }

    /// The files `/r/link` and `/r/b`, as a request would name them.
    fn mentioned() -> MentionedFiles {
        let params = json!({ "changes": { "file:///r/%6Cink": [], "file:///r/b": [] } });
        let context =
            Context { encoding: PositionEncoding::Utf8, namespace: Uuid::nil(), durability: engine::Durability::Full };
        let (EditRequest { .. }, mentioned) = edit_request(serde_json::from_value(params).unwrap(), context)
            .unwrap_or_else(|error| panic!("{}", error.message));
        mentioned
    }

    fn failed(path: &str, kind: IoErrorKind) -> FileOutcome {
        let error = IoError::new(path.trim_start_matches("/r/"), kind);
        FileOutcome { error: Some(error), ..file(path, engine::FileStatus::Error) }
    }

    #[test]
    fn a_written_file_is_answered_as_asked_and_told_as_it_really_is() {
        let (old, new) = (ContentHash::of(b"old"), ContentHash::of(b"new"));
        let written = FileOutcome {
            real_path: Some(PathBuf::from("/r/real")),
            old_content_hash: Some(old),
            new_content_hash: Some(new),
            byte_delta: -2,
            edits: vec![(3..5, 3..3)],
            warnings: vec![Warning::MetadataNotPreserved(vec!["owner".into()])],
            ..file("/r/link", engine::FileStatus::Applied)
        };
        let outcome = EditOutcome {
            applied: true,
            durability: engine::Durability::Unknown,
            ..outcome(vec![written, file("/r/b", engine::FileStatus::Unchanged)])
        };

        let changes = changes(&outcome, ORIGIN, &RequestId::Number(7));
        assert_eq!(
            serde_json::to_value(changes).unwrap(),
            json!([{
                "uri": "file:///r/real",
                "kind": "modified",
                "contentHash": new,
                "requestId": 7,
                "origin": ORIGIN,
            }])
        );
        assert_eq!(
            serde_json::to_value(answer(outcome, &mentioned(), ORIGIN, false)).unwrap(),
            json!({
                "applied": true,
                "origin": ORIGIN,
                "dryRun": false,
                "durability": "unknown",
                "files": [
                    {
                        "uri": "file:///r/%6Cink",
                        "status": "applied",
                        "oldContentHash": old,
                        "newContentHash": new,
                        "byteDelta": -2,
                        "edits": [{
                            "oldByteRange": { "startByte": 3, "endByte": 5 },
                            "newByteRange": { "startByte": 3, "endByte": 3 },
                        }],
                        "warnings": [{
                            "kind": "metadataNotPreserved",
                            "severity": "warning",
                            "message": "could not preserve owner",
                        }],
                    },
                    { "uri": "file:///r/b", "status": "unchanged", "byteDelta": 0 },
                ],
            })
        );
    }

    #[test]
    fn the_culprit_of_a_failure_is_named_with_its_path() {
        let outcome = EditOutcome {
            failed_change: Some(1),
            ..outcome(vec![file("/r/link", engine::FileStatus::NotApplied), failed("/r/b", IoErrorKind::GuardRequired)])
        };
        assert!(changes(&outcome, ORIGIN, &RequestId::Null).is_empty());
        let answer = serde_json::to_value(answer(outcome, &mentioned(), ORIGIN, false)).unwrap();
        assert_eq!(answer["failedChange"], 1);
        assert_eq!(answer["files"][0], json!({ "uri": "file:///r/%6Cink", "status": "notApplied" }));
        assert_eq!(answer["files"][1]["error"]["kind"], "guardRequired");
        assert_eq!(answer["failureReason"], answer["files"][1]["error"]["message"]);
        assert!(answer["failureReason"].as_str().unwrap().starts_with("b: a change of an existing file"));
    }

    #[test]
    fn a_dry_run_shows_its_diff_even_if_it_is_empty() {
        let preview = Preview { path: "b".into(), old_path: None, old: Some("1\n".into()), new: Some("2\n".into()) };
        let planned = FileOutcome { preview: Some(preview), ..file("/r/b", engine::FileStatus::WouldApply) };
        let answer_of = |files| serde_json::to_value(answer(outcome(files), &mentioned(), ORIGIN, true)).unwrap();

        let answer = answer_of(vec![planned]);
        assert_eq!(answer["diff"], "--- a/b\n+++ b/b\n@@ -1 +1 @@\n-1\n+2\n");
        assert_eq!((&answer["applied"], &answer["dryRun"]), (&json!(false), &json!(true)));
        assert_eq!(answer["files"][0]["status"], "wouldApply");
        assert_eq!(answer_of(vec![])["diff"], "");
    }

    #[test]
    fn a_renamed_file_is_answered_under_both_uris_and_told_under_both_real_paths() {
        let hash = ContentHash::of(b"x");
        let renamed = FileOutcome {
            old_path: Some("/r/link".into()),
            old_real_path: Some("/r/real".into()),
            real_path: Some("/r/b".into()),
            old_content_hash: Some(hash),
            new_content_hash: Some(hash),
            ..file("/r/b", engine::FileStatus::Applied)
        };
        let outcome = outcome(vec![renamed]);
        assert_eq!(
            serde_json::to_value(changes(&outcome, ORIGIN, &RequestId::Number(1))).unwrap(),
            json!([{
                "uri": "file:///r/b",
                "oldUri": "file:///r/real",
                "kind": "renamed",
                "contentHash": hash,
                "requestId": 1,
                "origin": ORIGIN,
            }])
        );
        let answer = serde_json::to_value(answer(outcome, &mentioned(), ORIGIN, false)).unwrap();
        assert_eq!(
            (&answer["files"][0]["uri"], &answer["files"][0]["oldUri"]),
            (&json!("file:///r/b"), &json!("file:///r/%6Cink"))
        );
    }

    #[test]
    fn a_deleted_file_has_no_new_hash() {
        let hash = ContentHash::of(b"abc");
        let deleted = FileOutcome {
            old_content_hash: Some(hash),
            byte_delta: -3,
            real_path: Some("/r/b".into()),
            ..file("/r/b", engine::FileStatus::Applied)
        };
        let outcome = outcome(vec![deleted]);
        assert_eq!(
            serde_json::to_value(changes(&outcome, ORIGIN, &RequestId::Number(1))).unwrap(),
            json!([{ "uri": "file:///r/b", "kind": "deleted", "requestId": 1, "origin": ORIGIN }])
        );
        let answer = serde_json::to_value(answer(outcome, &mentioned(), ORIGIN, false)).unwrap();
        assert_eq!(
            answer["files"],
            json!([{ "uri": "file:///r/b", "status": "applied", "oldContentHash": hash, "byteDelta": -3 }])
        );
    }

    #[test]
    fn only_an_edit_that_touched_nothing_counts_as_cancelled() {
        let cancelled = || failed("/r/b", IoErrorKind::Cancelled);
        assert!(was_cancelled(&outcome(vec![file("/r/link", engine::FileStatus::NotApplied), cancelled()])));
        assert!(!was_cancelled(&outcome(vec![file("/r/link", engine::FileStatus::Applied), cancelled()])));
        assert!(!was_cancelled(&outcome(vec![failed("/r/b", IoErrorKind::NotFound)])));
        assert!(!was_cancelled(&outcome(vec![])));
    }
}
