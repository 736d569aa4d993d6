//! Telling subscribers of changes, also of those that requests have made.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::broadcast::{
    self,
    error::{RecvError, TryRecvError},
};
use uuid::Uuid;

use crate::{
    engine::{FileOutcome, FileStatus},
    events::{FileChangeEvent, FileEventBatch, FileEventKind},
};

/// Batches a subscriber may be behind; the oldest are then dropped and the subscriber is told to scan again.
const CAPACITY: usize = 1024;

/// Sends to all subscribers until it is closed.
#[derive(Debug, Clone)]
pub(super) struct EventSender {
    channels: Arc<Mutex<Option<Channels>>>,
    missed: Missed,
}

#[derive(Debug)]
struct Channels {
    all: broadcast::Sender<FileEventBatch>,
    /// The same without what requests of this manager have changed.
    outside: broadcast::Sender<FileEventBatch>,
}

/// What a subscriber is told that has lost batches: to scan again, the last barrier, and the last notice.
#[derive(Debug, Clone)]
struct Missed(Arc<Mutex<FileEventBatch>>);

impl EventSender {
    pub fn new() -> Self {
        let channels = Channels { all: broadcast::Sender::new(CAPACITY), outside: broadcast::Sender::new(CAPACITY) };
        Self { channels: Arc::new(Mutex::new(Some(channels))), missed: Missed::default() }
    }

    #[cfg(any(feature = "watcher", test))]
    pub fn send(&self, batch: FileEventBatch) {
        self.send_made(|_| batch);
    }

    /// Tells what a request of this manager has changed.
    pub fn send_own(&self, changes: Vec<FileChangeEvent>) {
        if let Some(Channels { all, .. }) = &*self.lock() {
            // Without a subscriber there is nobody to tell.
            let _ = all.send(FileEventBatch { changes, ..FileEventBatch::default() });
        }
    }

    /// Has a batch follow all that were sent before, and returns the number it has.
    #[cfg(feature = "watcher")]
    pub fn send_barrier(&self) -> u64 {
        let mut number = 0;
        self.send_made(|missed| {
            number = missed.barrier.unwrap_or(0) + 1;
            FileEventBatch { barrier: Some(number), ..FileEventBatch::default() }
        });
        number
    }

    /// One at a time, so that batches come in the order in which they were made.
    #[cfg(any(feature = "watcher", test))]
    fn send_made(&self, make: impl FnOnce(&FileEventBatch) -> FileEventBatch) {
        let channels = self.lock();
        let mut missed = self.missed.lock();
        let batch = make(&missed);
        missed.barrier = batch.barrier.or(missed.barrier);
        missed.notice = batch.notice.clone().or(missed.notice.take());
        drop(missed);
        if let Some(Channels { all, outside }) = &*channels {
            let _ = all.send(batch.clone());
            let _ = outside.send(batch);
        }
    }

    pub fn subscribe(&self) -> Option<FileEvents> {
        self.subscribe_to(|channels| &channels.all)
    }

    pub fn subscribe_outside(&self) -> Option<FileEvents> {
        self.subscribe_to(|channels| &channels.outside)
    }

    fn subscribe_to(
        &self,
        channel: impl FnOnce(&Channels) -> &broadcast::Sender<FileEventBatch>,
    ) -> Option<FileEvents> {
        Some(FileEvents { receiver: channel(self.lock().as_ref()?).subscribe(), missed: self.missed.clone() })
    }

    pub fn close(&self) {
        self.lock().take();
    }

    fn lock(&self) -> MutexGuard<'_, Option<Channels>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A subscription to changes of files, from the moment it was made.
#[derive(Debug)]
pub struct FileEvents {
    receiver: broadcast::Receiver<FileEventBatch>,
    missed: Missed,
}

impl FileEvents {
    /// Waits for the next changes; `None` when the manager has ended.
    ///
    /// A subscriber that falls far behind loses the oldest changes and gets a batch with `rescan` instead, which has the
    /// number of the last barrier: to scan again makes up for what had happened before.
    pub async fn recv(&mut self) -> Option<FileEventBatch> {
        match self.receiver.recv().await {
            Ok(batch) => Some(batch),
            Err(RecvError::Lagged(_)) => Some(self.missed.lock().clone()),
            Err(RecvError::Closed) => None,
        }
    }

    /// The next changes if there are any by now.
    pub fn try_recv(&mut self) -> Option<FileEventBatch> {
        match self.receiver.try_recv() {
            Ok(batch) => Some(batch),
            Err(TryRecvError::Lagged(_)) => Some(self.missed.lock().clone()),
            Err(TryRecvError::Empty | TryRecvError::Closed) => None,
        }
    }
}

impl Missed {
    fn lock(&self) -> MutexGuard<'_, FileEventBatch> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Missed {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(FileEventBatch { rescan: true, ..FileEventBatch::default() })))
    }
}

impl FileOutcome {
    /// The change to report for a file that was written, renamed or deleted.
    pub fn event(&self, origin: Uuid) -> Option<FileChangeEvent> {
        if self.status != FileStatus::Applied || self.in_buffer {
            return None;
        }
        let kind = match (&self.old_path, self.old_content_hash, self.new_content_hash) {
            (_, _, None) => FileEventKind::Deleted,
            (Some(_), _, Some(_)) => FileEventKind::Renamed,
            (None, None, Some(_)) => FileEventKind::Created,
            (None, Some(_), Some(_)) => FileEventKind::Modified,
        };
        let real = |real: &Option<PathBuf>, asked: &PathBuf| real.as_ref().unwrap_or(asked).clone();
        let old_path = self.old_path.as_ref().filter(|_| kind == FileEventKind::Renamed);
        Some(FileChangeEvent {
            path: real(&self.real_path, &self.path),
            kind,
            old_path: old_path.map(|old_path| real(&self.old_real_path, old_path)),
            content_hash: self.new_content_hash,
            directory: false,
            origin: Some(origin),
            by: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio_test::{assert_pending, assert_ready_eq, task};

    use super::*;
    use crate::hash::ContentHash;

    const SUBSCRIPTIONS: [fn(&EventSender) -> Option<FileEvents>; 2] =
        [EventSender::subscribe, EventSender::subscribe_outside];

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
        for subscribe in SUBSCRIPTIONS {
            let sender = EventSender::new();
            let mut events = subscribe(&sender).unwrap();
            (0..=CAPACITY).for_each(|_| sender.send(batch()));
            assert_eq!(events.try_recv(), Some(FileEventBatch { rescan: true, ..batch() }));
            assert_eq!(events.try_recv(), Some(batch()));
        }
    }

    #[test]
    fn who_follows_the_outside_is_not_woken_by_own_writes() {
        let sender = EventSender::new();
        let (mut all, mut outside) = (sender.subscribe().unwrap(), sender.subscribe_outside().unwrap());
        let mut next = task::spawn(outside.recv());
        assert_pending!(next.poll());
        sender.send_own(Vec::new());
        assert!(!next.is_woken());
        assert_eq!(all.try_recv(), Some(batch()));
        sender.send(FileEventBatch { rescan: true, ..batch() });
        assert_ready_eq!(next.poll(), Some(FileEventBatch { rescan: true, ..batch() }));
    }

    #[cfg(feature = "watcher")]
    #[test]
    fn a_barrier_and_a_notice_reach_a_subscriber_that_falls_behind_all_the_same() {
        for subscribe in SUBSCRIPTIONS {
            let sender = EventSender::new();
            let mut events = subscribe(&sender).unwrap();
            let notice = Some("something the user should know".to_owned());
            sender.send(FileEventBatch { notice: notice.clone(), ..batch() });
            let barrier = sender.send_barrier();
            (0..CAPACITY).for_each(|_| sender.send(batch()));
            let expected = FileEventBatch { rescan: true, notice, barrier: Some(barrier), ..batch() };
            assert_eq!(events.try_recv(), Some(expected));
        }
    }

    #[cfg(feature = "watcher")]
    #[test]
    fn barriers_of_several_threads_come_in_the_order_of_their_numbers() {
        let sender = EventSender::new();
        let mut events = sender.subscribe().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..CAPACITY / 4).map(|_| sender.send_barrier()).max());
            }
        });
        let barriers: Vec<_> = std::iter::from_fn(|| events.try_recv()).map(|batch| batch.barrier.unwrap()).collect();
        assert_eq!(barriers, (1..=CAPACITY as u64).collect::<Vec<_>>());
    }

    #[test]
    fn the_kind_of_a_change_follows_from_what_was_and_what_is() {
        let hash = Some(ContentHash::of(b""));
        let old = Some(PathBuf::from("/r/old"));
        let outcome = |old_path: &Option<PathBuf>, old_content_hash, new_content_hash| FileOutcome {
            old_path: old_path.clone(),
            old_real_path: old_path.as_ref().map(|_| "/r/old real".into()),
            real_path: Some("/r/real".into()),
            status: FileStatus::Applied,
            old_content_hash,
            new_content_hash,
            ..FileOutcome::not_applied("/r/link".into())
        };
        for (old_path, old_hash, new_hash, kind) in [
            (&None, None, hash, FileEventKind::Created),
            (&None, hash, hash, FileEventKind::Modified),
            (&None, hash, None, FileEventKind::Deleted),
            (&old, hash, None, FileEventKind::Deleted),
            (&old, hash, hash, FileEventKind::Renamed),
        ] {
            let event = outcome(old_path, old_hash, new_hash).event(Uuid::nil()).unwrap();
            assert_eq!((event.kind, event.content_hash), (kind, new_hash));
            assert_eq!(event.path, Path::new("/r/real"));
            let told = (kind == FileEventKind::Renamed).then(|| PathBuf::from("/r/old real"));
            assert_eq!(event.old_path, told, "{kind:?}");
        }
        for status in [FileStatus::WouldApply, FileStatus::Unchanged, FileStatus::NotApplied, FileStatus::Error] {
            let untouched = FileOutcome { status, ..outcome(&None, hash, hash) };
            assert_eq!(untouched.event(Uuid::nil()), None, "{status:?}");
        }
    }
}
