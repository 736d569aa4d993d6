//! Telling subscribers of changes.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::broadcast::{
    self,
    error::{RecvError, TryRecvError},
};

use crate::events::FileEventBatch;

/// Batches a subscriber may be behind; the oldest are then dropped and the subscriber is told to scan again.
const CAPACITY: usize = 1024;

/// Sends to all subscribers until it is closed.
#[derive(Debug, Clone)]
pub(super) struct EventSender {
    sender: Arc<Mutex<Option<broadcast::Sender<FileEventBatch>>>>,
}

impl EventSender {
    pub fn new() -> Self {
        Self { sender: Arc::new(Mutex::new(Some(broadcast::Sender::new(CAPACITY)))) }
    }

    pub fn send(&self, batch: FileEventBatch) {
        if let Some(sender) = &*self.sender.lock().unwrap_or_else(PoisonError::into_inner) {
            // Without a subscriber there is nobody to tell.
            let _ = sender.send(batch);
        }
    }

    pub fn subscribe(&self) -> Option<FileEvents> {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        Some(FileEvents { receiver: sender.as_ref()?.subscribe() })
    }

    pub fn close(&self) {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// A subscription to changes of files, from the moment it was made.
#[derive(Debug)]
pub struct FileEvents {
    receiver: broadcast::Receiver<FileEventBatch>,
}

impl FileEvents {
    /// Waits for the next changes; `None` when the manager has ended.
    ///
    /// A subscriber that falls far behind loses the oldest changes and gets a batch with `rescan` instead.
    pub async fn recv(&mut self) -> Option<FileEventBatch> {
        match self.receiver.recv().await {
            Ok(batch) => Some(batch),
            Err(RecvError::Lagged(_)) => Some(missed()),
            Err(RecvError::Closed) => None,
        }
    }

    /// The next changes if there are any by now.
    pub fn try_recv(&mut self) -> Option<FileEventBatch> {
        match self.receiver.try_recv() {
            Ok(batch) => Some(batch),
            Err(TryRecvError::Lagged(_)) => Some(missed()),
            Err(TryRecvError::Empty | TryRecvError::Closed) => None,
        }
    }
}

fn missed() -> FileEventBatch {
    FileEventBatch { changes: Vec::new(), rescan: true }
}

#[cfg(test)]
mod tests {
    use tokio_test::{assert_pending, assert_ready_eq, task};

    use super::*;

    fn batch() -> FileEventBatch {
        FileEventBatch::default()
    }

    #[test]
    fn a_subscriber_is_woken_by_a_batch_and_told_of_the_end() {
        let sender = EventSender::new();
        let mut events = sender.subscribe().unwrap();
        let mut next = task::spawn(events.recv());
        assert_pending!(next.poll());
        sender.send(batch());
        assert!(next.is_woken());
        assert_ready_eq!(next.poll(), Some(batch()));
        drop(next);
        sender.close();
        assert_ready_eq!(task::spawn(events.recv()).poll(), None);
        assert!(sender.subscribe().is_none());
    }

    #[test]
    fn a_subscriber_that_falls_behind_is_told_to_scan_again() {
        let sender = EventSender::new();
        let mut events = sender.subscribe().unwrap();
        (0..=CAPACITY).for_each(|_| sender.send(batch()));
        assert_eq!(events.try_recv(), Some(missed()));
        assert_eq!(events.try_recv(), Some(batch()));
    }
}
