use std::{collections::BTreeSet, fmt::Debug};

use serde_json::{Value, json};

use super::{samples::samples, *};
use crate::protocol::{
    InitializationOptions, apply_edits::ApplyEditsParams, changes::ChangesParams, scan::ScanParams, schema::schema,
    snippets::SnippetsParams, status::StatusParams, sync::SyncParams, undo::UndoParams,
};

fn decode<T: DeserializeOwned>(params: Value) -> Result<T, RpcError> {
    decode_params(&params.to_string())
}

/// Fails with the first message that differs.
fn refused<T: DeserializeOwned>(cases: impl IntoIterator<Item = (Value, &'static str)>) {
    for (params, message) in cases {
        match decode::<T>(params.clone()) {
            Ok(_) => panic!("was not refused: {params}"),
            Err(error) => assert_eq!((error.code, error.message.as_str()), (-32602, message), "{params}"),
        }
    }
}

#[test]
fn a_part_is_named_from_the_beginning() {
    for (value, message) in [
        (
            json!({ "cache": { "bytes": true } }),
            "options.cache.bytes: invalid type: boolean `true`, expected an integer from 0 on",
        ),
        (json!(1), "options: invalid type: integer `1`, expected an object"),
    ] {
        let error = decode_part::<InitializationOptions>("options", &value).unwrap_err();
        assert_eq!(error.message, message);
    }
}

#[test]
fn params_nested_10_000_deep_are_an_error_and_no_crash() {
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    assert!(super::decode::<Value>(&deep).unwrap_err().message.contains("recursion limit"));
    assert!(decode_params::<SnippetsParams>(&format!(r#"{{"snippets":{deep}}}"#)).is_err());
}

#[test]
fn what_stands_behind_the_params_is_an_error() {
    for json in ["{}{}", "{}]", "{} x", r#"{"name":"a"},"extra":1"#] {
        assert!(decode_params::<Value>(json).unwrap_err().message.contains("trailing characters"), "{json}");
        assert!(decode_params::<StatusParams>(json).is_err(), "{json}");
    }
}

#[test]
fn params_that_were_left_out_are_empty() {
    assert_eq!(decode(json!(null)), Ok(StatusParams {}));
    assert_eq!(decode(json!({})), Ok(StatusParams {}));
}

#[test]
fn null_is_the_same_as_nothing_for_every_field_that_may_be_left_out() {
    let schema = schema();
    let params = schema["methods"].as_object().unwrap().values().map(|method| &method["params"]);
    let mut types: BTreeSet<&str> = params
        .chain([&schema["initialize"]["initializationOptions"]])
        .map(|reference| reference["$ref"].as_str().unwrap().trim_start_matches("#/$defs/"))
        .collect();
    let mut check = |name: &str, decode: fn(&Value) -> String| {
        assert!(types.remove(name), "{name}");
        let wrong = samples(&schema["$defs"][name], &schema["$defs"]).into_iter().filter_map(|sample| {
            let (given, expected) = (decode(&sample.with_null), decode(&sample.without));
            (given != expected || given.starts_with("Err")).then(|| format!("{} is {given}", sample.with_null))
        });
        wrong.collect::<Vec<_>>()
    };
    let wrong = [
        check("SnippetsParams", shown::<SnippetsParams>),
        check("ScanParams", shown::<ScanParams>),
        check("ApplyEditsParams", shown::<ApplyEditsParams>),
        check("UndoParams", shown::<UndoParams>),
        check("SyncParams", shown::<SyncParams>),
        check("ChangesParams", shown::<ChangesParams>),
        check("StatusParams", shown::<StatusParams>),
        check("InitializationOptions", shown::<InitializationOptions>),
    ]
    .concat();
    assert!(types.is_empty(), "not looked at: {types:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn shown<T: DeserializeOwned + Debug>(params: &Value) -> String {
    format!("{:?}", decode::<T>(params.clone()))
}

#[test]
fn arrays_are_not_taken_for_objects_nor_objects_for_strings() {
    let bytes = json!({ "startByte": 0, "endByte": 0 });
    let document = json!({ "uri": "file:///a" });
    let change = |change: Value| json!({ "documentChanges": [change] });
    let edit = |range: Value| change(json!({ "textDocument": document, "edits": [{ "range": range, "newText": "" }] }));
    refused::<ApplyEditsParams>([
        (
            edit(json!({ "start": [0, 0], "end": { "line": 0, "character": 0 } })),
            "documentChanges[0].edits[0].range.start: invalid type: list, expected an object",
        ),
        (edit(json!([0, 0, null, null])), "documentChanges[0].edits[0].range: invalid type: list, expected an object"),
        (
            change(json!({ "textDocument": document, "edits": [[bytes, "", null, null]] })),
            "documentChanges[0].edits[0]: invalid type: list, expected an object",
        ),
        (
            change(json!({ "textDocument": ["file:///a", null], "edits": [] })),
            "documentChanges[0].textDocument: invalid type: list, expected an object",
        ),
        (
            change(json!({ "kind": "delete", "uri": "file:///a", "expected": [null, null, null, null] })),
            "documentChanges[0].expected: invalid type: list, expected an object",
        ),
        (change(json!(["delete"])), "documentChanges[0]: invalid type: list, expected an object"),
        (
            json!({ "changes": { "file:///a": [] }, "expected": { "file:///a": [null, null, null, null] } }),
            "expected[\"file:///a\"]: invalid type: list, expected an object",
        ),
        (
            json!({ "changes": {}, "atomicity": { "perFile": null } }),
            "atomicity: invalid type: object, expected a string",
        ),
        (json!({ "changes": {}, "atomicity": 1 }), "atomicity: invalid type: integer `1`, expected a string"),
    ]);
    refused::<InitializationOptions>([(json!({ "watch": [] }), "watch: invalid type: list, expected an object")]);
    let error = decode_part::<InitializationOptions>("options", &json!({ "watch": [] })).unwrap_err();
    assert_eq!(error.message, "options.watch: invalid type: list, expected an object");
}

#[test]
fn params_that_are_no_object_are_refused() {
    refused::<StatusParams>([
        (json!([]), "params must be an object"),
        (json!([[]]), "params must be an object"),
        (json!("text"), "params must be an object"),
        (json!({ "verbose": true }), "verbose: unknown field `verbose`, there are no fields"),
    ]);
}

#[test]
fn wrong_snippets_are_refused_with_their_place() {
    let one = |snippet: Value| json!({ "snippets": [{ "uri": "file:///a" }, snippet] });
    let hash = "0".repeat(64);
    refused::<SnippetsParams>([
        (json!({}), "missing field `snippets`"),
        (json!({ "snippets": {} }), "snippets: invalid type: object, expected a list"),
        (one(json!({})), "snippets[1]: missing field `uri`"),
        (one(json!({ "uri": "untitled:1" })), "snippets[1].uri: not a `file:` URI"),
        (one(json!({ "uri": 1 })), "snippets[1].uri: invalid type: integer `1`, expected a `file:` URI"),
        (
            one(json!({ "uri": "file://host/a" })),
            "snippets[1].uri: a `file:` URI of another host; only an empty one and `localhost` are known",
        ),
        (
            one(json!({ "uri": "file:///a", "id": 1.0 })),
            "snippets[1].id: invalid type: floating point `1.0`, expected a string or an integer of 64 bits",
        ),
        (
            one(json!({ "uri": "file:///a", "id": u64::MAX })),
            "snippets[1].id: invalid value: integer `18446744073709551615`, expected a string or an integer of 64 bits",
        ),
        (
            one(json!({ "uri": "file:///a", "range": { "startByte": 1 } })),
            "snippets[1].range: a range is either `startByte` and `endByte` or `start` and `end`",
        ),
        (
            one(json!({ "uri": "file:///a", "range": {
                "startByte": 1,
                "endByte": 2,
                "start": { "line": 0, "character": 0 },
                "end": { "line": 0, "character": 0 },
            } })),
            "snippets[1].range: a range is either `startByte` and `endByte` or `start` and `end`",
        ),
        (
            one(json!({ "uri": "file:///a", "range": { "startByte": -1, "endByte": 2 } })),
            "snippets[1].range.startByte: invalid value: integer `-1`, expected an integer from 0 on",
        ),
        (
            one(
                json!({ "uri": "file:///a", "range": { "start": { "line": 0 }, "end": { "line": 0, "character": 0 } } }),
            ),
            "snippets[1].range.start: missing field `character`",
        ),
        (
            one(json!({ "uri": "file:///a", "range": {
                "start": { "line": 4_294_967_296_u64, "character": 0 },
                "end": { "line": 0, "character": 0 },
            } })),
            "snippets[1].range.start.line: invalid value: integer `4294967296`, expected an integer from 0 to 4294967295",
        ),
        (
            one(json!({ "uri": "file:///a", "range": { "from": 1 } })),
            "snippets[1].range.from: unknown field `from`, expected one of `startByte`, `endByte`, `start`, `end`",
        ),
        (
            one(json!({ "uri": "file:///a", "expected": { "contentHash": "abc" } })),
            "snippets[1].expected.contentHash: a content hash is 64 lower-case hex digits",
        ),
        (
            one(json!({ "uri": "file:///a", "expected": { "hash": hash } })),
            "snippets[1].expected.hash: unknown field `hash`, expected one of `contentHash`, `trackingHash`, `namespace`, `version`",
        ),
        (
            one(json!({ "uri": "file:///a", "hashes": ["content", "md5"] })),
            "snippets[1].hashes[1]: unknown variant `md5`, expected `content` or `tracking`",
        ),
    ]);
}

#[test]
fn malformed_uuids_are_refused_with_their_place() {
    for (params, path) in [
        (json!({ "uri": "file:///a", "nodeTrackingHash": "x" }), "snippets[0].nodeTrackingHash: "),
        (json!({ "uri": "file:///a", "expected": { "trackingHash": "x" } }), "snippets[0].expected.trackingHash: "),
        (json!({ "uri": "file:///a", "expected": { "namespace": "x" } }), "snippets[0].expected.namespace: "),
    ] {
        let message = decode::<SnippetsParams>(json!({ "snippets": [params] })).unwrap_err().message;
        assert!(message.starts_with(path) && message.contains("UUID"), "{message}");
    }
}

#[test]
fn a_scan_without_a_hash_is_refused() {
    refused::<ScanParams>([
        (json!({ "files": [{ "uri": "file:///a" }] }), "files[0]: missing field `expected`"),
        (
            json!({ "files": [{ "uri": "file:///a", "expected": {} }] }),
            "files[0].expected: a scan needs `contentHash` or `trackingHash`",
        ),
        (
            json!({ "files": [{ "uri": "file:///a", "expected": { "version": 1, "contentHash": "0".repeat(64) } }] }),
            "files[0].expected: a scan compares files on disk, which have no `version`",
        ),
        (
            json!({ "files": [], "hashes": ["tokens"] }),
            "hashes[0]: unknown variant `tokens`, expected `content` or `tracking`",
        ),
    ]);
    assert_eq!(decode::<ScanParams>(json!({ "files": [] })).unwrap().files, Some(Vec::new()));
}

#[test]
fn wrong_edits_are_refused_with_their_place() {
    let edit = |edit: Value| {
        let document = json!({ "uri": "file:///a", "version": null });
        json!({ "documentChanges": [
            { "textDocument": document, "edits": [] },
            { "textDocument": document, "edits": [edit] },
        ] })
    };
    let range = json!({ "startByte": 0, "endByte": 0 });
    refused::<ApplyEditsParams>([
        (edit(json!({ "range": range })), "documentChanges[1].edits[0]: missing field `newText`"),
        (
            edit(json!({ "range": { "start": 1 }, "newText": "" })),
            "documentChanges[1].edits[0].range.start: invalid type: integer `1`, expected an object",
        ),
        (
            edit(json!({ "range": {}, "newText": "" })),
            "documentChanges[1].edits[0].range: a range is either `startByte` and `endByte` or `start` and `end`",
        ),
        (edit(json!({ "newText": "" })), "documentChanges[1].edits[0]: an edit needs `range`, `expectedText` or both"),
        (
            edit(json!({ "range": range, "newText": "", "text": "" })),
            "documentChanges[1].edits[0].text: unknown field `text`, expected one of `range`, `newText`, `expectedText`, `annotationId`",
        ),
        (
            json!({ "documentChanges": [], "dryrun": true }),
            "dryrun: unknown field `dryrun`, expected one of `label`, `origin`, `atomicity`, `durability`, `dryRun`, \
             `unguarded`, `documentChanges`, `changes`, `expected`, `changeAnnotations`, `workDoneToken`",
        ),
        (json!({ "documentChanges": [], "dryRun": "yes" }), "dryRun: invalid type: string \"yes\", expected a boolean"),
        (
            json!({ "documentChanges": [], "atomicity": "none" }),
            "atomicity: unknown variant `none`, expected `transaction` or `perFile`",
        ),
        (
            json!({ "documentChanges": [], "durability": "unknown" }),
            "durability: unknown variant `unknown`, expected `full` or `bestEffort`",
        ),
        (
            json!({ "changes": { "file:///a": [{ "newText": "" }] } }),
            "changes[\"file:///a\"][0]: an edit needs `range`, `expectedText` or both",
        ),
        (
            json!({ "changes": { "file:///a": [], "file:///%61": [] } }),
            "changes: file:///a names a file that stands here already",
        ),
        (json!({ "changes": { "a.rs": [] } }), "changes[\"a.rs\"]: not a `file:` URI"),
        (
            json!({ "changes": {}, "expected": { "file:///a": { "contentHash": 1 } } }),
            "expected[\"file:///a\"].contentHash: invalid type: integer `1`, expected 64 lower-case hex digits",
        ),
        (json!({ "changes": {}, "changeAnnotations": { "one": {} } }), "changeAnnotations.one: missing field `label`"),
    ]);
}

#[test]
fn a_field_of_another_kind_of_change_is_refused_by_name() {
    let document = json!({ "uri": "file:///a" });
    let change = |change: Value| json!({ "documentChanges": [change] });
    refused::<ApplyEditsParams>([
        (
            change(json!({ "kind": "move" })),
            "documentChanges[0].kind: unknown variant `move`, expected one of `create`, `rename`, `delete`",
        ),
        (change(json!({})), "documentChanges[0]: missing field `textDocument` of an edit (a change without `kind`)"),
        (
            change(json!({ "textDocument": document })),
            "documentChanges[0]: missing field `edits` of an edit (a change without `kind`)",
        ),
        (
            change(json!({ "textDocument": document, "edits": [], "text": "" })),
            "documentChanges[0]: `text` does not belong to an edit (a change without `kind`)",
        ),
        (change(json!({ "kind": "create" })), "documentChanges[0]: missing field `uri` of a change of kind `create`"),
        (
            change(json!({ "kind": "create", "uri": "file:///a", "edits": [] })),
            "documentChanges[0]: `edits` does not belong to a change of kind `create`",
        ),
        (
            change(json!({ "kind": "create", "uri": "file:///a", "options": { "recursive": true } })),
            "documentChanges[0]: `options.recursive` does not belong to a change of kind `create`",
        ),
        (
            change(json!({ "kind": "create", "uri": "file:///a", "options": { "force": true } })),
            "documentChanges[0].options.force: unknown field `force`, expected one of `overwrite`, `ignoreIfExists`, \
             `createParents`, `ignoreIfNotExists`, `recursive`",
        ),
        (
            change(json!({ "kind": "rename", "oldUri": "file:///a" })),
            "documentChanges[0]: missing field `newUri` of a change of kind `rename`",
        ),
        (
            change(json!({ "kind": "rename", "oldUri": "file:///a", "newUri": "file:///b", "uri": "file:///c" })),
            "documentChanges[0]: `uri` does not belong to a change of kind `rename`",
        ),
        (
            change(json!({ "kind": "delete", "uri": "file:///a", "text": "" })),
            "documentChanges[0]: `text` does not belong to a change of kind `delete`",
        ),
        (
            change(json!({ "kind": "delete", "uri": "file:///a", "options": { "overwrite": true } })),
            "documentChanges[0]: `options.overwrite` does not belong to a change of kind `delete`",
        ),
    ]);
}

#[test]
fn settings_out_of_their_range_are_refused_with_their_place() {
    refused::<InitializationOptions>([
        (json!({ "watch": { "debounceMs": 0 } }), "watch.debounceMs: 0 is not an integer from 1 to 60000"),
        (json!({ "watch": { "capacity": 15 } }), "watch.capacity: 15 is not an integer from 16 to 16777216"),
        (json!({ "limits": { "permits": 0 } }), "limits.permits: 0 is not an integer from 1 to 65536"),
        (json!({ "log": { "keep": 0 } }), "log.keep: 0 is not an integer from 1 to 10000"),
        (
            json!({ "log": { "level": "loud" } }),
            "log.level: unknown variant `loud`, expected one of `off`, `error`, `warn`, `info`, `debug`, `trace`",
        ),
        (json!({ "roots": ["/home"] }), "roots[0]: not a `file:` URI"),
        (
            json!({ "undo": { "keepHours": 1 } }),
            "undo.keepHours: unknown field `keepHours`, expected `keepBytes` or `keepDays`",
        ),
    ]);
}

#[test]
fn texts_that_are_no_unicode_are_refused_with_their_place() {
    let params = r#"{"snippets":[{"uri":"file:///a","name":"\ud800"}]}"#;
    let error = decode_params::<SnippetsParams>(params).unwrap_err();
    assert!(error.message.starts_with("snippets[0].name: "), "{}", error.message);
}

#[test]
fn what_was_given_is_not_repeated_at_length() {
    let error = decode::<StatusParams>(json!({ "x".repeat(1 << 20): 1 })).unwrap_err();
    assert!(error.message.len() < 2000);
}
