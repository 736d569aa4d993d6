//! Compares a message with the pattern of a transcript.

use serde_json::{Map, Value};

use super::values::Values;

/// What does not matter: as a value anything, as the last element of an array any more elements, as the member
/// `"..": ".."` of an object any more members; around a text (`"..a.."`) anything that contains it.
const REST: &str = "..";

/// The places where `actual` is not what the pattern says, one line each; empty when it matches.
///
/// The pattern comes from [`Values::pattern`].
pub fn differences(pattern: &Value, actual: &Value, values: &Values) -> Vec<String> {
    let mut found = Vec::new();
    compare(pattern, actual, values, "", &mut found);
    found
}

fn compare(pattern: &Value, actual: &Value, values: &Values, at: &str, found: &mut Vec<String>) {
    match (pattern, actual) {
        (Value::Object(pattern), Value::Object(actual)) => compare_members(pattern, actual, values, at, found),
        (Value::Array(pattern), Value::Array(actual)) => compare_elements(pattern, actual, values, at, found),
        (Value::String(text), actual) if text_matches(text, actual, values) => {}
        (pattern, actual) if pattern == actual => {}
        _ => found.push(format!("{}: expected {}, got {}", name(at), short(pattern), short(actual))),
    }
}

fn compare_members(
    pattern: &Map<String, Value>,
    actual: &Map<String, Value>,
    values: &Values,
    at: &str,
    found: &mut Vec<String>,
) {
    for (key, pattern) in pattern.iter().filter(|(key, _)| *key != REST) {
        let at = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
        match actual.get(key) {
            Some(actual) => compare(pattern, actual, values, &at, found),
            None => found.push(format!("{at}: expected {}, but it is missing", short(pattern))),
        }
    }
    if !pattern.contains_key(REST) {
        for (key, actual) in actual.iter().filter(|(key, _)| !pattern.contains_key(*key)) {
            found.push(format!("{}: unexpected member {key:?}: {}", name(at), short(actual)));
        }
    }
}

fn compare_elements(pattern: &[Value], actual: &[Value], values: &Values, at: &str, found: &mut Vec<String>) {
    let (pattern, open) = split_rest(pattern);
    if actual.len() < pattern.len() || (actual.len() > pattern.len() && !open) {
        let (more, length) = (if open { "at least " } else { "" }, pattern.len());
        found.push(format!("{}: expected {more}{length} elements, got {}", name(at), actual.len()));
    }
    for (index, (pattern, actual)) in pattern.iter().zip(actual).enumerate() {
        compare(pattern, actual, values, &format!("{at}[{index}]"), found);
    }
}

/// The elements that matter, and whether more may follow.
pub fn split_rest(pattern: &[Value]) -> (&[Value], bool) {
    match pattern.split_last() {
        Some((last, elements)) if last == REST => (elements, true),
        _ => (pattern, false),
    }
}

fn text_matches(text: &str, actual: &Value, values: &Values) -> bool {
    if text == REST {
        return true;
    }
    if let Some(name) = text.strip_prefix("$ANY(").and_then(|text| text.strip_suffix(')')) {
        return values.same(name, actual);
    }
    let part = text.strip_prefix(REST).and_then(|text| text.strip_suffix(REST));
    part.is_some_and(|part| actual.as_str().is_some_and(|actual| actual.contains(part)))
}

fn name(at: &str) -> &str {
    if at.is_empty() { "the message" } else { at }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(100) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// A value as JSON that one can read: what fits on a line stands on one.
pub fn pretty(value: &Value) -> String {
    let mut text = String::new();
    write_pretty(value, 0, &mut text);
    text
}

fn write_pretty(value: &Value, indent: usize, text: &mut String) {
    let line = on_one_line(value);
    let space = "  ".repeat(indent);
    if indent * 2 + line.chars().count() <= 110 {
        *text += &line;
        return;
    }
    match value {
        Value::Object(members) => {
            for (index, (key, value)) in members.iter().enumerate() {
                *text += if index == 0 { "{\n" } else { ",\n" };
                *text += &format!("{space}  {}: ", Value::from(key.as_str()));
                write_pretty(value, indent + 1, text);
            }
            *text += &format!("\n{space}}}");
        }
        Value::Array(elements) => {
            for (index, element) in elements.iter().enumerate() {
                *text += if index == 0 { "[\n" } else { ",\n" };
                *text += &format!("{space}  ");
                write_pretty(element, indent + 1, text);
            }
            *text += &format!("\n{space}]");
        }
        _ => *text += &line,
    }
}

fn on_one_line(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let member =
                |(key, value): (&String, &Value)| format!("{}: {}", Value::from(key.as_str()), on_one_line(value));
            format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(", "))
        }
        Value::Array(elements) => {
            format!("[{}]", elements.iter().map(on_one_line).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;

    fn check(pattern: Value, actual: Value) -> Vec<String> {
        differences(&pattern, &actual, &Values::new(Path::new("/r")))
    }

    #[test]
    fn equal_messages_match() {
        let message = json!({"a": [1, {"b": null}], "c": "x"});
        assert_eq!(check(message.clone(), message), Vec::<String>::new());
    }

    #[test]
    fn every_difference_is_named_with_its_place() {
        let pattern = json!({"a": [1, {"b": "x"}], "gone": true, "c": 1});
        let actual = json!({"a": [1, {"b": "y"}], "new": 0, "c": 1.0});
        assert_eq!(
            check(pattern, actual),
            [
                r#"a[1].b: expected "x", got "y""#,
                "c: expected 1, got 1.0",
                "gone: expected true, but it is missing",
                r#"the message: unexpected member "new": 0"#,
            ]
        );
    }

    #[test]
    fn a_rest_in_an_object_allows_more_members_and_no_fewer() {
        let pattern = json!({"a": 1, "..": ".."});
        assert!(check(pattern.clone(), json!({"a": 1})).is_empty());
        assert!(check(pattern.clone(), json!({"a": 1, "b": 2})).is_empty());
        assert!(!check(pattern.clone(), json!({"b": 2})).is_empty());
        assert!(!check(pattern, json!({"a": 2})).is_empty());
    }

    #[test]
    fn a_rest_at_the_end_of_an_array_allows_more_elements_and_no_fewer() {
        let pattern = json!([1, ".."]);
        assert!(check(pattern.clone(), json!([1])).is_empty());
        assert!(check(pattern.clone(), json!([1, 2, 3])).is_empty());
        assert!(!check(pattern.clone(), json!([])).is_empty());
        assert!(!check(pattern, json!([2, 2])).is_empty());
        assert!(!check(json!([1]), json!([1, 2])).is_empty());
        assert!(!check(json!([".."]), json!({})).is_empty());
    }

    #[test]
    fn a_rest_as_a_value_is_any_value_that_is_there() {
        assert!(check(json!({"a": ".."}), json!({"a": {"b": 1}})).is_empty());
        assert!(!check(json!({"a": ".."}), json!({})).is_empty());
        assert!(!check(json!(["..", 2]), json!([1])).is_empty());
    }

    #[test]
    fn a_rest_around_a_text_is_any_text_that_contains_it() {
        assert!(check(json!("..a.b.."), json!("at a.b: no")).is_empty());
        assert!(!check(json!("..a.b.."), json!("at a: no")).is_empty());
        assert!(!check(json!("..1.."), json!(1)).is_empty());
    }

    #[test]
    fn a_name_is_bound_where_it_is_met_first() {
        assert!(check(json!(["$ANY(x)", "$ANY(x)", "$ANY(y)"]), json!([1, 1, 2])).is_empty());
        assert_eq!(check(json!(["$ANY(x)", "$ANY(x)"]), json!([1, 2])).len(), 1);
    }

    #[test]
    fn pretty_json_reads_back_as_the_same_value() {
        let value = json!({"short": [1, 2], "long": ["x".repeat(80), {"y": "y".repeat(80)}], "empty": {}});
        let text = pretty(&value);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        assert!(text.lines().all(|line| line.len() <= 110), "{text}");
    }
}
