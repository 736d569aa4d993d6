//! Rewrites what a transcript expects with what the server did.

use serde_json::{Map, Value};

use super::{
    matching::{differences, pretty, split_rest},
    parse::Block,
    values::{Values, file_uri},
};

/// A block with a new header and body.
pub struct Rewrite {
    /// Of the old header, from 1.
    pub line: usize,
    /// Number of lines the old block has.
    pub lines: usize,
    pub text: String,
}

impl Rewrite {
    pub fn message(block: &Block, header: String, body: &Value) -> Self {
        Self::new(block, format!("{header}\n{}\n", pretty(body)))
    }

    pub fn disk(block: &Block, name: &str, content: &[u8]) -> Self {
        let plain = std::str::from_utf8(content).ok().filter(|text| {
            let visible = |c: char| c == '\n' || (!c.is_control() && c != '\u{FEFF}');
            (text.is_empty() || text.ends_with('\n')) && !text.contains("\n-- ") && text.chars().all(visible)
        });
        Self::new(
            block,
            match plain.filter(|text| !text.starts_with("-- ")) {
                Some(text) => format!("-- disk {name}\n{text}"),
                None => format!("-- disk {name} escaped\n{}\n", content.escape_ascii()),
            },
        )
    }

    fn new(block: &Block, text: String) -> Self {
        Self { line: block.line, lines: 1 + block.body_lines, text }
    }
}

/// The text of the transcript with these blocks replaced.
pub fn rewritten(text: &str, rewrites: &[Rewrite]) -> String {
    let mut result = String::new();
    let mut lines = text.split_inclusive('\n').enumerate();
    while let Some((index, line)) = lines.next() {
        match rewrites.iter().find(|rewrite| rewrite.line == index + 1) {
            Some(rewrite) => {
                result += &rewrite.text;
                if rewrite.lines > 1 {
                    lines.nth(rewrite.lines - 2);
                }
            }
            None => result += line,
        }
    }
    result
}

/// `actual` in the words of the old expectation: what still matches stays as it was written, `..` and `$...` too.
pub fn updated(old: &Value, actual: &Value, values: &Values) -> Value {
    if values.pattern(old).is_ok_and(|pattern| differences(&pattern, actual, values).is_empty()) {
        return old.clone();
    }
    match (old, actual) {
        (Value::Object(old), Value::Object(actual)) => Value::Object(updated_members(old, actual, values)),
        (Value::Array(old), Value::Array(actual)) => {
            let (old, open) = split_rest(old);
            let known = actual.iter().zip(old).map(|(actual, old)| updated(old, actual, values));
            let more = actual.iter().skip(old.len()).map(|actual| abbreviated(actual, values));
            if open {
                Value::Array(known.chain([Value::from("..")]).collect())
            } else {
                Value::Array(known.chain(more).collect())
            }
        }
        _ => abbreviated(actual, values),
    }
}

fn updated_members(old: &Map<String, Value>, actual: &Map<String, Value>, values: &Values) -> Map<String, Value> {
    let mut members = Map::new();
    for (key, actual) in actual {
        let written = old.iter().find(|(old, _)| values.text(old).as_ref() == Ok(key));
        match written {
            Some((name, old)) => drop(members.insert(name.clone(), updated(old, actual, values))),
            None if old.contains_key("..") => {}
            None => drop(members.insert(abbreviated_text(key, values), abbreviated(actual, values))),
        }
    }
    if let Some(rest) = old.get("..") {
        members.insert("..".to_owned(), rest.clone());
    }
    members
}

fn abbreviated(actual: &Value, values: &Values) -> Value {
    match actual {
        Value::String(text) => Value::String(abbreviated_text(text, values)),
        Value::Array(elements) => elements.iter().map(|element| abbreviated(element, values)).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(key, value)| (abbreviated_text(key, values), abbreviated(value, values)))
            .collect::<Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

fn abbreviated_text(text: &str, values: &Values) -> String {
    text.replace(&file_uri(&values.root), "$ROOT").replace(&*values.root.to_string_lossy(), "$DIR")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;

    fn update(old: Value, actual: Value) -> Value {
        updated(&old, &actual, &Values::new(Path::new("/tmp/r")))
    }

    #[test]
    fn what_still_matches_stays_as_it_was_written() {
        let hash = blake3::hash(b"x").to_hex().to_string();
        assert_eq!(
            update(
                json!({"hash": "$HASH(x)", "n": 1, "message": "..", "list": [1, ".."], "..": ".."}),
                json!({"hash": hash, "n": 2, "message": "m", "list": [3, 4], "more": 5}),
            ),
            json!({"hash": "$HASH(x)", "n": 2, "message": "..", "list": [3, ".."], "..": ".."})
        );
    }

    #[test]
    fn what_is_new_is_added_and_what_is_gone_is_dropped() {
        assert_eq!(
            update(json!({"gone": 1, "a": [1]}), json!({"a": [1, "file:///tmp/r/x"], "b": "/tmp/r/y"})),
            json!({"a": [1, "$ROOT/x"], "b": "$DIR/y"})
        );
    }

    #[test]
    fn only_the_rewritten_blocks_change() {
        let rewrites = [
            Rewrite { line: 2, lines: 1, text: "B\n".into() },
            Rewrite { line: 4, lines: 2, text: "D\nD\nD\n".into() },
        ];
        assert_eq!(rewritten("a\nb\nc\nd\ne\nf", &rewrites), "a\nB\nc\nD\nD\nD\nf");
    }
}
