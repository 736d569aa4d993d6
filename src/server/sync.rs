//! `ploke/sync`, and the barrier it waits for.

use std::{
    sync::{Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::method::{Call, Method, Reply, RpcError};
use crate::protocol::{
    sync,
    sync::{SyncParams, SyncResult},
};

pub(crate) struct Sync;

/// A first look at a large tree takes seconds; nobody should wait longer than this without knowing why.
pub(super) const LIMIT: Duration = Duration::from_secs(30);

impl Method for Sync {
    const NAME: &'static str = sync::METHOD;
    type Params = SyncParams;
    type Result = SyncResult;

    fn run(call: &Call, SyncParams {}: SyncParams) -> Result<Reply<SyncResult>, RpcError> {
        let begin = Instant::now();
        let barrier = call.session.manager.sync(LIMIT)?;
        let left = LIMIT.saturating_sub(begin.elapsed());
        let seq = call.session.barrier.wait_for(barrier, left).ok_or_else(|| {
            let message = "the client has not read its notifications in time: read them, then try again";
            RpcError::from(crate::error::IoError::new(
                "",
                crate::error::IoErrorKind::NotSynced { message: message.into(), os: "ETIMEDOUT" },
            ))
        })?;
        Ok(SyncResult { seq }.into())
    }
}

/// The last barrier that everything before has been queued for the client, and the `seq` of what was queued last.
#[derive(Debug, Default)]
pub(crate) struct Barrier {
    passed: Mutex<(u64, u64)>,
    changed: Condvar,
}

impl Barrier {
    pub fn pass(&self, barrier: u64, seq: u64) {
        *self.passed.lock().unwrap_or_else(PoisonError::into_inner) = (barrier, seq);
        self.changed.notify_all();
    }

    /// `None` if it has not been passed in this time.
    fn wait_for(&self, barrier: u64, limit: Duration) -> Option<u64> {
        let passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(passed, limit, |(passed, _)| *passed < barrier);
        let (passed, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        (!timeout.timed_out()).then_some(passed.1)
    }
}
