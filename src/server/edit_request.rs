//! From the params of `ploke/applyEdits` to the engine's request.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use uuid::Uuid;

use super::{convert, method::RpcError, session::Session};
use crate::{
    engine::{self, Change, CreateFileData, EditRequest, Guard, TextChange, WriteSnippetData},
    position::PositionEncoding,
    protocol::{
        FileUri, UriMap,
        apply_edits::{ApplyEditsParams, Atomicity, Durability},
        document_change::{CreateFile, DeleteFile, DocumentChange, RenameFile, TextEdit},
        values::Expected,
    },
};

/// What the session has agreed on and the params may leave out.
#[derive(Clone, Copy)]
pub(super) struct Context {
    pub encoding: PositionEncoding,
    pub namespace: Uuid,
    pub durability: engine::Durability,
}

impl From<&Session> for Context {
    fn from(session: &Session) -> Self {
        Self { encoding: session.encoding, namespace: session.namespace, durability: session.durability }
    }
}

/// The engine's request, and the files that it names.
///
/// # Errors
/// `INVALID_PARAMS` for what the types alone can not rule out: no or two lists of changes, two guards of one file that
/// contradict each other, a guard of a file that is not changed.
pub(super) fn edit_request(
    params: ApplyEditsParams,
    context: Context,
) -> Result<(EditRequest, MentionedFiles), RpcError> {
    let changes = document_changes(params.document_changes, params.changes)?;
    let mentioned = MentionedFiles::of(&changes);
    let guards = Guards::new(params.expected, &mentioned, context.namespace)?;
    let request = EditRequest {
        changes: changes
            .into_iter()
            .enumerate()
            .map(|(index, change)| {
                engine_change(change, &guards, context.encoding).map_err(|conflict| {
                    RpcError::invalid_params(format!("documentChanges[{index}].expected: {conflict}"))
                })
            })
            .collect::<Result<_, _>>()?,
        atomicity: match params.atomicity {
            Atomicity::Transaction => engine::Atomicity::Transaction,
            Atomicity::PerFile => engine::Atomicity::PerFile,
        },
        durability: params.durability.map_or(context.durability, engine::Durability::from),
        dry_run: params.dry_run,
        unguarded: params.unguarded,
        origin: params.origin.unwrap_or_else(Uuid::new_v4),
    };
    Ok((request, mentioned))
}

/// The URIs that stand for the paths of a request, as they were first written.
#[derive(Default)]
pub(super) struct MentionedFiles(HashMap<PathBuf, FileUri>);

impl MentionedFiles {
    fn of(changes: &[DocumentChange]) -> Self {
        let mut files = HashMap::new();
        for uri in changes.iter().flat_map(DocumentChange::uris) {
            files.entry(uri.path().to_owned()).or_insert_with(|| uri.clone());
        }
        Self(files)
    }

    /// The URI that was asked for.
    pub fn uri(&self, path: &Path) -> FileUri {
        self.0.get(path).cloned().unwrap_or_else(|| FileUri::from_path(path))
    }
}

/// Both forms of a request as the richer one.
fn document_changes(
    document_changes: Option<Vec<DocumentChange>>,
    changes: Option<UriMap<Vec<TextEdit>>>,
) -> Result<Vec<DocumentChange>, RpcError> {
    match (document_changes, changes) {
        (Some(changes), None) => Ok(changes),
        (None, Some(files)) => Ok(files.into_iter().map(|(uri, edits)| DocumentChange::edit(uri, edits)).collect()),
        (Some(_), Some(_)) => Err(RpcError::invalid_params("changes: must not be given beside `documentChanges`")),
        (None, None) => Err(RpcError::invalid_params("documentChanges: this or `changes` is needed")),
    }
}

/// The guards given by URI, beside those that stand in the changes.
struct Guards {
    by_path: HashMap<PathBuf, Expected>,
    namespace: Uuid,
}

impl Guards {
    fn new(expected: UriMap<Expected>, mentioned: &MentionedFiles, namespace: Uuid) -> Result<Self, RpcError> {
        let mut by_path = HashMap::new();
        for (uri, expected) in expected {
            // A guard that nothing checks must not look like one that holds.
            if !mentioned.0.contains_key(uri.path()) {
                let message = format!("expected[{:?}]: the request does not change this file", uri.as_str());
                return Err(RpcError::invalid_params(message));
            }
            by_path.insert(uri.path().to_owned(), expected);
        }
        Ok(Self { by_path, namespace })
    }

    /// The guard of one change of the file.
    fn of(&self, path: &Path, own: Option<Expected>) -> Result<Guard, String> {
        let expected = match (own, self.by_path.get(path)) {
            (Some(own), Some(shared)) => Some(merged(own, *shared)?),
            (own, shared) => own.or(shared.copied()),
        };
        Ok(convert::guard(expected, self.namespace))
    }
}

fn merged(own: Expected, shared: Expected) -> Result<Expected, String> {
    Ok(Expected {
        content_hash: either("contentHash", own.content_hash, shared.content_hash)?,
        tracking_hash: either("trackingHash", own.tracking_hash, shared.tracking_hash)?,
        namespace: either("namespace", own.namespace, shared.namespace)?,
        version: either("version", own.version, shared.version)?,
    })
}

fn either<T: PartialEq>(name: &str, own: Option<T>, shared: Option<T>) -> Result<Option<T>, String> {
    match (own, shared) {
        (Some(own), Some(shared)) if own != shared => {
            Err(format!("`{name}` is not the one that the top-level `expected` gives for this file"))
        }
        (own, shared) => Ok(own.or(shared)),
    }
}

fn engine_change(change: DocumentChange, guards: &Guards, encoding: PositionEncoding) -> Result<Change, String> {
    Ok(match change {
        DocumentChange::Edit(change) => {
            let path = change.text_document.uri.path().to_owned();
            let edits = change.edits.into_iter().map(|edit| text_change(edit, encoding)).collect();
            Change::Edit(WriteSnippetData { expected: guards.of(&path, change.expected)?, path, edits })
        }
        DocumentChange::Create(CreateFile { uri, text, options, expected, .. }) => {
            let options = options.unwrap_or_default();
            Change::Create(CreateFileData {
                path: uri.path().to_owned(),
                text: text.unwrap_or_default(),
                options: engine::CreateOptions {
                    overwrite: options.overwrite.unwrap_or_default(),
                    ignore_if_exists: options.ignore_if_exists.unwrap_or_default(),
                    create_parents: options.create_parents.unwrap_or_default(),
                },
                expected: guards.of(uri.path(), expected)?,
            })
        }
        DocumentChange::Rename(RenameFile { old_uri, new_uri, options, expected, .. }) => {
            let options = options.unwrap_or_default();
            Change::Rename {
                old_path: old_uri.path().to_owned(),
                new_path: new_uri.path().to_owned(),
                overwrite: options.overwrite.unwrap_or_default(),
                ignore_if_exists: options.ignore_if_exists.unwrap_or_default(),
                expected: guards.of(old_uri.path(), expected)?,
                expected_overwritten: guards.of(new_uri.path(), None)?,
            }
        }
        DocumentChange::Delete(DeleteFile { uri, options, expected, .. }) => {
            let options = options.unwrap_or_default();
            Change::Delete {
                path: uri.path().to_owned(),
                ignore_if_not_exists: options.ignore_if_not_exists.unwrap_or_default(),
                recursive: options.recursive.unwrap_or_default(),
                expected: guards.of(uri.path(), expected)?,
            }
        }
    })
}

fn text_change(edit: TextEdit, encoding: PositionEncoding) -> TextChange {
    TextChange {
        range: edit.range.map(|range| convert::text_range(range, encoding)),
        new_text: edit.new_text,
        expected_text: edit.expected_text,
    }
}

impl From<Durability> for engine::Durability {
    fn from(durability: Durability) -> Self {
        match durability {
            Durability::Full => Self::Full,
            Durability::BestEffort => Self::BestEffort,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{engine::TextRange, hash::ContentHash, position::Position};

    const NAMESPACE: Uuid = Uuid::from_u128(9);

    fn request(params: Value) -> Result<(EditRequest, MentionedFiles), RpcError> {
        let context = Context {
            encoding: PositionEncoding::Utf16,
            namespace: NAMESPACE,
            durability: engine::Durability::BestEffort,
        };
        edit_request(serde_json::from_value(params).unwrap(), context)
    }

    fn accepted(params: Value) -> EditRequest {
        request(params).unwrap_or_else(|error| panic!("{}", error.message)).0
    }

    fn refused(params: Value) -> String {
        match request(params) {
            Ok(_) => panic!("was not refused"),
            Err(error) => {
                assert_eq!(error.code, -32602);
                error.message
            }
        }
    }

    #[test]
    fn an_edit_of_another_language_server_passes_as_it_is() {
        let request = accepted(json!({
            "documentChanges": [
                {
                    "textDocument": { "uri": "file:///r/a.rs", "version": 4 },
                    "edits": [{
                        "range": { "start": { "line": 1, "character": 2 }, "end": { "line": 3, "character": 4 } },
                        "newText": "x",
                        "annotationId": "unknown",
                    }],
                },
                { "kind": "create", "uri": "file:///r/b.rs", "options": { "overwrite": false, "ignoreIfExists": true } },
                { "kind": "rename", "oldUri": "file:///r/c.rs", "newUri": "file:///r/d.rs", "annotationId": "one" },
                { "kind": "delete", "uri": "file:///r/e", "options": { "recursive": true, "ignoreIfNotExists": true } },
            ],
            "changeAnnotations": { "one": { "label": "Rename", "needsConfirmation": true, "description": "why" } },
        }));

        let [Change::Edit(edit), Change::Create { .. }, Change::Rename { .. }, Change::Delete { .. }] =
            &request.changes[..]
        else {
            panic!("{:?}", request.changes)
        };
        assert_eq!(edit.path, Path::new("/r/a.rs"));
        assert_eq!(edit.expected, Guard { namespace: NAMESPACE, ..Guard::default() }, "LSP's version is no guard");
        assert_eq!(
            edit.edits[0].range,
            Some(TextRange::Positions {
                start: Position { line: 1, character: 2 },
                end: Position { line: 3, character: 4 },
                encoding: PositionEncoding::Utf16,
            })
        );
        let Change::Create(CreateFileData { text, options, .. }) = &request.changes[1] else { unreachable!() };
        assert_eq!(text, "");
        assert_eq!(*options, engine::CreateOptions { ignore_if_exists: true, ..Default::default() });
        let Change::Rename { old_path, new_path, .. } = &request.changes[2] else { unreachable!() };
        assert_eq!((old_path.as_path(), new_path.as_path()), (Path::new("/r/c.rs"), Path::new("/r/d.rs")));
        let Change::Delete { recursive, ignore_if_not_exists, .. } = request.changes[3] else { unreachable!() };
        assert!(recursive && ignore_if_not_exists);
    }

    #[test]
    fn settings_that_are_left_out_are_those_of_the_session() {
        let request = accepted(json!({ "documentChanges": [] }));
        assert_eq!(request.durability, engine::Durability::BestEffort);
        assert_eq!(request.atomicity, engine::Atomicity::Transaction);
        assert!(!request.dry_run && !request.unguarded);
        assert_eq!(request.origin.get_version_num(), 4);

        let origin = Uuid::from_u128(3);
        let request = accepted(json!({
            "documentChanges": [],
            "durability": "full",
            "atomicity": "perFile",
            "dryRun": true,
            "unguarded": true,
            "origin": origin,
        }));
        assert_eq!(request.durability, engine::Durability::Full);
        assert_eq!(request.atomicity, engine::Atomicity::PerFile);
        assert!(request.dry_run && request.unguarded);
        assert_eq!(request.origin, origin);
    }

    #[test]
    fn guards_by_uri_reach_every_change_of_their_file() {
        let hash = ContentHash::of(b"a");
        let edits = json!([{ "range": { "startByte": 0, "endByte": 1 }, "newText": "" }]);
        let by_uri = json!({ "file:///r/%61": { "contentHash": hash, "version": 2 } });

        let in_map = accepted(json!({ "changes": { "file:///r/a": edits }, "expected": by_uri }));
        let in_list = accepted(json!({
            "documentChanges": [{ "textDocument": { "uri": "file:///r/a" }, "edits": edits, "expected": {
                "contentHash": hash,
                "namespace": Uuid::nil(),
            } }],
            "expected": by_uri,
        }));
        for (request, namespace) in [(in_map, NAMESPACE), (in_list, Uuid::nil())] {
            let Change::Edit(edit) = &request.changes[0] else { panic!("{:?}", request.changes) };
            assert_eq!(
                edit.expected,
                Guard { content_hash: Some(hash), tracking_hash: None, namespace, version: Some(2) }
            );
        }
    }

    #[test]
    fn guards_that_contradict_each_other_are_refused() {
        let (one, other) = (ContentHash::of(b"1"), ContentHash::of(b"2"));
        let message = refused(json!({
            "documentChanges": [
                { "kind": "create", "uri": "file:///r/b" },
                { "kind": "delete", "uri": "file:///r/a", "expected": { "contentHash": one } },
            ],
            "expected": { "file:///r/a": { "contentHash": other } },
        }));
        assert_eq!(
            message,
            "documentChanges[1].expected: `contentHash` is not the one that the top-level `expected` gives for this file"
        );
    }

    #[test]
    fn a_rename_has_a_guard_for_each_of_its_two_files() {
        let (moved, overwritten) = (ContentHash::of(b"moved"), ContentHash::of(b"overwritten"));
        let rename = json!({ "kind": "rename", "oldUri": "file:///r/a", "newUri": "file:///r/b" });
        let mut guarded = rename.clone();
        guarded["expected"] = json!({ "contentHash": moved });
        let (a, b) = (json!({ "contentHash": moved }), json!({ "contentHash": overwritten }));
        for (change, by_uri) in
            [(&guarded, json!({ "file:///r/b": b })), (&rename, json!({ "file:///r/a": a, "file:///r/%62": b }))]
        {
            let request = accepted(json!({ "documentChanges": [change], "expected": by_uri }));
            let Change::Rename { expected, expected_overwritten, .. } = &request.changes[0] else { unreachable!() };
            assert_eq!(expected.content_hash, Some(moved));
            assert_eq!(expected_overwritten.content_hash, Some(overwritten));
        }
        let request = accepted(json!({ "documentChanges": [guarded] }));
        let Change::Rename { expected_overwritten, .. } = &request.changes[0] else { unreachable!() };
        assert_eq!(expected_overwritten.content_hash, None, "the guard of one file is none of the other");
    }

    #[test]
    fn a_guard_of_a_file_that_is_not_changed_is_refused() {
        let message = refused(json!({ "changes": { "file:///r/a": [] }, "expected": { "file:///r/b": {} } }));
        assert_eq!(message, "expected[\"file:///r/b\"]: the request does not change this file");
    }

    #[test]
    fn exactly_one_list_of_changes_is_needed() {
        assert_eq!(refused(json!({})), "documentChanges: this or `changes` is needed");
        assert_eq!(
            refused(json!({ "documentChanges": [], "changes": {} })),
            "changes: must not be given beside `documentChanges`"
        );
    }

    #[test]
    fn files_keep_the_uri_of_their_first_mention() {
        let (_, mentioned) = request(json!({ "documentChanges": [
            { "kind": "create", "uri": "file:///r/%61" },
            { "textDocument": { "uri": "file:///r/a" }, "edits": [] },
        ] }))
        .unwrap_or_else(|error| panic!("{}", error.message));
        assert_eq!(mentioned.uri(Path::new("/r/a")).as_str(), "file:///r/%61");
        assert_eq!(mentioned.uri(Path::new("/r/b")).as_str(), "file:///r/b");
    }
}
