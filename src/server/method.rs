//! What a handler of a `ploke/*` request is.

use std::{fmt, sync::Arc, time::Instant};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{message::Message, session::Session};
use crate::{CancelToken, engine::OpenDocuments, protocol::FileChange};

/// A `ploke/*` request: its params are decoded as typed, `run` works on a blocking thread.
pub(crate) trait Method {
    const NAME: &'static str;
    type Params: DeserializeOwned;
    type Result: Encode;

    fn run(call: &Call, params: Self::Params) -> Result<Reply<Self::Result>, RpcError>;
}

/// What becomes JSON: all that serde knows how to, and what is JSON in parts already.
pub(crate) trait Encode {
    /// Appends the JSON text.
    fn encode(self, message: &mut Message) -> serde_json::Result<()>;
}

impl<T: Serialize> Encode for T {
    fn encode(self, message: &mut Message) -> serde_json::Result<()> {
        serde_json::to_writer(message, &self)
    }
}

/// One request in flight.
pub(crate) struct Call {
    pub session: Arc<Session>,
    /// As they were when the request was received.
    pub documents: Arc<OpenDocuments>,
    pub id: RequestId,
    pub received: Instant,
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

impl fmt::Display for RequestId {
    /// For logs: a long id is cut.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::String(text) => write!(f, "{:?}", text.chars().take(64).collect::<String>()),
            Self::Null => f.write_str("null"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_made_long_is_cut_in_logs_and_messages() {
        let long = "é".repeat(1_000_000);
        assert_eq!(RequestId::String(long.clone()).to_string().chars().count(), 66);
        assert!(RpcError::method_not_found(&long).message.chars().count() < 120);
    }
}
