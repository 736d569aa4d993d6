//! From the params of a request to their types.

mod strict;

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use self::strict::Strict;
use super::method::RpcError;

/// Decodes the params of a request; `null` stands for an empty object.
///
/// # Errors
/// `INVALID_PARAMS`, with the JSON path of the field that is wrong.
pub(crate) fn decode_params<T: DeserializeOwned>(json: &str) -> Result<T, RpcError> {
    match json.as_bytes() {
        b"null" => decode("{}"),
        [b'{', ..] => decode(json),
        _ => Err(RpcError::invalid_params("params must be an object")),
    }
}

/// Decodes JSON; the error names the path of the field that is wrong.
pub(crate) fn decode<T: DeserializeOwned>(json: &str) -> Result<T, RpcError> {
    // Keeping track of the path costs time, so it is done only when it is known that there is something wrong.
    read(json).or_else(|_| {
        let mut json = serde_json::Deserializer::from_str(json);
        let value = serde_path_to_error::deserialize(Strict(&mut json))
            .map_err(|error| invalid(&json_path(error.path()), error.inner()))?;
        json.end().map_err(|error| invalid("", &error))?;
        Ok(value)
    })
}

fn read<T: DeserializeOwned>(json: &str) -> serde_json::Result<T> {
    let mut json = serde_json::Deserializer::from_str(json);
    let value = T::deserialize(Strict(&mut json))?;
    json.end()?;
    Ok(value)
}

/// Decodes a part of params that stands at `path`; the error names the JSON path of the field that is wrong.
pub(crate) fn decode_part<T: DeserializeOwned>(path: &str, value: &Value) -> Result<T, RpcError> {
    serde_path_to_error::deserialize(Strict(value)).map_err(|error| {
        let inner = json_path(error.path());
        let separator = if inner.is_empty() || inner.starts_with('[') { "" } else { "." };
        invalid(&format!("{path}{separator}{inner}"), error.inner())
    })
}

fn invalid(path: &str, error: &serde_json::Error) -> RpcError {
    let separator = if path.is_empty() { "" } else { ": " };
    RpcError::invalid_params(format!("{path}{separator}{}", reason(error)))
}

/// A path such as `documentChanges[1].expected["file:///a"].contentHash`.
fn json_path(path: &Path) -> String {
    let mut text = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => text += &format!("[{index}]"),
            Segment::Map { key } if key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') => {
                if !text.is_empty() {
                    text.push('.');
                }
                text += key;
            }
            Segment::Map { key } => text += &format!("[{key:?}]"),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    text
}

/// What is wrong, without the line and column, which count within the params and help nobody.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    in_words_of_json(text.strip_suffix(&place).unwrap_or(&text))
}

/// Serde's message about a value of another type, or about a number that is too large or too small, in the words of JSON
/// in place of those of Rust.
fn in_words_of_json(text: &str) -> String {
    let Some((problem, expected)) = text.rsplit_once(", expected ") else { return text.to_owned() };
    let problem = match problem {
        "invalid type: map" => "invalid type: object",
        "invalid type: sequence" => "invalid type: list",
        other => other,
    };
    let expected = match expected {
        "a map" => "an object",
        "a sequence" => "a list",
        "u32" => "an integer from 0 to 4294967295",
        "i32" => "an integer from -2147483648 to 2147483647",
        "u64" => "an integer from 0 on",
        name if name.starts_with("struct ") => "an object",
        other => other,
    };
    format!("{problem}, expected {expected}")
}

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
