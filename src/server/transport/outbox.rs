//! The one queue of everything that goes to the client, and how it is written.

use std::{
    collections::VecDeque,
    io::{self, BufWriter, Write},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use serde::Serialize;

use crate::{
    protocol::{FileChange, FileChangedParams, file_changed},
    server::message::Message,
};

/// Messages for the client, written in the order they were queued.
///
/// Pushing never waits, so that nobody is blocked by a client that does not read. What is queued stays bounded all the
/// same because whoever makes messages looks first: no request is started while there is no [room](Self::has_room),
/// nothing more is read after an answer that found none, and events of the watcher are [refused](Self::try_push_changes).
///
/// A thread that may wait for the client writes what it has pushed [itself](Self::write_queued); what the others push is
/// written by the thread that [has brought the output](Self::write_to).
pub(crate) struct Outbox {
    queue: Mutex<Queue>,
    /// For the thread that has brought the output: something is queued that nobody else writes, or there is an end.
    unwritten: Condvar,
    room: Condvar,
    bound: usize,
    /// Bytes the client has taken.
    taken: Arc<AtomicU64>,
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<Message>,
    /// Bytes of the messages that are queued or being written.
    bytes: usize,
    /// `seq` of the last `ploke/fileChanged`.
    seq: u64,
    /// Whoever writes has it, until nothing is queued any more.
    output: Option<Output>,
    /// Nothing more is taken in; what is queued is still written.
    closed: bool,
    /// The client can not be reached any more: everything is dropped.
    gone: bool,
}

type Output = BufWriter<Counted>;

/// The client does not read fast enough.
#[derive(Debug, PartialEq)]
pub(crate) struct Full;

impl Outbox {
    /// An empty queue that has room until it holds `bound` bytes.
    pub fn new(bound: usize) -> Self {
        Self { queue: Mutex::default(), unwritten: Condvar::new(), room: Condvar::new(), bound, taken: Arc::default() }
    }

    /// Queues one message, given as its JSON text.
    pub fn push(&self, message: impl Into<Message>) {
        let mut queue = self.lock();
        queue.push(message.into());
        self.have_written(&queue);
    }

    /// Queues a response right behind the notification of the changes that its request has made; the caller is to
    /// [write](Self::write_queued) them.
    pub fn push_answer(&self, changes: Vec<FileChange>, response: impl Into<Message>) {
        let mut queue = self.lock();
        if !changes.is_empty() {
            queue.push_changes(changes, false);
        }
        queue.push(response.into());
    }

    /// Queues one message unless there is no room.
    pub fn try_push(&self, message: Vec<u8>) -> Result<(), Full> {
        let mut queue = self.lock();
        if queue.bytes >= self.bound {
            return Err(Full);
        }
        queue.push(message.into());
        self.have_written(&queue);
        Ok(())
    }

    /// Queues a `ploke/fileChanged` unless there is no room; the changes can be told later, or as a `rescan`.
    pub fn try_push_changes(&self, changes: Vec<FileChange>, rescan: bool) -> Result<(), Full> {
        let mut queue = self.lock();
        if queue.bytes >= self.bound {
            return Err(Full);
        }
        queue.push_changes(changes, rescan);
        self.have_written(&queue);
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
    pub fn last_seq(&self) -> u64 {
        self.lock().seq
    }

    /// Takes in nothing more; [`Outbox::write_to`] ends when everything queued has been written.
    pub fn close(&self) {
        self.lock().closed = true;
        self.unwritten.notify_all();
        self.room.notify_all();
    }

    /// Bytes that the client has taken so far.
    pub fn bytes_taken(&self) -> u64 {
        self.taken.load(Relaxed)
    }

    /// Lets everybody write to `output`, and writes what nobody else does, until the queue is closed; `room_again` is
    /// called whenever it has room after it had none.
    ///
    /// A failed write means that the client has gone: from then on everything is dropped.
    pub fn write_to(&self, output: impl Write + Send + 'static, room_again: impl Fn()) {
        let output = Counted { output: Box::new(output), taken: self.taken.clone() };
        self.lock().output = Some(BufWriter::with_capacity(CHUNK, output));
        while self.wait_for_unwritten() {
            self.write_queued(&room_again);
        }
    }

    /// Writes until nothing is queued, unless somebody is writing: then it is written there.
    pub fn write_queued(&self, room_again: impl Fn()) {
        let mut queue = self.lock();
        if queue.messages.is_empty() {
            return;
        }
        let Some(mut output) = queue.output.take() else { return };
        loop {
            let batch = queue.next_batch();
            drop(queue);
            let result = batch.iter().try_for_each(|message| write_frame(&mut output, message));
            if let Err(error) = result.and_then(|()| output.flush()) {
                tracing::warn!(%error, "the client can not be written to");
                // What is left in it is not tried again.
                drop(output.into_parts());
                self.drop_all();
                return room_again();
            }
            if self.was_written(batch.iter().map(Message::bytes).sum()) {
                room_again();
            }
            queue = self.lock();
            if queue.messages.is_empty() {
                queue.output = Some(output);
                if queue.closed {
                    self.unwritten.notify_all();
                }
                return;
            }
        }
    }

    /// Waits for something that nobody writes; false once there will be nothing more.
    fn wait_for_unwritten(&self) -> bool {
        let mut queue = self.lock();
        loop {
            if queue.gone {
                return false;
            }
            if queue.output.is_some() {
                if !queue.messages.is_empty() {
                    return true;
                }
                if queue.closed {
                    // The client sees the end when it is dropped.
                    queue.output = None;
                    return false;
                }
            }
            queue = self.unwritten.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Makes sure that what was pushed is written.
    fn have_written(&self, queue: &Queue) {
        if queue.output.is_some() {
            self.unwritten.notify_one();
        }
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
        self.unwritten.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes after which a writer looks at the queue again, so that room is noticed while much is written.
const MAX_BATCH_BYTES: usize = 256 * 1024;

/// Bytes that go into one system call; a pipe holds as many.
const CHUNK: usize = 64 * 1024;

impl Queue {
    fn next_batch(&mut self) -> Vec<Message> {
        let mut bytes = 0;
        let fitting = self.messages.iter().take_while(|message| {
            let begins_in_time = bytes < MAX_BATCH_BYTES;
            bytes += message.bytes();
            begins_in_time
        });
        let count = fitting.count();
        self.messages.drain(..count).collect()
    }

    fn push(&mut self, message: Message) {
        if self.closed || self.gone {
            return;
        }
        self.bytes += message.bytes();
        self.messages.push_back(message);
    }

    // Encoded with the lock held, because only then it is known which number it has.
    fn push_changes(&mut self, changes: Vec<FileChange>, rescan: bool) {
        let params = FileChangedParams { seq: self.seq + 1, changes, rescan };
        match encode_notification(file_changed::METHOD, &params) {
            Ok(message) => {
                self.seq += 1;
                self.push(message.into());
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

fn write_frame(output: &mut impl Write, message: &Message) -> io::Result<()> {
    write!(output, "Content-Length: {}\r\n\r\n", message.bytes())?;
    message.pieces().try_for_each(|piece| output.write_all(piece))
}

/// Counts what was taken, chunk by chunk, so that one can see whether the client still reads.
struct Counted {
    output: Box<dyn Write + Send>,
    taken: Arc<AtomicU64>,
}

impl Write for Counted {
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
pub(super) mod tests;
