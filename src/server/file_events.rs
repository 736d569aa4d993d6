//! From changes outside to `ploke/fileChanged`.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

use serde_json::json;

use super::transport::Outbox;
use crate::{events::FileEventBatch, manager::FileEvents, protocol::FileChange};

/// Looks again for room for a client that does not read.
const RETRY: Duration = Duration::from_millis(100);
/// Changes kept for a client that does not read; with more than these it is told to scan again.
const MAX_KEPT: usize = 10_000;

/// Tells the client of changes from outside until the manager ends; own writes are told with their request's response.
pub(super) async fn forward(mut events: FileEvents, outbox: Arc<Outbox>, barrier: Arc<Barrier>) {
    let mut kept = FileEventBatch::default();
    loop {
        let next = if kept == FileEventBatch::default() {
            events.recv().await
        } else {
            tokio::time::timeout(RETRY, events.recv()).await.unwrap_or(Some(FileEventBatch::default()))
        };
        let Some(batch) = next else { return };
        keep(&mut kept, batch);
        let changes: Vec<_> = kept.changes.iter().cloned().map(FileChange::from).collect();
        let is_told = (changes.is_empty() && !kept.rescan) || outbox.try_push_changes(changes, kept.rescan).is_ok();
        if !is_told {
            continue;
        }
        if let Some(notice) = &kept.notice {
            outbox.push(warning(notice));
        }
        if let Some(passed) = kept.barrier {
            barrier.pass(passed, outbox.last_seq());
        }
        kept = FileEventBatch::default();
    }
}

fn keep(kept: &mut FileEventBatch, batch: FileEventBatch) {
    kept.rescan |= batch.rescan;
    kept.notice = batch.notice.or(kept.notice.take());
    kept.barrier = kept.barrier.max(batch.barrier);
    kept.changes.extend(batch.changes);
    if kept.changes.len() > MAX_KEPT {
        (kept.changes, kept.rescan) = (Vec::new(), true);
    }
}

/// `window/showMessage` as a warning.
fn warning(text: &str) -> Vec<u8> {
    let params = json!({ "type": 2, "message": format!("ploke-io: {text}") });
    json!({ "jsonrpc": "2.0", "method": "window/showMessage", "params": params }).to_string().into_bytes()
}

/// The last barrier that everything before has been queued for the client, and the `seq` of what was queued last.
#[derive(Debug, Default)]
pub(super) struct Barrier {
    passed: Mutex<(u64, u64)>,
    changed: Condvar,
}

impl Barrier {
    pub fn pass(&self, barrier: u64, seq: u64) {
        let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        *passed = (*passed).max((barrier, seq));
        drop(passed);
        self.changed.notify_all();
    }

    /// `None` if it has not been passed in this time.
    #[cfg(feature = "watcher")]
    pub fn wait_for(&self, barrier: u64, limit: Duration) -> Option<u64> {
        let passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(passed, limit, |(passed, _)| *passed < barrier);
        let (passed, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        (!timeout.timed_out()).then_some(passed.1)
    }
}

#[cfg(all(test, feature = "watcher"))]
mod tests {
    use super::*;

    #[test]
    fn a_barrier_that_was_passed_stays_passed() {
        let barrier = Barrier::default();
        barrier.pass(2, 20);
        barrier.pass(1, 10);
        assert_eq!(barrier.wait_for(2, Duration::ZERO), Some(20));
        let mut kept = FileEventBatch::default();
        for number in [Some(2), Some(1), None] {
            keep(&mut kept, FileEventBatch { barrier: number, ..FileEventBatch::default() });
        }
        assert_eq!(kept.barrier, Some(2));
    }
}
