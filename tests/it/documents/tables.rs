//! Types of the JSON schema as Markdown, between `<!-- generated: Name -->` and `<!-- end -->`.

use serde_json::{Map, Value};

const BEGIN: &str = "<!-- generated: ";
const END: &str = "<!-- end -->";

/// The document with every generated part made anew; an error begins with its line.
pub fn regenerated(text: &str, schema: &Value) -> Result<String, String> {
    let mut fresh = String::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        fresh += line;
        fresh.push('\n');
        let Some(name) = generated_name(line) else { continue };
        let part = part(name, &schema["$defs"]).ok_or_else(|| format!("{}: no such type: {name}", index + 1))?;
        fresh += &format!("\n{part}\n{END}\n");
        if !lines.any(|(_, line)| line == END) {
            return Err(format!("{}: {END} is missing", index + 1));
        }
    }
    Ok(fresh)
}

/// The types that the document tells.
pub fn names(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(generated_name).map(|name| name.split('/').next().unwrap_or(name))
}

fn generated_name(line: &str) -> Option<&str> {
    line.strip_prefix(BEGIN)?.strip_suffix(" -->")
}

/// A type by its name; `Name/tag` is one variant of a union.
fn part(name: &str, types: &Value) -> Option<String> {
    let (name, tag) = name.split_once('/').map_or((name, None), |(name, tag)| (name, Some(tag)));
    let schema = types.get(name)?;
    let variants = variants(schema);
    if let Some(tag) = tag {
        let (_, variant) = variants.into_iter().find(|(found, _)| *found == tag)?;
        return fields(variant, types).map(|table| format!("{}\n\n{table}", described(variant)));
    }
    let mut parts = vec![format!("**`{name}`** {}", described(schema)).trim_end().to_owned() + "\n"];
    parts.extend(fields(schema, types));
    if !variants.is_empty() {
        parts.push(union(&variants, types));
    }
    if let Some(values) = values(schema) {
        let lines = values.iter().map(|(value, meaning)| format!("- `{value}`{}{meaning}\n", colon(meaning)));
        parts.push(lines.collect());
    }
    if parts.len() == 1 {
        parts.push(format!("JSON: {}\n", type_name(schema)));
    }
    Some(parts.join("\n"))
}

/// A table of an object's fields, those that are always there first.
fn fields(schema: &Value, types: &Value) -> Option<String> {
    let properties = schema["properties"].as_object()?;
    let (needed, optional): (Vec<_>, Vec<_>) = properties.iter().partition(|(name, _)| is_required(schema, name));
    let has_defaults = properties.values().any(|property| property.get("default").is_some());
    let mut table = String::from(if has_defaults {
        "| Field | Type | Default | Meaning |\n|---|---|---|---|\n"
    } else {
        "| Field | Type | Required | Meaning |\n|---|---|---|---|\n"
    });
    for (name, property) in needed.into_iter().chain(optional) {
        let required = is_required(schema, name);
        let middle = match property.get("default") {
            Some(default) => format!("`{default}`"),
            None if has_defaults => if required { "required" } else { "" }.to_owned(),
            None => if required { "yes" } else { "no" }.to_owned(),
        };
        let null = if required && is_nullable(property) { " or null" } else { "" };
        let kind = type_name(property);
        table += &format!("| `{name}` | {kind}{null} | {middle} | {} |\n", meaning(property, types));
    }
    Some(table)
}

/// A table of a union's variants: the value that tells them apart, and the fields beside it.
fn union(variants: &[(&str, &Value)], types: &Value) -> String {
    let tag = tag_of(variants[0].1).map_or("", |(name, _)| name);
    let mut table = format!("| `{tag}` | Further fields | Meaning |\n|---|---|---|\n");
    for (value, variant) in variants {
        let own = variant["properties"].as_object().into_iter().flatten().filter(|(name, _)| *name != tag);
        let own = own.map(|(name, property)| {
            let optional = if is_required(variant, name) { "" } else { ", optional" };
            let meaning = meaning(property, types);
            format!("`{name}` ({}{optional}){}{meaning}", type_name(property), colon(&meaning))
        });
        let shared = variant.get("$ref").map(|target| format!("those of {}", reference(target)));
        let further: Vec<_> = shared.into_iter().chain(own).collect();
        table += &format!("| `{value}` | {} | {} |\n", further.join("<br>"), described(variant));
    }
    table
}

/// The tagged variants of a union, with their tags.
fn variants(schema: &Value) -> Vec<(&str, &Value)> {
    let all = ["oneOf", "anyOf"].iter().filter_map(|key| schema[key].as_array()).flatten();
    all.filter_map(|variant| Some((tag_of(variant)?.1, variant))).collect()
}

fn tag_of(variant: &Value) -> Option<(&str, &str)> {
    let properties = variant["properties"].as_object()?;
    properties.iter().find_map(|(name, property)| Some((name.as_str(), property["const"].as_str()?)))
}

/// The values of an enumeration and what they mean.
fn values(schema: &Value) -> Option<Vec<(&Value, String)>> {
    match schema["oneOf"].as_array() {
        Some(parts) => parts.iter().map(plain_values).collect::<Option<Vec<_>>>().map(|parts| parts.concat()),
        None => plain_values(schema),
    }
}

fn plain_values(schema: &Value) -> Option<Vec<(&Value, String)>> {
    if let Some(value) = schema.get("const") {
        return Some(vec![(value, described(schema))]);
    }
    Some(schema["enum"].as_array()?.iter().map(|value| (value, String::new())).collect())
}

/// A type in the words of a table.
fn type_name(schema: &Value) -> String {
    if let Some(target) = schema.get("$ref") {
        return reference(target);
    }
    if let Some(value) = schema.get("const") {
        return format!("`{value}`");
    }
    if let Some(parts) = schema["anyOf"].as_array() {
        let parts: Vec<_> = parts.iter().filter(|part| part["type"] != "null").map(type_name).collect();
        return parts.join(" or ");
    }
    match base_type(schema) {
        "array" if schema["maxItems"] == 2 => format!("pair of {}", type_name(&schema["items"])),
        "array" => format!("list of {}", type_name(&schema["items"])),
        "object" => match schema.get("additionalProperties") {
            Some(Value::Object(values)) => object_of(schema, values),
            _ => "object".to_owned(),
        },
        "integer" => integer(schema),
        "string" if schema["format"] == "uuid" => "UUID".to_owned(),
        other => other.to_owned(),
    }
}

fn object_of(schema: &Value, values: &Map<String, Value>) -> String {
    let keys = schema.get("propertyNames").map(|keys| format!(" by {}", type_name(keys))).unwrap_or_default();
    format!("object of {}{keys}", type_name(&Value::Object(values.clone())))
}

fn integer(schema: &Value) -> String {
    match (schema["minimum"].as_u64(), schema["maximum"].as_u64()) {
        (Some(least), Some(most)) => format!("integer from {least} to {most}"),
        (Some(least @ 1..), None) => format!("integer from {least}"),
        _ => "integer".to_owned(),
    }
}

fn base_type(schema: &Value) -> &str {
    let mut kinds = schema["type"].as_array().into_iter().flatten().chain([&schema["type"]]).filter_map(Value::as_str);
    kinds.find(|kind| *kind != "null").unwrap_or("any")
}

fn is_nullable(schema: &Value) -> bool {
    let has_null = |parts: &Vec<Value>| parts.iter().any(|part| part == "null" || part["type"] == "null");
    [&schema["type"], &schema["anyOf"]].into_iter().filter_map(Value::as_array).any(has_null)
}

fn is_required(schema: &Value, name: &str) -> bool {
    schema["required"].as_array().is_some_and(|names| names.iter().any(|other| other == name))
}

/// What the schema says of itself, else what its type does.
fn meaning(schema: &Value, types: &Value) -> String {
    let own = described(schema);
    if !own.is_empty() {
        return own;
    }
    let optional = schema["anyOf"].as_array().and_then(|parts| parts.first());
    let target = schema.get("$ref").or_else(|| optional?.get("$ref")).and_then(Value::as_str);
    target.map(|target| described(&types[type_of(target)])).unwrap_or_default()
}

fn described(schema: &Value) -> String {
    schema["description"].as_str().unwrap_or_default().replace('\n', " ").replace('|', "\\|")
}

fn reference(target: &Value) -> String {
    format!("`{}`", type_of(target.as_str().unwrap_or_default()))
}

fn type_of(target: &str) -> &str {
    target.rsplit('/').next().unwrap_or(target)
}

fn colon(meaning: &str) -> &'static str {
    if meaning.is_empty() { "" } else { ": " }
}
