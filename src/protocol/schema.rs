//! The JSON Schema of the whole protocol, generated from the wire types.

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, transform::RecursiveTransform};
use serde_json::{Map, Value, json};

use super::{apply_edits, changes, file_changed, initialize, scan, snippets, status, sync, undo};

/// One document: every type under `$defs`, and per method its params and result.
///
/// The same build always gives the same document.
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12();
    // Params are described as they are read, results as they are written.
    let mut read =
        settings.clone().for_deserialize().with_transform(RecursiveTransform(null_as_absent)).into_generator();
    let mut written =
        settings.for_serialize().with_transform(RecursiveTransform(absent_rather_than_null)).into_generator();
    let mut schema = document(&mut read, &mut written);

    // Types that go both ways look the same in both.
    let mut definitions = read.take_definitions(true);
    definitions.extend(written.take_definitions(true));
    schema["$defs"] = definitions.into();
    schema
}

fn document(read: &mut SchemaGenerator, written: &mut SchemaGenerator) -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ploke-io protocol",
        "protocol": initialize::PROTOCOL,
        "initialize": {
            "initializationOptions": reference::<initialize::InitializationOptions>(read),
            "capabilities.experimental.ploke": reference::<initialize::PlokeCapabilities>(written),
        },
        "methods": {
            (snippets::METHOD): {
                "params": reference::<snippets::SnippetsParams>(read),
                "result": reference::<snippets::SnippetsResult>(written),
            },
            (scan::METHOD): {
                "params": reference::<scan::ScanParams>(read),
                "result": reference::<scan::ScanResult>(written),
            },
            (apply_edits::METHOD): {
                "params": reference::<apply_edits::ApplyEditsParams>(read),
                "result": reference::<apply_edits::ApplyEditsResult>(written),
            },
            (undo::METHOD): {
                "params": reference::<undo::UndoParams>(read),
                "result": reference::<undo::UndoResult>(written),
            },
            (sync::METHOD): {
                "params": reference::<sync::SyncParams>(read),
                "result": reference::<sync::SyncResult>(written),
            },
            (changes::METHOD): {
                "params": reference::<changes::ChangesParams>(read),
                "result": reference::<changes::ChangesResult>(written),
            },
            (status::METHOD): {
                "params": reference::<status::StatusParams>(read),
                "result": reference::<status::StatusResult>(written),
            },
        },
        "notifications": {
            (file_changed::METHOD): { "params": reference::<file_changed::FileChangedParams>(written) },
        },
    })
}

fn reference<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

/// Optional fields of params may also be null.
fn null_as_absent(schema: &mut Schema) {
    for_each_optional_property(schema, add_null);
}

/// Optional fields of results are left out; only required ones may be null.
fn absent_rather_than_null(schema: &mut Schema) {
    for_each_optional_property(schema, remove_null);
}

fn for_each_optional_property(schema: &mut Schema, change: fn(&mut Map<String, Value>)) {
    let required = schema.get("required").cloned().unwrap_or_default();
    let is_required = |name: &str| required.as_array().is_some_and(|names| names.iter().any(|other| other == name));
    let Some(Value::Object(properties)) = schema.get_mut("properties") else { return };
    for (_, property) in properties.iter_mut().filter(|(name, _)| !is_required(name)) {
        if let Value::Object(property) = property {
            change(property);
        }
    }
}

fn add_null(property: &mut Map<String, Value>) {
    if let Some(present @ Value::String(_)) = property.get("type").cloned() {
        property.insert("type".into(), json!([present, "null"]));
    }
    if let Some(target) = property.remove("$ref") {
        property.insert("anyOf".into(), json!([{ "$ref": target }, { "type": "null" }]));
    }
}

fn remove_null(property: &mut Map<String, Value>) {
    match property.get("type").and_then(Value::as_array).map(Vec::as_slice) {
        Some([present, null]) if null == "null" => {
            let present = present.clone();
            property.insert("type".into(), present);
        }
        _ => {}
    }
    match property.get("anyOf").and_then(Value::as_array).map(Vec::as_slice) {
        Some([Value::Object(present), null]) if null["type"] == "null" => {
            let present = present.clone();
            property.remove("anyOf");
            property.extend(present);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Names of all types that are referred to.
    fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(target)) = fields.get("$ref") {
                    found.insert(target.strip_prefix("#/$defs/").expect("a type of the same document"));
                }
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_type_is_defined_once_and_used() {
        let schema = schema();
        let defined: BTreeSet<_> = schema["$defs"].as_object().unwrap().keys().map(String::as_str).collect();
        let mut used = BTreeSet::new();
        references(&schema, &mut used);
        assert_eq!(defined, used);
        assert!(!defined.iter().any(|name| name.ends_with(char::is_numeric)), "two types of one name: {defined:?}");
    }

    #[test]
    fn what_a_result_leaves_out_is_never_null() {
        let definitions = &schema()["$defs"];
        let change = &definitions["FileChange"]["properties"];
        assert_eq!(change["contentHash"]["$ref"], "#/$defs/ContentHash");
        assert_eq!(change["requestId"]["anyOf"][1]["type"], "null");
        assert_eq!(definitions["FileResult"]["properties"]["byteDelta"]["type"], "integer");
        assert_eq!(definitions["SnippetQuery"]["properties"]["name"]["type"], json!(["string", "null"]));
    }

    #[test]
    fn what_params_may_leave_out_may_be_null_and_keeps_its_default() {
        let definitions = &schema()["$defs"];
        let edits = &definitions["ApplyEditsParams"]["properties"];
        assert_eq!(edits["atomicity"]["anyOf"], json!([{ "$ref": "#/$defs/Atomicity" }, { "type": "null" }]));
        assert_eq!(edits["atomicity"]["default"], "transaction");
        assert_eq!(edits["dryRun"]["type"], json!(["boolean", "null"]));
        assert_eq!(definitions["SnippetQuery"]["properties"]["uri"], json!({ "$ref": "#/$defs/FileUri" }));
    }

    #[test]
    fn types_that_go_both_ways_look_the_same_in_both() {
        let settings = SchemaSettings::draft2020_12();
        let mut read = settings.clone().for_deserialize().into_generator();
        let mut written = settings.for_serialize().into_generator();
        document(&mut read, &mut written);
        let (read, written) = (read.take_definitions(true), written.take_definitions(true));
        for (name, schema) in &read {
            assert_eq!(schema, written.get(name).unwrap_or(schema), "{name}");
        }
        assert!(read.keys().any(|name| written.contains_key(name)));
    }

    #[test]
    fn the_document_is_the_same_each_time() {
        assert_eq!(schema().to_string(), schema().to_string());
    }

    #[test]
    fn unions_are_told_as_such() {
        let definitions = &schema()["$defs"];
        let kinds: Vec<_> = definitions["DocumentChange"]["anyOf"]
            .as_array()
            .or_else(|| definitions["DocumentChange"]["oneOf"].as_array())
            .unwrap()
            .iter()
            .map(|change| change["properties"]["kind"]["const"].as_str())
            .collect();
        assert_eq!(kinds, [Some("create"), Some("rename"), Some("delete"), None]);
        let ranges = definitions["Range"]["anyOf"].as_array().unwrap();
        assert_eq!(ranges.len(), 2);
    }
}
