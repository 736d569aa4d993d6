//! The way of a message: frames in, requests on worker threads, one ordered queue out.
//!
//! The workers of a session are all alike and take turns. One of them reads: it cuts what has come into messages,
//! answers at once what it can, and puts requests in a queue. Then it carries them out, each from its params to its
//! encoded response, writes the answers, and reads on: a short request never changes hands, since waking another thread
//! takes longer. When a request takes long, others go on with reading and with what waits; see `in_flight`.
//!
//! Everything for the client stands in one queue. Only workers, and the one thread that writes what others have put
//! there, ever wait for the client, and no more is read while too much waits; so whatever has begun can always end.

mod client_process;
mod dispatch;
#[cfg(all(test, unix))]
mod editor_tests;
mod envelope;
mod frames;
mod in_flight;
mod lsp;
mod outbox;
mod reader;
#[cfg(all(test, unix))]
mod test_client;
#[cfg(test)]
#[cfg_attr(not(unix), allow(dead_code))]
mod test_methods;
#[cfg(all(test, unix))]
mod tests;

use std::{
    io::{self, Read, Write},
    num::NonZero,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use tokio::runtime;

pub(crate) use outbox::Outbox;

use super::{
    Connection, EditorPatience, ServerOptions,
    metrics::Metrics,
    routes::{ROUTES, Route},
};
use dispatch::Dispatch;
use lsp::Lsp;
use reader::Reader;

/// What the server can do and how much of it at a time.
pub(super) struct Setup {
    routes: &'static [Route],
    limits: in_flight::Limits,
    /// Bytes for the client beyond which no request is started.
    outbox_bytes: usize,
    /// After `exit`: how long the client may take nothing before what is queued for it is given up.
    patience: Duration,
    editor_patience: EditorPatience,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            routes: ROUTES,
            limits: in_flight::Limits { running: 256, short: cores().max(2), waiting_bytes: 64 * 1024 * 1024 },
            outbox_bytes: 64 * 1024 * 1024,
            patience: Duration::from_secs(2),
            editor_patience: EditorPatience::default(),
        }
    }
}

/// Why a session ends.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    /// The client said so.
    Exit,
    /// No more will come: the input has ended or the client's process has died.
    InputEnded,
    /// The framing can not be followed any more.
    Broken,
}

/// Serves one client; see [`serve`](super::serve).
pub(super) fn run(
    input: impl Read + Send + 'static,
    output: impl Write + Send + 'static,
    options: ServerOptions,
    setup: Setup,
) -> u8 {
    let threads = Threads::start(input, output, options, setup);
    threads.map(Threads::wait_for_the_end).unwrap_or_else(|error| {
        tracing::error!(%error, "the server could not start");
        1
    })
}

struct Threads {
    dispatch: Arc<Dispatch>,
    runtime: runtime::Runtime,
    ended: mpsc::Receiver<End>,
    /// Disconnected when the writer has ended.
    writing: mpsc::Receiver<()>,
    patience: Duration,
}

impl Threads {
    fn start(
        input: impl Read + Send + 'static,
        output: impl Write + Send + 'static,
        options: ServerOptions,
        setup: Setup,
    ) -> io::Result<Self> {
        let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let outbox = Arc::new(Outbox::new(setup.outbox_bytes));
        let names = || setup.routes.iter().map(|route| route.name);
        let metrics = Arc::new(Metrics::new(names().chain(["initialize", "shutdown"])));
        let max_message_bytes = options.max_message_bytes();
        let handle = runtime.handle().clone();
        let lsp = Lsp::new(handle.clone(), options, names().collect(), outbox.clone());
        let (session_ends, ended) = mpsc::channel();
        let reader = Reader::new(input, max_message_bytes, setup.routes, session_ends);
        let connection = Connection { outbox, metrics, runtime: handle, editor_patience: setup.editor_patience };
        let dispatch = Arc::new(Dispatch::new(setup.limits, reader, lsp, connection));

        let (writing_ends, writing) = mpsc::channel::<()>();
        let writer = dispatch.clone();
        spawn("ploke-writer", move || {
            writer.write_to(output);
            drop(writing_ends);
        })?;
        dispatch.start()?;
        Ok(Self { dispatch, runtime, ended, writing, patience: setup.patience })
    }

    fn wait_for_the_end(self) -> u8 {
        let end = self.ended.recv().unwrap_or(End::Broken);
        tracing::info!(?end, "the session ends");
        match end {
            End::Exit => self.dispatch.abandon(),
            End::InputEnded | End::Broken => self.dispatch.close(),
        }
        self.dispatch.wait_until_answered();
        self.dispatch.connection.outbox.close();
        match end {
            End::Exit => self.wait_while_client_reads(),
            // Only the end of the writer can be received.
            End::InputEnded | End::Broken => drop(self.writing.recv()),
        }
        if let Some(session) = self.dispatch.lsp.agreed().session() {
            session.end();
        }
        self.runtime.shutdown_background();
        if end != End::Broken && self.dispatch.is_shut_down() { 0 } else { 1 }
    }

    fn wait_while_client_reads(&self) {
        let outbox = &self.dispatch.connection.outbox;
        let mut taken = outbox.bytes_taken();
        while self.writing.recv_timeout(self.patience) == Err(RecvTimeoutError::Timeout) {
            let now = outbox.bytes_taken();
            if now == taken {
                tracing::warn!("the client does not read: unsent messages are dropped");
                return;
            }
            taken = now;
        }
    }
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
}

/// Reads frames to the end, beside a naive reader of well-formed ones.
#[cfg(fuzzing)]
pub(crate) fn read_all_frames(bytes: &[u8]) {
    const LIMIT: u64 = 1 << 16;
    let mut frames = frames::FrameReader::new(bytes, LIMIT);
    let mut naive = bytes;
    loop {
        match frames.next() {
            frames::Frame::Body(body) => {
                assert!(body.len() as u64 <= LIMIT);
                let end = naive.windows(4).position(|window| window == b"\r\n\r\n").expect("a header's end") + 4;
                assert_eq!(&naive[end..end + body.len()], body);
                naive = &naive[end + body.len()..];
            }
            frames::Frame::TooLong { bytes } => {
                assert!(bytes > LIMIT);
                let end = naive.windows(4).position(|window| window == b"\r\n\r\n").expect("a header's end") + 4;
                naive = &naive[end..][usize::try_from(bytes).unwrap_or(usize::MAX).min(naive.len() - end)..];
            }
            frames::Frame::Broken(_) | frames::Frame::End => return,
        }
    }
}

#[cfg(fuzzing)]
pub(crate) fn parse_envelope(body: &[u8]) {
    let _ = envelope::parse(body.to_vec());
}
