//! What all handles of a manager share.

use std::{
    path::Path,
    sync::{PoisonError, RwLock},
};
#[cfg(feature = "watcher")]
use std::{sync::Arc, time::Duration};

use uuid::Uuid;

use super::events::EventSender;
use crate::{
    CancelToken,
    engine::{Durability, EditOutcome, EditRequest, Editor, Engine},
    error::{IoError, IoErrorKind},
};
#[cfg(feature = "watcher")]
use crate::{
    events::FileEventKind,
    watch::{self, BarrierError, ChangesSince, Clock, Watcher},
};

pub(super) struct Inner {
    pub engine: Engine,
    pub events: EventSender,
    #[cfg(feature = "watcher")]
    pub max_file_bytes: u64,
    #[cfg(feature = "watcher")]
    pub watcher: RwLock<Option<Arc<Watcher>>>,
    /// Whether calls are let in; they hold it for reading while they run, so that a shutdown waits for them.
    pub open: RwLock<bool>,
}

impl Inner {
    pub fn enter<R>(&self, work: impl FnOnce(&Self) -> R) -> Result<R, IoError> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        if *open { Ok(work(self)) } else { Err(shut_down()) }
    }

    pub fn apply(&self, request: &EditRequest, editor: &dyn Editor, cancel: &CancelToken) -> EditOutcome {
        let outcome = self.engine.apply(request, editor, cancel);
        self.tell(&outcome, request.origin);
        outcome
    }

    pub fn undo(
        &self,
        origin: Uuid,
        new_origin: Uuid,
        durability: Durability,
        editor: &dyn Editor,
        cancel: &CancelToken,
    ) -> Result<Option<EditOutcome>, IoError> {
        let outcome = self.engine.undo(origin, new_origin, durability, editor, cancel)?;
        outcome.iter().for_each(|outcome| self.tell(outcome, new_origin));
        Ok(outcome)
    }

    /// Sends what was changed to all subscribers.
    pub fn tell(&self, outcome: &EditOutcome, origin: Uuid) {
        let changes: Vec<_> = outcome.files.iter().filter_map(|file| file.event(origin)).collect();
        if !changes.is_empty() {
            self.events.send_own(changes);
        }
    }

    pub fn add_root(&self, path: &Path) -> Result<(), IoError> {
        let real = self.engine.add_root(path)?;
        #[cfg(feature = "watcher")]
        if let Some(watcher) = self.watcher() {
            watcher.add_root(&real);
        }
        tracing::info!(root = %real.display(), "root added");
        Ok(())
    }

    pub fn remove_root(&self, path: &Path) -> bool {
        let Some(real) = self.engine.remove_root(path) else { return false };
        #[cfg(feature = "watcher")]
        if let Some(watcher) = self.watcher() {
            // The same directory may still be a root under another name.
            if !self.engine.roots().iter().any(|root| root.real() == real) {
                watcher.remove_root(&real);
            }
        }
        tracing::info!(root = %real.display(), "root removed");
        true
    }

    /// The watcher knows real paths alone, but a root may be given through a link.
    #[cfg(feature = "watcher")]
    pub fn hint(&self, path: &Path) {
        let Some(watcher) = self.watcher() else { return };
        for root in self.engine.roots().iter() {
            match path.strip_prefix(root.given()).or(path.strip_prefix(root.real())) {
                // Joining nothing would add a separator.
                Ok(below) if below.as_os_str().is_empty() => watcher.hint(root.real()),
                Ok(below) => watcher.hint(&root.real().join(below)),
                Err(_) => {}
            }
        }
    }

    #[cfg(feature = "watcher")]
    pub fn sync(&self, limit: Duration) -> Result<u64, IoError> {
        self.watching()?.sync(limit)?;
        Ok(self.events.send_barrier())
    }

    #[cfg(feature = "watcher")]
    pub fn changes(
        &self,
        since: Option<Clock>,
        limit: Duration,
        cancel: &CancelToken,
    ) -> Result<ChangesSince, IoError> {
        let mut answer = self.watching()?.changes(since, limit)?;
        if !answer.fresh {
            for change in answer.changes.iter_mut().filter(|change| change.kind != FileEventKind::Deleted) {
                if cancel.is_cancelled() {
                    return Err(IoError::new("", IoErrorKind::Cancelled));
                }
                change.content_hash = watch::hash_of(&change.path, self.max_file_bytes);
            }
        }
        Ok(answer)
    }

    #[cfg(feature = "watcher")]
    pub fn watching(&self) -> Result<Arc<Watcher>, IoError> {
        let message = || "watching is turned off: turn it on with watch.enabled".to_owned();
        self.watcher().ok_or_else(|| IoError::new("", IoErrorKind::NotSynced { message: message(), os: "ENOTSUP" }))
    }

    #[cfg(feature = "watcher")]
    pub fn watcher(&self) -> Option<Arc<Watcher>> {
        self.watcher.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    #[cfg(all(feature = "watcher", feature = "server"))]
    pub fn end_watching(&self) {
        let watcher = self.watcher.write().unwrap_or_else(PoisonError::into_inner).take();
        watcher.iter().for_each(|watcher| watcher.end());
    }

    pub fn shut_down(&self) {
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = false;
        #[cfg(feature = "watcher")]
        drop(self.watcher.write().unwrap_or_else(PoisonError::into_inner).take());
        self.events.close();
    }
}

#[cfg(feature = "watcher")]
impl From<BarrierError> for IoError {
    fn from(error: BarrierError) -> Self {
        let os = match error {
            BarrierError::Off => "ENOTSUP",
            BarrierError::TooLong(_) => "ETIMEDOUT",
        };
        Self::new("", IoErrorKind::NotSynced { message: error.to_string(), os })
    }
}

pub(super) fn shut_down() -> IoError {
    IoError::new("", IoErrorKind::ShutDown)
}
