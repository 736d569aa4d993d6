//! What one connection has agreed on: the manager behind it, the position encoding, its settings.

use std::sync::OnceLock;

use lsp_types::{InitializeParams, Url};

use super::{Connection, ServerOptions, lifecycle::negotiate_encoding, method::RpcError, routes::decode_part};
use crate::{manager::IoManagerHandle, position::PositionEncoding, protocol::InitializationOptions};

/// State of one connection from `initialize` on.
pub(crate) struct Session {
    pub manager: IoManagerHandle,
    pub encoding: PositionEncoding,
    settings: InitializationOptions,
    connection: OnceLock<Connection>,
}

impl Session {
    pub fn open(params: &InitializeParams, options: &ServerOptions) -> Result<Self, RpcError> {
        let settings = match &params.initialization_options {
            Some(given) => decode_part("initializationOptions", given)?,
            None => options.defaults.clone(),
        };
        let encoding = negotiate_encoding(&params.capabilities);
        Ok(Self { manager: IoManagerHandle {}, encoding, settings, connection: OnceLock::new() })
    }

    /// Called once, when the answer to `initialize` has been queued: from now on notifications may follow it.
    pub fn connect(&self, connection: Connection) {
        let _ = self.connection.set(connection);
    }

    pub fn change_roots(&self, added: Vec<Url>, removed: Vec<Url>) -> Result<(), RpcError> {
        Ok(())
    }

    pub fn max_message_bytes(&self) -> u64 {
        self.settings.limits.as_ref().and_then(|limits| limits.max_message_bytes).unwrap_or(super::MAX_MESSAGE_BYTES)
    }
}
