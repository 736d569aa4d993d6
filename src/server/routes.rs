//! Which handler answers which method, and how params become values and results become responses.

use std::{
    io::Write,
    panic::{AssertUnwindSafe, catch_unwind},
};

use serde_json::json;

use super::{
    apply_edits::ApplyEdits,
    decode::decode_params,
    message::Message,
    method::{Call, Encode, Method, Reply, RequestId, RpcError},
    scan::Scan,
    snippets::Snippets,
    status::Status,
    undo::Undo,
};
#[cfg(feature = "watcher")]
use super::{changes::Changes, sync::Sync};
use crate::protocol::{FileChange, file_changed};

/// The `ploke/*` requests; a new one is one line.
pub(crate) const ROUTES: &[Route] = &[
    Route::to::<Snippets>(),
    Route::to::<Scan>(),
    Route::to::<ApplyEdits>(),
    Route::to::<Undo>(),
    #[cfg(feature = "watcher")]
    Route::to::<Sync>(),
    #[cfg(feature = "watcher")]
    Route::to::<Changes>(),
    Route::to::<Status>(),
];

/// Notifications the server sends of its own.
pub(crate) const SENT_NOTIFICATIONS: &[&str] = &[file_changed::METHOD];

/// Notifications of LSP that tower-lsp handles.
pub(crate) const LSP_NOTIFICATIONS: &[&str] =
    &["initialized", "$/setTrace", "workspace/didChangeWatchedFiles", "workspace/didChangeWorkspaceFolders"];

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
    pub response: Result<Message, RpcError>,
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
    let reply = decode_params(params.unwrap_or("{}")).and_then(|params| M::run(call, params));
    match reply {
        Ok(Reply { result, changes }) => {
            // The changes have been made and must be told, whatever happens to the result.
            let response = catch_unwind(AssertUnwindSafe(|| encode_result(&call.id, result)))
                .unwrap_or_else(|_| Err(RpcError::internal(format!("{}: encoding the result panicked", M::NAME))));
            Answer { changes, response }
        }
        Err(error) => error.into(),
    }
}

pub(crate) fn encode_result(id: &RequestId, result: impl Encode) -> Result<Message, RpcError> {
    let encode = || {
        let mut begin = br#"{"jsonrpc":"2.0","id":"#.to_vec();
        serde_json::to_writer(&mut begin, id)?;
        begin.extend(br#","result":"#);
        let mut message = Message::from(begin);
        result.encode(&mut message)?;
        message.write_all(b"}").map_err(serde_json::Error::io)?;
        Ok(message)
    };
    encode().map_err(|error: serde_json::Error| RpcError::internal(format!("the result could not be encoded: {error}")))
}

pub(crate) fn encode_error(id: &RequestId, error: &RpcError) -> Vec<u8> {
    json!({ "jsonrpc": "2.0", "id": id, "error": error }).to_string().into_bytes()
}
