//! The part of LSP that is tower-lsp's: `initialize`, `shutdown` and the notifications of an editor.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use lsp_types::{
    ClientCapabilities, DidChangeWatchedFilesParams, DidChangeWorkspaceFoldersParams, InitializeParams,
    InitializeResult, InitializedParams, MessageType, OneOf, PositionEncodingKind, SaveOptions, ServerCapabilities,
    ServerInfo, SetTraceParams, TextDocumentSyncCapability, TextDocumentSyncKind, TextDocumentSyncOptions,
    TextDocumentSyncSaveOptions, TraceValue, WorkspaceFoldersServerCapabilities, WorkspaceServerCapabilities,
};
use serde_json::json;
use tower_lsp::{Client, LanguageServer, async_trait, jsonrpc};

use super::{
    ServerOptions,
    method::RpcError,
    routes::SENT_NOTIFICATIONS,
    session::{Notice, Session},
};
use crate::{
    position::PositionEncoding,
    protocol::initialize::{PROTOCOL, PlokeCapabilities},
};

/// The language server behind tower-lsp's service.
///
/// Its methods run on the thread that reads the client's messages, one after the other.
pub(super) struct Lifecycle {
    client: Client,
    options: ServerOptions,
    /// Names of the `ploke/*` requests.
    methods: Vec<&'static str>,
    agreed: Arc<Agreed>,
}

/// What the client and the server have agreed on.
#[derive(Default)]
pub(super) struct Agreed {
    session: OnceLock<Arc<Session>>,
    trace: AtomicBool,
}

/// The encoding of positions for a client: the best one it offers, and UTF-16 if it offers none.
pub(super) fn negotiate_encoding(client: &ClientCapabilities) -> PositionEncoding {
    let offered = client.general.as_ref().and_then(|general| general.position_encodings.as_deref()).unwrap_or_default();
    let preferred = [PositionEncoding::Utf8, PositionEncoding::Utf16, PositionEncoding::Utf32];
    let best = preferred.into_iter().find(|encoding| offered.contains(&encoding_kind(*encoding)));
    best.unwrap_or(PositionEncoding::Utf16)
}

impl Lifecycle {
    pub fn new(client: Client, options: ServerOptions, methods: Vec<&'static str>, agreed: Arc<Agreed>) -> Self {
        Self { client, options, methods, agreed }
    }

    async fn tell(&self, notices: Vec<Notice>) {
        for notice in notices {
            let (kind, text) = match notice {
                Notice::Problem(text) => (MessageType::WARNING, text),
                Notice::Information(text) => (MessageType::INFO, text),
            };
            self.client.log_message(kind, text).await;
        }
    }

    pub async fn set_trace(&self, params: SetTraceParams) {
        self.agreed.set_trace(params.value);
    }
}

impl Agreed {
    /// The session, from a successful `initialize` on.
    pub fn session(&self) -> Option<&Arc<Session>> {
        self.session.get()
    }

    /// Whether the client wants to be told about each request in `$/logTrace`.
    pub fn traces(&self) -> bool {
        self.trace.load(Relaxed)
    }

    fn set_trace(&self, value: TraceValue) {
        self.trace.store(value != TraceValue::Off, Relaxed);
    }
}

#[async_trait]
impl LanguageServer for Lifecycle {
    async fn initialize(&self, params: InitializeParams) -> jsonrpc::Result<InitializeResult> {
        let session = Session::open(&params, &self.options)?;
        let capabilities = capabilities(session.encoding, &self.methods);
        self.agreed.set_trace(params.trace.unwrap_or_default());
        if self.agreed.session.set(Arc::new(session)).is_err() {
            return Err(RpcError::invalid_request("the server has been initialized already").into());
        }
        let version = Some(env!("CARGO_PKG_VERSION").to_owned());
        let server_info = Some(ServerInfo { name: "ploke-io".to_owned(), version });
        Ok(InitializeResult { capabilities, server_info })
    }

    async fn initialized(&self, _: InitializedParams) {
        if let Some(session) = self.agreed.session() {
            self.tell(session.take_notices()).await;
        }
    }

    async fn shutdown(&self) -> jsonrpc::Result<()> {
        Ok(())
    }

    async fn did_change_workspace_folders(&self, params: DidChangeWorkspaceFoldersParams) {
        let Some(session) = self.agreed.session() else { return };
        self.tell(session.change_roots(&params.event.added, &params.event.removed)).await;
    }

    async fn did_change_watched_files(&self, params: DidChangeWatchedFilesParams) {
        if let Some(session) = self.agreed.session() {
            session.hint_changes(&params.changes);
        }
    }
}

fn capabilities(encoding: PositionEncoding, methods: &[&'static str]) -> ServerCapabilities {
    ServerCapabilities {
        position_encoding: Some(encoding_kind(encoding)),
        text_document_sync: Some(TextDocumentSyncCapability::Options(TextDocumentSyncOptions {
            open_close: Some(true),
            change: Some(TextDocumentSyncKind::INCREMENTAL),
            save: Some(TextDocumentSyncSaveOptions::SaveOptions(SaveOptions { include_text: Some(true) })),
            ..TextDocumentSyncOptions::default()
        })),
        workspace: Some(WorkspaceServerCapabilities {
            workspace_folders: Some(WorkspaceFoldersServerCapabilities {
                supported: Some(true),
                change_notifications: Some(OneOf::Left(true)),
            }),
            file_operations: None,
        }),
        experimental: Some(json!({
            "ploke": PlokeCapabilities {
                protocol: PROTOCOL,
                methods: methods.to_vec(),
                notifications: SENT_NOTIFICATIONS.to_vec(),
                open_buffers: true,
            }
        })),
        ..ServerCapabilities::default()
    }
}

fn encoding_kind(encoding: PositionEncoding) -> PositionEncodingKind {
    match encoding {
        PositionEncoding::Utf8 => PositionEncodingKind::UTF8,
        PositionEncoding::Utf16 => PositionEncodingKind::UTF16,
        PositionEncoding::Utf32 => PositionEncodingKind::UTF32,
    }
}

impl From<RpcError> for jsonrpc::Error {
    fn from(error: RpcError) -> Self {
        Self { code: error.code.into(), message: error.message.into(), data: error.data }
    }
}

impl From<jsonrpc::Error> for RpcError {
    fn from(error: jsonrpc::Error) -> Self {
        Self { code: error.code.code(), message: error.message.into_owned(), data: error.data }
    }
}

#[cfg(test)]
mod tests {
    use lsp_types::GeneralClientCapabilities;

    use super::*;

    fn negotiated(offered: &[PositionEncodingKind]) -> PositionEncoding {
        negotiate_encoding(&ClientCapabilities {
            general: Some(GeneralClientCapabilities {
                position_encodings: Some(offered.to_vec()),
                ..GeneralClientCapabilities::default()
            }),
            ..ClientCapabilities::default()
        })
    }

    #[test]
    fn utf_8_is_preferred_to_utf_16_and_that_to_utf_32() {
        use PositionEncodingKind as Kind;
        assert_eq!(negotiated(&[Kind::UTF32, Kind::UTF16, Kind::UTF8]), PositionEncoding::Utf8);
        assert_eq!(negotiated(&[Kind::UTF32, Kind::UTF16]), PositionEncoding::Utf16);
        assert_eq!(negotiated(&[Kind::UTF32]), PositionEncoding::Utf32);
    }

    #[test]
    fn a_client_that_offers_nothing_known_speaks_utf_16() {
        assert_eq!(negotiate_encoding(&ClientCapabilities::default()), PositionEncoding::Utf16);
        assert_eq!(negotiated(&[]), PositionEncoding::Utf16);
        assert_eq!(negotiated(&[PositionEncodingKind::new("utf-7")]), PositionEncoding::Utf16);
    }
}
