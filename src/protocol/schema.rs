//! The JSON Schema of the whole protocol, generated from the wire types.

use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::{apply_edits, file_changed, initialize, scan, snippets, status};

/// One document: every type under `$defs`, and per method its params and result.
///
/// The same build always gives the same document.
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12();
    // Params are described as they are read, results as they are written.
    let mut read = settings.clone().for_deserialize().into_generator();
    let mut written = settings.for_serialize().into_generator();

    let methods = json!({
        (snippets::METHOD): {
            "params": reference::<snippets::SnippetsParams>(&mut read),
            "result": reference::<snippets::SnippetsResult>(&mut written),
        },
        (scan::METHOD): {
            "params": reference::<scan::ScanParams>(&mut read),
            "result": reference::<scan::ScanResult>(&mut written),
        },
        (apply_edits::METHOD): {
            "params": reference::<apply_edits::ApplyEditsParams>(&mut read),
            "result": reference::<apply_edits::ApplyEditsResult>(&mut written),
        },
        (status::METHOD): {
            "params": reference::<status::StatusParams>(&mut read),
            "result": reference::<status::StatusResult>(&mut written),
        },
    });
    let notifications = json!({
        (file_changed::METHOD): { "params": reference::<file_changed::FileChangedParams>(&mut written) },
    });
    let initialize = json!({
        "initializationOptions": reference::<initialize::InitializationOptions>(&mut read),
        "capabilities.experimental.ploke": reference::<initialize::PlokeCapabilities>(&mut written),
    });

    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ploke-io protocol",
        "protocol": initialize::PROTOCOL,
        "initialize": initialize,
        "methods": methods,
        "notifications": notifications,
        "$defs": definitions(read, written),
    })
}

fn reference<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

/// The types of both directions; those that go both ways look the same in both.
fn definitions(mut read: SchemaGenerator, mut written: SchemaGenerator) -> Map<String, Value> {
    let mut definitions = read.take_definitions(true);
    definitions.extend(written.take_definitions(true));
    definitions
}
