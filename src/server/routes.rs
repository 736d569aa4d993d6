//! Which handler answers which method, and how params become values and results become responses.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::method::{Call, Method, Reply, RequestId, RpcError};
use crate::protocol::{FileChange, file_changed};

/// The `ploke/*` requests; a new one is one line.
pub(crate) const ROUTES: &[Route] = &[];

/// Notifications the server sends of its own.
pub(crate) const SENT_NOTIFICATIONS: &[&str] = &[file_changed::METHOD];

/// Notifications of LSP that mean something here; all others are ignored.
pub(crate) const LSP_NOTIFICATIONS: &[&str] = &[
    "initialized",
    "$/setTrace",
    "textDocument/didOpen",
    "textDocument/didChange",
    "textDocument/didSave",
    "textDocument/didClose",
    "workspace/didChangeWorkspaceFolders",
];

/// One request method and how it is answered.
pub(crate) struct Route {
    pub name: &'static str,
    /// Decodes the params given as JSON, carries the request out and encodes what it answers.
    pub answer: fn(&Call, Option<&str>) -> Answer,
}

/// What a request has led to.
pub(crate) struct Answer {
    /// Changes it made, also when it is answered with an error in the end.
    pub changes: Vec<FileChange>,
    /// The whole response message.
    pub response: Result<Vec<u8>, RpcError>,
}

impl Route {
    pub const fn to<M: Method>() -> Self {
        Self { name: M::NAME, answer: answer::<M> }
    }
}

impl From<RpcError> for Answer {
    fn from(error: RpcError) -> Self {
        Self { changes: Vec::new(), response: Err(error) }
    }
}

fn answer<M: Method>(call: &Call, params: Option<&str>) -> Answer {
    let reply = decode_object(params.unwrap_or("{}")).and_then(|params| M::run(call, params));
    match reply {
        Ok(Reply { result, changes }) => {
            // The changes have been made and must be told, whatever happens to the result.
            let response = catch_unwind(AssertUnwindSafe(|| encode_result(&call.id, &result)))
                .unwrap_or_else(|_| Err(RpcError::internal(format!("{}: encoding the result panicked", M::NAME))));
            Answer { changes, response }
        }
        Err(error) => error.into(),
    }
}

/// Decodes params that must be an object; `null` stands for an empty one.
fn decode_object<T: DeserializeOwned>(json: &str) -> Result<T, RpcError> {
    match json.as_bytes() {
        b"null" => decode("{}"),
        [b'{', ..] => decode(json),
        // Most types would also read an array, as their fields in order.
        _ => Err(RpcError::invalid_params("params: must be an object")),
    }
}

/// Decodes params; the error names the JSON path of the field that is wrong.
pub(crate) fn decode<'de, T: Deserialize<'de>>(json: &'de str) -> Result<T, RpcError> {
    // Keeping track of the path costs time, so it is done only when it is known that there is something wrong.
    serde_json::from_str(json).or_else(|_| {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
            let (line, column) = (error.inner().line(), error.inner().column());
            let message = error.inner().to_string();
            let place = format!(" at line {line} column {column}");
            invalid_field(&error.path().to_string(), message.strip_suffix(&place).unwrap_or(&message))
        })
    })
}

/// Decodes a part of params that stands at `path`; the error names the JSON path of the field that is wrong.
pub(crate) fn decode_part<T: DeserializeOwned>(path: &str, value: &Value) -> Result<T, RpcError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let inner = error.path().to_string();
        let path = if inner == "." { path.to_owned() } else { format!("{path}.{inner}") };
        invalid_field(&path, &error.inner().to_string())
    })
}

fn invalid_field(path: &str, message: &str) -> RpcError {
    let path = if path == "." { "params" } else { path };
    RpcError::invalid_params(format!("{path}: {message}"))
}

pub(crate) fn encode_result(id: &RequestId, result: &impl Serialize) -> Result<Vec<u8>, RpcError> {
    #[derive(Serialize)]
    struct Response<'a, R> {
        jsonrpc: &'static str,
        id: &'a RequestId,
        result: &'a R,
    }
    serde_json::to_vec(&Response { jsonrpc: "2.0", id, result })
        .map_err(|error| RpcError::internal(format!("the result could not be encoded: {error}")))
}

pub(crate) fn encode_error(id: &RequestId, error: &RpcError) -> Vec<u8> {
    json!({ "jsonrpc": "2.0", "id": id, "error": error }).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Params {
        document_changes: Option<Vec<Change>>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Change {
        edits: Vec<u32>,
    }

    fn message(json: &str) -> String {
        decode_object::<Params>(json).unwrap_err().message
    }

    #[test]
    fn a_wrong_field_is_named_by_its_path() {
        assert_eq!(
            message(r#"{"documentChanges":[{"edits":[1]},{"edits":[1,true]}]}"#),
            "documentChanges[1].edits[1]: invalid type: boolean `true`, expected u32"
        );
        assert_eq!(message(r#"{"documentChanges":[{}]}"#), "documentChanges[0]: missing field `edits`");
        assert!(message(r#"{"dryrun":true}"#).starts_with("dryrun: unknown field `dryrun`"));
        assert!(message(r#"{"documentChanges":[],"documentChanges":[]}"#).contains("duplicate field"));
    }

    #[test]
    fn params_that_are_no_object_are_refused() {
        for json in ["[]", "[[{\"edits\":[]}]]", "1", "\"x\"", "true"] {
            assert_eq!(message(json), "params: must be an object", "{json}");
        }
    }

    #[test]
    fn null_stands_for_an_empty_object() {
        assert_eq!(decode_object::<Params>("null").unwrap(), Params { document_changes: None });
    }

    #[test]
    fn a_part_is_named_from_the_beginning() {
        let error = decode_part::<Params>("options", &json!({ "documentChanges": [{ "edits": 1 }] })).unwrap_err();
        assert!(error.message.starts_with("options.documentChanges[0].edits: "), "{}", error.message);
        let error = decode_part::<Params>("options", &json!(1)).unwrap_err();
        assert!(error.message.starts_with("options: "), "{}", error.message);
    }

    #[test]
    fn params_nested_10_000_deep_are_an_error_and_no_crash() {
        let deep = "[".repeat(10_000) + &"]".repeat(10_000);
        assert!(decode::<Value>(&deep).unwrap_err().message.contains("recursion limit"));
        assert!(decode_object::<Params>(&format!(r#"{{"documentChanges":{deep}}}"#)).is_err());
    }
}
