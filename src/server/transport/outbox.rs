//! The one queue of everything that goes to the client, and the thread that writes it.

use std::{
    collections::VecDeque,
    io::{self, BufWriter, Write},
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use serde::Serialize;

use crate::protocol::{FileChange, FileChangedParams, file_changed};

/// Messages for the client, written in the order they were queued.
///
/// Pushing never waits, so that nobody is blocked by a client that does not read. What is queued stays bounded all the
/// same because whoever makes messages looks first: no request is started while there is no [room](Self::has_room),
/// nothing more is read after an answer that found none, and events of the watcher are [refused](Self::try_push_changes).
pub(crate) struct Outbox {
    queue: Mutex<Queue>,
    filled: Condvar,
    room: Condvar,
    bound: usize,
    /// Bytes the client has taken.
    taken: AtomicU64,
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<Vec<u8>>,
    /// Bytes of the messages that are queued or being written.
    bytes: usize,
    /// `seq` of the last `ploke/fileChanged`.
    seq: u64,
    /// Nothing more is taken in; what is queued is still written.
    closed: bool,
    /// The client can not be reached any more: everything is dropped.
    gone: bool,
    writer_waits: bool,
}

/// The client does not read fast enough.
#[derive(Debug, PartialEq)]
pub(crate) struct Full;

impl Outbox {
    /// An empty queue that has room until it holds `bound` bytes.
    pub fn new(bound: usize) -> Self {
        Self { queue: Mutex::default(), filled: Condvar::new(), room: Condvar::new(), bound, taken: AtomicU64::new(0) }
    }

    /// Queues one message, given as its JSON text.
    pub fn push(&self, message: Vec<u8>) {
        self.lock().push(message, &self.filled);
    }

    /// Queues a response right behind the notification of the changes that its request has made.
    pub fn push_answer(&self, changes: Vec<FileChange>, response: Vec<u8>) {
        let mut queue = self.lock();
        if !changes.is_empty() {
            queue.push_changes(changes, false, &self.filled);
        }
        queue.push(response, &self.filled);
    }

    /// Queues one message unless there is no room.
    pub fn try_push(&self, message: Vec<u8>) -> Result<(), Full> {
        let mut queue = self.lock();
        if queue.bytes >= self.bound {
            return Err(Full);
        }
        queue.push(message, &self.filled);
        Ok(())
    }

    /// Queues a `ploke/fileChanged` unless there is no room; the changes can be told later, or as a `rescan`.
    pub fn try_push_changes(&self, changes: Vec<FileChange>, rescan: bool) -> Result<(), Full> {
        let mut queue = self.lock();
        if queue.bytes >= self.bound {
            return Err(Full);
        }
        queue.push_changes(changes, rescan, &self.filled);
        Ok(())
    }

    pub fn has_room(&self) -> bool {
        self.lock().bytes < self.bound
    }

    pub fn wait_for_room(&self) {
        let mut queue = self.lock();
        while queue.bytes >= self.bound && !queue.closed {
            queue = self.room.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// `seq` of the last `ploke/fileChanged`, 0 before the first.
    #[cfg(test)]
    pub fn last_seq(&self) -> u64 {
        self.lock().seq
    }

    /// Takes in nothing more; the writer ends when it has written what is queued.
    pub fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
        self.room.notify_all();
    }

    /// Bytes that the client has taken so far.
    pub fn bytes_taken(&self) -> u64 {
        self.taken.load(Relaxed)
    }

    /// Writes what is queued until the queue is closed; `room_again` is called whenever it has room after it had none.
    ///
    /// A failed write means that the client has gone: from then on everything is dropped.
    pub fn write_to(&self, output: impl Write, room_again: impl Fn()) {
        let mut output = BufWriter::with_capacity(CHUNK, Counted { output, taken: &self.taken });
        while let Some(batch) = self.next_batch() {
            let result = batch.iter().try_for_each(|message| write_frame(&mut output, message));
            if let Err(error) = result.and_then(|()| output.flush()) {
                tracing::warn!(%error, "the client can not be written to");
                self.drop_all();
                room_again();
                return;
            }
            if self.was_written(batch.iter().map(Vec::len).sum()) {
                room_again();
            }
        }
    }

    fn next_batch(&self) -> Option<Vec<Vec<u8>>> {
        let mut queue = self.lock();
        while queue.messages.is_empty() {
            if queue.closed {
                return None;
            }
            queue.writer_waits = true;
            queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.writer_waits = false;
        }
        let mut bytes = 0;
        let fitting = queue.messages.iter().take_while(|message| {
            let begins_in_time = bytes < MAX_BATCH_BYTES;
            bytes += message.len();
            begins_in_time
        });
        let count = fitting.count();
        Some(queue.messages.drain(..count).collect())
    }

    /// Frees the room of what was written; whether there is room again.
    fn was_written(&self, bytes: usize) -> bool {
        let mut queue = self.lock();
        let was_full = queue.bytes >= self.bound;
        queue.bytes -= bytes;
        let room_again = was_full && queue.bytes < self.bound;
        if room_again {
            self.room.notify_all();
        }
        room_again
    }

    fn drop_all(&self) {
        let mut queue = self.lock();
        queue.gone = true;
        queue.bytes = 0;
        queue.messages = VecDeque::new();
        self.room.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes after which the writer looks at the queue again, so that room is noticed while much is written.
const MAX_BATCH_BYTES: usize = 256 * 1024;

/// Bytes that go into one system call; a pipe holds as many.
const CHUNK: usize = 64 * 1024;

impl Queue {
    fn push(&mut self, message: Vec<u8>, filled: &Condvar) {
        if self.closed || self.gone {
            return;
        }
        self.bytes += message.len();
        self.messages.push_back(message);
        if self.writer_waits {
            filled.notify_one();
        }
    }

    // Encoded with the lock held, because only then it is known which number it has.
    fn push_changes(&mut self, changes: Vec<FileChange>, rescan: bool, filled: &Condvar) {
        let params = FileChangedParams { seq: self.seq + 1, changes, rescan };
        match encode_notification(file_changed::METHOD, &params) {
            Ok(message) => {
                self.seq += 1;
                self.push(message, filled);
            }
            Err(error) => tracing::error!(%error, "changes could not be encoded and are lost"),
        }
    }
}

pub(crate) fn encode_notification(method: &str, params: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    #[derive(Serialize)]
    struct Notification<'a, P> {
        jsonrpc: &'static str,
        method: &'a str,
        params: &'a P,
    }
    serde_json::to_vec(&Notification { jsonrpc: "2.0", method, params })
}

fn write_frame(output: &mut impl Write, message: &[u8]) -> io::Result<()> {
    write!(output, "Content-Length: {}\r\n\r\n", message.len())?;
    output.write_all(message)
}

/// Counts what was taken, chunk by chunk, so that one can see whether the client still reads.
struct Counted<'a, W> {
    output: W,
    taken: &'a AtomicU64,
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.output.write(&bytes[..bytes.len().min(CHUNK)])?;
        self.taken.fetch_add(written as u64, Relaxed);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

#[cfg(test)]
mod tests;
