//! tower-lsp's service, called from threads.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use serde_json::Value;
use tokio::runtime;
use tower::Service;
use tower_lsp::{
    ExitedError, LspService,
    jsonrpc::{Request, Response},
};

use super::outbox::Outbox;
use crate::server::{
    ServerOptions,
    decode::decode,
    lifecycle::{Agreed, Lifecycle},
    method::RpcError,
};

/// What LSP itself defines, as tower-lsp does it; its transport, its cancelling and its ids are not used.
pub(super) struct Lsp {
    service: Mutex<LspService<Lifecycle>>,
    responses: Mutex<Box<dyn Sink<Response, Error = ExitedError> + Send + Unpin>>,
    runtime: runtime::Handle,
    agreed: Arc<Agreed>,
}

impl Lsp {
    /// The service; what it has for the client goes to `outbox`.
    pub fn new(
        runtime: runtime::Handle,
        options: ServerOptions,
        methods: Vec<&'static str>,
        outbox: Arc<Outbox>,
    ) -> Self {
        let agreed = Arc::new(Agreed::default());
        let lifecycle = |client| Lifecycle::new(client, options, methods, agreed.clone());
        let (service, socket) = LspService::build(lifecycle).custom_method("$/setTrace", Lifecycle::set_trace).finish();
        let (messages, responses) = socket.split();
        runtime.spawn(forward(messages, outbox));
        Self { service: Mutex::new(service), responses: Mutex::new(Box::new(responses)), runtime, agreed }
    }

    pub fn agreed(&self) -> &Agreed {
        &self.agreed
    }

    pub fn runtime(&self) -> &runtime::Handle {
        &self.runtime
    }

    /// Carries out a request and waits for its result; a panic is an internal error.
    pub fn request(&self, method: &'static str, params: Option<Value>) -> Result<Value, RpcError> {
        let mut request = Request::build(method).id(0);
        if let Some(params) = params {
            request = request.params(params);
        }
        let response = self.call(method, request.finish())?;
        let response = response.ok_or_else(|| RpcError::internal(format!("{method}: there was no response")))?;
        response.into_parts().1.map_err(RpcError::from)
    }

    /// Handles a notification to its end; there is nobody to tell a failure but the log.
    pub fn notify(&self, method: &str, params: Option<&str>) {
        let mut request = Request::build(method.to_owned());
        match params.map(decode::<Value>).transpose() {
            Ok(Some(params)) => request = request.params(params),
            Ok(None) => {}
            Err(error) => return tracing::warn!(method, error = error.message, "ignored a notification"),
        }
        if let Err(error) = self.call(method, request.finish()) {
            tracing::error!(method, error = error.message, "a notification was not handled");
        }
    }

    /// Hands the client's answer to whoever has asked it.
    pub fn answered_by_client(&self, response: &str) {
        let response: Response = match response.parse() {
            Ok(response) => response,
            Err(error) => return tracing::warn!(%error, "ignored a malformed response"),
        };
        let mut responses = self.responses.lock().unwrap_or_else(PoisonError::into_inner);
        // The sink panics if whoever has asked does not wait any more.
        let sent = catch_unwind(AssertUnwindSafe(|| self.runtime.block_on(responses.send(response))));
        if !matches!(sent, Ok(Ok(()))) {
            tracing::warn!("nobody waits for a response of the client");
        }
    }

    fn call(&self, method: &str, request: Request) -> Result<Option<Response>, RpcError> {
        let failed = |what: &str| RpcError::internal(format!("{method}: {what}"));
        let handled = catch_unwind(AssertUnwindSafe(|| {
            // The service is always ready: it queues nothing, and `exit` is never sent to it.
            let future = self.service.lock().unwrap_or_else(PoisonError::into_inner).call(request);
            self.runtime.block_on(future)
        }));
        match handled {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(exited)) => Err(failed(&exited.to_string())),
            Err(_) => {
                tracing::error!(method, "the handler panicked");
                Err(failed("the handler panicked"))
            }
        }
    }
}

/// Queues what the service has for the client. A message that finds no room is dropped: a client that reads nothing
/// misses log messages rather than stopping the server.
async fn forward(mut messages: impl Stream<Item = Request> + Unpin, outbox: Arc<Outbox>) {
    while let Some(message) = messages.next().await {
        if outbox.try_push(message.to_string().into_bytes()).is_err() {
            tracing::warn!(method = message.method(), "the client does not read, a message for it is dropped");
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use serde_json::json;

    use super::*;

    #[test]
    fn messages_for_a_client_that_does_not_read_are_dropped() {
        let outbox = Arc::new(Outbox::new(100));
        let message = |n: u32| Request::build("window/logMessage").params(json!({ "type": 2, "message": n })).finish();
        tokio_test::block_on(forward(stream::iter((0..1000).map(message)), outbox.clone()));
        let written = crate::server::transport::outbox::tests::drain(&outbox);
        assert!(written.contains(r#""message":0"#) && written.contains("window/logMessage"), "{written}");
        assert!(!written.contains(r#""message":9"#), "{written}");
    }
}
