//! What a handler of a `ploke/*` request is.

use std::{fmt, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::session::Session;
use crate::{CancelToken, protocol::FileChange};

/// A `ploke/*` request: its params are decoded as typed, `run` works on a blocking thread.
pub(crate) trait Method {
    const NAME: &'static str;
    type Params: DeserializeOwned;
    type Result: Serialize;

    fn run(call: &Call, params: Self::Params) -> Result<Reply<Self::Result>, RpcError>;
}

/// One request in flight.
pub(crate) struct Call {
    pub session: Arc<Session>,
    pub id: RequestId,
    pub cancel: CancelToken,
}

/// What a handler answers.
pub(crate) struct Reply<R> {
    pub result: R,
    /// Changes the request made: queued as `ploke/fileChanged` right before the response.
    pub changes: Vec<FileChange>,
}

impl<R> From<R> for Reply<R> {
    fn from(result: R) -> Self {
        Self { result, changes: Vec::new() }
    }
}

/// Id of a request of this connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(untagged)]
pub(crate) enum RequestId {
    Number(i64),
    String(String),
    Null,
}

/// The error member of a response.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct RpcError {
    pub code: i64,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

/// The error codes of JSON-RPC and LSP that this server uses.
pub(crate) mod code {
    pub const PARSE_ERROR: i64 = -32700;
    pub const INVALID_REQUEST: i64 = -32600;
    pub const METHOD_NOT_FOUND: i64 = -32601;
    pub const INVALID_PARAMS: i64 = -32602;
    pub const INTERNAL_ERROR: i64 = -32603;
    pub const NOT_INITIALIZED: i64 = -32002;
    pub const REQUEST_CANCELLED: i64 = -32800;
}

impl RpcError {
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    pub fn parse_error(message: impl Into<String>) -> Self {
        Self::new(code::PARSE_ERROR, message)
    }

    pub fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(code::INVALID_REQUEST, message)
    }

    pub fn method_not_found(method: &str) -> Self {
        Self::new(code::METHOD_NOT_FOUND, format!("unknown method {method}"))
    }

    pub fn invalid_params(message: impl Into<String>) -> Self {
        Self::new(code::INVALID_PARAMS, message)
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(code::INTERNAL_ERROR, message)
    }

    pub fn not_initialized() -> Self {
        Self::new(code::NOT_INITIALIZED, "the server has not been initialized")
    }

    pub fn cancelled() -> Self {
        Self::new(code::REQUEST_CANCELLED, "cancelled")
    }
}

impl fmt::Display for RequestId {
    /// For logs: a long id is cut.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::String(text) => write!(f, "{:.64?}", text),
            Self::Null => f.write_str("null"),
        }
    }
}
