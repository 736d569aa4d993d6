//! The sidecar: JSON-RPC over a pair of byte streams, around one I/O manager.

mod apply_edits;
#[cfg(feature = "watcher")]
mod changes;
mod convert;
mod decode;
mod documents;
mod edit_request;
mod editor;
mod encoded_snippets;
mod errors;
mod file_events;
mod lifecycle;
pub(crate) mod message;
mod method;
pub(crate) mod metrics;
pub(crate) mod routes;
mod scan;
pub(crate) mod session;
mod snippets;
mod status;
#[cfg(feature = "watcher")]
mod sync;
#[cfg(not(fuzzing))]
mod transport;
#[cfg(fuzzing)]
pub(crate) mod transport;
mod undo;
mod unified_diff;

#[cfg(fuzzing)]
pub(crate) use decode::decode_params;
use std::{
    io::{Read, Write},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use crate::protocol::{InitializationOptions, initialize::LogOptions};
use metrics::Metrics;
use tokio::runtime::Handle;
use transport::{Outbox, Setup};

/// Serves one client until it leaves, and returns the exit code of the process.
///
/// The session ends with `exit`, with the end of input, when the client's process dies, or when the framing can no
/// longer be followed. The code is 0 if `shutdown` came before, else 1; broken framing is always 1.
///
/// The thread that reads `input` may still be blocked there when this returns, and so may the one that writes `output`
/// if the client stopped reading: the process is meant to end now.
pub fn serve(input: impl Read + Send + 'static, output: impl Write + Send + 'static, options: ServerOptions) -> u8 {
    transport::run(input, output, options, Setup::default())
}

/// What the server is started with.
#[derive(Default)]
pub struct ServerOptions {
    /// Settings of command line and environment; the client's initializationOptions take precedence.
    pub defaults: InitializationOptions,
    /// Makes logging follow the settings, which are known only after `initialize`.
    pub configure_logging: Option<ConfigureLogging>,
    /// Where sidecars of one user keep what they share, such as locks; without it they do not know of each other.
    pub state_dir: Option<PathBuf>,
}

pub type ConfigureLogging = Box<dyn Fn(&LogOptions) -> Result<(), String> + Send + Sync>;

/// The largest message that is accepted unless the settings say otherwise.
pub(crate) const MAX_MESSAGE_BYTES: u64 = 64 * 1024 * 1024;

impl ServerOptions {
    /// The largest message that is accepted before `initialize` has been answered.
    fn max_message_bytes(&self) -> u64 {
        self.defaults.limits.max_message_bytes.map_or(MAX_MESSAGE_BYTES, |bytes| bytes.get())
    }
}

/// What a session needs of its connection.
#[derive(Clone)]
pub(crate) struct Connection {
    pub outbox: Arc<Outbox>,
    pub metrics: Arc<Metrics>,
    pub runtime: Handle,
    pub editor_patience: EditorPatience,
}

/// How long the client is waited for when it is asked to change a document.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EditorPatience {
    /// Until it answers.
    pub answer: Duration,
    /// After that, until it sends the changed document.
    pub change: Duration,
}

impl Default for EditorPatience {
    fn default() -> Self {
        Self { answer: Duration::from_secs(10), change: Duration::from_secs(1) }
    }
}
