//! From changes outside to `ploke/fileChanged`.

use std::{sync::Arc, time::Duration};

use super::transport::Outbox;
use crate::{events::FileEventBatch, manager::FileEvents, protocol::FileChange};

/// Looks again for room for a client that does not read.
const RETRY: Duration = Duration::from_millis(100);
/// Changes kept for a client that does not read; with more than these it is told to scan again.
const MAX_KEPT: usize = 10_000;

/// Tells the client of changes from outside until the manager ends; own writes are told with their request's response.
pub(super) async fn forward(mut events: FileEvents, outbox: Arc<Outbox>) {
    let mut kept = FileEventBatch::default();
    loop {
        let next = if kept.changes.is_empty() && !kept.rescan {
            events.recv().await
        } else {
            tokio::time::timeout(RETRY, events.recv()).await.unwrap_or(Some(FileEventBatch::default()))
        };
        let Some(batch) = next else { return };
        keep(&mut kept, batch);
        if kept.changes.is_empty() && !kept.rescan {
            continue;
        }
        let changes = kept.changes.iter().cloned().map(FileChange::from).collect();
        if outbox.try_push_changes(changes, kept.rescan).is_ok() {
            kept = FileEventBatch::default();
        }
    }
}

fn keep(kept: &mut FileEventBatch, batch: FileEventBatch) {
    kept.rescan |= batch.rescan;
    kept.changes.extend(batch.changes.into_iter().filter(|change| change.origin.is_none()));
    if kept.changes.len() > MAX_KEPT {
        *kept = FileEventBatch { rescan: true, ..FileEventBatch::default() };
    }
}
