//! Params made from their schema.

use serde_json::{Map, Value, json};

/// A valid value with null for one field that may be left out, and the same one without that field.
pub(super) struct Sample {
    pub with_null: Value,
    pub without: Value,
}

/// Values of a type that together have every field, each optional one also with null in its place.
///
/// # Panics
/// If the schema does not allow null for a field that may be left out.
pub(super) fn samples(schema: &Value, types: &Value) -> Vec<Sample> {
    if let Some(target) = schema["$ref"].as_str() {
        return samples(&referred(schema, &types[target.trim_start_matches("#/$defs/")]), types);
    }
    if let Some(fields) = schema["properties"].as_object() {
        return objects(schema, fields, types);
    }
    if let Some(parts) = alternatives(schema) {
        return parts.iter().filter(|part| part["type"] != "null").flat_map(|part| samples(part, types)).collect();
    }
    let kinds = schema["type"].as_array().cloned().unwrap_or_else(|| vec![schema["type"].clone()]);
    match kinds[0].as_str() {
        Some("array") => wrapped(samples(&schema["items"], types), |item| json!([item])),
        // As URI and as name of an annotation.
        Some("object") if schema["additionalProperties"].is_object() => {
            wrapped(samples(&schema["additionalProperties"], types), |value| json!({ "file:///a": value }))
        }
        _ => vec![whole(plain(schema, kinds[0].as_str()))],
    }
}

/// What a reference stands for, with what stands beside it.
fn referred(schema: &Value, target: &Value) -> Value {
    let mut merged = target.clone();
    for (name, value) in schema.as_object().into_iter().flatten().filter(|(name, _)| *name != "$ref") {
        merged[name] = value.clone();
    }
    merged
}

/// Objects that have what one of the alternatives requires, and one field more.
fn objects(schema: &Value, fields: &Map<String, Value>, types: &Value) -> Vec<Sample> {
    let names = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let forbidden = names(&schema["not"]["required"]);
    let alternatives: Vec<_> = match alternatives(schema) {
        Some(parts) => parts.iter().map(|part| names(&part["required"])).collect(),
        None => vec![vec![]],
    };
    let mut made = Vec::new();
    for needed_here in &alternatives {
        let needed = |name: &str| names(&schema["required"]).iter().chain(needed_here).any(|needed| needed == name);
        let base: Map<_, _> = fields
            .iter()
            .filter(|(name, _)| needed(name))
            .map(|(name, field)| (name.clone(), samples(field, types).swap_remove(0).without))
            .collect();
        let with = |name: &str, value: Value| {
            let mut object = base.clone();
            object.insert(name.to_owned(), value);
            Value::Object(object)
        };
        made.push(whole(base.clone().into()));
        for (name, field) in fields {
            if !needed(name) {
                assert!(is_nullable(field), "the schema does not allow null for `{name}` of {schema:#}");
                made.push(Sample { with_null: with(name, Value::Null), without: base.clone().into() });
            }
            let elsewhere = alternatives.iter().flatten().any(|other| other == name) && !needed(name);
            if !elsewhere && !forbidden.contains(&json!(name)) {
                made.extend(wrapped(samples(field, types), |value| with(name, value)));
            }
        }
    }
    made
}

fn alternatives(schema: &Value) -> Option<&Vec<Value>> {
    schema["anyOf"].as_array().or_else(|| schema["oneOf"].as_array())
}

fn is_nullable(schema: &Value) -> bool {
    let parts = [&schema["type"], &schema["anyOf"]].into_iter().filter_map(Value::as_array).flatten();
    parts.into_iter().any(|part| part == "null" || part["type"] == "null")
}

fn plain(schema: &Value, kind: Option<&str>) -> Value {
    if let Some(value) = schema.get("const").or_else(|| schema["enum"].get(0)) {
        return value.clone();
    }
    match kind {
        Some("object") => json!({}),
        Some("boolean") => json!(true),
        Some("integer") => schema.get("minimum").cloned().unwrap_or(json!(0)),
        Some("string") if schema["format"] == "uuid" => json!("6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
        Some("string") if schema["pattern"] == "^[0-9a-f]{64}$" => json!("0".repeat(64)),
        Some("string") => json!("file:///a"),
        _ => panic!("no sample of {schema:#}"),
    }
}

fn whole(value: Value) -> Sample {
    Sample { with_null: value.clone(), without: value }
}

fn wrapped(samples: Vec<Sample>, wrap: impl Fn(Value) -> Value) -> Vec<Sample> {
    let wrap = |Sample { with_null, without }| Sample { with_null: wrap(with_null), without: wrap(without) };
    samples.into_iter().map(wrap).collect()
}
